/* tests/sim/check_5_reachable.c - invariant 5: a value that somebody can still reach is there, or is being made.
 *
 * Every record that has not ended has something on its node that will end it; and where that is a crossing, and nothing is on
 * its way between the two nodes, the other side has the counterpart: AWAY a GUEST, BORROW a WATCH, SEEKING an ask. */
#include "tests/sim/sim.h"

typedef unsigned long long ull;

static bool among(const lr_list *list, lr_id id)
{
    for (lr_link *l = lr_list_first(list); l; l = lr_list_next(list, l))
        if (lr_id_equal(LR_CONTAINER(l, lr_crossing, link)->task.id, id)) return true;
    return false;
}

static bool is_crossing(const sim_node *n, const sim_task *t)
{
    const lr_mesh *m = &n->mesh;
    if (lr_link_in_list(&t->place_link)) return true;
    if (lr_map_find(&m->seeking, t->id) || among(&m->lost, t->id)) return true;
    const lr_mesh_peer *p;
    for (size_t position = 0; (p = lr_map_next(&m->peers, &position));)
        if (lr_map_find(&p->away, t->id) || (t->phase == PHASE_ELSEWHERE && lr_map_find(&p->borrows, t->id))) return true;
    return false;
}

static bool has_source(const sim_node *n, const sim_task *t)
{
    switch (t->phase) {
    case PHASE_WAITING: return t->missing > 0;
    case PHASE_QUEUED: return lr_link_in_list(&t->queue_link);
    case PHASE_MACHINE: return t->spec_in;
    case PHASE_RUNNING:
    case PHASE_PARKED: return t->body != NULL;
    case PHASE_MESH:
    case PHASE_ELSEWHERE: return is_crossing(n, t) || sim_lineage_has(n, t);
    case PHASE_OVER: break;
    }
    return false;
}

static void check_sources(const sim_node *n)
{
    for (lr_link *l = lr_list_first(&n->records); l; l = lr_list_next(&n->records, l)) {
        const sim_task *t = LR_CONTAINER(l, sim_task, link);
        if (!t->ended && !has_source(n, t))
            sim_violation(n->world, "5: nothing will ever end task %016llx on node %u (phase %d)", (ull)t->id.lo, n->number,
                          (int)t->phase);
    }
}

static bool is_quiet(const sim_link *l)
{
    if (l->cut || l->flying || l->over[0] || l->over[1] || !l->peer[0] || !l->peer[1]) return false;
    for (int i = 0; i < 2; i++)
        if (l->end[i]->dead || l->end[i]->inbox || l->end[i]->ended || l->end[i]->cancels) return false;
    return true;
}

/* What `side` has at the other, and the other has of it. */
static void check_pair(const sim_link *l, unsigned side)
{
    const sim_node *n = l->end[side], *other = l->end[!side];
    const lr_mesh_peer *mine = l->peer[side], *theirs = l->peer[!side];
    sim *w = n->world;
    const lr_crossing *c;
    for (size_t at = 0; mine->away.slots && (c = lr_map_next(&mine->away, &at));) {
        const lr_crossing *guest = lr_map_find(&theirs->guests, c->task.id);
        const sim_task *t = c->task.runtime;
        if (!guest) sim_violation(w, "5: task %016llx of node %u is not at node %u", (ull)c->task.id.lo, n->number, other->number);
        else if (sim_task_is_cancelled(t) && !sim_task_is_cancelled(((const sim_guest *)guest->task.runtime)->t))
            sim_violation(w, "6: task %016llx was cancelled on node %u and goes on at node %u", (ull)c->task.id.lo, n->number,
                          other->number);
    }
    for (size_t at = 0; theirs->guests.slots && (c = lr_map_next(&theirs->guests, &at));)
        if (!lr_map_find(&mine->away, c->task.id))
            sim_violation(w, "6: task %016llx at node %u is not wanted by node %u", (ull)c->task.id.lo, other->number, n->number);
    for (size_t at = 0; mine->borrows.slots && (c = lr_map_next(&mine->borrows, &at));)
        if (!lr_map_find(&theirs->watches, c->task.id))
            sim_violation(w, "5: node %u waits for task %016llx, and node %u does not know", n->number, (ull)c->task.id.lo,
                          other->number);
    if (mine->loans.count > 0 && !w->config.may_fail) /* without memory the rest of a message is not taken in */
        sim_violation(w, "6: node %u lends node %u a future that nobody asks for", n->number, other->number);
}

void check_reachable(sim *w)
{
    for (unsigned i = 0; i < w->node_count && !w->failed; i++)
        if (!w->nodes[i]->dead) check_sources(w->nodes[i]);
    for (lr_link *i = lr_list_first(&w->links); i && !w->failed; i = lr_list_next(&w->links, i)) {
        const sim_link *l = LR_CONTAINER(i, sim_link, link);
        if (!is_quiet(l)) continue;
        check_pair(l, 0);
        check_pair(l, 1);
    }
}
