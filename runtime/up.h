/* runtime/up.h - `luarun up` and `luarun down`: a cluster of this user on this machine, in the background.
 *
 *     luarun up ──▶ supervisor (no Lua, one thread) ──▶ redis-server      unless a URL was given
 *                                                  └──▶ agents (agent.h) ──▶ job processes
 *
 * Whatever ends is started again. Every process dies with its parent, so that a supervisor that is killed takes all
 * with it; the files that it leaves are cleared by the next up or down. The supervisor holds a lock on a file of the
 * state folder (statedir.h) while it lives: that, and no process id, says that a cluster is up. `down` asks it to end,
 * and waits.
 * Owns: the state folder while it is up. Thread: the program's first, before any other. Blocks: up until every node is
 * registered, or with `foreground` for the cluster's life; down until the end. */
#ifndef RUNTIME_UP_H
#define RUNTIME_UP_H

#include "runtime/config.h"

#define LR_UP_NODES_MAX 64

typedef struct lr_up_config {
    const lr_config *config; /* workers, resources; cluster: of a Redis that is there already, or empty */
    const char *name;        /* of the cluster; "": what the URL says, or "default" */
    unsigned nodes;
    bool foreground;
} lr_up_config;

/* The exit status; what is wrong is one line on standard error. Prints "luarun --cluster URL". */
int lr_up_run(const lr_up_config *up);
int lr_down_run(const char *name);

#endif
