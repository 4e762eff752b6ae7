/* bindings/lineedit.h - a line of the console, edited in the terminal by libedit.
 *
 * libedit is loaded when the first line is read, so that a script's start does not pay for it and the program runs
 * where it is not installed. While a line is edited the thread sleeps in poll; it wakes for keys, for lines that
 * tasks print (shown above the line being edited), for a window that was resized, and for a signal.
 *
 * What is pasted is text: with a terminal that brackets what it pastes (and in any burst that no keyboard
 * gives) the bytes that would be keys are inserted as Lua writes them, \27.
 * Owns: the editor, its history, the bytes read ahead. Thread: the script's. */
#ifndef BINDINGS_LINEEDIT_H
#define BINDINGS_LINEEDIT_H

#include <stdbool.h>
#include <stddef.h>

typedef enum lr_line_end { LR_LINE_WHOLE, LR_LINE_DROPPED, LR_LINE_NO_MORE } lr_line_end;

typedef struct lr_lineedit_hooks {
    void *context;
    /* TAB: what to insert at the cursor and what to show above the line; each NULL or freed by the editor. */
    void (*complete)(void *context, const char *line, size_t line_bytes, size_t cursor, char **insert, char **list);
    int wake_fd; /* readable when: */
    /* printed lines, to be freed; NULL: none */
    char *(*take_output)(size_t *bytes);
    /* a signal has asked for the line to be dropped */
    bool (*take_interrupt)(void);
} lr_lineedit_hooks;

/* NULL: it is open; else why not, in a few words. */
const char *lr_lineedit_open(const lr_lineedit_hooks *hooks);
/* Reads a line; on WHOLE *line is its text without its end, valid until the next call. */
lr_line_end lr_lineedit_read(const char *prompt, const char **line);
void lr_lineedit_remember(const char *line);
/* From a handler of SIGWINCH. */
void lr_lineedit_resized(void);
void lr_lineedit_close(void);

#endif
