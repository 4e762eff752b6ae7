/* runtime/failures.h - the last tasks of this process that failed, and how: kept after the tasks are gone.
 *
 * Owns: a ring of LR_FAILURES_KEPT rows. Thread: any. Blocks: for its lock. */
#ifndef RUNTIME_FAILURES_H
#define RUNTIME_FAILURES_H

#include "runtime/task.h"
#include "sched/error.h"

#define LR_FAILURES_KEPT 256u

typedef struct lr_failure {
    lr_id task;
    uint64_t at_ns;
    lr_err code;
    unsigned attempts;
    char function_name[80];
    char message[400]; /* cut where it is longer */
} lr_failure;

/* What a failed task's result says; the message points into it, and is not ended by a 0. */
lr_err lr_failure_read(const lr_task *t, const char **message, uint64_t *message_bytes);
/* t has failed, and is held by the caller. */
void lr_failures_note(const lr_task *t);
/* The newest first, limit at most; returns how many. *total: of all that ever failed. */
size_t lr_failures_list(lr_failure *rows, size_t limit, uint64_t *total);

#endif
