#include "runtime/task.h"

#include "runtime/clock.h"
#include "runtime/extra.h"
#include "runtime/failures.h"
#include "runtime/futex.h"
#include "runtime/slab.h"

#include <sched.h>

static void (*unseen_hook)(lr_task *);

void lr_task_on_unseen(void (*hook)(lr_task *t))
{
    unseen_hook = hook;
}

/* Every member but args and result, which stay the caller's. */
static lr_task *record_new(lr_id id, lr_fn *fn, uint32_t word)
{
    lr_task *t = lr_slab_alloc();
    if (!t) return NULL;
    lr_object_init(&t->base, LR_OBJECT_TASK);
    atomic_init(&t->word, word);
    atomic_init(&t->missing, 1);
    t->id = id;
    t->fn = fn;
    atomic_init(&t->family, NULL);
    t->waiters = NULL;
    t->next = NULL;
    t->extra = NULL;
    t->children = 0;
    atomic_init(&t->cancel_seen, 0);
    t->submitted_ticks = lr_clock_ticks();
    atomic_init(&t->attempt, 1);
    atomic_init(&t->progress, 0);
    return t;
}

lr_task *lr_task_new(lr_fn *fn, lr_family *parent, lr_id id, lr_value *args, uint32_t counts)
{
    lr_task *t = record_new(id, fn, LR_TASK_WAITING);
    if (!t) {
        lr_value_clear(args);
        return NULL;
    }
    atomic_init(&t->base.refs, counts);
    lr_fn_borrow(fn);
    lr_family_retain(parent);
    atomic_init(&t->family, parent);
    t->args = *args;
    args->form = 0;
    t->result.form = 0;
    return t;
}

lr_task *lr_task_new_value(lr_id id, lr_value *value)
{
    lr_task *t = record_new(id, NULL, LR_TASK_READY | LR_TASK_VALUE);
    if (!t) {
        lr_value_clear(value);
        return NULL;
    }
    t->args.form = 0;
    t->result = *value;
    value->form = 0;
    return t;
}

lr_task *lr_task_new_elsewhere(lr_id id)
{
    lr_task *t = record_new(id, NULL, LR_TASK_RUNNING | LR_TASK_BODY | LR_TASK_VALUE);
    if (t) t->args.form = t->result.form = 0;
    return t;
}

lr_task *lr_task_new_freed(lr_id id, lr_fn *fn)
{
    lr_builder b;
    lr_value error;
    lr_builder_init(&b);
    lr_builder_header(&b, 1);
    lr_builder_error(&b, LR_ERR_OBJECT_LOST, "the value was freed (lr.free)", NULL, fn ? fn->name : NULL, id, 1, NULL);
    bool made = lr_builder_finish(&b, &error);
    lr_builder_fini(&b);
    lr_task *t = made ? lr_task_new_value(id, &error) : NULL;
    if (!t) return NULL;
    if (fn) lr_fn_borrow(fn);
    t->fn = fn;
    atomic_init(&t->word, LR_TASK_FAILED | LR_TASK_SEEN | LR_TASK_VALUE);
    return t;
}

const char *lr_task_name(const lr_task *t)
{
    if (t->extra && t->extra->options && t->extra->options->name) return t->extra->options->name;
    if (t->fn) return t->fn->name;
    return lr_task_state_of(t) == LR_TASK_READY ? "put" : "of another node"; /* what is put is ready from the start */
}

void lr_task_lock(lr_task *t)
{
    for (unsigned spins = 0;; spins++) {
        uint32_t before = atomic_fetch_or_explicit(&t->word, LR_TASK_LOCK, memory_order_acquire);
        if (!(before & LR_TASK_LOCK)) return;
        while (lr_task_has(t, LR_TASK_LOCK)) {
            lr_cpu_pause();
            if (++spins % 64 == 0) sched_yield(); /* its holder may have lost its processor */
        }
    }
}

/* Under the lock; also: what else to flip, the lock for one. */
static void set_state(lr_task *t, lr_task_state to, uint32_t also)
{
    uint32_t word = atomic_load_explicit(&t->word, memory_order_relaxed);
    LR_ASSERT(lr_task_state_may((lr_task_state)(word & LR_TASK_STATE_BITS), to));
    /* flags may be set meanwhile by fetch_or: change the state's bits alone */
    atomic_fetch_xor_explicit(&t->word, ((word ^ (uint32_t)to) & LR_TASK_STATE_BITS) | also, memory_order_release);
}

bool lr_task_watch(lr_task *t, lr_waiter *w)
{
    w->linked = false;
    if (lr_task_ended(t)) return false;
    lr_task_lock(t);
    bool pending = !lr_task_ended(t);
    if (pending) {
        w->linked = true;
        w->prev = NULL;
        w->next = t->waiters;
        if (t->waiters) t->waiters->prev = w;
        t->waiters = w;
    }
    lr_task_unlock(t);
    return pending;
}

void lr_task_unwatch(lr_task *t, lr_waiter *w)
{
    lr_task_lock(t);
    if (w->linked) {
        if (w->prev)
            w->prev->next = w->next;
        else
            t->waiters = w->next;
        if (w->next) w->next->prev = w->prev;
        w->linked = false;
    }
    lr_task_unlock(t);
}

/* A compare-and-set of the state alone, waiting for the lock. */
static bool step(lr_task *t, lr_task_state from, lr_task_state to, uint32_t set, uint32_t clear)
{
    uint32_t word = atomic_load_explicit(&t->word, memory_order_relaxed);
    for (unsigned spins = 1;; spins++) {
        if ((word & LR_TASK_STATE_BITS) != (uint32_t)from) return false;
        if (word & LR_TASK_LOCK) {
            lr_cpu_pause();
            if (spins % 64 == 0) sched_yield();
            word = atomic_load_explicit(&t->word, memory_order_relaxed);
            continue;
        }
        uint32_t next = ((word & ~LR_TASK_STATE_BITS & ~clear) | (uint32_t)to) | set;
        if (atomic_compare_exchange_weak_explicit(&t->word, &word, next, memory_order_acq_rel, memory_order_relaxed))
            return true;
    }
}

bool lr_task_claim(lr_task *t)
{
    return step(t, LR_TASK_QUEUED, LR_TASK_RUNNING, LR_TASK_BODY, 0);
}

bool lr_task_enqueue(lr_task *t)
{
    return step(t, LR_TASK_WAITING, LR_TASK_QUEUED, 0, 0);
}

bool lr_task_requeue(lr_task *t)
{
    return step(t, LR_TASK_RUNNING, LR_TASK_QUEUED, 0, LR_TASK_BODY);
}

bool lr_task_end(lr_task *t, lr_task_state state, lr_value *result, lr_wake *wake)
{
    lr_task_lock(t);
    if (lr_task_ended(t)) {
        lr_task_unlock(t);
        lr_value_clear(result);
        return false;
    }
    t->result = *result;
    result->form = 0;
    lr_waiter *w = t->waiters;
    if (!w) {
        set_state(t, state, LR_TASK_LOCK);
        if (state == LR_TASK_FAILED) lr_failures_note(t);
        return true;
    }
    set_state(t, state, 0);
    t->waiters = NULL;
    while (w) {
        lr_waiter *next = w->next; /* w may be gone once it was notified */
        w->linked = false;
        w->notify(w, t, wake);
        w = next;
    }
    lr_task_unlock(t);
    if (state == LR_TASK_FAILED) lr_failures_note(t);
    return true;
}

static void free_one(lr_task *t)
{
    uint32_t word = atomic_load_explicit(&t->word, memory_order_relaxed);
    if ((word & LR_TASK_STATE_BITS) == LR_TASK_FAILED && !(word & LR_TASK_SEEN) && unseen_hook) unseen_hook(t);
    lr_value_clear(&t->args);
    lr_value_clear(&t->result);
    if (t->extra) lr_extra_free(t->extra);
    lr_family_release(atomic_load_explicit(&t->family, memory_order_relaxed));
    if (t->fn) lr_fn_repay(t->fn);
    lr_slab_free(t);
}

/* What a task refers to may be tasks, a million deep: those are queued here, not recursed into. */
void lr_task_destroy(lr_object *o)
{
    static _Thread_local lr_task *queue;
    static _Thread_local bool draining;
    lr_task *t = (lr_task *)o;
    t->next = queue;
    queue = t;
    if (draining) return;
    draining = true;
    while (queue) {
        t = queue;
        queue = t->next;
        free_one(t);
    }
    draining = false;
}

void lr_task_drop(lr_task *t)
{
    atomic_store_explicit(&t->base.refs, 1, memory_order_relaxed);
    lr_task_release(t);
}
