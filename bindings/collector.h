/* bindings/collector.h - futures in the order in which they end, each given out once.
 *
 * What lr.as_completed reads: watches a list of tasks and queues the index of each as it ends. Linear
 * in all for any length.
 * Owns: its watches, one count of every task. Thread: the state's; ends come from any. */
#ifndef BINDINGS_COLLECTOR_H
#define BINDINGS_COLLECTOR_H

#include "bindings/run.h"

struct lr_collector;
/* The next end wakes p (at once, if one is queued). Called by lr_wait_collector. */
void lr_collector_park(struct lr_collector *c, lr_park *p);
/* Afterwards nobody touches p through c. */
void lr_collector_unpark(struct lr_collector *c);
/* bindings/run.c: true when an end is queued, false at the deadline; parks as lr_wait_tasks does. */
int lr_wait_collector(lr_state *S, lua_State *L, struct lr_collector *c, uint64_t deadline_ns);

#endif
