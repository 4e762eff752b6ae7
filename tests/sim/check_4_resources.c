/* tests/sim/check_4_resources.c - invariant 4: resources are never promised twice.
 *
 * A node's are held from start to end, by books of the world's own. A broker promises no more of a node than that has;
 * two brokers may promise the same, then tasks wait on the node (what is given is compared for each broker alone). */
#include "tests/sim/sim.h"

static bool is_counted(const sim_task *t) { return t->spec_in && t->phase != PHASE_MACHINE && t->phase != PHASE_OVER; }

static void check_held(const sim_node *n)
{
    lr_resources held = {{0}};
    for (lr_link *l = lr_list_first(&n->records); l; l = lr_list_next(&n->records, l)) {
        const sim_task *t = LR_CONTAINER(l, sim_task, link);
        for (int i = 1; i < LR_RESOURCE_COUNT && is_counted(t); i++)
            held.amount[i] += t->call.need.amount[i];
    }
    for (int i = 1; i < LR_RESOURCE_COUNT; i++)
        if (held.amount[i] > n->total.amount[i])
            sim_violation(n->world, "4: tasks on node %u hold %lld of resource %d, it has %lld", n->number,
                          (long long)held.amount[i], i, (long long)n->total.amount[i]);
}

static void check_given(const sim_node *n)
{
    for (size_t k = 0; k < n->mesh.broker.node_count; k++) {
        const lr_place_node *p = n->mesh.broker.nodes[k];
        for (int i = 0; i < LR_RESOURCE_COUNT; i++) {
            if (p->given.amount[i] < 0)
                sim_violation(n->world, "4: broker %u has more back of resource %d than it gave", n->number, i);
            if (i != LR_RESOURCE_CPU && p->given.amount[i] > p->total.amount[i]) /* what is spread takes cpus, and waits */
                sim_violation(n->world, "4: broker %u gave %lld of resource %d of a node that has %lld", n->number,
                              (long long)p->given.amount[i], i, (long long)p->total.amount[i]);
        }
    }
}

void check_machine_start(const sim_task *t)
{
    const sim_node *n = t->home;
    const lr_resources *free = lr_node_available(n->machine);
    for (int i = 1; i < LR_RESOURCE_COUNT; i++)
        if (free->amount[i] < 0) sim_violation(n->world, "4: node %u started more than it has room for", n->number);
}

void check_resources(sim *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        if (w->nodes[i]->dead) continue;
        check_held(w->nodes[i]);
        check_given(w->nodes[i]);
    }
}
