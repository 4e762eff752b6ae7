/* tests/sim/pool.c - the model of a node's pool: a queue, so many workers, tasks begun, parked and resumed.
 *
 * Mirrors runtime/pool.c and away.c in what the mesh sees of them: who waits, who may go, that a push rings when others are
 * hungry, that a worker which finds nothing says so once. The script (the world's root) has a thread of its own. */
#include "tests/sim/sim.h"

#define LEAST_NS 20000u /* what is known to run for less stays */

static bool is_script(const sim_task *t) { return t->home->world->root == t; }

static void queue(sim_node *n, sim_task *t, bool first)
{
    if (first)
        lr_list_prepend(&n->queue, &t->queue_link);
    else
        lr_list_append(&n->queue, &t->queue_link);
    n->queue_count++;
}

static sim_task *unqueue(sim_node *n, bool newest)
{
    lr_link *l = newest && !lr_list_empty(&n->queue) ? n->queue.head.prev : lr_list_first(&n->queue);
    if (!l) return NULL;
    lr_link_remove(l);
    n->queue_count--;
    return LR_CONTAINER(l, sim_task, queue_link);
}

void sim_pool_push(sim_node *n, sim_task *t, bool first)
{
    t->phase = PHASE_QUEUED;
    queue(n, t, first);
    sim_pool_dispatch(n);
    if (n->queue_count > 0 && n->others_hungry) {
        n->others_hungry = false;
        sim_node_ring(n);
    }
}

bool sim_pool_claim(sim_task *t)
{
    if (!t->ended) {
        t->claimed = true;
        if (!sim_task_cancelled(t)) return true;
    }
    sim_task_over(t);
    return false;
}

static void begin(sim_node *n, sim_task *t)
{
    if (t->body) {
        t->phase = PHASE_RUNNING;
        n->busy++;
        if (t->spec_in) sim_node_feed(n, (lr_event){.kind = LR_EVENT_TASK_RESUMED, .spec = t->spec});
        sim_at(n->world, n->world->now_ns + 1, EVENT_BODY, n, t, 0);
        return;
    }
    if (!sim_pool_claim(t)) return;
    t->phase = PHASE_RUNNING;
    n->busy++;
    check_start(t);
    sim *w = n->world;
    w->stats.bodies++;
    if (w->stats.delays && w->stats.delay_count < w->config.tasks)
        w->stats.delays[w->stats.delay_count++] = w->now_ns - t->pushed_ns;
    if (t->spec_in)
        sim_node_feed(n, (lr_event){.kind = LR_EVENT_TASK_STARTED, .spec = t->spec, .at_ns = sim_node_now(n)});
    sim_program_begin(t);
}

void sim_pool_dispatch(sim_node *n)
{
    if (n->dead) return;
    while (n->busy < n->workers && n->queue_count > 0)
        begin(n, unqueue(n, n->world->config.big || sim_chance(n->world, 50)));
    if (n->busy == n->workers) n->sleeps = false;
    if (n->busy == n->workers || n->queue_count > 0 || n->sleeps) return;
    n->sleeps = true; /* one has found nothing to do */
    n->idle = true;
    sim_node_ring(n);
}

void sim_pool_leave(sim_task *t)
{
    sim_node *n = t->home;
    if (is_script(t)) return;
    LR_ASSERT(n->busy > 0);
    n->busy--;
    n->sleeps = false; /* the worker looks again, and tells if there is nothing */
}

void sim_pool_resume(sim_task *t)
{
    sim_node *n = t->home;
    if (t->phase != PHASE_PARKED || lr_link_in_list(&t->queue_link) || n->dead) return;
    if (is_script(t)) {
        t->phase = PHASE_RUNNING;
        sim_at(n->world, n->world->now_ns + 1, EVENT_BODY, n, t, 0);
        return;
    }
    queue(n, t, true);
    sim_pool_dispatch(n);
}

static bool may_go(const sim_node *n, const sim_task *t)
{
    if (t->guest || t->call.asks || t->body) return false;
    if (n->workers == 0) return true;
    return t->call.work_ns >= LEAST_NS || t->id.lo % 4 == 0; /* how long some run is not known yet */
}

/* The oldest, until one may not go: it goes behind the others, which are most likely of its kind. */
size_t sim_pool_take(sim_node *n, sim_task **out, size_t max)
{
    size_t count = 0;
    sim_task *t;
    while (count < max && (t = unqueue(n, false))) {
        if (!may_go(n, t)) {
            queue(n, t, false);
            break;
        }
        if (sim_pool_claim(t)) out[count++] = t;
    }
    return count;
}
