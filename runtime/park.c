#include "runtime/park.h"

#include "runtime/pool.h"

void lr_park_init(lr_park *p, struct lr_worker *owner, lr_task *task, int64_t wanted, uint64_t deadline_ns)
{
    p->owner = owner;
    p->next = NULL;
    p->list_next = p->list_prev = NULL;
    p->timer = 0;
    p->on_stack = p->delivered = false;
    p->fiber = NULL;
    p->task = task;
    p->deadline_ns = deadline_ns;
    atomic_store_explicit(&p->reason, LR_PARKED, memory_order_relaxed);
    atomic_store_explicit(&p->wanted, wanted + 1, memory_order_relaxed);
}

bool lr_park_wake(lr_park *p, lr_park_reason reason)
{
    uint32_t expected = LR_PARKED;
    return atomic_compare_exchange_strong_explicit(&p->reason, &expected, (uint32_t)reason,
                                                   memory_order_acq_rel, memory_order_relaxed);
}

static bool count_down(lr_park *p)
{
    return atomic_fetch_sub_explicit(&p->wanted, 1, memory_order_acq_rel) == 1;
}

/* Puts p into its owner's inbox and has the owner woken after the lock is let go. */
static void notify(lr_waiter *w, lr_task *t, lr_wake *wake)
{
    (void)t;
    lr_park *p = LR_CONTAINER(w, lr_watch, waiter)->park;
    if (!count_down(p) || !lr_park_wake(p, LR_PARK_READY)) return;
    lr_pool_deliver_later(p, wake);
}

void lr_park_watch(lr_park *p, lr_watch *watch, lr_task *t)
{
    watch->park = p;
    watch->waiter.notify = notify;
    if (!lr_task_watch(t, &watch->waiter)) count_down(p);
}

bool lr_park_armed(lr_park *p)
{
    /* below 1: more had ended than are wanted. A notify may be about to wake p too: one of us wins */
    int64_t before = atomic_fetch_sub_explicit(&p->wanted, 1, memory_order_acq_rel);
    return before <= 1 && lr_park_wake(p, LR_PARK_READY);
}
