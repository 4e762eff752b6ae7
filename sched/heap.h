/* sched/heap.h - an intrusive pairing heap: the first of many by a given order.
 *
 * Fredman, Sedgewick, Sleator, Tarjan: The Pairing Heap (Algorithmica 1986). Insert and first take
 * constant time, removal of any element logarithmic time (amortised). Elements that compare equal come
 * out in the order of their sequence numbers, which the heap hands out: no order ever depends on an
 * address. No recursion.
 * Owns: nothing; links live in the elements. Thread: the owner's. Blocks: never. */
#ifndef SCHED_HEAP_H
#define SCHED_HEAP_H

#include "sched/base.h"

typedef struct lr_heap_link {
    struct lr_heap_link *child; /* the first child */
    struct lr_heap_link *next;  /* the next sibling */
    struct lr_heap_link *prev;  /* the previous sibling, or the parent of a first child */
    uint64_t seq;               /* breaks ties; 0: in no heap */
} lr_heap_link;

/* True where a must come out before b; false for equals. */
typedef bool lr_heap_before(const lr_heap_link *a, const lr_heap_link *b);

typedef struct lr_heap {
    lr_heap_link *root;
    lr_heap_before *before;
    uint64_t next_seq; /* from 1 */
    size_t count;
} lr_heap;

void lr_heap_init(lr_heap *heap, lr_heap_before *before);
/* Adds an element that is in no heap, behind its equals. */
void lr_heap_insert(lr_heap *heap, lr_heap_link *link);
/* Adds an element with a sequence number of the caller's (not 0): it goes among its equals by that. */
void lr_heap_insert_at(lr_heap *heap, lr_heap_link *link, uint64_t seq);
/* Takes out an element that is in this heap. */
void lr_heap_remove(lr_heap *heap, lr_heap_link *link);
/* Takes out the first element, or returns NULL. */
lr_heap_link *lr_heap_pop(lr_heap *heap);

static inline lr_heap_link *lr_heap_first(const lr_heap *heap) { return heap->root; }
static inline bool lr_heap_link_in_heap(const lr_heap_link *link) { return link->seq != 0; }

#endif
