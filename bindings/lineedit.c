#include "bindings/lineedit.h"

#include <dlfcn.h>
#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define HISTORY_MAX 2000
#define BURST_BYTES 48 /* so many at once were not typed */
#define ESCAPE_MS 25   /* what belongs to an escape sequence comes within */

#define CTRL_C 3
#define CTRL_D 4
#define CTRL_Z 26
#define ESCAPE 27

static const char paste_begin[] = "\033[200~", paste_end[] = "\033[201~";

static struct { /* libedit's functions */
    void *library;
    EditLine *(*init)(const char *, FILE *, FILE *, FILE *);
    void (*end)(EditLine *);
    const char *(*gets)(EditLine *, int *);
    int (*set)(EditLine *, int, ...);
    const LineInfo *(*line)(EditLine *);
    int (*insertstr)(EditLine *, const char *);
    void (*resize)(EditLine *);
    History *(*history_init)(void);
    void (*history_end)(History *);
    int (*history)(History *, HistEvent *, int, ...);
} lib;

static struct {
    EditLine *el;
    History *history;
    lr_lineedit_hooks hooks;
    const char *prompt;
    char *text; /* of the last line */
    bool dropped;
    /* bytes from the terminal that the editor has not had yet */
    unsigned char bytes[4096];
    size_t at, count;
    bool pasting;        /* the terminal has said so: these bytes are text, */
    unsigned burst_left; /* and so are so many, of a burst that is binary */
    char digits[8]; /* of a byte that is inserted as \ddd */
    unsigned digit_at;
} edit;

static volatile sig_atomic_t resized;

/* ---- the library --------------------------------------------------------------------------------------- */

static const char *load(void)
{
    static const struct { const char *name; void *place; } symbols[] = {
        {"el_init", &lib.init}, {"el_end", &lib.end}, {"el_gets", &lib.gets}, {"el_set", &lib.set},
        {"el_line", &lib.line}, {"el_insertstr", &lib.insertstr}, {"el_resize", &lib.resize},
        {"history_init", &lib.history_init}, {"history_end", &lib.history_end}, {"history", &lib.history}};
    static const char *const names[] = {"libedit.so.2", "libedit.so.0", "libedit.so", "libedit.3.dylib"};
    for (size_t i = 0; !lib.library && i < sizeof names / sizeof names[0]; i++)
        lib.library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!lib.library) return "libedit is not installed";
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *symbol = dlsym(lib.library, symbols[i].name);
        if (!symbol) return "the libedit here lacks a function";
        memcpy(symbols[i].place, &symbol, sizeof symbol);
    }
    return NULL;
}

/* ---- what stands on the screen --------------------------------------------------------------------------- */

static unsigned screen_columns(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
    return size.ws_col;
}

/* Moves a position on by what the editor shows for these bytes. */
static void advance(const char *text, size_t bytes, unsigned columns, unsigned *row, unsigned *column)
{
    mbstate_t state = {0};
    while (bytes > 0) {
        wchar_t c;
        size_t used = mbrtowc(&c, text, bytes, &state);
        if (used == (size_t)-1 || used == (size_t)-2 || used == 0) used = 1, c = 0;
        int width = wcwidth(c);
        unsigned wide = width < 0 || c == 0 ? 2 : (unsigned)width; /* controls as ^X */
        if (*column + wide > columns) ++*row, *column = 0;
        *column += wide;
        if (*column == columns) ++*row, *column = 0;
        text += used;
        bytes -= used;
    }
}

/* The cursor goes to where the prompt begins, and what is shown from there on goes. */
static void erase(void)
{
    unsigned row = 0, column = 0, columns = screen_columns();
    const LineInfo *line = lib.line(edit.el);
    advance(edit.prompt, strlen(edit.prompt), columns, &row, &column);
    advance(line->buffer, (size_t)(line->cursor - line->buffer), columns, &row, &column);
    fputc('\r', stdout);
    if (row > 0) fprintf(stdout, "\033[%uA", row);
    fputs("\033[J", stdout);
}

static void draw(void)
{
    fflush(stdout);
    lib.set(edit.el, EL_REFRESH);
}

/* Text above the line that is being edited; it ends with a line's end. */
static void show_above(const char *text, size_t bytes)
{
    erase();
    fwrite(text, 1, bytes, stdout);
    draw();
}

static void show_output(void)
{
    size_t bytes;
    char *text = edit.hooks.take_output(&bytes);
    if (!text) return;
    show_above(text, bytes);
    free(text);
}

static void show_list(const char *list)
{
    const LineInfo *line = lib.line(edit.el);
    erase();
    fprintf(stdout, "%s%.*s\n%s\n", edit.prompt, (int)(line->lastchar - line->buffer), line->buffer, list);
    draw();
}

/* ---- keys --------------------------------------------------------------------------------------------------- */

/* Sleeps until there are bytes, a signal or printed lines. */
static void sleep_for_keys(void)
{
    struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = edit.hooks.wake_fd, .events = POLLIN}};
    if (edit.hooks.take_interrupt()) {
        edit.bytes[0] = CTRL_C;
        edit.at = 0, edit.count = 1;
        return;
    }
    poll(fds, 2, -1);
    if (resized) {
        resized = 0;
        lib.resize(edit.el);
        erase();
        draw();
    }
    if (fds[1].revents) show_output();
}

static bool readable(int timeout_ms)
{
    struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&fd, 1, timeout_ms) > 0;
}

/* Bytes of the UTF-8 character that begins so; 0: none does. */
static size_t character_bytes(unsigned char first)
{
    if (first < 0x80) return 1;
    if (first < 0xC2) return 0;
    return first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
}

/* Whether there is something among these that no keyboard gives: a zero, or what is no UTF-8. */
static bool is_binary(const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count;) {
        size_t length = character_bytes(bytes[i]);
        if (length == 0 || bytes[i] == 0) return true;
        for (size_t k = 1; k < length && i + k < count; k++)
            if ((bytes[i + k] & 0xC0) != 0x80) return true;
        i += length;
    }
    return false;
}

/* More bytes behind those there. False: the terminal is gone. */
static bool read_more(void)
{
    memmove(edit.bytes, edit.bytes + edit.at, edit.count - edit.at);
    edit.count -= edit.at;
    edit.at = 0;
    ssize_t got = read(STDIN_FILENO, edit.bytes + edit.count, sizeof edit.bytes - edit.count);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (got <= 0) return false;
    size_t first = edit.count;
    edit.count += (size_t)got;
    bool burst = got >= BURST_BYTES && is_binary(edit.bytes + first, (size_t)got);
    if (burst || edit.burst_left > 0) edit.burst_left = (unsigned)edit.count;
    return true;
}

/* Whether the bytes at hand begin with this; waits shortly for those that may be missing. */
static bool begins(const char *with)
{
    size_t length = strlen(with);
    for (;;) {
        size_t there = edit.count - edit.at, compared = there < length ? there : length;
        if (memcmp(edit.bytes + edit.at, with, compared) != 0) return false;
        if (compared == length) return true;
        if (!readable(ESCAPE_MS) || !read_more()) return false;
    }
}

static void take(size_t count)
{
    edit.at += count;
    edit.burst_left = edit.burst_left > count ? edit.burst_left - (unsigned)count : 0;
}

/* The UTF-8 character at hand, its bytes taken. False: there is none. */
static bool take_character(wchar_t *c)
{
    size_t length = character_bytes(edit.bytes[edit.at]);
    while (length > edit.count - edit.at)
        if (!readable(ESCAPE_MS) || !read_more()) break;
    if (length == 0 || length > edit.count - edit.at) return false;
    mbstate_t state = {0};
    size_t used = mbrtowc(c, (const char *)edit.bytes + edit.at, length, &state);
    if (used != length || (*c >= 0x80 && wcwidth(*c) < 0)) return false;
    take(length);
    return true;
}

/* The byte at hand, as Lua writes it. */
static wchar_t take_escaped(void)
{
    snprintf(edit.digits, sizeof edit.digits, "\\%03d", edit.bytes[edit.at]);
    take(1);
    edit.digit_at = 1;
    return (wchar_t)'\\';
}

static wchar_t take_text(void)
{
    unsigned char c = edit.bytes[edit.at];
    if (c == '\r' || c == '\n') {
        take(1);
        if (c == '\r' && edit.at < edit.count && edit.bytes[edit.at] == '\n') take(1);
        return '\n';
    }
    if (c == '\t') {
        take(1);
        return ' ';
    }
    wchar_t wide;
    if (c < 32 || c == 127 || !take_character(&wide)) return take_escaped();
    return wide;
}

static void suspend(void)
{
    lib.set(edit.el, EL_PREP_TERM, 0);
    kill(getpid(), SIGTSTP);
    lib.set(edit.el, EL_PREP_TERM, 1);
    fputc('\n', stdout);
    draw();
}

/* ^C: the line goes. The editor is told that it is whole, so that it leaves the screen in order. */
static wchar_t drop(void)
{
    edit.dropped = true;
    take(1);
    return '\n';
}

/* False: no key this time. */
static bool next_key(wchar_t *key)
{
    if (edit.bytes[edit.at] == ESCAPE && begins(edit.pasting ? paste_end : paste_begin)) {
        take(strlen(paste_begin));
        edit.pasting = !edit.pasting;
        return false;
    }
    if (edit.at == edit.count) return false;
    if (edit.pasting || edit.burst_left > 0) {
        *key = take_text();
        return true;
    }
    unsigned char c = edit.bytes[edit.at];
    if (c == CTRL_C) {
        *key = drop();
    } else if (c == CTRL_Z) {
        take(1);
        suspend();
        return false;
    } else if (c == 0) { /* how a ^D comes that was typed before the line was edited */
        take(1);
        *key = CTRL_D;
        const LineInfo *line = lib.line(edit.el);
        return line->lastchar == line->buffer;
    } else if (!take_character(key)) {
        *key = take_escaped();
    }
    return true;
}

/* libedit asks for a key: 1, or 0 at the end of the input. */
static int get_key(EditLine *el, wchar_t *key)
{
    (void)el;
    for (;;) {
        if (edit.digit_at > 0 && edit.digits[edit.digit_at]) {
            *key = (wchar_t)edit.digits[edit.digit_at++];
            return 1;
        }
        edit.digit_at = 0;
        if (edit.at < edit.count) {
            if (next_key(key)) return 1;
            continue;
        }
        sleep_for_keys();
        if (edit.at == edit.count && readable(0) && !read_more()) return 0;
    }
}

/* ---- the editor ----------------------------------------------------------------------------------------------- */

static char *prompt_of(EditLine *el)
{
    (void)el;
    return (char *)(uintptr_t)edit.prompt;
}

static unsigned char complete(EditLine *el, int key)
{
    (void)key;
    char *insert = NULL, *list = NULL;
    const LineInfo *line = lib.line(el);
    edit.hooks.complete(edit.hooks.context, line->buffer, (size_t)(line->lastchar - line->buffer),
                        (size_t)(line->cursor - line->buffer), &insert, &list);
    if (list) show_list(list);
    unsigned char result = list ? CC_NORM : CC_ERROR;
    if (insert && *insert && lib.insertstr(el, insert) == 0) result = CC_REFRESH;
    free(insert);
    free(list);
    return result;
}

static void bind_keys(void)
{
    static const char *const keys[][2] = {
        {"^I", "lr-complete"}, {"^R", "em-inc-search-prev"}, {"^W", "ed-delete-prev-word"},
        {"\033[A", "ed-prev-history"}, {"\033[B", "ed-next-history"},
        {"\033[H", "ed-move-to-beg"}, {"\033[F", "ed-move-to-end"}, {"\033OH", "ed-move-to-beg"},
        {"\033OF", "ed-move-to-end"}, {"\033[1~", "ed-move-to-beg"}, {"\033[4~", "ed-move-to-end"},
        {"\033[3~", "ed-delete-next-char"}, {"\033[1;5C", "em-next-word"}, {"\033[1;5D", "ed-prev-word"}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        lib.set(edit.el, EL_BIND, keys[i][0], keys[i][1], NULL);
}

/* Characters need a locale that knows them; the rest of the program stays in "C". */
static void choose_locale(void)
{
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") == 0) return;
    if (!setlocale(LC_CTYPE, "C.UTF-8")) setlocale(LC_CTYPE, "C.utf8");
}

const char *lr_lineedit_open(const lr_lineedit_hooks *hooks)
{
    const char *terminal = getenv("TERM"), *why = load();
    if (why) return why;
    if (!terminal || !*terminal || strcmp(terminal, "dumb") == 0) return "TERM names no terminal that can edit";
    choose_locale();
    edit.hooks = *hooks;
    edit.prompt = "";
    edit.el = lib.init("luarun", stdin, stdout, stderr);
    edit.history = lib.history_init();
    if (!edit.el || !edit.history) return "libedit could not be started";
    HistEvent event;
    lib.history(edit.history, &event, H_SETSIZE, HISTORY_MAX);
    lib.history(edit.history, &event, H_SETUNIQUE, 1);
    lib.set(edit.el, EL_EDITOR, "emacs");
    lib.set(edit.el, EL_SIGNAL, 0);
    lib.set(edit.el, EL_PROMPT, prompt_of);
    lib.set(edit.el, EL_HIST, lib.history, edit.history);
    lib.set(edit.el, EL_GETCFN, get_key);
    lib.set(edit.el, EL_ADDFN, "lr-complete", "completes a name", complete);
    lib.set(edit.el, EL_SETTY, "-d", "-isig", "-ixon", NULL); /* ^C is a key; ^S in what is pasted stops nothing */
    bind_keys();
    return NULL;
}

/* What was typed while no line was edited has been shown by the terminal, and will be shown again with the prompt. */
static void start_line(void)
{
    int typed = 0;
    lib.set(edit.el, EL_PREP_TERM, 1);
    if (ioctl(STDIN_FILENO, FIONREAD, &typed) == 0 && typed > 0) fputc('\n', stdout);
    fputs("\033[?2004h", stdout); /* the terminal marks what it pastes */
}

lr_line_end lr_lineedit_read(const char *prompt, const char **line)
{
    int count = 0;
    edit.prompt = prompt;
    edit.dropped = false;
    start_line();
    const char *text = lib.gets(edit.el, &count);
    fputs("\033[?2004l", stdout);
    fflush(stdout);
    if (edit.dropped) return LR_LINE_DROPPED;
    if (!text || count <= 0) return LR_LINE_NO_MORE;
    size_t length = strlen(text);
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
        length--;
    free(edit.text);
    edit.text = strndup(text, length);
    *line = edit.text ? edit.text : "";
    return LR_LINE_WHOLE;
}

void lr_lineedit_remember(const char *line)
{
    HistEvent event;
    lib.history(edit.history, &event, H_ENTER, line);
}

void lr_lineedit_resized(void) { resized = 1; }

void lr_lineedit_close(void)
{
    if (edit.el) lib.end(edit.el);
    if (edit.history) lib.history_end(edit.history);
    free(edit.text);
    edit.el = NULL;
    edit.history = NULL;
    edit.text = NULL;
}
