/* sched/way.h - the nodes that this one is connecting to, or could not connect to.
 *
 * A way begins when a node is named that there is no link to, and ends when the link is there or when nothing waits
 * for it any more after a failure. It is either being tried (up to LR_WAY_TRY_NS), or pauses, longer after each
 * failure. What waits for it: tasks that were placed there, and the number of those that a broker has granted. What is
 * done when it has failed or come is the mesh's (mesh.h).
 *
 * Owns: the ways, not what waits. Errors: NULL where there is no memory. Units: ns. Thread: one. Blocks: never. */
#ifndef SCHED_WAY_H
#define SCHED_WAY_H

#include "sched/list.h"
#include "sched/map.h"

#define LR_WAY_TRY_NS 6000000000u    /* longer than a handshake may take */
#define LR_WAY_PAUSE_NS 100000000u   /* after the first failure; then four times as long, up to */
#define LR_WAY_PAUSE_MOST_NS 3000000000u
#define LR_WAY_KEPT_TRIES 6          /* of one to a broker, for which nothing waits */

typedef struct lr_way {
    lr_link link; /* in ways->all */
    lr_id node;
    char *address; /* ends with a 0 */
    size_t address_bytes;
    bool kept;     /* to a broker */
    bool trying;
    bool told;     /* the brokers know that this node does not reach it */
    uint32_t tries; /* that have failed, one behind the other */
    uint64_t at_ns; /* the end of the try, or of the pause */
    lr_list waiting; /* of what was placed there */
    uint32_t granted;
    lr_id granted_by;
} lr_way;

typedef struct lr_ways {
    const lr_allocator *allocator;
    lr_map map; /* node -> lr_way */
    lr_list all;
    uint64_t first_ns; /* no way's time is over before */
} lr_ways;

void lr_ways_init(lr_ways *ways, const lr_allocator *a);
/* The way to a node, or NULL. */
lr_way *lr_ways_find(const lr_ways *ways, lr_id node);
/* A new one, which pauses until now. */
lr_way *lr_ways_add(lr_ways *ways, lr_id node, const char *address, size_t address_bytes, uint64_t now_ns);
/* Nothing waits for it. */
void lr_ways_drop(lr_ways *ways, lr_way *way);
/* The first whose time is over, or NULL. */
lr_way *lr_ways_due(lr_ways *ways, uint64_t now_ns);
/* Not before then will there be one; LR_NEVER: never. */
uint64_t lr_ways_deadline(const lr_ways *ways);
/* It is being tried, from now on; it has failed, and pauses. */
void lr_way_try(lr_ways *ways, lr_way *way, uint64_t now_ns);
void lr_way_failed(lr_ways *ways, lr_way *way, uint64_t now_ns);
void lr_ways_fini(lr_ways *ways);

#endif
