/* sched/ready.h - the ready queue: tasks whose inputs are there and that wait for room.
 *
 * Order: larger priority first, then order of submission. A task that does not fit is overtaken by those
 * behind it that do, so that no resource idles; but not for ever. Once a task has stood LR_READY_PATIENCE_NS
 * at the head of its shape without fitting, it claims what it is short of: nothing behind it may take
 * of a claimed resource what it will need. A claim stays until the task starts, even when that resource
 * is free and another is short: so claims only gather, and it gets its turn. (Backfilling with
 * reservations, as in batch schedulers; without run-time estimates.)
 *
 * Tasks of equal need wait in one heap, a shape; only heads of shapes are compared, so a start costs the
 * number of distinct shapes, not of tasks. There are LR_READY_SHAPES heaps; when more distinct needs than
 * that are queued at once the rest shares one heap, of which only the head can start: the same
 * promises, less backfilling.
 * Owns: the private links of specs at LR_PLACE_READY. Thread: the node thread. Blocks: never. */
#ifndef SCHED_READY_H
#define SCHED_READY_H

#include "sched/heap.h"
#include "sched/resource.h"
#include "sched/spec.h"

#define LR_READY_SHAPES 64
#define LR_READY_PATIENCE_NS 100000000u /* 0.1 s */

typedef struct lr_shape {
    lr_heap heap; /* of specs by priority and seq */
    lr_resources hold;
    uint64_t hash;
    bool mixed; /* the last: any need */
} lr_shape;

typedef struct lr_ready {
    lr_shape shape[LR_READY_SHAPES + 1];
    uint16_t used[LR_READY_SHAPES + 1]; /* indices of shapes that are not empty */
    uint16_t used_count;
    size_t count; /* of specs */
    uint64_t next_seq;
} lr_ready;

void lr_ready_init(lr_ready *ready);
/* Adds a spec; spec->hold says what it takes. Its place becomes READY. */
void lr_ready_add(lr_ready *ready, lr_spec *spec);
/* The same for one that was taken: in its old turn. */
void lr_ready_add_again(lr_ready *ready, lr_spec *spec);
/* Takes a spec out, wherever it stands. Its place becomes OUT. */
void lr_ready_remove(lr_ready *ready, lr_spec *spec);
/* Takes out the first spec that may start with what is available, or returns NULL. */
lr_spec *lr_ready_take(lr_ready *ready, const lr_resources *available, uint64_t now_ns);
/* True where a comes before b. */
bool lr_ready_before(const lr_spec *a, const lr_spec *b);

#endif
