#include "runtime/hold.h"

#include "runtime/extra.h"
#include "runtime/pool.h"

typedef struct lr_claim {
    struct lr_claim *next;
    lr_worker *claimant;
    int32_t others;
    bool granted;
} lr_claim;

void lr_hold_init(lr_hold *h)
{
    pthread_mutex_init(&h->lock, NULL);
    h->first = h->last = NULL;
    h->granted = h->aside = 0;
    atomic_init(&h->wanted, 0);
}

/* ---- under the lock --------------------------------------------------------------------------------- */

/* Grants the oldest claims as long as enough workers stand aside for them. */
static void grant(lr_hold *h)
{
    lr_claim *c;
    while ((c = h->first) && h->aside - 1 >= h->granted + c->others) { /* - 1: the claimant itself */
        h->first = c->next;
        if (!h->first) h->last = NULL;
        h->aside--;
        h->granted += c->others;
        c->granted = true;
        lr_worker_wake(c->claimant);
    }
}

/* After every change: who is granted now, who ought to stand aside, who may leave. */
static void settle(lr_pool *p)
{
    lr_hold *h = &p->hold;
    grant(h);
    int32_t target = h->granted + (h->first ? h->first->others + 1 : 0);
    atomic_store(&h->wanted, target - h->aside);
    if (target == h->aside) return;
    for (unsigned i = 1; i <= p->worker_count; i++)
        lr_worker_wake(&p->workers[i]);
}

static void unlink_claim(lr_hold *h, lr_claim *c)
{
    lr_claim *before = NULL;
    for (lr_claim *i = h->first; i != c; i = i->next)
        before = i;
    if (before)
        before->next = c->next;
    else
        h->first = c->next;
    if (h->last == c) h->last = before;
}

static void sleep_unlocked(lr_worker *w)
{
    pthread_mutex_unlock(&w->pool->hold.lock);
    lr_bed_sleep(&w->bed, LR_NEVER);
    pthread_mutex_lock(&w->pool->hold.lock);
}

/* ---- standing aside ---------------------------------------------------------------------------------- */

void lr_hold_stand_aside(lr_worker *w)
{
    lr_hold *h = &w->pool->hold;
    pthread_mutex_lock(&h->lock);
    if (lr_hold_wants(h) && !atomic_load(&w->pool->stopping)) {
        h->aside++;
        settle(w->pool);
        while (atomic_load(&h->wanted) >= 0 && !atomic_load(&w->pool->stopping))
            sleep_unlocked(w);
        h->aside--;
        settle(w->pool);
    }
    pthread_mutex_unlock(&h->lock);
}

/* ---- claims ----------------------------------------------------------------------------------------- */

static void claim(lr_worker *w, int32_t others)
{
    lr_hold *h = &w->pool->hold;
    lr_claim c = {.claimant = w, .others = others};
    if (h->last)
        h->last->next = &c;
    else
        h->first = &c;
    h->last = &c;
    h->aside++;
    settle(w->pool);
    while (!c.granted && !atomic_load(&w->pool->stopping))
        sleep_unlocked(w);
    if (c.granted) return;
    unlink_claim(h, &c); /* the pool ends: as if it were granted, for the release that follows */
    h->aside--;
    h->granted += others;
    settle(w->pool);
}

void lr_pool_hold(lr_worker *w, lr_task *t, bool on)
{
    if (!t->extra || !t->extra->options || t->extra->options->cpu <= 1) return;
    int32_t others = (int32_t)t->extra->options->cpu - 1; /* whole ones only: two tasks of 1.5 share three workers */
    lr_hold *h = &w->pool->hold;
    pthread_mutex_lock(&h->lock);
    if (on) {
        claim(w, others);
    } else {
        h->granted -= others;
        LR_ASSERT(h->granted >= 0);
        settle(w->pool);
    }
    pthread_mutex_unlock(&h->lock);
}
