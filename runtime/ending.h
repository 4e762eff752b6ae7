/* runtime/ending.h - why a connection between two nodes failed or ended: one list (link.def), with words.
 *
 * These are not errors of tasks (sched/errors.def): whoever owns the connection decides what they mean for
 * a task. LR_ENDING_OK is success. Owns: nothing. Thread: any. Blocks: never. */
#ifndef RUNTIME_ENDING_H
#define RUNTIME_ENDING_H

#include "sched/base.h"

typedef enum lr_ending {
    LR_ENDING_OK = 0,
#define LR_ENDING(id, name, meaning, advice) LR_ENDING_##id,
#include "runtime/ending.def"
#undef LR_ENDING
    LR_ENDING_COUNT
} lr_ending;

#define LR_ENDING_TEXT 400 /* room that holds what lr_ending_explain says, long addresses cut */

const char *lr_ending_name(lr_ending end);
const char *lr_ending_meaning(lr_ending end);
const char *lr_ending_advice(lr_ending end);
/* One line into text: "WHAT WHERE: meaning (detail); advice". what: "cannot connect to", ...; detail may be
 * NULL. Cut where room_bytes end. */
void lr_ending_explain(lr_ending end, const char *what, const char *where, const char *detail, char *text,
                     size_t room_bytes);

#endif
