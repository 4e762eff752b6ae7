/* Cancelling: a task, its body, its descendants.
 *
 * A cancel marks one task (and its node in the family, if it has children) and raises the epoch. Descendants are not
 * listed anywhere: whoever starts, parks or asks for a task walks up its ancestors, once for each epoch. A parked
 * one is looked at by its worker, which the cancel wakes. That costs a task nothing but the count it holds of
 * its parent's node, until somebody cancels something. */
#include "runtime/extra.h"
#include "runtime/pool.h"

bool lr_pool_cancelled(lr_pool *p, lr_task *t)
{
    if (lr_task_has(t, LR_TASK_CANCEL) || atomic_load_explicit(&p->ending, memory_order_relaxed)) return true;
    uint32_t epoch = atomic_load(&p->cancel_epoch);
    if (atomic_load_explicit(&t->cancel_seen, memory_order_relaxed) == epoch) return false;
    bool found = lr_family_marked(t, epoch);
    if (!found) atomic_store_explicit(&t->cancel_seen, epoch, memory_order_relaxed);
    if (found) {
        lr_task_set(t, LR_TASK_CANCEL);
        if (!lr_task_ended(t)) lr_pool_fail(t, LR_ERR_CANCELLED, "an ancestor was cancelled", NULL);
    }
    return found;
}

/* Every worker looks through its parked coroutines. */
static void look_around(lr_pool *p)
{
    for (unsigned i = 0; i <= p->worker_count; i++) {
        atomic_store(&p->workers[i].look_at_parked, true);
        lr_worker_wake(&p->workers[i]);
    }
}

void lr_pool_cancel(lr_pool *p, lr_task *t, lr_err code, const char *message)
{
    if (lr_task_ended(t)) return;
    atomic_fetch_or(&t->word, LR_TASK_CANCEL);
    lr_family_mark(t);
    atomic_fetch_add(&p->cancel_epoch, 1); /* after the mark: no walk finds the new epoch without it */
    lr_pool_fail(t, code, message, NULL);
    look_around(p);
    if (p->work_is_left) p->work_is_left();
}

void lr_pool_cancel_all(lr_pool *p)
{
    atomic_store(&p->ending, true);
    atomic_fetch_add(&p->cancel_epoch, 1);
    look_around(p);
}
