/* runtime/deque.h - a worker's queue of ready tasks: the owner pushes and pops at the bottom, thieves
 * take from the top.
 *
 * Chase & Lev, "Dynamic circular work-stealing deque" (SPAA 2005), with the memory orders of Lê et
 * al., "Correct and efficient work-stealing for weak memory models" (PPoPP 2013). Grows without
 * bound; old arrays are kept until the deque ends, as a thief may still read one (together no larger
 * than the last). Holds pointers and does not own what they point to.
 * Thread: push and pop by the owner, the rest by any. Blocks: never. */
#ifndef RUNTIME_DEQUE_H
#define RUNTIME_DEQUE_H

#include "sched/base.h"

#include <stdatomic.h>

typedef struct lr_deque_array {
    int64_t capacity; /* a power of two */
    struct lr_deque_array *older;
    _Atomic(void *) items[];
} lr_deque_array;

typedef struct lr_deque {
    _Alignas(64) _Atomic int64_t top;
    _Alignas(64) _Atomic int64_t bottom;
    int64_t top_seen; /* owner's: a lower bound of top */
    _Atomic(lr_deque_array *) array;
} lr_deque;

LR_MUST_USE bool lr_deque_init(lr_deque *d);
void lr_deque_fini(lr_deque *d);

bool lr_deque_push_grow(lr_deque *d, void *item); /* the cold part of push */

/* False: no memory to grow; the item is not in. */
static inline bool lr_deque_push(lr_deque *d, void *item)
{
    int64_t b = atomic_load_explicit(&d->bottom, memory_order_relaxed);
    lr_deque_array *a = atomic_load_explicit(&d->array, memory_order_relaxed);
    if (__builtin_expect(b - d->top_seen >= a->capacity, 0)) {
        d->top_seen = atomic_load_explicit(&d->top, memory_order_acquire);
        if (b - d->top_seen >= a->capacity) return lr_deque_push_grow(d, item);
    }
    atomic_store_explicit(&a->items[b & (a->capacity - 1)], item, memory_order_relaxed);
    /* sequentially consistent, so that the pusher's look for sleepers comes after it (runtime/pool.c) */
    atomic_store_explicit(&d->bottom, b + 1, memory_order_seq_cst);
    return true;
}

/* The newest item, or NULL. */
static inline void *lr_deque_pop(lr_deque *d)
{
    int64_t b = atomic_load_explicit(&d->bottom, memory_order_relaxed) - 1;
    if (b < atomic_load_explicit(&d->top, memory_order_relaxed)) return NULL;
    lr_deque_array *a = atomic_load_explicit(&d->array, memory_order_relaxed);
    atomic_store_explicit(&d->bottom, b, memory_order_seq_cst);
    int64_t t = atomic_load_explicit(&d->top, memory_order_seq_cst);
    if (t > b) {
        atomic_store_explicit(&d->bottom, b + 1, memory_order_relaxed);
        return NULL;
    }
    void *item = atomic_load_explicit(&a->items[b & (a->capacity - 1)], memory_order_relaxed);
    if (t < b) return item;
    if (!atomic_compare_exchange_strong_explicit(&d->top, &t, t + 1, memory_order_seq_cst, memory_order_relaxed))
        item = NULL;
    atomic_store_explicit(&d->bottom, b + 1, memory_order_relaxed);
    return item;
}

/* The oldest item; NULL when empty or when another thief was first (*contended tells). */
static inline void *lr_deque_steal(lr_deque *d, bool *contended)
{
    int64_t t = atomic_load_explicit(&d->top, memory_order_seq_cst);
    int64_t b = atomic_load_explicit(&d->bottom, memory_order_seq_cst);
    if (t >= b) return NULL;
    lr_deque_array *a = atomic_load_explicit(&d->array, memory_order_acquire);
    void *item = atomic_load_explicit(&a->items[t & (a->capacity - 1)], memory_order_relaxed);
    if (!atomic_compare_exchange_strong_explicit(&d->top, &t, t + 1, memory_order_seq_cst, memory_order_relaxed)) {
        *contended = true;
        return NULL;
    }
    return item;
}

/* The oldest items, at most half of what is in, oldest first; how many. Only where the owner does not pop while others
 * steal: what lies between top and bottom is then the thieves' alone, and one step of top takes any number of it. */
static inline int64_t lr_deque_steal_many(lr_deque *d, void **items, int64_t max, bool *contended)
{
    int64_t t = atomic_load_explicit(&d->top, memory_order_seq_cst);
    int64_t b = atomic_load_explicit(&d->bottom, memory_order_seq_cst);
    if (t >= b) return 0;
    int64_t count = (b - t + 1) / 2 < max ? (b - t + 1) / 2 : max;
    lr_deque_array *a = atomic_load_explicit(&d->array, memory_order_acquire);
    for (int64_t i = 0; i < count; i++)
        items[i] = atomic_load_explicit(&a->items[(t + i) & (a->capacity - 1)], memory_order_relaxed);
    if (!atomic_compare_exchange_strong_explicit(&d->top, &t, t + count, memory_order_seq_cst, memory_order_relaxed)) {
        *contended = true;
        return 0;
    }
    return count;
}

/* Roughly how many items are in. Sequentially consistent: who looks after having said that it goes to sleep sees every
 * push whose pusher looked for sleepers before (runtime/pool.c). */
static inline int64_t lr_deque_count(lr_deque *d)
{
    int64_t count = atomic_load_explicit(&d->bottom, memory_order_seq_cst) -
                    atomic_load_explicit(&d->top, memory_order_seq_cst);
    return count > 0 ? count : 0;
}

#endif
