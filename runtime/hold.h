/* runtime/hold.h - cpus for one task alone: a task with cpu = n > 1 keeps n - 1 other workers from running bodies.
 *
 * A body that wants others to stand aside files a claim and waits, first come first served. Until it is granted it
 * counts as standing aside itself, so that claims that wait for each other's workers cannot block each other: when all
 * workers wait or stand aside, the oldest claim has what it wants. A body that parks, waits on its stack or
 * yields lets its cpus go and claims them again before it goes on: what it waits for may need the others.
 * Owns: the counts and the queue of claims (in the claimants' memory). Never starts or picks work.
 * Thread: workers with a loop. Blocks: lr_pool_hold(on) and lr_hold_stand_aside, until granted or let go. */
#ifndef RUNTIME_HOLD_H
#define RUNTIME_HOLD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct lr_pool;
struct lr_worker;
struct lr_claim;

typedef struct lr_hold {
    pthread_mutex_t lock;
    struct lr_claim *first, *last; /* not granted yet, oldest first */
    int32_t granted;               /* workers that granted bodies keep aside */
    int32_t aside;                 /* workers that stand aside, and claimants that wait */
    _Atomic int32_t wanted;        /* how many more ought to stand aside; below 0: that many may leave */
} lr_hold;

void lr_hold_init(lr_hold *h);
/* Whether a worker that looks for work ought to stand aside instead. */
static inline bool lr_hold_wants(lr_hold *h)
{
    return atomic_load_explicit(&h->wanted, memory_order_seq_cst) > 0;
}
/* Stands aside while that is wanted. */
void lr_hold_stand_aside(struct lr_worker *w);

#endif
