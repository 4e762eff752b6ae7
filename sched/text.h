/* sched/text.h - builds short texts in the caller's buffer: sentences for errors, rows for tables.
 *
 * There is no stdio in sched. A text is always ended by a 0 and cut where the buffer ends; needed_bytes goes
 * on counting, as snprintf's result does.
 * Owns: nothing; the buffer is the caller's. Thread: any. Blocks: never. */
#ifndef SCHED_TEXT_H
#define SCHED_TEXT_H

#include "sched/id.h"

typedef struct lr_text {
    char *at;
    size_t size_bytes;   /* of the buffer, with room for the 0; may be 0 */
    size_t needed_bytes; /* length so far, the 0 not counted */
} lr_text;

lr_text lr_text_of(char *at, size_t size_bytes);
void lr_text_string(lr_text *t, const char *string);
/* The first length bytes of a string; line breaks and other control characters become blanks. */
void lr_text_line(lr_text *t, const char *string, size_t length);
void lr_text_u64(lr_text *t, uint64_t number);
void lr_text_id(lr_text *t, lr_id id);
/* A time in seconds: "0.1", "12", "0.000025". */
void lr_text_seconds(lr_text *t, uint64_t ns);

#endif
