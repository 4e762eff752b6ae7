/* tests/sim/check_3_starts.c - invariant 3: no task starts before its inputs are there, and only on a node that has room. */
#include "tests/sim/sim.h"

void check_start(const sim_task *t)
{
    const sim_node *n = t->home;
    unsigned long long id = t->id.lo;
    if (t->missing > 0 || t->call.input_count > 0)
        sim_violation(n->world, "3: task %016llx starts on node %u without its inputs", id, n->number);
    if (n->busy > n->workers) sim_violation(n->world, "3: node %u has %u tasks for %u workers", n->number, n->busy, n->workers);
    if (!lr_resources_fit(&n->total, &t->call.need))
        sim_violation(n->world, "3: task %016llx starts on node %u, which offers less than it needs", id, n->number);
    if (t->call.affinity == LR_AFFINITY_NODE && !lr_id_equal(t->call.node, n->id))
        sim_violation(n->world, "3: task %016llx is bound to another node than %u", id, n->number);
    if (n->number == 0 && t->guest && !n->world->config.may_fail && t->call.risky && t->attempt > 1 &&
        t->call.affinity != LR_AFFINITY_NODE)
        sim_violation(n->world, "3: task %016llx, with which a node was lost, was sent to the script's process", id);
}

/* The same of the script's own. */
void check_run_here(const sim_node *n, const lr_crossing *c)
{
    const sim_task *t = c->task.runtime;
    bool lost = c->task.attempt > t->left_attempt;
    if (n->number == 0 && lost && !n->world->config.may_fail && c->task.risky && t->call.affinity != LR_AFFINITY_NODE)
        sim_violation(n->world, "3: task %016llx, with which a node was lost, is run in the script's process",
                      (unsigned long long)t->id.lo);
}

/* A node that was chosen for a task, and not by its own wish, must be able to run it. */
void check_machine_fail(const sim_task *t, lr_err err)
{
    bool wished = t->call.affinity == LR_AFFINITY_NODE && lr_id_equal(t->call.node, t->home->id);
    if (err == LR_ERR_INFEASIBLE && t->guest && !wished)
        sim_violation(t->home->world, "3: task %016llx was sent to node %u, which could never run it",
                      (unsigned long long)t->id.lo, t->home->number);
}

/* A task with which a node was lost waits for another node while there is one, or one is on its way. */
void check_given_up(const sim_node *n, const lr_crossing *c, lr_err err)
{
    const lr_mesh *m = &n->mesh;
    if (n->number > 0 || c->kind != LR_CROSSING_SEEKING || !c->task.risky || err != LR_ERR_NODE_DIED || m->ending) return;
    bool could = m->broker.expects;
    for (size_t i = 0; i < m->broker.node_count; i++)
        could |= lr_place_could(m->broker.nodes[i], c->ask) && m->broker.nodes[i] != &m->self.node.place;
    if (could)
        sim_violation(n->world, "3: task %016llx is given up, and other nodes could run it, or are on their way",
                      (unsigned long long)c->task.id.lo);
}
