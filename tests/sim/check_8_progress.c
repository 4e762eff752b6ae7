/* tests/sim/check_8_progress.c - invariant 8: with the faults over all work ends in bounded time, and with bounded talk.
 *
 * An idle cluster says nothing: that the world comes to its end at all shows it. */
#include "tests/sim/sim.h"

#define BOUND_NS (90 * S) /* six dials of a broker that is gone, each 5 s without an answer, and their pauses; tasks: four */

void check_progress(sim *w)
{
    if (!w->safe || w->config.big || (w->public && w->root_ended)) return;
    if (w->now_ns - w->safe_ns > BOUND_NS)
        sim_violation(w, "8: %llu s after the last fault there is still work (the script has %s)",
                      (unsigned long long)(BOUND_NS / S), w->root->ended ? "ended" : "not ended");
    uint64_t nodes = w->node_count, bound = 20000 + 200 * nodes * nodes + 40 * (uint64_t)w->config.tasks;
    if (w->stats.messages - w->safe_messages > bound)
        sim_violation(w, "8: %llu messages since the last fault: the nodes talk and talk",
                      (unsigned long long)(w->stats.messages - w->safe_messages));
    if (w->stats.events - w->safe_events > 4 * bound)
        sim_violation(w, "8: %llu events since the last fault: something turns and turns",
                      (unsigned long long)(w->stats.events - w->safe_events));
}

/* At rest a broker knows of every node at least what that has told: else its workers sleep while there is work. */
void check_idle_known(sim *w)
{
    for (lr_link *i = lr_list_first(&w->links); i && !w->config.may_fail; i = lr_list_next(&w->links, i)) {
        const sim_link *l = LR_CONTAINER(i, sim_link, link);
        for (unsigned side = 0; side < 2; side++) {
            const sim_node *broker = l->end[side], *n = l->end[!side];
            if (!broker->is_broker || !l->peer[0] || !l->peer[1] || l->cut || n->mesh.idle_told == UINT32_MAX) continue;
            if (l->peer[side]->node.idle < n->mesh.idle_told)
                sim_violation(w, "8: node %u has told that it can begin %u tasks, broker %u knows of %u", n->number,
                              n->mesh.idle_told, broker->number, l->peer[side]->node.idle);
        }
    }
}

/* A turn that never ends cannot be left but so. */
void check_turn(sim_node *n)
{
    if (++n->asked_in_turn > 100000) lr_assert_failed("8: a turn ends", __FILE__, __LINE__);
}
