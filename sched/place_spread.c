/* sched/place_spread.c - the policy of spreading: to the node that has got the fewest, whatever waits there. */
#include "sched/place.h"

double lr_place_spread(const lr_place_node *node, const lr_place_ask *ask)
{
    return ask->affinity == LR_AFFINITY_SPREAD ? 3600.0 * (double)node->spread : 0;
}
