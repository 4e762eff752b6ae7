/* How a worker's coroutines and threads wait: parking, timers, and waiting on the stack. */
#include "runtime/pool.h"

#include <stdlib.h>

#define DEPTH_MAX 190       /* tasks on one stack inside each other */
#define OWN_LOOK 4          /* among so many of its newest a worker looks for the one waited for */
#define FREE_FIBERS_MAX 32  /* stacks a worker keeps for its next waits */
#define HERE_NS 50000       /* the script's thread runs the task it waits for when known to be this short */
#define BLOCK_SPIN_NS 100000 /* the script's thread looks that long before it sleeps: as waking a sleeper takes */
#define BUSY_SPIN_NS 20000   /* while every worker is busy: it takes a processor from one of them */
#define SPIN_PATIENCE 8     /* long waits in a row after which it sleeps at once, until one is short again */

/* ---- timers: a binary heap of parks by deadline ---------------------------------------------------- */

static void place(lr_worker *w, size_t i, lr_park *p)
{
    w->timers[i] = p;
    p->timer = i + 1;
}

static void sift_up(lr_worker *w, size_t i, lr_park *p)
{
    while (i > 0 && w->timers[(i - 1) / 2]->deadline_ns > p->deadline_ns) {
        place(w, i, w->timers[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(w, i, p);
}

static void sift_down(lr_worker *w, size_t i, lr_park *p)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->timer_count) break;
        if (child + 1 < w->timer_count && w->timers[child + 1]->deadline_ns < w->timers[child]->deadline_ns) child++;
        if (w->timers[child]->deadline_ns >= p->deadline_ns) break;
        place(w, i, w->timers[child]);
        i = child;
    }
    place(w, i, p);
}

static void timer_add(lr_worker *w, lr_park *p)
{
    if (w->timer_count == w->timer_capacity) {
        size_t capacity = w->timer_capacity ? 2 * w->timer_capacity : 64;
        lr_park **timers = (lr_park **)realloc((void *)w->timers, capacity * sizeof *timers);
        LR_ASSERT(timers); /* 8 bytes for a coroutine that takes a kilobyte */
        w->timers = timers;
        w->timer_capacity = capacity;
    }
    sift_up(w, w->timer_count++, p);
}

static void timer_remove(lr_worker *w, lr_park *p)
{
    size_t i = p->timer - 1;
    lr_park *last = w->timers[--w->timer_count];
    p->timer = 0;
    if (last == p) return;
    if (i > 0 && w->timers[(i - 1) / 2]->deadline_ns > last->deadline_ns)
        sift_up(w, i, last);
    else
        sift_down(w, i, last);
}

void lr_pool_fire_timers(lr_worker *w)
{
    uint64_t now = lr_clock_ns();
    while (w->timer_count && w->timers[0]->deadline_ns <= now) {
        lr_park *p = w->timers[0];
        timer_remove(w, p);
        if (lr_park_wake(p, LR_PARK_TIMEOUT)) lr_pool_deliver(p);
    }
}

/* ---- parking -------------------------------------------------------------------------------------- */

/* The body of t waits (it may be NULL): the machine may start another, and what it holds of cpus goes back. */
static void went_away(lr_worker *w, lr_task *t)
{
    if (!t || !lr_task_has(t, LR_TASK_MACHINE)) return;
    w->pool->machine_parked(t, true);
    lr_pool_hold(w, t, false);
}

/* It goes on. */
void lr_pool_came_back(lr_worker *w, lr_task *t)
{
    if (!t || !lr_task_has(t, LR_TASK_MACHINE)) return;
    w->pool->machine_parked(t, false);
    lr_pool_hold(w, t, true);
}

void lr_pool_park(lr_worker *w, lr_park *p)
{
    LR_ASSERT(p->owner == w);
    p->list_prev = NULL;
    p->list_next = w->parked;
    if (w->parked) w->parked->list_prev = p;
    w->parked = p;
    if (p->deadline_ns != LR_NEVER) timer_add(w, p);
    went_away(w, p->task);
    /* a cancel that came before p was on the list did not see it */
    if (p->task && lr_task_has(p->task, LR_TASK_CANCEL)) atomic_store(&w->look_at_parked, true);
}

void lr_pool_unpark(lr_worker *w, lr_park *p)
{
    if (p->timer) timer_remove(w, p);
    if (p->list_prev)
        p->list_prev->list_next = p->list_next;
    else if (w->parked == p)
        w->parked = p->list_next;
    if (p->list_next) p->list_next->list_prev = p->list_prev;
    p->list_next = p->list_prev = NULL;
}

void lr_pool_yield(lr_worker *w, lr_park *p)
{
    atomic_store_explicit(&p->reason, LR_PARK_AGAIN, memory_order_relaxed);
    if (p->task) lr_pool_hold(w, p->task, false);
    p->next = NULL;
    if (w->yielded_tail)
        w->yielded_tail->next = p;
    else
        w->yielded = p;
    w->yielded_tail = p;
}

void lr_pool_look_at_parked(lr_worker *w)
{
    atomic_store(&w->look_at_parked, false);
    if (atomic_load(&w->collect)) {
        w->pool->runner->collect(w);
        atomic_store(&w->collect, false);
    }
    for (lr_park *p = w->parked; p; p = p->list_next)
        if (p->task && lr_pool_cancelled(w->pool, p->task) && lr_park_wake(p, LR_PARK_CANCELLED)) lr_pool_deliver(p);
}

/* ---- waiting on the stack --------------------------------------------------------------------------- */

/* Spins shortly for what is about to be there. */
static void spin_for(const lr_worker *w, const lr_park *p, bool leads, uint64_t until)
{
    if (p->deadline_ns < until) until = p->deadline_ns;
    do {
        for (int i = 0; i < 32; i++) {
            if (leads) lr_pool_heed(w->pool);
            if (atomic_load_explicit(&p->reason, memory_order_relaxed) != LR_PARKED) return;
            lr_cpu_pause();
        }
    } while (lr_clock_ns() < until);
}

static bool is_called(lr_worker *w) { return atomic_load(&w->inbox) || atomic_load(&w->look_at_parked); }

/* While it sleeps, what others send for its task wakes it and nobody else. */
static void sleep_leading(lr_worker *w, uint64_t until)
{
    lr_pool_lead_asleep(w, is_called, until);
    if (!lr_pool_heed(w->pool) && atomic_load(&w->pool->bell->deadline_ns) <= lr_clock_ns()) w->pool->node_turn();
}

/* Sleeps until something is delivered; for a thread that runs nothing else meanwhile. Spinning pays where waits are
 * short; where they lately were long it only takes a processor from the workers that are waited for. */
static void sleep_for(lr_worker *w, lr_park *p, uint64_t look_ns)
{
    uint64_t began = lr_clock_ns(), until = w->timer_count ? w->timers[0]->deadline_ns : look_ns;
    bool leads = lr_pool_lead(w), others_busy = !lr_pool_any_asleep(w->pool);
    if (others_busy && w->pool->worker_count == 0 && leads) /* it waits for another process */
        others_busy = !atomic_load_explicit(&w->pool->bell->near, memory_order_relaxed);
    if (leads) lr_pool_heed(w->pool);
    if (w->long_waits < SPIN_PATIENCE) spin_for(w, p, leads, began + (others_busy ? BUSY_SPIN_NS : BLOCK_SPIN_NS));
    if (!is_called(w)) {
        if (leads)
            sleep_leading(w, until);
        else
            lr_bed_sleep(&w->bed, until);
    }
    if (leads) lr_pool_leave(w);
    if (leads && !is_called(w)) return; /* it was woken as the leader: that says nothing of its own wait */
    if (lr_clock_ns() - began < 2 * (uint64_t)BLOCK_SPIN_NS)
        w->long_waits = 0;
    else if (w->long_waits < SPIN_PATIENCE)
        w->long_waits++;
}

/* The script's thread runs no strangers' work meanwhile. */
static void wait_asleep(lr_worker *w, lr_park *p)
{
    lr_pool_watch watch = {0};
    while (!p->delivered) {
        if (lr_pool_receive(w)) continue;
        if (lr_pool_take_interrupt(w->pool) && lr_park_wake(p, LR_PARK_INTERRUPTED)) {
            lr_pool_unpark(w, p);
            return;
        }
        if (p->deadline_ns == LR_NEVER && lr_pool_is_stuck(w->pool, &watch) && lr_park_wake(p, LR_PARK_STUCK)) {
            lr_pool_unpark(w, p);
            return;
        }
        sleep_for(w, p, p->deadline_ns == LR_NEVER ? watch.look_ns : LR_NEVER);
    }
}

bool lr_pool_interrupt(lr_pool *p, bool all)
{
    lr_worker *w = &p->workers[0];
    atomic_store(&p->interrupted, all ? LR_INTERRUPT_ALL : LR_INTERRUPT_ONE);
    lr_bed_wake(&w->bed);
    return w->parked != NULL;
}

bool lr_pool_take_interrupt(lr_pool *p)
{
    uint32_t one = LR_INTERRUPT_ONE;
    if (atomic_load_explicit(&p->interrupted, memory_order_relaxed) == LR_INTERRUPT_NONE) return false;
    return atomic_compare_exchange_strong(&p->interrupted, &one, LR_INTERRUPT_NONE) || one == LR_INTERRUPT_ALL;
}

bool lr_pool_may_block(lr_worker *w)
{
    if (!w->has_loop || w->free_fibers) return true;
    lr_fiber *f = lr_fiber_new(lr_pool_loop, w);
    if (!f) return false;
    f->next = NULL;
    w->free_fibers = f;
    w->free_fiber_count = 1;
    return true;
}

/* Having arrived on a stack: the one that was left for good can go. */
static void reap(lr_worker *w)
{
    if (w->dying) lr_fiber_free(w->dying);
    w->dying = NULL;
}

/* Goes on with the loop on another stack until somebody returns to p's. */
static void leave_stack(lr_worker *w, lr_park *p)
{
    lr_fiber *next = w->free_fibers;
    LR_ASSERT(next); /* lr_pool_may_block has seen to it */
    w->free_fibers = next->next;
    w->free_fiber_count--;
    p->fiber = w->fiber;
    w->fiber = next;
    unsigned depth = w->depth;
    w->depth = 0;
    lr_fiber_switch(p->fiber, next);
    w->depth = depth;
    reap(w);
}

void lr_pool_return_to(lr_worker *w, lr_park *p)
{
    lr_fiber *here = w->fiber;
    if (w->free_fiber_count < FREE_FIBERS_MAX) {
        here->next = w->free_fibers;
        w->free_fibers = here;
        w->free_fiber_count++;
    } else {
        w->dying = here;
    }
    w->fiber = p->fiber;
    lr_fiber_switch(here, p->fiber);
    reap(w);
}

void lr_pool_loop(void *worker)
{
    lr_worker *w = worker;
    reap(w);
    while (!atomic_load_explicit(&w->pool->stopping, memory_order_acquire))
        if (!lr_pool_turn(w)) lr_pool_idle(w);
    lr_fiber_switch(w->fiber, &w->root);
}

void lr_pool_fibers_free(lr_worker *w)
{
    for (lr_fiber *f = w->free_fibers, *next; f; f = next) {
        next = f->next;
        lr_fiber_free(f);
    }
    w->free_fibers = NULL;
    w->free_fiber_count = 0;
}

lr_park_reason lr_pool_block(lr_worker *w, lr_park *p)
{
    p->on_stack = true;
    lr_pool_park(w, p);
    if (!w->has_loop)
        wait_asleep(w, p);
    else if (!p->delivered)
        leave_stack(w, p);
    return (lr_park_reason)atomic_load_explicit(&p->reason, memory_order_relaxed);
}

void lr_pool_block_yield(lr_worker *w, lr_park *p)
{
    p->on_stack = true;
    lr_pool_yield(w, p);
    leave_stack(w, p);
}

/* ---- waiting by running what is waited for ---------------------------------------------------------- */

/* What the loop would do before it took another task. */
static bool loop_is_wanted(lr_worker *w)
{
    if (w->woken || atomic_load_explicit(&w->inbox, memory_order_relaxed) ||
        atomic_load_explicit(&w->look_at_parked, memory_order_relaxed))
        return true;
    lr_pool *p = w->pool;
    if (atomic_load_explicit(&p->high.count, memory_order_relaxed) > 0 || lr_hold_wants(&p->hold)) return true;
    return w->timer_count && w->turn % LR_TIMER_TURNS == 0 && w->timers[0]->deadline_ns <= lr_clock_ns();
}

/* Takes t out of the newest of the own deque; the others keep their order. */
static bool take_own(lr_worker *w, const lr_task *t)
{
    lr_task *newer[OWN_LOOK];
    unsigned count = 0;
    bool found = false;
    while (count < OWN_LOOK) {
        lr_task *own = lr_deque_pop(&w->deque);
        if (!own) break;
        found = own == t;
        if (found) break;
        newer[count++] = own;
    }
    while (count > 0)
        lr_pool_push(w, newer[--count]);
    return found;
}

bool lr_pool_run_own(lr_worker *w, const lr_task *by, lr_task *t)
{
    if (w->depth >= DEPTH_MAX || lr_task_has(by, LR_TASK_MACHINE) || lr_task_state_of(t) != LR_TASK_QUEUED ||
        loop_is_wanted(w) || !take_own(w, t))
        return false;
    w->depth++;
    w->turn++;
    lr_pool_run(w, t);
    w->depth--;
    return lr_task_ended(t);
}

bool lr_pool_run_here(lr_worker *w, lr_task *t)
{
    lr_fn *fn = t->fn;
    if (!fn || w->has_loop || w->depth >= DEPTH_MAX || lr_task_state_of(t) != LR_TASK_QUEUED ||
        lr_task_has(t, LR_TASK_MACHINE))
        return false;
    uint64_t mean = atomic_load_explicit(&fn->mean_ns, memory_order_relaxed);
    if (mean == 0 || mean > HERE_NS || atomic_load_explicit(&fn->parks, memory_order_relaxed)) return false;
    lr_task_retain(t);
    w->depth++;
    w->turn++;
    lr_pool_run(w, t);
    w->depth--;
    return lr_task_ended(t);
}
