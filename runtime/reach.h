/* runtime/reach.h - the address of this machine by which it reaches its Redis, and so by which others can reach it.
 *
 * Nobody has to configure it: the nodes of a cluster reach the same Redis, so the interface that leads there is taken
 * for one that leads to them. Where Redis is on a socket of this machine, or on the loopback, the cluster is, too.
 * Owns: nothing. Thread: the store's. Blocks: never. */
#ifndef RUNTIME_REACH_H
#define RUNTIME_REACH_H

#include "runtime/control_redis.h"

#define LR_REACH_TEXT 80

/* Fills url with "tcp://ADDRESS:0" and returns whether that is the loopback. The store is ready. */
bool lr_reach_url(const lr_control *control, char url[LR_REACH_TEXT]);

#endif
