/* sched/broker.h - the global scheduler: brings together nodes that have work to give and nodes that have room.
 *
 * A role that several nodes of a cluster carry beside their own work. It holds no task: what is queued stays on
 * its node until the broker names another, and goes there straight. What it knows are the nodes' last words and what it
 * has given since; all of it can be lost, and is told again to the next broker.
 *
 *   plain work       idle(I, n): I can begin n tasks       surplus(S, m): S has m that wait
 *                        └────────── grant(S, I, k): send k of them to I ──────────┘
 *                    while somebody is idle and nobody has a surplus, every node is told once that work is wanted
 *                    (hungry); it answers by a surplus when it has one.
 *
 *   a task that asks for something       ask(S, task, what)  ──▶ placed(S, task, N)   N has room: sent there
 *   (a gpu, to be spread, ...)                               ──▶ (waits)              there will be room
 *                                                            ──▶ nowhere(S, task)     no node will ever have that
 *                                        done(task)          ──▶ its room on N is free again
 *
 * Not every node can connect to every other one (a firewall, a cut link): who could not says so (reach).
 *
 * Room is promised once: a node's room is what it last said, less what this broker has given and not heard the end of.
 * Two brokers may promise the same; then the tasks queue at the node, whose own scheduler starts what fits.
 *
 * Owns: the asks. The nodes are the caller's, from node_up to node_down. Thread: one. Blocks: never. */
#ifndef SCHED_BROKER_H
#define SCHED_BROKER_H

#include "sched/map.h"
#include "sched/place.h"

typedef struct lr_broker_node {
    lr_place_node place; /* id, total and free: the caller's; the rest the broker's. First */
    uint32_t idle, surplus;
    bool told;           /* that work is wanted, and has not answered */
    lr_link idle_link, surplus_link, untold_link;
    lr_list unreached;   /* nodes that it cannot connect to, oldest first */
    uint32_t unreached_count;
    lr_list asks, placed; /* made by it; to be run there */
    size_t index;
} lr_broker_node;

typedef struct lr_broker_hooks {
    void (*grant)(void *user, lr_broker_node *from, lr_broker_node *to, uint32_t count);
    void (*hungry)(void *user, lr_broker_node *node);
    void (*placed)(void *user, lr_broker_node *from, lr_id task, lr_broker_node *on);
    void (*nowhere)(void *user, lr_broker_node *from, lr_id task, const char *why);
    void *user;
} lr_broker_hooks;

typedef struct lr_broker_stats {
    uint64_t grants, granted; /* grants made; tasks in them */
    uint64_t asked, placed, nowhere;
} lr_broker_stats;

typedef struct lr_broker {
    lr_broker_hooks hooks;
    const lr_allocator *allocator;
    const lr_resource_names *names;
    lr_prng chance;
    lr_place_node **nodes;
    size_t node_count, node_capacity;
    lr_list idle, surplus; /* of nodes with some */
    lr_list untold;        /* of nodes without a surplus that were not told that work is wanted */
    lr_list waiting;       /* asks that no node has room for, oldest first */
    lr_map asks;           /* who asks and task, as one key -> ask */
    bool expects;          /* more nodes are on their way: nothing is nowhere yet */
    lr_broker_stats stats;
} lr_broker;

/* Hooks are called in the functions below, and must not call them. names and allocator stay the caller's. */
void lr_broker_init(lr_broker *b, const lr_allocator *a, const lr_resource_names *names, const lr_broker_hooks *hooks,
                    uint64_t seed);
void lr_broker_fini(lr_broker *b);

/* False: no memory; the node is not known then. */
LR_MUST_USE bool lr_broker_node_up(lr_broker *b, lr_broker_node *node);
/* Its asks are dropped; what was placed on it is forgotten (whoever asked asks again). */
void lr_broker_node_down(lr_broker *b, lr_broker_node *node);
/* node->place.free or total has changed. */
void lr_broker_node_changed(lr_broker *b);
/* Whether more nodes are on their way. */
void lr_broker_expect(lr_broker *b, bool more);

/* So many tasks it can begin; so many wait there that may go (a new count replaces the last). */
void lr_broker_idle(lr_broker *b, lr_broker_node *node, uint32_t count);
void lr_broker_surplus(lr_broker *b, lr_broker_node *node, uint32_t count);
/* `from` cannot connect to that node, or may try again: nothing is granted there for it, nor placed unless nobody else
 * could ever run it. So many are remembered of each node, the youngest. */
#define LR_BROKER_UNREACHED_MAX 64
void lr_broker_reach(lr_broker *b, lr_broker_node *from, lr_id node, bool able);
/* Of a grant so many were not sent: `from` has no more of them, `to` still waits. */
void lr_broker_unused(lr_broker *b, lr_broker_node *from, lr_broker_node *to, uint32_t count);

void lr_broker_ask(lr_broker *b, lr_broker_node *from, lr_id task, const lr_place_ask *ask);
/* It has ended, or is not wanted by that node any more (another may ask for the same task: the one whose parent was
 * started again). Unknown ones are welcome. */
void lr_broker_done(lr_broker *b, const lr_broker_node *from, lr_id task);

#endif
