/* sched/place_load.c - the policy of load: a task waits for what waits there already. */
#include "sched/place.h"

double lr_place_load(const lr_place_node *node, const lr_place_ask *ask)
{
    (void)ask;
    int64_t total = node->total.amount[LR_RESOURCE_CPU], given = node->given.amount[LR_RESOURCE_CPU];
    /* with nothing known of how long tasks run, a full node is a millisecond worse than an empty one */
    double fullness = total > 0 ? (double)given / (double)total : 1;
    return node->waits_s + 1e-3 * fullness;
}
