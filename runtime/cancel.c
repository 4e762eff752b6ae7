/* Cancelling: a task, its body, its descendants.
 *
 * A cancel marks one task and raises the epoch. Descendants are not listed anywhere: whoever starts, parks or asks for
 * a task walks up its parents, once for each epoch. A parked one is looked at by its worker, which
 * the cancel wakes. That costs a task
 * nothing but the count it holds of its parent, until somebody cancels something. */
#include "runtime/extra.h"
#include "runtime/pool.h"

/* True when t or a living ancestor is marked. Under the family lock. */
static bool marked(lr_task *t, uint32_t epoch)
{
    for (lr_task *a = t; a; a = a->parent) {
        if (lr_task_has(a, LR_TASK_CANCEL)) return true;
        if (atomic_load_explicit(&a->cancel_seen, memory_order_relaxed) == epoch) return false;
    }
    return false;
}

bool lr_pool_cancelled(lr_pool *p, lr_task *t)
{
    if (lr_task_has(t, LR_TASK_CANCEL) || atomic_load_explicit(&p->ending, memory_order_relaxed)) return true;
    uint32_t epoch = atomic_load(&p->cancel_epoch);
    if (atomic_load_explicit(&t->cancel_seen, memory_order_relaxed) == epoch) return false;
    pthread_mutex_lock(&p->family);
    bool found = marked(t, epoch);
    if (!found)
        for (lr_task *a = t; a && atomic_load_explicit(&a->cancel_seen, memory_order_relaxed) != epoch; a = a->parent)
            atomic_store_explicit(&a->cancel_seen, epoch, memory_order_relaxed);
    pthread_mutex_unlock(&p->family);
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
        lr_bed_wake(&p->workers[i].bed);
    }
}

void lr_pool_cancel(lr_pool *p, lr_task *t, lr_err code, const char *message)
{
    if (lr_task_ended(t)) return;
    pthread_mutex_lock(&p->family); /* so that no walk finds the new epoch and not the mark */
    lr_task_set(t, LR_TASK_CANCEL);
    atomic_fetch_add(&p->cancel_epoch, 1);
    pthread_mutex_unlock(&p->family);
    lr_pool_fail(t, code, message, NULL);
    look_around(p);
}

void lr_pool_cancel_all(lr_pool *p)
{
    atomic_store(&p->ending, true);
    atomic_fetch_add(&p->cancel_epoch, 1);
    look_around(p);
}

/* The parent a new child of t shall have: t. Shortens t's own line past parents that have ended, so that a
 * chain of tasks that each start the next keeps two records and not all. */
void lr_pool_shorten_family(lr_pool *p, lr_task *t)
{
    if (!t->parent || !lr_task_ended(t->parent) || lr_task_has(t->parent, LR_TASK_CANCEL)) return;
    pthread_mutex_lock(&p->family);
    lr_task *old = t->parent, *heir = old;
    while (heir && lr_task_ended(heir) && !lr_task_has(heir, LR_TASK_CANCEL))
        heir = heir->parent;
    if (heir) lr_task_retain(heir);
    t->parent = heir;
    pthread_mutex_unlock(&p->family);
    lr_task_release(old);
}
