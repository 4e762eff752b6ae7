/* Threads of the pool that turn the node's loop: while they wait, in passing, and at the end of a body. */
#include "runtime/pool.h"

#define SETTLE_NS 50000   /* results of short tasks wait so long for each other, while there are more to run */
#define SHORT_NS 20000    /* what is known to last less does not delay them */
#define PASSING_NS 20000  /* a thread that submits turns the loop itself once in so long; in between it rings */

bool lr_pool_lead(lr_worker *w)
{
    lr_bell *b = w->pool->bell;
    bool rung;
    if (!b) return false;
    bool leads = lr_bell_try_lead(b, &rung);
    if (w->unsettled || (leads && rung)) lr_bell_ring(b->page); /* a leader heeds it at its first look */
    w->unsettled = false;
    w->leads = leads;
    return leads;
}

void lr_pool_leave(lr_worker *w)
{
    w->leads = false;
    lr_bell_leave(w->pool->bell);
}

/* False: another thread leads. */
static bool turn_now(lr_worker *w)
{
    bool rung;
    if (!lr_bell_try_lead(w->pool->bell, &rung)) return false;
    w->leads = true;
    w->pool->node_turn();
    lr_pool_leave(w);
    return true;
}

void lr_pool_lead_asleep(lr_worker *w, bool (*is_wanted)(lr_worker *w), uint64_t until_ns)
{
    lr_bell *b = w->pool->bell;
    uint64_t deadline_ns = atomic_load(&b->deadline_ns);
    uint32_t seen = lr_bell_lie_down(b, w);
    bool woken = atomic_load(&w->bed.state) != 0;
    if (!woken && !is_wanted(w)) lr_bell_sleep(b, seen, until_ns < deadline_ns ? until_ns : deadline_ns);
    lr_bell_rise(b);
    atomic_exchange(&w->bed.state, 0);
}

bool lr_pool_turn_soon(void)
{
    lr_worker *w = lr_self;
    if (!w || !w->has_loop || w->depth > 0 || w->leads || !w->pool->bell) return false;
    if (w->unsettled) return true;
    w->unsettled = true;
    w->unsettled_ns = lr_clock_ns();
    return true;
}

void lr_pool_settle(lr_worker *w, const lr_task *t)
{
    uint64_t mean_ns = t && t->fn ? atomic_load_explicit(&t->fn->mean_ns, memory_order_relaxed) : 0;
    if (mean_ns > 0 && mean_ns < SHORT_NS && lr_clock_ns() - w->unsettled_ns < SETTLE_NS) return;
    w->unsettled = false;
    if (!turn_now(w)) lr_bell_ring(w->pool->bell->page);
}

bool lr_pool_turn_here(lr_pool *p)
{
    lr_worker *w = lr_self;
    if (!w || !p->bell) return false;
    uint64_t now_ns = lr_clock_ns();
    if (now_ns - w->turned_ns < PASSING_NS) return false;
    w->turned_ns = now_ns;
    return turn_now(w);
}
