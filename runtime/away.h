/* runtime/away.h - tasks of this node that run on another one: taken from the queues, ended from outside.
 *
 * A task goes away as it is claimed (queued -> running), with its arguments still here: the record is what it is made
 * again from when the other node dies. Its result comes back as an end like any other, so that whoever waits for it,
 * here or on a third node, waits in the same way. Tasks that the node machine holds are its own to send; a guest is
 * not sent on.
 *
 * Cost. Moving a task takes some microseconds on both sides; so only one goes that runs longer than that, or of which
 * nothing is known yet. What the workers here can begin soon stays.
 *
 * Owns: nothing; whoever took or claimed a task holds the queue's count of it until one of the last four. Thread: the
 * node thread. Blocks: never. */
#ifndef RUNTIME_AWAY_H
#define RUNTIME_AWAY_H

#include "runtime/pool.h"

#define LR_AWAY_LEAST_NS 20000 /* tasks known to be shorter stay */

/* How many tasks lie in the queues beyond those that workers who look around here will take; some may not go. */
size_t lr_away_count(lr_pool *p);
/* Takes up to max tasks that nobody here has begun, oldest first, and claims them; how many. */
size_t lr_away_take(lr_pool *p, lr_task **out, size_t max);
/* Claims one that is in no queue. False: it was cancelled; the count is gone. */
LR_MUST_USE bool lr_away_claim(lr_pool *p, lr_task *t);
/* It ended there. Takes over *result and the count. */
void lr_away_end(lr_pool *p, lr_task *t, lr_task_state state, lr_value *result);
/* It has ended here meanwhile. Takes over the count. */
void lr_away_over(lr_pool *p, lr_task *t);
/* It is queued here again, as that attempt. False: it was cancelled; the count is gone. True: the caller puts it where
 * it belongs, with the count. */
LR_MUST_USE bool lr_away_return(lr_pool *p, lr_task *t, uint32_t attempt);
/* It is given up, where it has not ended. Takes over the count. */
void lr_away_fail(lr_pool *p, lr_task *t, lr_err code, const char *message);

#endif
