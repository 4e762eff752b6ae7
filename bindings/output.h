/* bindings/output.h - whole lines at the script's terminal, whoever prints them.
 *
 * Tasks print through here (print in a task, and lines that come from other node processes). While the console edits
 * a line it takes them, to show them above it.
 * Owns: nothing. Thread: any. Blocks: for stdout's lock, or as the taker does. */
#ifndef BINDINGS_OUTPUT_H
#define BINDINGS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

/* Prints mark, text and a line's end, in one piece. */
void lr_output_line(const char *mark, const char *text, size_t text_bytes);

/* Who may take a line instead, on the printer's thread (false: not now); NULL: nobody. The taker must last. */
typedef bool (*lr_output_taker)(const char *mark, const char *text, size_t text_bytes);
void lr_output_take_by(lr_output_taker taker);

#endif
