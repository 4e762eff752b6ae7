#include "sched/heap.h"

void lr_heap_init(lr_heap *heap, lr_heap_before *before)
{
    *heap = (lr_heap){.before = before, .next_seq = 1};
}

static bool comes_first(const lr_heap *heap, const lr_heap_link *a, const lr_heap_link *b)
{
    if (heap->before(a, b)) return true;
    if (heap->before(b, a)) return false;
    return a->seq < b->seq;
}

/* Joins two trees without siblings; the later root becomes the first child of the other. */
static lr_heap_link *meld(const lr_heap *heap, lr_heap_link *a, lr_heap_link *b)
{
    if (!a) return b;
    if (!b) return a;
    if (comes_first(heap, b, a)) {
        lr_heap_link *t = a;
        a = b;
        b = t;
    }
    b->next = a->child;
    if (b->next) b->next->prev = b;
    b->prev = a;
    a->child = b;
    return a;
}

/* Melds a list of siblings into one tree: pairs from left to right, the pairs from right to left. */
static lr_heap_link *meld_siblings(const lr_heap *heap, lr_heap_link *first)
{
    lr_heap_link *pairs = NULL; /* a stack, linked by prev */
    while (first) {
        lr_heap_link *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b) b->next = b->prev = NULL;
        a = meld(heap, a, b);
        a->prev = pairs;
        pairs = a;
    }
    lr_heap_link *root = NULL;
    while (pairs) {
        lr_heap_link *below = pairs->prev;
        pairs->prev = NULL;
        root = meld(heap, root, pairs);
        pairs = below;
    }
    return root;
}

void lr_heap_insert_at(lr_heap *heap, lr_heap_link *link, uint64_t seq)
{
    LR_ASSERT(!lr_heap_link_in_heap(link));
    LR_ASSERT(seq != 0);
    *link = (lr_heap_link){.seq = seq};
    heap->root = meld(heap, heap->root, link);
    heap->count++;
}

void lr_heap_insert(lr_heap *heap, lr_heap_link *link)
{
    lr_heap_insert_at(heap, link, heap->next_seq++);
}

/* Cuts a link that is not the root out of its siblings. */
static void cut(lr_heap_link *link)
{
    LR_ASSERT(link->prev != NULL);
    if (link->prev->child == link)
        link->prev->child = link->next;
    else
        link->prev->next = link->next;
    if (link->next) link->next->prev = link->prev;
    link->next = link->prev = NULL;
}

void lr_heap_remove(lr_heap *heap, lr_heap_link *link)
{
    LR_ASSERT(lr_heap_link_in_heap(link));
    LR_ASSERT(heap->count > 0);
    lr_heap_link *children = meld_siblings(heap, link->child);
    if (link == heap->root) {
        heap->root = children;
    } else {
        cut(link);
        heap->root = meld(heap, heap->root, children);
    }
    *link = (lr_heap_link){.seq = 0};
    heap->count--;
}

lr_heap_link *lr_heap_pop(lr_heap *heap)
{
    lr_heap_link *first = heap->root;
    if (first) lr_heap_remove(heap, first);
    return first;
}
