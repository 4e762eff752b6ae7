#include "runtime/away.h"

#include "runtime/extra.h"

static void body_over(lr_pool *p, lr_task *t)
{
    if (t->children) lr_family_end(t);
    lr_pool_finished_elsewhere(p);
    lr_task_release(t);
}

/* The body, which ran elsewhere or not at all, is over. */
void lr_away_over(lr_pool *p, lr_task *t)
{
    lr_value_clear(&t->args);
    body_over(p, t);
}

static bool may_go(const lr_pool *p, const lr_task *t)
{
    if (!t->fn || lr_task_has(t, LR_TASK_GUEST | LR_TASK_MACHINE)) return false;
    if (p->worker_count == 0) return true;
    uint64_t mean_ns = atomic_load_explicit(&t->fn->mean_ns, memory_order_relaxed);
    return mean_ns == 0 || mean_ns >= LR_AWAY_LEAST_NS;
}

/* False: it was cancelled, or begun by whoever waits for it. */
bool lr_away_claim(lr_pool *p, lr_task *t)
{
    if (!lr_task_claim(t)) {
        lr_task_release(t);
        return false;
    }
    atomic_fetch_add(&p->other_started, 1);
    if (atomic_load(&p->cancel_epoch) == 0 || !lr_pool_cancelled(p, t)) return true;
    lr_away_over(p, t);
    return false;
}

/* From one place, until it has none that may go. */
static size_t take_from(lr_pool *p, lr_task *(*next)(lr_pool *p, unsigned place), unsigned place, lr_task **out,
                        size_t max)
{
    size_t count = 0;
    while (count < max) {
        lr_task *t = next(p, place);
        if (!t) break;
        if (!may_go(p, t)) {
            lr_pool_inject(p, t, 0); /* the others of this place are most likely of its kind */
            break;
        }
        if (lr_away_claim(p, t)) out[count++] = t;
    }
    return count;
}

static lr_task *oldest_of(lr_pool *p, unsigned worker)
{
    bool contended = false;
    lr_task *t;
    do {
        t = lr_deque_steal(&p->workers[worker].deque, &contended);
    } while (!t && contended && lr_deque_count(&p->workers[worker].deque) > 0);
    return t;
}

static lr_task *injected(lr_pool *p, unsigned unused)
{
    (void)unused;
    return lr_pool_take_injected(p);
}

size_t lr_away_count(lr_pool *p)
{
    size_t count = (size_t)atomic_load(&p->normal.count), looking = atomic_load(&p->looking);
    for (unsigned i = 0; i <= p->worker_count; i++)
        count += (size_t)lr_deque_count(&p->workers[i].deque);
    return count > looking ? count - looking : 0;
}

size_t lr_away_take(lr_pool *p, lr_task **out, size_t max)
{
    size_t left = lr_away_count(p);
    if (max > left) max = left;
    size_t count = take_from(p, injected, 0, out, max);
    for (unsigned i = 0; i <= p->worker_count && count < max; i++)
        count += take_from(p, oldest_of, i, out + count, max - count);
    return count;
}

void lr_away_end(lr_pool *p, lr_task *t, lr_task_state state, lr_value *result)
{
    lr_pool_end(t, state, result);
    lr_away_over(p, t);
}

bool lr_away_return(lr_pool *p, lr_task *t, uint32_t attempt)
{
    t->attempt = (uint16_t)attempt;
    atomic_fetch_add(&p->other_submitted, 1); /* an attempt more: this one is over */
    lr_pool_finished_elsewhere(p);
    if (lr_task_requeue(t)) return true;
    atomic_fetch_add(&p->other_started, 1);
    lr_away_over(p, t); /* cancelled meanwhile */
    return false;
}

void lr_away_fail(lr_pool *p, lr_task *t, lr_err code, const char *message)
{
    lr_pool_fail(t, code, message, NULL);
    lr_away_over(p, t);
}
