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
}

/* A node that was chosen for a task, and not by its own wish, must be able to run it. */
void check_machine_fail(const sim_task *t, lr_err err)
{
    bool wished = t->call.affinity == LR_AFFINITY_NODE && lr_id_equal(t->call.node, t->home->id);
    if (err == LR_ERR_INFEASIBLE && t->guest && !wished)
        sim_violation(t->home->world, "3: task %016llx was sent to node %u, which could never run it",
                      (unsigned long long)t->id.lo, t->home->number);
}
