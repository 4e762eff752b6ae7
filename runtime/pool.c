/* The worker's loop, submitting, waking and sleeping. Blocking is in block.c, cancelling in cancel.c. */
#define _GNU_SOURCE
#include "runtime/pool.h"

#include "runtime/extra.h"
#include "runtime/slab.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#define SAMPLE_TURNS 16     /* one body in so many is timed */
#define TAKE_MAX 32         /* tasks that a worker takes from the script at once */
#define SPIN_PAUSES 4       /* between two looks around */
#define SPIN_NS 40000       /* an idle worker looks around that long before it sleeps */
#define FAIR_TURNS 61       /* every so many turns the normal injection goes before the own deque */

_Thread_local lr_worker *lr_self;

/* ---- injection queues --------------------------------------------------------------------------- */

/* One whose entry is still there, though somebody claimed it, ran it and gave it back for another try, is not entered
 * twice: whoever pops the first entry claims it. Takes over a count. */
static void queue_push(lr_queue *q, lr_task *t)
{
    if (atomic_fetch_or(&t->word, LR_TASK_INJECTED) & LR_TASK_INJECTED) {
        lr_task_release(t);
        return;
    }
    pthread_mutex_lock(&q->lock);
    t->next = NULL;
    if (q->last)
        q->last->next = t;
    else
        q->first = t;
    q->last = t;
    atomic_fetch_add(&q->count, 1);
    pthread_mutex_unlock(&q->lock);
}

static lr_task *queue_pop(lr_queue *q)
{
    if (atomic_load_explicit(&q->count, memory_order_relaxed) == 0) return NULL;
    pthread_mutex_lock(&q->lock);
    lr_task *t = q->first;
    if (t) {
        q->first = t->next;
        if (!q->first) q->last = NULL;
        atomic_fetch_sub(&q->count, 1);
        atomic_fetch_and(&t->word, ~LR_TASK_INJECTED); /* before whoever has it claims it */
    }
    pthread_mutex_unlock(&q->lock);
    return t;
}

/* Tasks of the machine are few here (it hands out no more than there are workers), others may be many. */
#define RECALL_LOOK 256

static bool may_recall(const lr_task *t, double priority)
{
    return lr_task_has(t, LR_TASK_MACHINE) && t->extra->options->priority < priority &&
           lr_task_state_of(t) == LR_TASK_QUEUED;
}

static lr_task *queue_recall(lr_queue *q, double priority)
{
    if (atomic_load_explicit(&q->count, memory_order_relaxed) == 0) return NULL;
    pthread_mutex_lock(&q->lock);
    lr_task *before = NULL, *t = q->first;
    int looked = 0;
    for (; t && looked < RECALL_LOOK && !may_recall(t, priority); looked++) {
        before = t;
        t = t->next;
    }
    if (looked == RECALL_LOOK) t = NULL;
    if (t) {
        *(before ? &before->next : &q->first) = t->next;
        if (q->last == t) q->last = before;
        atomic_fetch_sub(&q->count, 1);
        atomic_fetch_and(&t->word, ~LR_TASK_INJECTED); /* before whoever has it claims it */
    }
    pthread_mutex_unlock(&q->lock);
    return t;
}

lr_task *lr_pool_recall(lr_pool *p, double priority)
{
    lr_task *t = queue_recall(&p->low, priority);
    if (!t) t = queue_recall(&p->normal, priority);
    return t ? t : queue_recall(&p->high, priority);
}

/* ---- sleepers ----------------------------------------------------------------------------------- */

static bool asleep_clear(lr_pool *p, unsigned index)
{
    uint64_t bit = 1ull << (index % 64);
    return (atomic_fetch_and(&p->asleep[index / 64], ~bit) & bit) != 0;
}

bool lr_pool_any_asleep(lr_pool *p)
{
    uint64_t any = 0;
    for (unsigned i = 0; i <= p->worker_count / 64; i++)
        any |= atomic_load_explicit(&p->asleep[i], memory_order_relaxed);
    return any != 0;
}

/* Wakes one sleeping worker, unless one is up and looking for work already. */
static void wake_one(lr_pool *p)
{
    if (atomic_load(&p->spinning) > 0) return;
    for (unsigned i = 0; i <= p->worker_count / 64; i++) {
        uint64_t mask = atomic_load(&p->asleep[i]);
        while (mask) {
            unsigned index = i * 64 + (unsigned)__builtin_ctzll(mask);
            if (asleep_clear(p, index)) {
                lr_worker_wake(&p->workers[index]);
                return;
            }
            mask &= mask - 1;
        }
    }
    if (atomic_load(&p->others_hungry) && atomic_exchange(&p->others_hungry, false) && !lr_pool_turn_here(p))
        p->work_is_left();
}

static bool work_visible(lr_pool *p)
{
    for (unsigned i = 0; i <= p->worker_count; i++)
        if (lr_deque_count(&p->workers[i].deque) > 0) return true;
    return atomic_load(&p->high.count) + atomic_load(&p->normal.count) + atomic_load(&p->low.count) > 0;
}

void lr_pool_deliver(lr_park *p)
{
    lr_worker *owner = p->owner;
    lr_park *head = atomic_load_explicit(&owner->inbox, memory_order_relaxed);
    do {
        p->next = head;
    } while (!atomic_compare_exchange_weak(&owner->inbox, &head, p));
    /* p is the owner's from here on */
    if (owner != lr_self) {
        asleep_clear(owner->pool, owner->index);
        lr_worker_wake(owner);
    }
}

void lr_pool_deliver_later(lr_park *p, lr_wake *wake)
{
    lr_worker *owner = p->owner;
    lr_park *head = atomic_load_explicit(&owner->inbox, memory_order_relaxed);
    do {
        p->next = head;
    } while (!atomic_compare_exchange_weak(&owner->inbox, &head, p));
    if (owner == lr_self) return;
    for (unsigned i = 0; i < wake->worker_count; i++)
        if (wake->workers[i] == owner) return;
    if (wake->worker_count < LR_COUNT(wake->workers)) {
        wake->workers[wake->worker_count++] = owner;
        return;
    }
    asleep_clear(owner->pool, owner->index);
    lr_worker_wake(owner);
}

/* ---- submitting --------------------------------------------------------------------------------- */

static lr_pool *the_pool; /* for threads that are no workers; set by start */

void lr_pool_push(lr_worker *w, lr_task *t)
{
    if (!w || !lr_deque_push(&w->deque, t)) queue_push(&the_pool->normal, t);
    wake_one(the_pool);
}

void lr_pool_inject(lr_pool *p, lr_task *t, double priority)
{
    queue_push(priority > 0 ? &p->high : priority < 0 ? &p->low : &p->normal, t);
    wake_one(p);
}

/* Into the queues. Takes over a count. */
static void queue_ready(lr_worker *w, lr_task *t)
{
    if (!lr_task_enqueue(t)) {
        lr_task_release(t); /* cancelled meanwhile */
    } else if (lr_task_has(t, LR_TASK_MACHINE)) {
        the_pool->machine_ready(t);
    } else {
        lr_pool_push(w, t);
    }
}

/* All inputs are there: fails with the first that failed, or goes into the queues. Takes over a count. */
static void ready(lr_worker *w, lr_task *t)
{
    bool is_far = false;
    for (uint32_t i = 0; t->extra && i < t->extra->input_count; i++) {
        lr_input *in = &t->extra->inputs[i];
        is_far |= lr_task_has(in->input, LR_TASK_FAR);
        if (lr_task_state_of(in->input) == LR_TASK_READY) continue;
        lr_task_set(in->input, LR_TASK_SEEN);
        lr_pool_fail_input(t, in, &in->input->result);
        lr_task_release(t);
        return;
    }
    if (is_far)
        the_pool->inputs_far(t);
    else
        queue_ready(w, t);
}

void lr_pool_inputs_here(lr_task *t) { queue_ready(lr_self, t); }

void lr_pool_wake(lr_wake *wake)
{
    static _Thread_local lr_task *queue;
    static _Thread_local bool draining;
    for (unsigned i = 0; i < wake->worker_count; i++) {
        asleep_clear(the_pool, wake->workers[i]->index);
        lr_worker_wake(wake->workers[i]);
    }
    while (wake->ready) {
        lr_task *t = wake->ready;
        wake->ready = t->next;
        t->next = queue;
        queue = t;
    }
    if (draining) return; /* a failed input ends its dependents, those theirs, a million deep: no recursion */
    draining = true;
    while (queue) {
        lr_task *t = queue;
        queue = t->next;
        ready(lr_self, t);
    }
    draining = false;
}

static void input_ended(lr_waiter *waiter, lr_task *input, lr_wake *wake)
{
    (void)input;
    lr_task *t = LR_CONTAINER(waiter, lr_input, waiter)->owner;
    if (atomic_fetch_sub_explicit(&t->missing, 1, memory_order_acq_rel) != 1) return;
    t->next = wake->ready;
    wake->ready = t;
}

static inline void bump(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_release);
}

void lr_pool_submit(lr_worker *w, lr_task *t)
{
    if (w)
        bump(&w->submitted);
    else
        atomic_fetch_add(&the_pool->other_submitted, 1);
    uint32_t count = t->extra ? t->extra->input_count : 0;
    if (count) atomic_store_explicit(&t->missing, count + 1, memory_order_relaxed);
    uint32_t there = 1;
    for (uint32_t i = 0; i < count; i++) {
        lr_input *in = &t->extra->inputs[i];
        in->owner = t;
        in->waiter.notify = input_ended;
        if (!lr_task_watch(in->input, &in->waiter)) there++;
    }
    if (count && atomic_fetch_sub_explicit(&t->missing, there, memory_order_acq_rel) != there) return;
    if (w && !t->extra) { /* the usual way */
        atomic_store_explicit(&t->word, LR_TASK_QUEUED, memory_order_relaxed);
        lr_pool_push(w, t);
        return;
    }
    ready(w, t);
}

/* ---- ends --------------------------------------------------------------------------------------- */

static void count_finished(lr_pool *p, bool never_started);

lr_task *lr_pool_take_injected(lr_pool *p) { return queue_pop(&p->normal); }

static void count_finished(lr_pool *p, bool never_started)
{
    lr_worker *w = lr_self;
    if (w) {
        if (never_started) bump(&w->started);
        bump(&w->finished);
    } else {
        if (never_started) atomic_fetch_add(&p->other_started, 1);
        atomic_fetch_add(&p->other_finished, 1);
    }
    if (!w && atomic_load(&p->draining)) lr_worker_wake(&p->workers[0]);
}

void lr_pool_finished_elsewhere(lr_pool *p) { count_finished(p, false); }

bool lr_pool_end(lr_task *t, lr_task_state state, lr_value *result)
{
    lr_wake wake;
    wake.ready = NULL;
    wake.worker_count = 0;
    if (!lr_task_end(t, state, result, &wake)) return false;
    if (wake.ready || wake.worker_count) lr_pool_wake(&wake);
    if (!lr_task_has(t, LR_TASK_BODY)) {
        count_finished(the_pool, true);
        if (lr_task_has(t, LR_TASK_MACHINE)) the_pool->machine_cancelled(t);
    }
    return true;
}

static lr_builder *my_builder(lr_builder *mine)
{
    if (lr_self) return &lr_self->builder;
    lr_builder_init(mine);
    return mine;
}

bool lr_pool_fail(lr_task *t, lr_err code, const char *message, const lr_value *cause)
{
    lr_builder own, *b = my_builder(&own);
    lr_value result;
    lr_builder_header(b, 1);
    lr_builder_error(b, code, message, NULL, t->fn ? lr_task_name(t) : NULL, t->id, t->attempt, cause);
    if (!lr_builder_finish(b, &result)) result.form = 0; /* an end without words is better than none */
    if (b == &own) lr_builder_fini(&own);
    return lr_pool_end(t, code == LR_ERR_CANCELLED ? LR_TASK_CANCELLED : LR_TASK_FAILED, &result);
}

void lr_pool_fail_unbegun(lr_task *t, lr_err code, const char *message)
{
    if (!lr_task_claim(t)) return; /* a worker was faster, or it has ended */
    if (lr_self)
        bump(&lr_self->started);
    else
        atomic_fetch_add(&the_pool->other_started, 1);
    lr_pool_fail(t, code, message, NULL);
    lr_value_clear(&t->args);
    count_finished(the_pool, false);
}

void lr_pool_fail_input(lr_task *t, const lr_input *in, const lr_value *error)
{
    char message[256];
    lr_err code = LR_ERR_ERROR;
    lr_reader r = lr_value_reader(error);
    if (lr_read_header(&r) && lr_read_u8(&r) == LR_TAG_ERROR) {
        uint8_t byte = lr_read_u8(&r);
        if (byte > 0 && byte < LR_ERR_COUNT) code = (lr_err)byte;
    }
    const char *name = in->input->fn ? lr_task_name(in->input) : "a value";
    snprintf(message, sizeof message, "argument %u, the result of %s, is not there: %s", in->argument, name,
             lr_task_state_of(in->input) == LR_TASK_CANCELLED ? "it was cancelled"
             : lr_task_state_of(in->input) == LR_TASK_READY   ? "it was lost"
                                                              : "it failed");
    lr_pool_fail(t, code, message, error);
}

static void body_over(lr_worker *w, lr_task *t)
{
    LR_ASSERT(w == lr_self);
    lr_value_clear(&t->args);
    if (t->children) lr_family_end(t);
    count_finished(w->pool, false);
    if (lr_task_has(t, LR_TASK_MACHINE)) w->pool->machine_finished(t);
}

void lr_pool_body_done(lr_worker *w, lr_task *t)
{
    lr_pool_hold(w, t, false);
    body_over(w, t);
}

void lr_pool_retry(lr_worker *w, lr_task *t)
{
    lr_pool_hold(w, t, false);
    t->children = 0; /* the same children again: ids and random streams are those of the attempt before */
    bump(&w->submitted); /* an attempt more: this one is over */
    count_finished(w->pool, false);
    bool machine = lr_task_has(t, LR_TASK_MACHINE);
    if (machine) w->pool->machine_finished(t);
    if (!lr_task_requeue(t)) { /* cancelled meanwhile */
        bump(&w->started);
        count_finished(w->pool, false);
        lr_value_clear(&t->args);
        lr_task_release(t);
    } else if (machine) {
        w->pool->machine_ready(t);
    } else {
        lr_pool_push(w, t);
    }
}

/* ---- running ------------------------------------------------------------------------------------ */

bool lr_pool_times(const lr_worker *w, const lr_fn *fn)
{
    return w->turn % SAMPLE_TURNS == 0 || atomic_load_explicit(&fn->mean_ns, memory_order_relaxed) == 0;
}

/* A microsecond task that the kernel put aside for milliseconds must not pass for a long one, which would travel: one
 * sample counts for so many times the mean at most. Tasks that are long now and then still raise it, geometrically. */
#define TIMES_MEAN_MAX 64

void lr_pool_note_time(lr_fn *fn, uint64_t ticks)
{
    uint64_t mean = atomic_load_explicit(&fn->mean_ns, memory_order_relaxed);
    uint64_t ns = lr_clock_ticks_ns(ticks) + 1;
    if (mean && ns > TIMES_MEAN_MAX * mean) ns = TIMES_MEAN_MAX * mean;
    atomic_store_explicit(&fn->mean_ns, mean ? mean - mean / 8 + ns / 8 : ns, memory_order_relaxed);
}

void lr_pool_run(lr_worker *w, lr_task *t)
{
    if (!lr_task_claim(t)) { /* cancelled, too late, or run by whoever waits for it */
        if (lr_task_has(t, LR_TASK_MACHINE)) w->pool->machine_finished(t);
        lr_task_release(t);
        return;
    }
    bump(&w->started);
    atomic_store_explicit(&w->lasts_ns, t->fn ? atomic_load_explicit(&t->fn->mean_ns, memory_order_relaxed) : 0,
                          memory_order_relaxed);
    if (atomic_load_explicit(&w->pool->cancel_epoch, memory_order_relaxed) && lr_pool_cancelled(w->pool, t)) {
        body_over(w, t);
        lr_task_release(t);
        return;
    }
    if (lr_task_has(t, LR_TASK_MACHINE)) {
        w->pool->machine_started(t);
        lr_pool_hold(w, t, true);
    }
    if (t->fn->kind == LR_FN_KERNEL)
        lr_pool_run_kernel(w, t);
    else
        w->pool->runner->run(w, t);
}

static void woken_append(lr_worker *w, lr_park *p)
{
    p->next = NULL;
    if (w->woken_tail)
        w->woken_tail->next = p;
    else
        w->woken = p;
    w->woken_tail = p;
}

/* The inbox, oldest first, behind what was woken before. */
static void take_inbox(lr_worker *w)
{
    if (!atomic_load_explicit(&w->inbox, memory_order_relaxed)) return;
    lr_park *p = atomic_exchange(&w->inbox, NULL), *reversed = NULL;
    while (p) {
        lr_park *next = p->next;
        p->next = reversed;
        reversed = p;
        p = next;
    }
    while (reversed) {
        lr_park *next = reversed->next;
        woken_append(w, reversed);
        reversed = next;
    }
}

static lr_park *list_pop(lr_park **first, lr_park **last)
{
    lr_park *p = *first;
    if (!p) return NULL;
    *first = p->next;
    if (!*first) *last = NULL;
    return p;
}

/* Goes on with a woken park: with its coroutine here, or with its stack. */
static void resume(lr_worker *w, lr_park *p)
{
    lr_pool_unpark(w, p);
    if (atomic_load_explicit(&p->reason, memory_order_relaxed) == LR_PARK_AGAIN) {
        if (p->task) lr_pool_hold(w, p->task, true); /* it only let others go first: the machine knows nothing of it */
    } else {
        lr_pool_came_back(w, p->task);
    }
    if (p->on_stack) {
        p->delivered = true;
        lr_pool_return_to(w, p);
        return;
    }
    w->pool->runner->resume(w, p);
}

/* Marks the parks of waiting threads that were woken, running nothing. */
bool lr_pool_receive(lr_worker *w)
{
    if (w->timer_count) lr_pool_fire_timers(w);
    if (atomic_load_explicit(&w->look_at_parked, memory_order_relaxed)) lr_pool_look_at_parked(w);
    take_inbox(w);
    lr_park *p = w->woken;
    w->woken = w->woken_tail = NULL;
    bool any = false;
    while (p) {
        lr_park *next = p->next;
        if (p->on_stack) {
            lr_pool_unpark(w, p);
            p->delivered = any = true;
        } else {
            woken_append(w, p);
        }
        p = next;
    }
    return any;
}

/* From the script's deque, which its owner never pops: several at once, so that the line which it writes for each
 * submit travels less often. The others into the own deque, the oldest to be next. */
static lr_task *take_script_s(lr_worker *w, bool *contended)
{
    void *items[TAKE_MAX];
    int64_t count = lr_deque_steal_many(&w->pool->workers[0].deque, items, TAKE_MAX, contended);
    if (count == 0) return NULL;
    for (int64_t i = count - 1; i > 0; i--)
        if (!lr_deque_push(&w->deque, items[i])) queue_push(&w->pool->normal, items[i]);
    if (count > 1) wake_one(w->pool);
    return items[0];
}

static lr_task *steal_from(lr_worker *w, lr_worker *victim, bool *contended)
{
    return victim->has_loop ? lr_deque_steal(&victim->deque, contended) : take_script_s(w, contended);
}

static lr_task *steal(lr_worker *w)
{
    lr_pool *p = w->pool;
    unsigned count = p->worker_count + 1;
    bool contended;
    do {
        contended = false;
        w->random = w->random * 6364136223846793005u + 1442695040888963407u;
        unsigned start = (unsigned)((w->random >> 33) % count);
        for (unsigned i = 0; i < count; i++) {
            lr_worker *victim = &p->workers[(start + i) % count];
            if (victim == w) continue;
            lr_task *t = steal_from(w, victim, &contended);
            if (t) {
                bump(&w->steals);
                return t;
            }
        }
    } while (contended);
    return NULL;
}

static lr_task *next_task(lr_worker *w)
{
    lr_pool *p = w->pool;
    lr_task *t = queue_pop(&p->high);
    if (t) return t;
    if (w->turn % FAIR_TURNS == 0 && (t = queue_pop(&p->normal))) return t;
    if ((t = lr_deque_pop(&w->deque))) return t;
    return queue_pop(&p->normal);
}

static lr_task *last_resort(lr_worker *w)
{
    lr_task *t = steal(w);
    return t ? t : queue_pop(&w->pool->low);
}

/* Something was found by a worker that had nothing to do. It may not be what it was woken for, and pushes were not
 * announced while it was looking: whoever sleeps takes what is left. */
static inline void found(lr_worker *w)
{
    if (!w->looking) return;
    w->looking = w->wants = false;
    atomic_store_explicit(&w->lasts_ns, 0, memory_order_relaxed);
    atomic_fetch_sub(&w->pool->looking, 1);
    if (work_visible(w->pool)) wake_one(w->pool);
}

bool lr_pool_turn(lr_worker *w)
{
    w->turn++;
    take_inbox(w);
    if (__builtin_expect(w->unsettled, 0) && w->woken) lr_pool_settle(w, NULL);
    if (w->timer_count && (w->turn % LR_TIMER_TURNS == 0 || !w->woken)) lr_pool_fire_timers(w);
    if (atomic_load_explicit(&w->look_at_parked, memory_order_relaxed)) lr_pool_look_at_parked(w);
    lr_park *p = list_pop(&w->woken, &w->woken_tail);
    if (p) {
        found(w);
        resume(w, p);
        return true;
    }
    if (lr_hold_wants(&w->pool->hold)) {
        if (w->unsettled) lr_pool_settle(w, NULL);
        found(w);
        lr_hold_stand_aside(w);
    }
    lr_task *t = next_task(w);
    if (!t && (p = list_pop(&w->yielded, &w->yielded_tail))) {
        if (w->unsettled) lr_pool_settle(w, NULL);
        found(w);
        resume(w, p);
        return true;
    }
    if (!t) t = last_resort(w);
    if (!t) return false;
    if (__builtin_expect(w->unsettled, 0)) lr_pool_settle(w, t);
    found(w);
    lr_pool_run(w, t);
    return true;
}

static bool something_to_do(lr_worker *w)
{
    return atomic_load(&w->inbox) || w->woken || w->yielded || atomic_load(&w->look_at_parked) ||
           atomic_load(&w->pool->stopping) || lr_hold_wants(&w->pool->hold) ||
           work_visible(w->pool);
}

static bool spin(lr_worker *w, bool leads)
{
    lr_pool *p = w->pool;
    uint32_t nobody = 0;
    if (!atomic_compare_exchange_strong(&p->spinning, &nobody, 1)) return false;
    uint64_t until = lr_clock_ns() + SPIN_NS;
    uint64_t timer = w->timer_count ? w->timers[0]->deadline_ns : LR_NEVER;
    bool found = false;
    do {
        if (leads && lr_pool_heed(p)) until = lr_clock_ns() + SPIN_NS;
        for (int i = 0; i < 8 && !(found = something_to_do(w)); i++) {
            if (leads && lr_pool_heed(p)) until = lr_clock_ns() + SPIN_NS;
            for (int k = 0; k < SPIN_PAUSES; k++) /* each look takes a line from whoever submits */
                lr_cpu_pause();
        }
    } while (!found && lr_clock_ns() < (until < timer ? until : timer));
    atomic_store(&p->spinning, 0);
    return found;
}

static void sleep_until_timer(lr_worker *w, bool leads)
{
    lr_pool *p = w->pool;
    uint64_t until = w->timer_count ? w->timers[0]->deadline_ns : LR_NEVER;
    if (until == LR_NEVER) atomic_fetch_add(&p->dormant, 1);
    if (leads)
        lr_pool_lead_asleep(w, something_to_do, until);
    else
        lr_bed_sleep(&w->bed, until);
    if (until == LR_NEVER) atomic_fetch_sub(&p->dormant, 1);
}

/* The leader was woken: what was rung is for whoever looks around, and that it does. */
static void heed_looking(lr_worker *w)
{
    uint32_t nobody = 0;
    bool alone = atomic_compare_exchange_strong(&w->pool->spinning, &nobody, 1);
    if (!lr_pool_heed(w->pool) && atomic_load(&w->pool->bell->deadline_ns) <= lr_clock_ns()) w->pool->node_turn();
    if (alone) atomic_store(&w->pool->spinning, 0);
}

/* Nothing to do: looks around a little, then sleeps until woken or until the next timer; leads the node's loop
 * meanwhile. */
static void idle(lr_worker *w)
{
    lr_pool *p = w->pool;
    bool leads = lr_pool_lead(w);
    if (!w->looking) {
        w->looking = true;
        atomic_fetch_add(&p->looking, 1);
    }
    if (!w->wants && p->work_is_wanted && !something_to_do(w)) {
        w->wants = true; /* told once, until it has found something */
        p->work_is_wanted();
    }
    if (!spin(w, leads)) {
        atomic_fetch_or(&p->asleep[w->index / 64], 1ull << (w->index % 64));
        if (atomic_load(&p->draining)) lr_worker_wake(&p->workers[0]);
        if (!something_to_do(w)) sleep_until_timer(w, leads);
        asleep_clear(p, w->index);
        if (leads) heed_looking(w);
    }
    if (leads) lr_pool_leave(w);
}

void lr_pool_idle(lr_worker *w)
{
    idle(w);
}

static void *worker_main(void *argument)
{
    lr_worker *w = argument;
    lr_self = w;
    prctl(PR_SET_TIMERSLACK, 1000);
    char name[16];
    snprintf(name, sizeof name, "luarun/%u", w->index);
    pthread_setname_np(pthread_self(), name);
    lr_fiber_of_thread(&w->root);
    w->fiber = w->free_fibers;
    w->free_fibers = NULL;
    w->free_fiber_count = 0;
    lr_fiber_switch(&w->root, w->fiber); /* until the loop ends, on whichever stack it then is */
    lr_pool_fibers_free(w);
    w->pool->runner->close(w);
    lr_kernel_workers_free(w->kernel_state);
    w->kernel_state = NULL;
    lr_fn_thread_end();
    lr_slab_thread_end();
    atomic_fetch_add(&w->pool->ended, 1);
    lr_worker_wake(&w->pool->workers[0]);
    return NULL;
}

/* ---- life --------------------------------------------------------------------------------------- */

static bool worker_init(lr_pool *p, unsigned index)
{
    lr_worker *w = &p->workers[index];
    w->pool = p;
    w->index = index;
    w->has_loop = index > 0;
    w->random = lr_mix64(p->seed + index);
    lr_builder_init(&w->builder);
    lr_builder_init(&w->results);
    w->kernel_state = lr_kernel_workers_new();
    return lr_deque_init(&w->deque);
}

static bool start_thread(lr_worker *w)
{
    pthread_attr_t attr;
    sigset_t all, before;
    pthread_attr_init(&attr);
    sigfillset(&all); /* signals of the program go to the script's thread */
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&w->thread, &attr, worker_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc == 0;
}

bool lr_pool_start(lr_pool *p, unsigned worker_count, const lr_runner *runner, char *message, size_t message_bytes)
{
    LR_ASSERT(worker_count <= LR_WORKERS_MAX);
    lr_clock_init();
    p->runner = runner;
    p->worker_count = worker_count;
    pthread_mutex_init(&p->high.lock, NULL);
    pthread_mutex_init(&p->normal.lock, NULL);
    pthread_mutex_init(&p->low.lock, NULL);
    lr_hold_init(&p->hold);
    size_t bytes = (worker_count + 1) * sizeof *p->workers;
    p->workers = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p->workers) {
        snprintf(message, message_bytes, "no memory for %u workers", worker_count);
        return false;
    }
    memset((void *)p->workers, 0, bytes);
    the_pool = p;
    for (unsigned i = 0; i <= worker_count; i++)
        if (!worker_init(p, i)) {
            snprintf(message, message_bytes, "no memory for worker %u", i);
            return false;
        }
    lr_self = &p->workers[0];
    prctl(PR_SET_TIMERSLACK, 1000);
    for (unsigned i = 1; i <= worker_count; i++)
        if (!lr_pool_may_block(&p->workers[i]) || !start_thread(&p->workers[i])) {
            snprintf(message, message_bytes, "worker thread %u of %u could not be started: %s", i, worker_count,
                     strerror(errno));
            return false;
        }
    return true;
}

bool lr_pool_stop(lr_pool *p, uint64_t deadline_ns)
{
    atomic_store(&p->stopping, true);
    for (unsigned i = 1; i <= p->worker_count; i++)
        lr_worker_wake(&p->workers[i]);
    while (atomic_load(&p->ended) < p->worker_count && lr_clock_ns() < deadline_ns)
        lr_bed_sleep(&p->workers[0].bed, deadline_ns);
    if (atomic_load(&p->ended) < p->worker_count) return false;
    for (unsigned i = 1; i <= p->worker_count; i++)
        pthread_join(p->workers[i].thread, NULL);
    return true;
}

/* Releases what is still queued, once no worker runs any more. */
void lr_pool_fini(lr_pool *p)
{
    lr_task *t;
    for (unsigned i = 0; i <= p->worker_count; i++) {
        while ((t = lr_deque_pop(&p->workers[i].deque)))
            lr_task_release(t);
    }
    while ((t = queue_pop(&p->high)) || (t = queue_pop(&p->normal)) || (t = queue_pop(&p->low)))
        lr_task_release(t);
    for (unsigned i = 0; i <= p->worker_count; i++) {
        lr_worker *w = &p->workers[i];
        lr_deque_fini(&w->deque);
        lr_builder_fini(&w->builder);
        lr_builder_fini(&w->results);
        lr_kernel_workers_free(w->kernel_state);
        free((void *)w->timers);
    }
    free(p->workers);
    p->workers = NULL;
    lr_self = NULL;
    the_pool = NULL;
}

/* ---- counts ------------------------------------------------------------------------------------- */

bool lr_pool_frees_soon(const lr_pool *p, uint64_t ns)
{
    for (unsigned i = 1; i <= p->worker_count; i++)
        if (atomic_load_explicit(&p->workers[i].lasts_ns, memory_order_relaxed) <= ns) return true;
    return false;
}

lr_pool_counts lr_pool_count(lr_pool *p)
{
    /* finished before started before submitted, so that no difference is ever negative */
    lr_pool_counts c = {0};
    c.finished = atomic_load(&p->other_finished);
    for (unsigned i = 0; i <= p->worker_count; i++)
        c.finished += atomic_load_explicit(&p->workers[i].finished, memory_order_acquire);
    c.started = atomic_load(&p->other_started);
    for (unsigned i = 0; i <= p->worker_count; i++)
        c.started += atomic_load_explicit(&p->workers[i].started, memory_order_acquire);
    c.submitted = atomic_load(&p->other_submitted);
    for (unsigned i = 0; i <= p->worker_count; i++) {
        c.submitted += atomic_load_explicit(&p->workers[i].submitted, memory_order_acquire);
        c.steals += atomic_load_explicit(&p->workers[i].steals, memory_order_relaxed);
    }
    return c;
}

bool lr_pool_is_full(lr_worker *w)
{
    if (w->allowance > 0) {
        w->allowance--;
        return false;
    }
    lr_pool *p = w->pool;
    lr_pool_counts c = lr_pool_count(p);
    uint64_t pending = c.submitted - c.started;
    if (pending >= p->max_pending) return true;
    /* every thread may use its share of the room that is left before it looks again */
    w->allowance = (uint32_t)((p->max_pending - pending) / (2 * (p->worker_count + 1)) & 0xffff);
    return false;
}

#define STUCK_LOOK_NS (LR_NS_PER_S / 4)
#define STUCK_LOOK_MAX_NS (16 * LR_NS_PER_S)

static bool all_rest(lr_pool *p)
{
    if (atomic_load(&p->dormant) < p->worker_count || work_visible(p) || !p->machine_rests()) return false;
    for (unsigned i = 0; i <= p->worker_count; i++)
        if (atomic_load(&p->workers[i].inbox) || atomic_load(&p->workers[i].look_at_parked)) return false;
    return true;
}

/* Whether nothing was under way at two looks, half a second or more apart, and nothing had happened
 * between them. What is seen at one look alone may be the moment between a wake and the waking. */
bool lr_pool_is_stuck(lr_pool *p, lr_pool_watch *watch)
{
    uint64_t now = lr_clock_ns();
    if (now < watch->look_ns) return false;
    watch->pause_ns = watch->pause_ns ? 2 * watch->pause_ns : STUCK_LOOK_NS;
    if (watch->pause_ns > STUCK_LOOK_MAX_NS) watch->pause_ns = STUCK_LOOK_MAX_NS;
    bool first = watch->look_ns == 0, rested = watch->seen_resting;
    watch->look_ns = now + watch->pause_ns;
    if (first) return false;
    lr_pool_counts c = lr_pool_count(p);
    bool same = c.started == watch->seen_started && c.finished == watch->seen_finished &&
                c.submitted == watch->seen_submitted;
    watch->seen_started = c.started;
    watch->seen_finished = c.finished;
    watch->seen_submitted = c.submitted;
    watch->seen_resting = all_rest(p);
    return watch->seen_resting && rested && same && c.finished < c.submitted;
}

bool lr_pool_drain(lr_pool *p, uint64_t deadline_ns)
{
    atomic_store(&p->draining, true);
    bool done = false;
    for (;;) {
        lr_pool_counts c = lr_pool_count(p);
        done = c.finished == c.submitted;
        if (done || lr_clock_ns() >= deadline_ns) break;
        if (atomic_load(&lr_self->look_at_parked)) lr_pool_look_at_parked(lr_self);
        lr_bed_sleep(&lr_self->bed, deadline_ns);
    }
    atomic_store(&p->draining, false);
    return done;
}
