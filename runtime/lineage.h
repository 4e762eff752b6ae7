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
 * The same makes an object again that T's result, or that of a future in it, had named and that lay on a node which was
 * lost (runtime/far.h): T's arguments are kept until all of those are here or not wanted any more. T's inputs may be
 * such objects themselves; they are made again first, and so on: of a chain of tasks whose values never came here the
 * tasks are kept. Values that only such a chain holds are let go of where they lie. What a chain keeps here is bounded:
 * one that has grown too long, or holds too many bytes (heavy), is cut by bringing its newest value here.
 *
 * Owns: origins and orphans. Thread: the node thread. Blocks: never. */
#ifndef RUNTIME_LINEAGE_H
#define RUNTIME_LINEAGE_H

#include "runtime/buffer.h"
#include "runtime/pool.h"
#include "sched/list.h"
#include "sched/resource.h"

typedef struct lr_origin lr_origin;

/* A record that waits for the end of another node's task. */
typedef struct lr_stand_in {
    lr_task *t;        /* one count */
    lr_origin *origin; /* NULL: it came with a task's arguments, which are the other node's own */
    struct lr_stand_in *same; /* among orphans: another of the same task */
} lr_stand_in;

/* Environment: 0: what is lost with a node is not made again, and nothing is kept for it. */
#define LR_RECOVERY "LUARUN_RECOVERY"

bool lr_lineage_is_kept(void);
void lr_lineage_open(lr_pool *pool, lr_id job, const lr_resource_names *names, void (*ring)(void));
/* Everything fails as cancelled. Without open: nothing. */
void lr_lineage_close(void);
/* When to call turn though nothing has happened. */
uint64_t lr_lineage_deadline(void);
/* After the connections' turn: runs what must run again, goes on with what has ended. */
void lr_lineage_turn(uint64_t now_ns);
/* Something was cancelled. */
void lr_lineage_cancelled(void);

/* Of a task of this node, whose result is being taken in. NULL: no memory. */
lr_origin *lr_origin_new(lr_task *t);
void lr_origin_retain(lr_origin *o);
void lr_origin_release(lr_origin *o); /* NULL is welcome */
/* What can be made again by it, in a list that is runtime/far.c's. */
lr_list *lr_origin_objects(lr_origin *o);
/* What can only be made again by it costs more than it is worth: its values should be brought here. */
bool lr_origin_is_heavy(const lr_origin *o);
/* The result of t has been taken in: if something in it may have to be made again its arguments are o's from now on. o
 * may be NULL, or of another task. Should t run again and give another value, that is said on the terminal. */
void lr_origin_keep(lr_origin *o, lr_task *t, const lr_value *result);

/* Takes over a count of t, and counts the origin once more. NULL: no memory. */
lr_stand_in *lr_stand_in_new(lr_task *t, lr_origin *o);
void lr_stand_in_free(lr_stand_in *s);
/* One without an origin has come in a result, too: o, which may be NULL, can make it again. */
void lr_stand_in_returned(lr_stand_in *s, lr_origin *o);
/* The node that had it is lost. True: it is made again, s is taken over. */
LR_MUST_USE bool lr_lineage_orphan(lr_stand_in *s);
/* The index-th reference of the result of record, which came from o: lr_far_remade tells the end. False: it cannot be
 * made again. */
LR_MUST_USE bool lr_lineage_remake(lr_origin *o, lr_id record, lr_buffer *absent, uint32_t index);

#endif
