/* tests/sim/faults.c - what befalls a simulated cluster: seeded, until the faults are over; then everything is mended.
 *
 * Two phases: the safety phase, in which nodes die, come, stop, are slow and lose each other, and the liveness phase, in
 * which nothing happens any more and all work must end. The driver never dies (that ends the job), nor does one node that has
 * each resource, nor the link between these two. Owns: nothing. */
#include "tests/sim/sim.h"

/* In the same order everywhere, so that an index is the same resource on every node. Nobody has any `none`. */
static const char *const extras[] = {"tpu=0,none=0",         "tpu=0,none=0", "gpu=1,tpu=0,none=0",
                                     "gpu=0.5,tpu=0,none=0", "tpu=1,none=0", "gpu=2,tpu=1,none=0"};

static unsigned brokers(const sim *w)
{
    unsigned count = 0;
    for (unsigned i = 0; i < w->node_count; i++)
        count += !w->nodes[i]->dead && w->nodes[i]->is_broker;
    return count;
}

void sim_welcome(sim *w, sim_node *n)
{
    for (unsigned i = 1; i < w->node_count; i++) {
        const sim_node *other = w->nodes[i];
        char address[16];
        if (other == n || other->dead || !other->welcome) continue;
        snprintf(address, sizeof address, "%u", i);
        if (other->is_broker || n->is_broker || w->ahead) lr_mesh_reach(&n->mesh, other->id, address, other->is_broker);
    }
}

sim_node *sim_node_add(sim *w, const char *extra)
{
    unsigned workers = w->config.workers ? w->config.workers : 1 + (unsigned)sim_below(w, 4);
    bool broker = brokers(w) < w->brokers; /* as the driver says */
    sim_node *n = sim_node_new(w, broker, workers, extra);
    sim_link_open(w, w->nodes[0], n); /* the others when the driver has told it who they are */
    return n;
}

void sim_join(sim *w)
{
    if (w->root_ended) return;
    w->stats.joins++;
    (void)sim_node_add(w, extras[sim_below(w, LR_COUNT(extras))]);
}

void sim_faults_plan(sim *w)
{
    bool plain = w->config.alone || w->config.big;
    uint64_t count = w->config.nodes ? w->config.nodes : 2 + sim_below(w, 5);
    bool driver_works = sim_chance(w, 70), driver_has_all = sim_chance(w, 40);
    unsigned workers = w->config.alone ? 4 : w->config.big ? w->config.workers : driver_works ? 1 + (unsigned)sim_below(w, 3) : 0;
    if (w->config.alone || w->config.public) count = 1, driver_has_all = true; /* in a public one the others come and go */
    if (driver_has_all && workers == 0) workers = 1;
    lr_prng strict;
    lr_prng_seed(&strict, w->config.seed);
    w->strict = lr_prng_below(&strict, 2) == 0;
    w->walls = !plain && sim_chance(w, 40);
    w->ahead = !w->config.big && sim_chance(w, 30);
    w->brokers = w->config.brokers ? w->config.brokers : w->config.big ? 3 : 1 + (unsigned)sim_below(w, 3);
    sim_node_new(w, true, workers, driver_has_all && !w->config.big ? "gpu=2,tpu=1,none=0" : "gpu=0,tpu=0,none=0");
    for (uint64_t i = 1; i < count; i++) {
        bool sure = i == 1 && !driver_has_all;
        const char *extra = w->config.big ? "" : sure ? "gpu=1,tpu=1,none=0" : extras[sim_below(w, LR_COUNT(extras))];
        sim_node *n = sim_node_add(w, extra);
        if (i == 1) n->can_die = false; /* with a driver that does not work somebody must, too */
    }
    if (count > 1) {
        lr_mesh_expect(&w->nodes[0]->mesh, true);
        w->nodes[0]->expected = (unsigned)count - 1;
        w->nodes[0]->expect_until_ns = sim_node_now(w->nodes[0]) + 5 * S;
    }
    w->faults_left = plain ? 0 : (unsigned)sim_below(w, w->config.public ? 16 : 9);
    if (w->faults_left > 0) sim_at(w, sim_below(w, w->config.public ? 2 * S : 4 * MS), EVENT_FAULT, NULL, NULL, 0);
    if (w->config.public && !w->config.alone) sim_public_open(w);
    sim_program_root(w);
}

static sim_node *some_node(sim *w)
{
    for (int i = 0; i < 20; i++) {
        sim_node *n = w->nodes[sim_below(w, w->node_count)];
        if (!n->dead && n->number > 0) return n;
    }
    return w->nodes[0];
}

static void cut_some_link(sim *w)
{
    sim_node *a = some_node(w), *b = sim_chance(w, 20) ? w->nodes[0] : some_node(w);
    sim_link *l = a != b ? sim_link_between(w, a, b) : NULL;
    if (!l || (b->number == 0 && !a->can_die) || (a->number == 0 && !b->can_die)) return;
    w->stats.partitions++;
    sim_say(w, "link %u - %u is cut", a->number, b->number);
    sim_link_break(w, l, 30 * MS);
    bool may_last = a->number > 1 && b->number > 1; /* the one that has all must be reached again before others give up */
    if (sim_chance(w, 50)) sim_block(w, a, b, sim_below(w, sim_chance(w, 20) && may_last ? 20 * S : 100 * MS));
}

void sim_fault(sim *w)
{
    if (w->safe) return;
    sim_node *n = some_node(w), *any = sim_chance(w, 20) ? w->nodes[0] : n;
    uint64_t what = sim_below(w, 100);
    w->faults_left--;
    w->stats.faults++;
    if (w->public && sim_chance(w, 70)) {
        sim_public_fault(w);
    } else if (what < 30) {
        if (n->can_die && n->number > 0) sim_node_kill(n);
    } else if (what < 55) {
        cut_some_link(w);
    } else if (what < 70) {
        any->paused_until_ns = w->now_ns + sim_below(w, sim_chance(w, 20) ? 2 * S : 20 * MS);
        sim_say(w, "node %u stops for a while", any->number);
    } else if (what < 80) {
        any->slow = 2 + (unsigned)sim_below(w, 30);
    } else if (what < 88) {
        if (!any->expect_until_ns) any->clock_offset_ns += sim_below(w, 10 * S); /* else nobody is waited for any more */
    } else if (!w->public) {
        w->nodes[0]->expected++;
        sim_join(w);
    }
    if (w->faults_left > 0) sim_at(w, w->now_ns + sim_below(w, w->public ? 2 * S : 4 * MS), EVENT_FAULT, NULL, NULL, 0);
}

void sim_faults_over(sim *w)
{
    w->safe = true;
    w->safe_ns = w->now_ns;
    w->safe_messages = w->stats.messages;
    w->safe_events = w->stats.events;
    for (unsigned i = 0; i < w->node_count; i++) {
        sim_node *n = w->nodes[i];
        if (n->dead) continue;
        n->slow = 1;
        if (n->paused_until_ns > w->now_ns) n->paused_until_ns = w->now_ns; /* what was put off comes when it comes */
    }
    if (w->public) sim_public_mend(w);
}
