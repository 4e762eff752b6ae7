/* runtime/buffer.h - bytes in the object store: what tensors and long strings lie in.
 *
 * A buffer is written by its maker, then sealed; sealed buffers are immutable and shared by counting.
 * Small ones are heap memory, larger ones lie in the node's arena (runtime/store.h), or in that of another process
 * of this host (a view: runtime/shared.h). A buffer's size
 * is in the store's total until its last reference goes.
 * Thread: any. Blocks: for the store's lock at most. Errors: NULL when there is no room, with a
 * sentence that names the totals and the largest holders in message. */
#ifndef RUNTIME_BUFFER_H
#define RUNTIME_BUFFER_H

#include "runtime/object.h"
#include "runtime/value.h"
#include "sched/error.h"

typedef struct lr_buffer {
    lr_object base;
    _Alignas(4) _Atomic bool sealed; /* in a word of its own: what follows never changes, and is read without it */
    _Alignas(4) bool in_arena;
    bool is_view; /* the data are another process's */
    bool is_absent; /* it stands for one of another node: no data (runtime/far.h) */
    _Atomic uint32_t used_at; /* the store's time of its last use: what was used longest ago is spilled first */
    uint64_t size_bytes;
    void *data; /* 64-byte aligned */
    const char *site; /* a literal or interned name: who made it, for the largest holders */
} lr_buffer;

/* What stands for an object of another node (runtime/far.h): no data, until `here` has them. */
typedef struct lr_absent {
    lr_buffer base;             /* first */
    _Atomic(lr_buffer *) here;  /* one count */
    void (*free)(lr_buffer *b); /* with no reference left */
} lr_absent;

/* b, or what it stands for, held by b; NULL: that is not here. */
static inline lr_buffer *lr_buffer_here(lr_buffer *b)
{
    if (!b->is_absent) return b;
    return atomic_load_explicit(&((lr_absent *)(void *)b)->here, memory_order_acquire);
}

/* The buffer among the references of v at that place; NULL: it is another object. */
static inline lr_buffer *lr_value_buffer(const lr_value *v, uint32_t index)
{
    lr_object *o = lr_value_refs(v)[index];
    return o->kind == LR_OBJECT_BUFFER ? LR_CONTAINER(o, lr_buffer, base) : NULL;
}

/* Uninitialised memory; one count is the caller's. message may be NULL. */
lr_buffer *lr_buffer_new(uint64_t size_bytes, const char *site, char *message, size_t message_bytes);
/* As memcpy into data + offset; where the memory was never used before, several times as fast. */
void lr_buffer_write(lr_buffer *b, uint64_t offset, const void *bytes, uint64_t size_bytes);
static inline void lr_buffer_seal(lr_buffer *b) { atomic_store_explicit(&b->sealed, true, memory_order_release); }
static inline bool lr_buffer_is_sealed(lr_buffer *b) { return atomic_load_explicit(&b->sealed, memory_order_acquire); }
extern _Atomic uint32_t lr_store_time; /* counts large buffers made */
static inline void lr_buffer_use(lr_buffer *b)
{
    uint32_t now = atomic_load_explicit(&lr_store_time, memory_order_relaxed);
    atomic_store_explicit(&b->used_at, now, memory_order_relaxed);
}
static inline void lr_buffer_release(lr_buffer *b) { lr_object_release(&b->base); }

#endif
