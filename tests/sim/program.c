/* tests/sim/program.c - what the tasks of a simulated job do: a tree and a graph at once, made of the seed.
 *
 * A body is a function of its task's id and its call. It works, starts tasks, gives them futures that it holds as inputs or
 * inside arguments, gets some, cancels some, and returns a number made of all it saw, with futures in it. Tasks whose
 * end depends on what befalls the cluster (to be cancelled, with a deadline, few retries, a node of their own) are its secret:
 * it waits for them, and neither looks into them nor passes them on, so that the number is the same in every world. */
#include "tests/sim/sim.h"

#define CHILDREN 8

static uint64_t below(sim_body *b, uint64_t bound) { return lr_prng_below(&b->random, bound); }

static void know(sim_body *b, sim_task *t, bool secret)
{
    if (b->known_count == SIM_KNOWN) return;
    sim_task_retain(t);
    b->secret[b->known_count] = secret;
    b->known[b->known_count++] = t;
}

void sim_body_free(sim_task *t)
{
    sim_body *b = t->body;
    t->body = NULL;
    if (!b) return;
    if (b->gets < SIM_KNOWN) sim_task_unwatch(b->known[b->gets], t); /* it was cancelled while it waited */
    for (unsigned i = 0; i < b->known_count; i++)
        sim_task_release(b->known[i]);
    free(b);
}

void sim_program_begin(sim_task *t)
{
    sim *w = t->home->world;
    sim_body *b = t->body = calloc(1, sizeof *b);
    lr_prng_seed_task(&b->random, w->config.seed, t->id);
    b->left = t->call.size - 1;
    b->number = lr_mix64(t->call.number ^ t->id.lo);
    b->poisoned = t->call.poisoned;
    b->gets = SIM_KNOWN;
    for (unsigned i = 0; i < t->call.arg_count; i++)
        know(b, t->call.args[i], false);
    sim_mix(w, t->home, 0x300, t->id, t->attempt);
    sim_at(w, w->now_ns + 1 + t->call.work_ns * t->home->slow, EVENT_BODY, t->home, t, 0);
}

void sim_program_root(sim *w)
{
    sim_node *n = w->nodes[0];
    sim_task *t = sim_task_new(n, lr_id_from_seed(w->config.seed), NULL, 2); /* its body's, and the world's */
    w->root = t;
    t->call.size = w->config.tasks;
    t->phase = PHASE_RUNNING;
    t->claimed = true;
    sim_program_begin(t);
}

/* ---- starting tasks ----------------------------------------------------------------------------------- */

static uint64_t work_of(sim_body *b)
{
    static const uint64_t spans[] = {1 * US, 1 * US, 15 * US, 100 * US, 500 * US, 5 * MS};
    return 1 + below(b, spans[below(b, LR_COUNT(spans))]);
}

/* A future that it may pass on, or NULL. */
static sim_task *some_future(sim_body *b)
{
    if (b->known_count == 0) return NULL;
    unsigned i = (unsigned)below(b, b->known_count);
    return b->secret[i] ? NULL : b->known[i];
}

static void give_futures(sim_body *b, sim_call *c)
{
    sim_task *f;
    for (uint64_t n = below(b, 3); n > 0; n--) {
        if (!(f = some_future(b))) continue;
        sim_task_retain(f);
        if (below(b, 2)) c->inputs[c->input_count++] = f;
        else c->args[c->arg_count++] = f;
    }
}

/* Asks for something that a node has for as long as the job lasts, or that nobody ever has. */
static void ask_sure(sim_body *b, sim_call *c)
{
    c->asks = true;
    switch (below(b, 4)) {
    case 0: c->affinity = LR_AFFINITY_SPREAD; return;
    case 1: c->need.amount[LR_RESOURCE_GPU] = 5000 + 5000 * (int64_t)below(b, 2); return;
    case 2: c->need.amount[LR_RESOURCE_GPU] = LR_AMOUNT_ONE; return;
    default: c->need.amount[LR_RESOURCE_NAMED + (below(b, 4) == 0)] = LR_AMOUNT_ONE; /* the second nobody has */
    }
}

/* Its end depends on the weather. True: it is cancelled at once or later. */
static bool ask_secret(sim *w, sim_body *b, sim_call *c)
{
    uint64_t what = below(b, 5), which = below(b, 1000);
    if (what == 0) c->retries = (uint32_t)below(b, 2);
    if (what == 1) c->risky = true, c->retries = 1 + (uint32_t)(which % 8), c->asks = which % 2 == 1;
    if (what == 1 && c->asks) c->need.amount[LR_RESOURCE_GPU] = 5000;
    if (what == 2) c->asks = true, c->deadline_ns = 1 + below(b, 2 * MS), c->need.amount[LR_RESOURCE_GPU] = LR_AMOUNT_ONE;
    if (what == 3) c->asks = true, c->affinity = LR_AFFINITY_NODE, c->node = w->nodes[which % w->node_count]->id;
    return what == 4;
}

/* In a large world: a tree of tasks with eight children each, of mixed length, each of which waits for its own. */
static void start_plain(sim_task *t)
{
    sim *w = t->home->world;
    sim_body *b = t->body;
    uint64_t length = below(b, 100);
    sim_task *c = sim_task_new(t->home, lr_id_child(t->id, b->children), t, 2);
    c->call.size = (b->left + CHILDREN - 1 - (uint32_t)b->children) / (CHILDREN - (uint32_t)b->children);
    b->children++;
    b->left -= c->call.size;
    c->call.work_ns = length < 70 ? 100 * US + below(b, 200 * US) : length < 95 ? 1 * MS + below(b, 2 * MS) : 5 * MS + below(b, 20 * MS);
    know(b, c, false);
    sim_task_submit(c, w->now_ns);
    sim_task_release(c);
}

/* Starts one; true: it shall be cancelled. */
static void start_one(sim_task *t)
{
    sim *w = t->home->world;
    sim_body *b = t->body;
    bool cancels = false;
    uint32_t size = 1 + (uint32_t)below(b, b->left);
    if (size > 1 && below(b, 3)) size = 1 + size / 3;
    sim_task *c = sim_task_new(t->home, lr_id_child(t->id, b->children++), t, 2);
    b->left -= size;
    c->call.size = size;
    c->call.number = b->number;
    c->call.poisoned = b->poisoned;
    c->call.work_ns = work_of(b);
    give_futures(b, &c->call);
    if (below(b, 6) == 0) ask_sure(b, &c->call);
    else if (below(b, 8) == 0) c->secret = true, cancels = ask_secret(w, b, &c->call);
    if (c->secret && c->call.asks && w->config.alone) c->call.asks = false, c->call.deadline_ns = 0;
    c->call.asks |= c->call.affinity != LR_AFFINITY_NONE;
    know(b, c, c->secret);
    sim_say(w, "node %u: task %016llx starts %016llx of %u, %016llx%s%s", t->home->number, (unsigned long long)t->id.lo,
            (unsigned long long)c->id.lo, c->call.size, (unsigned long long)c->call.number, c->secret ? ", a secret" : "",
            c->call.poisoned ? ", poisoned" : "");
    for (unsigned i = 0; w->config.says && i < c->call.input_count + c->call.arg_count; i++)
        sim_say(w, "    %s %016llx", i < c->call.input_count ? "after" : "with",
                (unsigned long long)(i < c->call.input_count ? c->call.inputs[i] : c->call.args[i - c->call.input_count])->id.lo);
    sim_task_submit(c, w->now_ns);
    if (cancels && below(b, 2)) sim_task_cancel(c);
    else if (cancels) sim_at(w, w->now_ns + below(b, 1 * MS), EVENT_LOOK, NULL, NULL, 0);
    if (cancels) c->stop_by_ns = 1; /* before the body returns */
    sim_task_release(c); /* what the body knows of it holds it */
}

/* ---- getting ------------------------------------------------------------------------------------------ */

static void look_into(sim_body *b, unsigned i)
{
    const sim_value *v = &b->known[i]->value;
    b->got[i] = true;
    if (b->secret[i]) return;
    b->number = lr_mix64(b->number ^ v->number);
    b->poisoned |= v->poisoned;
    for (unsigned k = 0; k < v->future_count; k++)
        know(b, v->futures[k], false);
}

/* True: it is parked until the i-th is there. */
static bool get(sim_task *t, unsigned i)
{
    sim_body *b = t->body;
    if (b->got[i]) return false;
    if (b->known[i]->ended) {
        look_into(b, i);
        return false;
    }
    b->gets = i;
    t->phase = PHASE_PARKED;
    (void)sim_task_watch(b->known[i], NULL, t, NULL);
    sim_pool_leave(t);
    if (t->spec_in) sim_node_feed(t->home, (lr_event){.kind = LR_EVENT_TASK_PARKED, .spec = t->spec});
    sim_pool_dispatch(t->home);
    return true;
}

static void cancel_those(sim_body *b)
{
    for (unsigned i = 0; i < b->known_count; i++)
        if (b->secret[i] && b->known[i]->stop_by_ns && !b->known[i]->ended) sim_task_cancel(b->known[i]);
}

/* ---- ends --------------------------------------------------------------------------------------------- */

static void leave(sim_task *t)
{
    sim_node *n = t->home;
    sim_pool_leave(t);
    sim_task_over(t); /* t may be gone */
    sim_pool_dispatch(n);
}

static void give_back(sim_task *t)
{
    sim *w = t->home->world;
    sim_body *b = t->body;
    sim_value v = {.state = LR_TASK_READY, .number = b->number, .poisoned = b->poisoned};
    if (!w->strict && t != w->root && !w->config.big)
        for (uint64_t k = below(b, SIM_FUTURES + 1); k > 0; k--) {
            sim_task *f = some_future(b);
            if (!f) continue;
            sim_task_retain(f);
            v.futures[v.future_count++] = f;
        }
    check_value_computed(t, &v);
    w->stats.bodies_done++;
    w->stats.last_body_ns = w->now_ns;
    w->stats.work_ns += t->call.work_ns;
    sim_task_end(t, &v);
    leave(t);
}

/* What holds a resource never waits: it might be for one that needs it, too. */
static bool may_wait(const sim_task *t)
{
    for (int i = 1; i < LR_RESOURCE_COUNT; i++)
        if (t->call.need.amount[i] > 0) return false;
    return true;
}

/* It wants the end of all that it knows, or of most. */
static bool get_the_rest(sim_task *t)
{
    sim_body *b = t->body;
    bool all = t == t->home->world->root || t->home->world->config.big;
    if (!may_wait(t)) return false;
    for (unsigned i = 0; i < b->known_count; i++) {
        if (b->got[i]) continue;
        if (!all && b->known[i]->id.lo % 5 == 0) continue; /* started, and not waited for */
        if (get(t, i)) return true;
    }
    return false;
}

/* Goes on until it parks, works for a while or is over. */
void sim_program_step(sim_task *t)
{
    sim *w = t->home->world;
    sim_body *b = t->body;
    if (t->phase != PHASE_RUNNING) return;
    if (sim_task_cancelled(t)) {
        leave(t);
        return;
    }
    if (b->gets < SIM_KNOWN) look_into(b, b->gets), b->gets = SIM_KNOWN;
    while (b->left > 0) {
        if (w->config.big) {
            start_plain(t);
            continue;
        }
        start_one(t);
        if (w->config.public && t == w->root && b->left > 0 && below(b, 2)) { /* leases are long: the script takes its time */
            uint64_t long_ns = below(b, 2 * S);
            sim_at(w, w->now_ns + (w->config.alone ? 1 : long_ns), EVENT_BODY, t->home, t, 0);
            return;
        }
        if (b->left > 0 && below(b, 4) == 0) { /* works for a while */
            sim_at(w, w->now_ns + work_of(b) * t->home->slow, EVENT_BODY, t->home, t, 0);
            return;
        }
        if (below(b, 3) == 0 && may_wait(t) && get(t, (unsigned)below(b, b->known_count))) return;
    }
    if (!b->returning) cancel_those(b);
    b->returning = true;
    if (!get_the_rest(t)) give_back(t);
}
