/* runtime/pile.h - what any thread leaves for one thread to work off: a stack without a lock, taken whole.
 *
 * Treiber's stack (1986), of which nobody ever takes a single piece: so no piece is seen twice, and none need be
 * marked. The link lies in the piece, which is in one pile at a time.
 * Owns: nothing. Thread: put by any, take by one. Blocks: never. */
#ifndef RUNTIME_PILE_H
#define RUNTIME_PILE_H

#include "sched/base.h"

#include <stdatomic.h>

typedef struct lr_piled {
    struct lr_piled *next;
} lr_piled;

typedef struct lr_pile {
    _Atomic(lr_piled *) top; /* NULL: it is empty */
} lr_pile;

/* True: there was nothing before. */
static inline bool lr_pile_put(lr_pile *pile, lr_piled *piece)
{
    lr_piled *top = atomic_load_explicit(&pile->top, memory_order_relaxed);
    do {
        piece->next = top;
    } while (!atomic_compare_exchange_weak(&pile->top, &top, piece));
    return !top;
}

/* All of it, by next, the newest first; NULL: nothing. */
static inline lr_piled *lr_pile_take(lr_pile *pile)
{
    return atomic_load(&pile->top) ? atomic_exchange(&pile->top, NULL) : NULL;
}

/* The same, the oldest first. */
static inline lr_piled *lr_pile_take_oldest(lr_pile *pile)
{
    lr_piled *piece = lr_pile_take(pile), *oldest = NULL;
    for (lr_piled *next; piece; piece = next) {
        next = piece->next;
        piece->next = oldest;
        oldest = piece;
    }
    return oldest;
}

#endif
