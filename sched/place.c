#include "sched/place.h"

#include "sched/fault.h"

static lr_place_policy *const policies[] = {lr_place_load, lr_place_locality, lr_place_spread};

static bool cannot_spare(const lr_place_node *node, const lr_place_ask *ask)
{
    return ask->risky && node->spared && !LR_FAULT(SCRIPT_RISKED);
}

/* A node without cpus runs nothing, whatever the task asks for. */
bool lr_place_could(const lr_place_node *node, const lr_place_ask *ask)
{
    if (ask->affinity == LR_AFFINITY_NODE) return lr_id_equal(ask->node, node->id); /* it says itself what it lacks */
    if (node->total.amount[LR_RESOURCE_CPU] <= 0 || cannot_spare(node, ask)) return false;
    return LR_FAULT(NO_ROOM) || lr_resources_fit(&node->total, &ask->need);
}

/* A node that is asked to spread tasks takes them all and lets them wait. For cpus a task never waits here, but on the
 * node that has the fewest given (place_load.c): what is parked there has given its own back, and may wait for this. */
bool lr_place_fits(const lr_place_node *node, const lr_place_ask *ask)
{
    if (!lr_place_could(node, ask)) return false;
    if (ask->affinity != LR_AFFINITY_NONE) return true;
    for (int i = LR_RESOURCE_CPU + 1; i < LR_RESOURCE_COUNT; i++) {
        int64_t left = node->total.amount[i] - node->given.amount[i], said = node->free.amount[i];
        if (ask->need.amount[i] > (left < said ? left : said) && !LR_FAULT(NO_ROOM)) return false;
    }
    return true;
}

static double cost_of(const lr_place_node *node, const lr_place_ask *ask)
{
    double cost = 0;
    for (size_t i = 0; i < LR_COUNT(policies); i++)
        cost += policies[i](node, ask);
    return cost;
}

typedef struct best {
    lr_place_avoid *avoid;
    const void *user;
    lr_place_node *node;
    double cost;
    uint64_t equals;
} best;

static void look(best *b, lr_place_node *node, const lr_place_ask *ask, lr_prng *chance)
{
    if (!lr_place_fits(node, ask) || (b->avoid && b->avoid(b->user, node))) return;
    double cost = cost_of(node, ask);
    if (b->node && cost > b->cost) return;
    b->equals = b->node && cost == b->cost ? b->equals + 1 : 1; /* each of k equals is taken with chance 1/k */
    if (b->equals > 1 && lr_prng_below(chance, b->equals) != 0) return;
    b->node = node;
    b->cost = cost;
}

lr_place_node *lr_place_best(lr_place_node *const *nodes, size_t count, const lr_place_ask *ask, lr_prng *chance,
                             lr_place_avoid *avoid, const void *user)
{
    best b = {.avoid = avoid, .user = user};
    if (count > LR_PLACE_LOOK)
        for (size_t i = 0; i < LR_PLACE_LOOK; i++)
            look(&b, nodes[lr_prng_below(chance, count)], ask, chance);
    if (b.node) return b.node;
    for (size_t i = 0; i < count; i++)
        look(&b, nodes[i], ask, chance);
    return b.node;
}

int lr_place_short(lr_place_node *const *nodes, size_t count, const lr_place_ask *ask, int64_t *offered)
{
    int which = -1;
    *offered = 0;
    for (int i = 0; i < LR_RESOURCE_COUNT && which < 0; i++) { /* one that no node has enough of */
        int64_t most = 0;
        for (size_t k = 0; k < count; k++)
            if (nodes[k]->total.amount[i] > most) most = nodes[k]->total.amount[i];
        if (ask->need.amount[i] > most) which = i, *offered = most;
    }
    for (size_t k = 0; k < count && which < 0; k++) { /* or each has too little of something */
        which = lr_resources_short(&nodes[k]->total, &ask->need);
        if (which >= 0) *offered = nodes[k]->total.amount[which];
    }
    return which;
}
