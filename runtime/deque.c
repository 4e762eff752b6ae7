#include "runtime/deque.h"

#include <stdlib.h>

#define FIRST_CAPACITY 256

static lr_deque_array *array_new(int64_t capacity, lr_deque_array *older)
{
    lr_deque_array *a = malloc(sizeof *a + (size_t)capacity * sizeof a->items[0]);
    if (!a) return NULL;
    a->capacity = capacity;
    a->older = older;
    return a;
}

bool lr_deque_init(lr_deque *d)
{
    lr_deque_array *a = array_new(FIRST_CAPACITY, NULL);
    if (!a) return false;
    atomic_init(&d->top, 0);
    atomic_init(&d->bottom, 0);
    atomic_init(&d->array, a);
    d->top_seen = 0;
    return true;
}

void lr_deque_fini(lr_deque *d)
{
    lr_deque_array *a = atomic_load_explicit(&d->array, memory_order_relaxed);
    while (a) {
        lr_deque_array *older = a->older;
        free(a);
        a = older;
    }
}

bool lr_deque_push_grow(lr_deque *d, void *item)
{
    lr_deque_array *old = atomic_load_explicit(&d->array, memory_order_relaxed);
    lr_deque_array *a = array_new(2 * old->capacity, old);
    if (!a) return false;
    int64_t b = atomic_load_explicit(&d->bottom, memory_order_relaxed);
    for (int64_t i = d->top_seen; i < b; i++) {
        void *moved = atomic_load_explicit(&old->items[i & (old->capacity - 1)], memory_order_relaxed);
        atomic_store_explicit(&a->items[i & (a->capacity - 1)], moved, memory_order_relaxed);
    }
    atomic_store_explicit(&d->array, a, memory_order_release);
    return lr_deque_push(d, item);
}
