/* runtime/task.h - the record of a task, which is also what its futures point to.
 *
 * A task is born `waiting` or `queued`, is claimed by one worker (`running`), and ends `ready`,
 * `failed` or `cancelled`; the legal steps are sched/task_state.def's. It ends once: the first result
 * stands. Ending may come before the body has stopped (cancel, timeout): then LR_TASK_BODY says that
 * a body still runs, and what it returns is thrown away.
 *
 * The word holds state, flags and a spin lock. Under the lock: the end (result, state), the list
 * of waiters. Without it: claiming (a compare-and-set from `queued`), reading the state.
 *
 * References: every future, every queue entry and every pending waiter of a dependent hold one
 * count. The last one frees result, arguments, function. Children hold their parent's node in the
 * family (runtime/family.h), never the record.
 * Thread: any, where not said otherwise. Blocks: for the spin lock only. */
#ifndef RUNTIME_TASK_H
#define RUNTIME_TASK_H

#include "runtime/family.h"
#include "runtime/fn.h"
#include "runtime/slab.h"
#include "sched/task_state.h"

struct lr_worker;
struct lr_extra; /* runtime/extra.h: what only non-plain tasks have */
struct lr_input;

#define LR_TASK_STATE_BITS 7u        /* mask: an lr_task_state */
#define LR_TASK_LOCK 8u         /* held for a few instructions */
#define LR_TASK_CANCEL 16u      /* told to stop: body and kernels ask for it */
#define LR_TASK_BODY 32u        /* a body runs (or is parked) */
#define LR_TASK_SEEN 64u        /* somebody looked at the result: a failure need not be reported */
#define LR_TASK_MACHINE 128u    /* non-plain: the node machine decides when it starts */
#define LR_TASK_INPUTS 256u     /* futures among its arguments */
#define LR_TASK_VALUE 512u      /* not a task: a value that was put */
#define LR_TASK_GUEST 1024u     /* another node's: it is not sent on */
#define LR_TASK_INJECTED 2048u  /* in an injection queue */
#define LR_TASK_FAR 4096u       /* set before its end: objects of its result were on another node (runtime/far.h) */
#define LR_TASK_BRING 8192u     /* somebody waits for its value: those are brought at once */

typedef struct lr_task lr_task;

/* Whom an end sets going; filled under the task's lock, worked off without it (runtime/pool.c). */
typedef struct lr_wake {
    lr_task *ready; /* by next: tasks whose last input came */
    struct lr_worker *workers[8];
    unsigned worker_count;
} lr_wake;

/* One entry in a task's list of waiters, in the waiter's memory. notify is called once, under the
 * task's lock, when the task ends: it must be quick, must not lock another task, and says by wake what to do next. */
typedef struct lr_waiter {
    struct lr_waiter *next, *prev;
    bool linked;
    void (*notify)(struct lr_waiter *w, lr_task *t, lr_wake *wake);
} lr_waiter;

struct lr_task {
    /* the first cache line: what claiming, ending and freeing touch */
    lr_object base;
    _Atomic uint32_t word;
    _Atomic uint32_t missing; /* inputs not there yet; 1 more while it is being submitted */
    lr_id id;
    lr_fn *fn; /* NULL: a value that was put */
    _Atomic(lr_family *) family; /* the node it was born under, later its own (counted); NULL: the script's */
    lr_waiter *waiters;
    lr_task *next; /* in one list at a time: an injection queue, a wake, a list to free */
    /* the second: what it starts with */
    lr_value args;
    struct lr_extra *extra;       /* NULL: plain */
    uint32_t children;            /* given out so far: the next child's number */
    _Atomic uint32_t cancel_seen; /* the cancel epoch at which its ancestors were last found alive */
    /* the third: what it ends with */
    lr_value result; /* values, or one ERROR; fixed once the task has ended */
    uint64_t submitted_ticks;
    _Atomic uint16_t attempt;  /* 1 for the first run; the body's thread counts it up, a cancel reads it */
    _Atomic uint16_t progress; /* told by the body, in 1/65535 of the whole */
};

_Static_assert(sizeof(lr_task) <= LR_SLAB_BYTES, "a record of the slab");
_Static_assert(offsetof(lr_task, id) == LR_SLAB_MARK, "the id tells a task that lives");

static inline lr_task_state lr_task_state_of(const lr_task *t)
{
    return (lr_task_state)(atomic_load_explicit(&t->word, memory_order_acquire) & LR_TASK_STATE_BITS);
}
static inline bool lr_task_ended(const lr_task *t) { return lr_task_state_of(t) >= LR_TASK_READY; }
/* What a body returns is wanted: the task has not ended, and has no cancel's mark. Who sets the mark ends the task, and
 * may be a moment behind a body that has seen the mark and returned. */
static inline bool lr_task_wants_result(const lr_task *t)
{
    uint32_t word = atomic_load_explicit(&t->word, memory_order_acquire);
    return (word & LR_TASK_STATE_BITS) < LR_TASK_READY && !(word & LR_TASK_CANCEL);
}
static inline bool lr_task_has(const lr_task *t, uint32_t flag)
{
    return (atomic_load_explicit(&t->word, memory_order_relaxed) & flag) != 0;
}
static inline void lr_task_set(lr_task *t, uint32_t flag)
{
    if (!lr_task_has(t, flag)) atomic_fetch_or_explicit(&t->word, flag, memory_order_relaxed);
}
static inline void lr_task_retain(lr_task *t) { lr_object_retain(&t->base); }
static inline void lr_task_release(lr_task *t) { lr_object_release(&t->base); }

/* A task in state `waiting` with so many counts, missing = 1, taking over *args. fn gets one more count,
 * the parent's node too (it may be NULL). NULL: no memory (args is cleared). */
lr_task *lr_task_new(lr_fn *fn, lr_family *parent, lr_id id, lr_value *args, uint32_t counts);
/* Frees one that nobody else has seen yet, whatever its counts. */
void lr_task_drop(lr_task *t);
/* A value that is there already (lr.put): state `ready`, taking over *value. */
lr_task *lr_task_new_value(lr_id id, lr_value *value);

/* What stands in for a task of another node, until its end is told: state `running`. */
lr_task *lr_task_new_elsewhere(lr_id id);

/* What stands in for a value that was freed: state `failed` with object_lost, looked at already. fn may be NULL. */
lr_task *lr_task_new_freed(lr_id id, lr_fn *fn);

void lr_task_lock(lr_task *t);
static inline void lr_task_unlock(lr_task *t)
{
    atomic_fetch_and_explicit(&t->word, ~LR_TASK_LOCK, memory_order_release);
}

/* Adds w to the waiters. False: the task has ended, w was not added and will not be notified. */
LR_MUST_USE bool lr_task_watch(lr_task *t, lr_waiter *w);
/* Afterwards w is neither linked nor being notified. */
void lr_task_unwatch(lr_task *t, lr_waiter *w);

/* queued -> running, by whoever comes first. */
LR_MUST_USE bool lr_task_claim(lr_task *t);
/* waiting -> queued. False: it ended meanwhile (cancelled). */
LR_MUST_USE bool lr_task_enqueue(lr_task *t);
/* running -> queued, for another attempt. False: it ended meanwhile. */
LR_MUST_USE bool lr_task_requeue(lr_task *t);

/* Ends the task: the first end stands. Takes over *result in any case. Notifies the waiters, collecting
 * in *wake what the caller must work off with lr_pool_wake. False: it had ended already. */
bool lr_task_end(lr_task *t, lr_task_state state, lr_value *result, lr_wake *wake);

/* Its option `name`, else its function's; "put" for a value that was put, "of another node" for a stand-in of a task
 * elsewhere that is not ready. */
const char *lr_task_name(const lr_task *t);

/* Failed tasks that nobody looked at when the last future went. The hook is called once each with
 * the task still whole. */
void lr_task_on_unseen(void (*hook)(lr_task *t));

#endif
