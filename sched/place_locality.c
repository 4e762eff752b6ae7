/* sched/place_locality.c - the policy of locality: inputs that lie on another node must move first. */
#include "sched/place.h"

double lr_place_locality(const lr_place_node *node, const lr_place_ask *ask)
{
    if (lr_id_is_nil(ask->near) || lr_id_equal(ask->near, node->id)) return 0;
    return (double)ask->near_bytes / LR_PLACE_BYTES_PER_S;
}
