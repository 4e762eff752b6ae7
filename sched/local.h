/* sched/local.h - the local scheduler's account: what this node offers, what is free, what runs.
 *
 * Cpu is counted in slots of workers: a task that asks for part of a cpu or one takes one slot, a task
 * that asks for c > 1 takes c, one that asks for 0 takes none. There are as many slots as workers, so what
 * was handed to the pool is what can start soon, and priorities keep their meaning. (Plain tasks of the fast
 * path are not counted here: they run in between.) A parked task gives its slots back and takes them
 * again when it resumes, even where none is free: free cpu can be negative for a while, and nothing starts
 * until it is not. Everything else is held from start to end and never promised twice.
 * Owns: the counts. Thread: the node thread. Blocks: never. */
#ifndef SCHED_LOCAL_H
#define SCHED_LOCAL_H

#include "sched/ready.h"
#include "sched/spec.h"

typedef struct lr_local {
    lr_resources total;
    lr_resources available;
    lr_ready ready;
    size_t in_pool; /* specs at POOL */
    size_t parked;  /* specs at PARKED */
} lr_local;

void lr_local_init(lr_local *local, const lr_resources *total);
/* Whether this node could ever run the spec. INFEASIBLE, with spec->detail filled in, where not. */
lr_err lr_local_feasible(const lr_local *local, lr_id self, lr_spec *spec) LR_MUST_USE;
/* Queues a feasible spec: OUT -> READY. */
void lr_local_queue(lr_local *local, lr_spec *spec);
/* Takes a spec out of the queue: READY -> OVER. */
void lr_local_drop(lr_local *local, lr_spec *spec);
/* The next spec to start, its resources taken: READY -> POOL; or NULL. */
lr_spec *lr_local_start(lr_local *local, uint64_t now_ns);
/* POOL -> PARKED and back. */
void lr_local_park(lr_local *local, lr_spec *spec);
void lr_local_resume(lr_local *local, lr_spec *spec);
/* The pool has given it back unbegun: POOL -> READY, before all of its priority that came after it. */
void lr_local_return(lr_local *local, lr_spec *spec);
/* It ended: POOL or PARKED -> OVER, its resources given back. */
void lr_local_finish(lr_local *local, lr_spec *spec);
/* Fills in spec->detail: what a queued spec waits for. */
void lr_local_explain(const lr_local *local, lr_spec *spec);

#endif
