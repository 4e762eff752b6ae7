/* runtime/family.h - who started whom: what a cancel needs to know of ancestors, apart from their records.
 *
 * A task that starts its first child gets a node of its own, which its children hold. So a child
 * that lives long does not keep its parent's record and result, and a task whose result holds a
 * future of its own child is no cycle. A node's parent never changes: ancestors that have ended are
 * passed over when the node is made, so that a chain of tasks that each start the next keeps two
 * nodes. Walks need no lock.
 * Owns: the nodes, counted. Thread: any; lr_family_of by the task's own. Blocks: never. */
#ifndef RUNTIME_FAMILY_H
#define RUNTIME_FAMILY_H

#include "sched/base.h"

#include <stdatomic.h>

struct lr_task;

typedef struct lr_family {
    _Atomic uint32_t refs;
    _Atomic uint32_t cancel_seen; /* the cancel epoch at which no mark was found from here on up */
    struct lr_family *parent;     /* counted; NULL: the script */
    const struct lr_task *owner;  /* whose node it is; never followed */
    _Atomic bool cancelled;
    _Atomic bool ended; /* the owner's body is over */
} lr_family;

/* The node that children of t hold, made at the first call. NULL: no memory. Not counted for the caller. */
lr_family *lr_family_of(struct lr_task *t);
void lr_family_retain(lr_family *f);  /* NULL is welcome */
void lr_family_release(lr_family *f); /* NULL is welcome */
/* The node of t is marked, if it has one. After LR_TASK_CANCEL was set, before the epoch is raised. */
void lr_family_mark(struct lr_task *t);
/* The body of t is over. */
void lr_family_end(struct lr_task *t);
/* Whether t, or an ancestor of it, has the mark. epoch was read before. */
bool lr_family_marked(struct lr_task *t, uint32_t epoch);

#endif
