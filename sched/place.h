/* sched/place.h - placement: on which node a task shall run.
 *
 * A policy is one function in a file of its own: it says what a node would cost a task, in seconds of expected
 * waiting, from what is known of both. lr_place_best adds the policies up and takes the node with the least; among
 * equals chance decides (a seeded stream), so that many who place at once do not all choose the same. The costs are
 * those of Ray's and Sparrow's schedulers, as time: what waits there (load), what would have to move (locality), how
 * many of its kind it has (spread).
 *
 * With more than LR_PLACE_LOOK nodes a sample of so many is looked at (Mitzenmacher: The Power of Two Choices, 2001),
 * all only where none of them fits.
 * Owns: nothing. Units: seconds, bytes. Thread: any. Blocks: never. */
#ifndef SCHED_PLACE_H
#define SCHED_PLACE_H

#include "sched/prng.h"
#include "sched/spec.h"

#define LR_PLACE_LOOK 64
#define LR_PLACE_BYTES_PER_S 1e9 /* what moves between hosts in a second */

/* What is known of a node, by whoever places. */
typedef struct lr_place_node {
    lr_id id;
    lr_resources total;
    lr_resources free;  /* as the node last said */
    lr_resources given; /* of it, by this broker, to tasks that have not ended */
    double waits_s;     /* work that waits there, in seconds of the whole node */
    uint64_t spread;    /* tasks placed there to be spread */
    bool spared;        /* it must not die of a task: the script's process */
} lr_place_node;

/* What is known of a task. */
typedef struct lr_place_ask {
    lr_resources need;
    lr_affinity affinity;
    bool risky;          /* a node was lost with it, perhaps by it: not for one that is spared */
    lr_id node;          /* with LR_AFFINITY_NODE */
    lr_id near;          /* the node that has most of its inputs; nil: none has */
    uint64_t near_bytes; /* so many, which would have to move to any other node */
} lr_place_ask;

typedef double lr_place_policy(const lr_place_node *node, const lr_place_ask *ask);
lr_place_policy lr_place_load, lr_place_locality, lr_place_spread;

/* Whether it could ever run there; whether there is room now. */
bool lr_place_could(const lr_place_node *node, const lr_place_ask *ask);
bool lr_place_fits(const lr_place_node *node, const lr_place_ask *ask);
/* A node that is not to be taken, by the caller's own reasons. */
typedef bool lr_place_avoid(const void *user, const lr_place_node *node);
/* The cheapest node that fits and is not avoided (NULL: none is), or NULL. */
lr_place_node *lr_place_best(lr_place_node *const *nodes, size_t count, const lr_place_ask *ask, lr_prng *chance,
                             lr_place_avoid *avoid, const void *user);
/* Why none could ever run it: the resource that is short (an index), and the most that a node offers of it. */
int lr_place_short(lr_place_node *const *nodes, size_t count, const lr_place_ask *ask, int64_t *offered);

#endif
