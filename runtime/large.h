/* runtime/large.h - the records behind buffers over the threshold, as store.c, shared.c, spill.c and far.c see them.
 *
 * Nobody else includes it. Owns: nothing. Thread: each field says under which lock. Blocks: never. */
#ifndef RUNTIME_LARGE_H
#define RUNTIME_LARGE_H

#include "runtime/arena.h"
#include "runtime/buffer.h"
#include "sched/list.h"

/* What arena buffers and views have in common. All but base under shared.c's lock. */
typedef struct lr_shared {
    lr_buffer base;
    lr_id id;       /* nil: never shown to others */
    uint32_t owed;  /* destructions that have begun and were taken back by somebody who found it */
    _Atomic bool in_limbo; /* no references here; others have it mapped */
    lr_link limbo;
} lr_shared;

/* A buffer in this node's arena. */
typedef struct lr_large {
    lr_shared shared;
    lr_extent *place;
    _Atomic uint64_t serial; /* its stamp in the arena's table; 0: none. Under shared.c's lock */
    bool spilled;            /* its pages are the spill file's. Under the arena's lock */
    bool spilling;           /* spill.c is at it. Under the arena's lock */
} lr_large;

static inline lr_large *lr_large_of(lr_buffer *b) { return (lr_large *)(void *)b; }
static inline lr_shared *lr_shared_of(lr_buffer *b) { return (lr_shared *)(void *)b; }

/* One more reference, unless there is none any more. */
static inline bool lr_buffer_retain_living(lr_buffer *b)
{
    uint32_t count = atomic_load_explicit(&b->base.refs, memory_order_relaxed);
    while (count > 0)
        if (atomic_compare_exchange_weak(&b->base.refs, &count, count + 1)) return true;
    return false;
}

/* store.c: the first fields of a buffer, one reference. */
void lr_buffer_init(lr_buffer *b, uint64_t size_bytes, void *data, const char *site);
/* store.c: frees a buffer of the arena that nobody has any more. */
void lr_large_free(lr_large *b);
/* store.c: so many bytes of the arena went to disk, or came back (negative). Under the arena's lock. */
void lr_store_count_spilled(int64_t bytes);
/* store.c: is there room for so many bytes more? Under the arena's lock. */
bool lr_store_fits(uint64_t bytes);
/* store.c: a view came or went. */
void lr_store_count_view(int64_t bytes);

#endif
