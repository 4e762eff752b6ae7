/* runtime/lineage.h - futures in results, whose tasks run on a node that may be lost: made again by what returned them.
 *
 * A task T of this node ran on P and returned a future of its child C, which lies or runs on P. Here a stand-in waits
 * for C's end. When P is lost, nobody else knows C; but T's arguments are still here (its origin keeps them), and T run
 * again makes the same child with the same id. So T is run again, wherever that may be, as another attempt whose own
 * result nobody looks at (the first one stands): what it returns is searched for the futures that were lost, and each
 * stand-in ends as its task does. The search goes on into the values of futures that it finds, for a lost one may have
 * come in one of those: they have the same origin.
 *
 *     take in T's result ─▶ stand-in(C), origin(T) ─ C's end is told ─▶ over: T's arguments are freed with the last one
 *                               │ P is lost
 *                               ▼
 *                           orphan ── T runs again, returns C (same id), C ends ─▶ the stand-in ends
 *                                  └─ T failed, was lost too often, or returned something else ─▶ node_died
 *
 * Owns: origins and orphans. Thread: the node thread. Blocks: never. */
#ifndef RUNTIME_LINEAGE_H
#define RUNTIME_LINEAGE_H

#include "runtime/pool.h"
#include "sched/resource.h"

typedef struct lr_origin lr_origin;

/* A record that waits for the end of another node's task. */
typedef struct lr_stand_in {
    lr_task *t;        /* one count */
    lr_origin *origin; /* NULL: it came with a task's arguments, which are the other node's own */
} lr_stand_in;

/* Environment: 0: what is lost with a node is not made again, and nothing is kept for it. */
#define LR_RECOVERY "LUARUN_RECOVERY"

bool lr_lineage_is_kept(void);
void lr_lineage_open(lr_pool *pool, lr_id job, const lr_resource_names *names, void (*ring)(void));
/* Everything fails as cancelled. Without open: nothing. */
void lr_lineage_close(void);
/* After the connections' turn: runs what must run again, goes on with what has ended. */
void lr_lineage_turn(void);
/* Something was cancelled. */
void lr_lineage_cancelled(void);

/* Of a task of this node, whose result is being taken in. NULL: no memory. */
lr_origin *lr_origin_new(lr_task *t);
void lr_origin_release(lr_origin *o);
/* Of that task, and with stand-ins: its arguments are kept, whoever ends it must not clear them. */
bool lr_origin_keeps(lr_origin *o, const lr_task *t);

/* Takes over a count of t, and counts the origin once more. NULL: no memory. */
lr_stand_in *lr_stand_in_new(lr_task *t, lr_origin *o);
void lr_stand_in_free(lr_stand_in *s);
/* The node that had it is lost. True: it is made again, s is taken over. */
LR_MUST_USE bool lr_lineage_orphan(lr_stand_in *s);

#endif
