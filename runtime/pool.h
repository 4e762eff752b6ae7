/* runtime/pool.h - the fast path: worker threads that run what is ready, plain and local.
 *
 * Each worker owns a deque (its own newest task first; thieves take the oldest), an inbox of woken
 * parks, timers, and a bed. The script's thread is a worker without a loop: it submits through a
 * deque of its own, sleeps in the same bed, and runs a short task that it waits for itself.
 * What the node machine hands out comes through three injection queues: before all else, in turn, and when nothing else
 * is there (priority above, at, below the default).
 *
 * Order of a worker's turn: woken parks, timers, high injection, own deque, normal injection, parks that
 * yielded, stealing, low injection; then a short spin (one worker at a time), then sleep.
 *
 * The pool never sees Lua: the runner (bindings/run.c) makes a thread's state, starts Lua tasks in it
 * and resumes parked ones; kernels are run here.
 *
 * Thread: as said. Blocks: as said. */
#ifndef RUNTIME_POOL_H
#define RUNTIME_POOL_H

#include "runtime/bell.h"
#include "runtime/deque.h"
#include "runtime/fiber.h"
#include "runtime/futex.h"
#include "runtime/hold.h"
#include "runtime/kernels.h"
#include "runtime/park.h"

#include <pthread.h>

#define LR_WORKERS_MAX 1024
#define LR_TIMER_TURNS 16 /* a busy worker looks at the clock every so many turns */

typedef struct lr_runner {
    /* Runs a claimed Lua task to its end or its first park. In worker threads, and in the script's for a
     * short task it waits for. */
    void (*run)(struct lr_worker *w, lr_task *t);
    /* Goes on with a parked coroutine, for p->reason. */
    void (*resume)(struct lr_worker *w, lr_park *p);
    /* The object store is full: frees what only garbage of the thread's state holds. */
    void (*collect)(struct lr_worker *w);
    /* Ends the thread's state, if it has one. */
    void (*close)(struct lr_worker *w);
} lr_runner;

typedef struct lr_worker {
    lr_deque deque;
    struct lr_pool *pool;
    unsigned index;    /* 0: the script's thread */
    bool has_loop;     /* a worker thread, which may park and steal */
    void *state;       /* the runner's: this thread's lua_State */
    pthread_t thread;
    lr_bed bed;
    lr_park *woken;    /* to resume: own ones, and those taken from the inbox */
    lr_park *woken_tail;
    lr_park *yielded, *yielded_tail;
    lr_park *parked;   /* all parked coroutines, for a cancel to look through */
    lr_park **timers;  /* a heap by deadline */
    size_t timer_count, timer_capacity;
    uint64_t random;   /* where to steal next */
    unsigned turn;
    unsigned depth;    /* tasks on this stack inside each other */
    unsigned long_waits; /* of the script's thread, in a row, up to a bound: whether to spin before sleeping */
    lr_fiber root;     /* the stack this thread was started with: only starts and ends the loop */
    lr_fiber *fiber;   /* what runs now */
    lr_fiber *free_fibers; /* each in the midst of the loop, ready to go on with it */
    lr_fiber *dying;   /* left for good, to be freed by whoever runs next */
    unsigned free_fiber_count;
    bool leads;        /* the node's loop: what ends while it turns is told in the next turn */
    bool unsettled;    /* told the node something at the end of a body: the loop shall turn soon */
    uint64_t unsettled_ns, turned_ns; /* since when; when this thread last turned it in passing */
    bool looking;      /* had nothing to do, and has found nothing yet */
    bool wants;        /* has told the cluster so */
    uint32_t allowance; /* submits left before max_pending is looked at again */
    lr_builder builder; /* for errors */
    lr_builder results; /* of the kernel that runs; its own, for an error may be made meanwhile (a cancel is noticed) */
    lr_kernel_workers *kernel_state;
    /* written by this thread, read by others */
    _Alignas(64) _Atomic uint64_t submitted;
    _Atomic uint64_t started, finished;
    _Atomic uint64_t work_ns, sleep_ns, steals;
    _Atomic uint64_t lasts_ns; /* what tasks of the function that it runs, or last ran, take; 0: unknown */
    /* written by others */
    _Alignas(64) _Atomic(lr_park *) inbox;
    _Atomic bool look_at_parked; /* a cancel happened, or: */
    _Atomic bool collect;        /* somebody found the object store full */
} lr_worker;

typedef struct lr_queue { /* an injection queue */
    pthread_mutex_t lock;
    lr_task *first, *last;
    _Atomic uint64_t count;
} lr_queue;

typedef enum lr_interrupt_state { LR_INTERRUPT_NONE, LR_INTERRUPT_ONE, LR_INTERRUPT_ALL } lr_interrupt_state;

typedef struct lr_pool {
    const lr_runner *runner;
    unsigned worker_count; /* with a loop; workers[1..worker_count] */
    lr_worker *workers;    /* [0] is the script's thread */
    lr_queue high, normal, low;
    _Alignas(64) _Atomic uint64_t asleep[LR_WORKERS_MAX / 64 + 1]; /* a bit for each sleeping worker */
    _Alignas(64) _Atomic uint32_t spinning;
    _Atomic uint32_t looking; /* workers that had nothing to do and have found nothing yet, asleep ones too */
    _Atomic bool stopping;
    _Atomic uint32_t dormant; /* workers asleep without a timer */
    _Atomic uint32_t ended; /* worker threads that have left their loop */
    _Atomic uint64_t other_submitted, other_started, other_finished; /* by threads that are no workers */
    _Atomic bool ending;   /* the job is over: every task counts as cancelled */
    _Atomic bool draining; /* the script's thread waits for everything to finish */
    _Atomic uint32_t interrupted; /* an lr_interrupt_state: which waits the script's thread is to end */
    _Atomic uint32_t cancel_epoch;
    uint64_t max_pending;
    lr_hold hold;           /* workers that stand aside for tasks with cpu > 1 */
    uint64_t seed;
    /* told of non-plain tasks (runtime/nodeloop.c); never NULL */
    void (*machine_ready)(lr_task *t);
    void (*machine_started)(lr_task *t);
    void (*machine_finished)(lr_task *t);
    void (*machine_cancelled)(lr_task *t);
    void (*machine_parked)(lr_task *t, bool parked);
    bool (*machine_rests)(void); /* nothing to do, no timer */
    /* of a cluster; NULL on a single node */
    void (*_Atomic inputs_far)(lr_task *t); /* all inputs have ended, some are marked LR_TASK_FAR. Takes over a count */
    _Atomic bool others_hungry;      /* another node has asked for work: */
    void (*_Atomic work_is_left)(void);      /* said once after that, when work is pushed while every worker here is
                                        busy; and when something was cancelled */
    void (*_Atomic work_is_wanted)(void);    /* a worker here has nothing to do */
    lr_bell *bell;                   /* threads here that wait lead the node's loop meanwhile; */
    void (*node_turn)(void);         /* the leader: turns it once */
} lr_pool;

/* The worker of this thread; NULL in other threads. */
extern _Thread_local lr_worker *lr_self;

/* Makes the pool and starts its threads; the calling thread becomes worker 0. False: message says why. */
bool lr_pool_start(lr_pool *p, unsigned worker_count, const lr_runner *runner, char *message, size_t message_bytes);
/* Tells the workers to end and waits for them until the deadline. False: some still run (a long
 * kernel); the pool must then be left as it is. */
bool lr_pool_stop(lr_pool *p, uint64_t deadline_ns);

/* Gives a task its way: called once after lr_task_new. Takes over a count, the queue's; t may have ended, and be
 * gone where the caller holds no other, when this returns. */
void lr_pool_submit(lr_worker *w, lr_task *t);
/* Releases what is left, after a stop that succeeded. */
void lr_pool_fini(lr_pool *p);

/* A ready task back into the queues (another attempt). */
void lr_pool_push(lr_worker *w, lr_task *t);
/* From the node thread: a machine task may start now. */
void lr_pool_inject(lr_pool *p, lr_task *t, double priority);
/* From the node thread: takes out of the queues a machine task of less priority than this that nobody has
 * begun, with the queue's count of it. NULL: there is none. */
lr_task *lr_pool_recall(lr_pool *p, double priority);
/* From the node thread: the oldest injected task of the default priority, with the queue's count. NULL: none. */
lr_task *lr_pool_take_injected(lr_pool *p);
/* From the node thread: a task for another node, in state waiting, goes into the queues. Takes over a count. */
void lr_pool_submit_elsewhere(lr_pool *p, lr_task *t);
/* From the node thread: the body of a task that was begun there, for another node, is over. */
void lr_pool_finished_elsewhere(lr_pool *p);
/* Works off what lr_task_end collected. */
void lr_pool_wake(lr_wake *wake);
/* lr_task_end and lr_pool_wake in one. */
bool lr_pool_end(lr_task *t, lr_task_state state, lr_value *result);
/* Ends t with an error made of these parts. */
bool lr_pool_fail(lr_task *t, lr_err code, const char *message, const lr_value *cause);
/* The same, unless a worker has begun it. */
void lr_pool_fail_unbegun(lr_task *t, lr_err code, const char *message);
/* Because that input of it failed, or was lost, by error. */
void lr_pool_fail_input(lr_task *t, const struct lr_input *in, const lr_value *error);
/* All its inputs are there, their bytes, too: it goes into the queues. Takes over a count. */
void lr_pool_inputs_here(lr_task *t);
/* Takes the cpus that a task with cpu > 1 wants beside its own worker's, or gives them back. */
void lr_pool_hold(lr_worker *w, lr_task *t, bool on);
/* Whether this run of fn shall be timed: a sample is enough, and spares the shared line. */
bool lr_pool_times(const lr_worker *w, const lr_fn *fn);
/* What a run of fn took, for its moving average. */
void lr_pool_note_time(lr_fn *fn, uint64_t ticks);
/* Runs a claimed kernel task to its end. Takes over a count. */
void lr_pool_run_kernel(lr_worker *w, lr_task *t);
/* For a thread that found the object store full: attempt 0 frees what only garbage of its own holds, attempt 1 has all
 * threads do so and waits for them, up to a second; those that follow wait while the disk for spilled objects is
 * full, up to five seconds in all. False: nothing more can be done. w may be NULL. */
bool lr_pool_reclaim(lr_worker *w, unsigned attempt);
/* From any thread: all threads shall collect as soon as they come by. Does not wait for them. */
void lr_pool_collect(lr_pool *p);
/* Calls a kernel right here, in the body of t (NULL: in the script); stream names its random numbers. */
lr_err lr_pool_call_kernel(lr_worker *w, lr_task *t, const lr_kernel *k, lr_id stream, const lr_value *args,
                           lr_value *result, lr_kernel_fault *fault);
/* A body has stopped without a result and shall run once more. Takes over a count. */
void lr_pool_retry(lr_worker *w, lr_task *t);
/* A body has stopped (after its task ended): what it held is given back. */
void lr_pool_body_done(lr_worker *w, lr_task *t);

/* Cancels: ends it as cancelled (or with another code), tells its body and its descendants. */
void lr_pool_cancel(lr_pool *p, lr_task *t, lr_err code, const char *message);
/* The job is over: every task counts as cancelled, and whoever waits is told. */
void lr_pool_cancel_all(lr_pool *p);
/* True when t or an ancestor was cancelled; ends t then, if it has not ended. */
bool lr_pool_cancelled(lr_pool *p, lr_task *t);

/* ---- blocking ---- */

/* Puts a woken park into its owner's inbox and wakes the owner; later: by wake. */
void lr_pool_deliver(lr_park *p);
void lr_pool_deliver_later(lr_park *p, lr_wake *wake);
/* Parks a coroutine: the runner returns to the loop afterwards, and resume is called later. */
void lr_pool_park(lr_worker *w, lr_park *p);
/* Waits where the caller stands until p is woken. A worker goes on with its loop on another stack;
 * the script's thread sleeps. Returns the reason. In a worker lr_pool_may_block must have said yes
 * before p was armed. */
lr_park_reason lr_pool_block(lr_worker *w, lr_park *p);
/* False: there is no stack left to go on with. */
LR_MUST_USE bool lr_pool_may_block(lr_worker *w);
/* Lets other work of the worker go first, where the caller stands. As for lr_pool_block. */
void lr_pool_block_yield(lr_worker *w, lr_park *p);
/* The loop, on a fiber of its own; ends by switching to the root. */
void lr_pool_loop(void *worker);
/* From a loop that has found p woken: goes on with p's stack. */
void lr_pool_return_to(lr_worker *w, lr_park *p);
void lr_pool_fibers_free(lr_worker *w);
/* Runs t on top of the task `by` that waits for it, where nobody has begun it and it is among the newest of this
 * worker's own. True: it has ended. No wait is buried that way: whatever lies below waits for t itself. One that
 * holds resources must park instead, to lend them meanwhile. */
bool lr_pool_run_own(lr_worker *w, const lr_task *by, lr_task *t);
/* Runs t right here when nobody has begun it and it is known to be short. True: it has ended. */
bool lr_pool_run_here(lr_worker *w, lr_task *t);
/* Takes a park off its owner's lists before it goes on. */
void lr_pool_unpark(lr_worker *w, lr_park *p);
/* To the end of the owner's queue of coroutines that let others go first. */
void lr_pool_yield(lr_worker *w, lr_park *p);
/* A body that waited goes on: takes its cpus again, and tells the machine. t may be NULL. */
void lr_pool_came_back(lr_worker *w, lr_task *t);
/* From a handler of a signal, on the script's thread: ends its wait, or where it is in none (false) the next one; all:
 * every one from now on. */
bool lr_pool_interrupt(lr_pool *p, bool all);
/* Whether this wait is to end. */
bool lr_pool_take_interrupt(lr_pool *p);
void lr_pool_fire_timers(lr_worker *w);
void lr_pool_look_at_parked(lr_worker *w);
void lr_pool_idle(lr_worker *w);
/* Marks the parks of waiting threads that were woken, running nothing. False: none. */
bool lr_pool_receive(lr_worker *w);
/* Claims and runs a task taken from a queue. Takes over a count. */
void lr_pool_run(lr_worker *w, lr_task *t);
/* One turn of other work, for a thread that may not park; false: nothing to do. */
bool lr_pool_turn(lr_worker *w);

/* ---- leading the node's loop: of a node with others only (lead.c) ---- */

/* Wakes the thread, wherever it sleeps. */
static inline void lr_worker_wake(lr_worker *w)
{
    lr_bed_wake(&w->bed);
    lr_bell *b = w->pool->bell;
    if (b && lr_bell_sleeps(b, w)) lr_bell_nudge(b);
}
/* True: w leads from here on, until lr_pool_leave. */
bool lr_pool_lead(lr_worker *w);
void lr_pool_leave(lr_worker *w);
/* The leader looks: true when it was rung, and the loop has turned. */
static inline bool lr_pool_heed(lr_pool *p)
{
    if (!lr_bell_is_rung(p->bell)) return false;
    p->node_turn();
    return true;
}
/* The leader sleeps until it is rung or woken, or until the deadline; it then heeds. is_wanted: asked once more before
 * that. */
void lr_pool_lead_asleep(lr_worker *w, bool (*is_wanted)(lr_worker *w), uint64_t until_ns);
/* A worker at the end of a body has something for the node: false: ring. True: the loop turns before the worker runs
 * anything long. Called under locks. */
bool lr_pool_turn_soon(void);
/* The next body begins: lasts it long (t: known to be short?), what is unsettled goes first. */
void lr_pool_settle(lr_worker *w, const lr_task *t);
/* Any thread of the pool, holding no lock: the loop turns now, here. False: not now, ring. */
bool lr_pool_turn_here(lr_pool *p);

/* ---- counts ---- */

typedef struct lr_pool_counts {
    uint64_t submitted, started, finished, steals;
} lr_pool_counts;
lr_pool_counts lr_pool_count(lr_pool *p);
/* Whether a worker may be done within ns with what it runs, or has nothing to do: a guess. */
bool lr_pool_frees_soon(const lr_pool *p, uint64_t ns);
/* Whether a worker sleeps: a moment's truth. */
bool lr_pool_any_asleep(lr_pool *p);
/* True when the number of tasks submitted and not started is at the limit. Cheap far from it. */
bool lr_pool_is_full(lr_worker *w);
/* For the script's thread while it waits without a limit, which asks now and then: *look_ns says when next (0: now).
 * True: all that is left waits for each other, for ever. */
typedef struct lr_pool_watch {
    uint64_t look_ns, pause_ns, seen_started, seen_finished, seen_submitted;
    bool seen_resting;
} lr_pool_watch;
bool lr_pool_is_stuck(lr_pool *p, lr_pool_watch *watch);
/* Waits until everything submitted has finished, or until the deadline. */
bool lr_pool_drain(lr_pool *p, uint64_t deadline_ns);

#endif
