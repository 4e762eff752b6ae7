/* tests/sim/pool.c - the model of a node's pool: a queue, so many workers, tasks begun, parked and resumed.
 *
 * Mirrors runtime/pool.c and away.c in what the mesh sees of them: who waits, who may go, that a push rings when others are
 * hungry, that a worker which finds nothing says so once. The script (the world's root) has a thread of its own. */
#include "tests/sim/sim.h"

#define FAIR_TURNS 61   /* as runtime/pool.c: so often what was injected goes before a worker's own */
#define LEAST_NS 20000u /* what is known to run for less stays */

static bool is_script(const sim_task *t) { return t->home->world->root == t; }

static void queue(sim_node *n, lr_list *list, sim_task *t, bool first)
{
    if (first)
        lr_list_prepend(list, &t->queue_link);
    else
        lr_list_append(list, &t->queue_link);
    n->queue_count++;
    if (list == &n->woken) n->woken_count++;
}

void sim_pool_unqueue(sim_task *t)
{
    lr_link_remove(&t->queue_link);
    t->home->queue_count--;
    if (t->body) t->home->woken_count--; /* it has begun before */
}

static sim_task *take_one(lr_list *list, bool newest)
{
    lr_link *l = newest && !lr_list_empty(list) ? list->head.prev : lr_list_first(list);
    if (!l) return NULL;
    sim_task *t = LR_CONTAINER(l, sim_task, queue_link);
    sim_pool_unqueue(t);
    return t;
}

/* What a worker begins next. In small worlds it may be any, as with several workers that steal. */
static sim_task *next_task(sim_node *n)
{
    sim_task *t = take_one(&n->woken, false);
    bool big = n->world->config.big, injected_first = big ? ++n->taken % FAIR_TURNS == 0 : sim_chance(n->world, 50);
    if (!t && injected_first) t = take_one(&n->injected, false);
    if (!t) t = take_one(&n->queue, big || sim_chance(n->world, 50));
    return t ? t : take_one(&n->injected, false);
}

void sim_pool_push(sim_node *n, sim_task *t, bool first)
{
    t->phase = PHASE_QUEUED;
    queue(n, t->guest || t->call.asks ? &n->injected : &n->queue, t, first);
    sim_pool_dispatch(n);
    if (n->queue_count > n->woken_count && n->others_hungry) {
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
    sim *w = n->world;
    if (t->body) {
        t->phase = PHASE_RUNNING;
        n->busy++;
        if (t->spec_in) sim_node_feed(n, (lr_event){.kind = LR_EVENT_TASK_RESUMED, .spec = t->spec});
        sim_at(w, w->now_ns + 1, EVENT_BODY, n, t, 0);
        return;
    }
    if (!sim_pool_claim(t)) return;
    t->phase = PHASE_RUNNING;
    n->busy++;
    check_start(t);
    w->stats.bodies++;
    if (w->stats.delays) sim_span(w->stats.delays, w->now_ns - t->pushed_ns);
    if (w->stats.delays && t->left_ns) sim_span(w->stats.hops, w->now_ns - t->left_ns);
    if (t->spec_in)
        sim_node_feed(n, (lr_event){.kind = LR_EVENT_TASK_STARTED, .spec = t->spec, .at_ns = sim_node_now(n)});
    sim_program_begin(t);
}

void sim_pool_dispatch(sim_node *n)
{
    if (n->dead) return;
    while (n->busy < n->workers && n->queue_count > 0)
        begin(n, next_task(n));
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
    queue(n, &n->woken, t, false);
    sim_pool_dispatch(n);
}

static bool may_go(const sim_node *n, const sim_task *t)
{
    if (t->guest || t->call.asks) return false;
    if (n->workers == 0) return true;
    return t->call.work_ns >= LEAST_NS || t->id.lo % 4 == 0; /* how long some run is not known yet */
}

/* The oldest of a list, until one may not go: it goes behind the others, which are most likely of its kind. */
static size_t take_from(sim_node *n, lr_list *list, sim_task **out, size_t max)
{
    size_t count = 0;
    sim_task *t;
    while (count < max && (t = take_one(list, false))) {
        if (!may_go(n, t)) {
            queue(n, &n->injected, t, false);
            break;
        }
        if (sim_pool_claim(t)) out[count++] = t;
    }
    return count;
}

size_t sim_pool_take(sim_node *n, sim_task **out, size_t max)
{
    size_t count = take_from(n, &n->injected, out, max);
    return count + take_from(n, &n->queue, out + count, max - count);
}
