/* tests/sim/check_6_freed.c - invariant 6: what nobody can reach is freed.
 *
 * After the last job every map, list and count of a mesh and its broker is zero, no record is left, and once the mesh has
 * ended its allocator has every byte back; so it is for a mesh that ends in the midst of its work. Guests whose giver is gone
 * are stopped. */
#include "tests/sim/sim.h"

#define WANT_ZERO(what) \
    if ((what) != 0) sim_violation(n->world, "6: node %u is done, and " #what " is %lld", n->number, (long long)(what))

void check_freed_node(const sim_node *n)
{
    const lr_mesh *m = &n->mesh;
    WANT_ZERO(m->seeking.count);
    WANT_ZERO(m->lost_count);
    WANT_ZERO(m->away_count);
    WANT_ZERO(m->guest_count);
    WANT_ZERO(!lr_list_empty(&m->settled));
    WANT_ZERO(!lr_list_empty(&m->granted));
    WANT_ZERO(!lr_list_empty(&m->lost));
    const lr_mesh_peer *p;
    for (size_t at = 0; (p = lr_map_next(&m->peers, &at));) {
        WANT_ZERO(p->away.count);
        WANT_ZERO(p->guests.count);
        if (!n->world->config.may_fail) WANT_ZERO(p->loans.count);
        WANT_ZERO(p->borrows.count);
        WANT_ZERO(p->watches.count);
    }
    const lr_broker *b = &m->broker;
    WANT_ZERO(b->asks.count);
    WANT_ZERO(!lr_list_empty(&b->waiting));
    for (size_t i = 0; i < b->node_count; i++)
        for (int k = 0; k < LR_RESOURCE_COUNT; k++)
            WANT_ZERO(b->nodes[i]->given.amount[k]);
    WANT_ZERO(!lr_list_empty(&n->origins));
    WANT_ZERO(!lr_list_empty(&n->followers));
    WANT_ZERO(n->queue_count);
    WANT_ZERO(n->busy);
    WANT_ZERO(lr_node_queued(n->machine) + lr_node_in_pool(n->machine) + lr_node_parked(n->machine));
    if (!n->world->config.may_fail) WANT_ZERO(n->record_count - (n->number == 0)); /* the script's own */
}

void check_freed_memory(const sim_node *n) { WANT_ZERO(n->memory.bytes); }

/* A guest that nobody waits for any more is on its way to its end. */
void check_unwanted(sim *w)
{
    for (unsigned i = 0; i < w->node_count; i++) {
        const sim_node *n = w->nodes[i];
        if (n->dead) continue;
        for (lr_link *l = lr_list_first(&n->records); l; l = lr_list_next(&n->records, l)) {
            const sim_task *t = LR_CONTAINER(l, sim_task, link);
            for (const sim_waiter *x = t->waiters; x && t->guest; x = x->next)
                if (x->guest && x->guest->crossing->kind == LR_CROSSING_GUEST && !x->guest->crossing->peer)
                    sim_violation(w, "6: task %016llx on node %u goes on, and whoever wanted it is gone",
                                  (unsigned long long)t->id.lo, n->number);
        }
    }
}
