/* sched/allocator.h - where a part that must grow gets its memory: hooks given by the host.
 *
 * sched calls no malloc. Most of it is intrusive; the few parts that keep rows of their own (the in-memory
 * control store) take an lr_allocator at init. Tests give one that fails at the n-th call.
 * Owns: nothing. Thread: that of the part it is given to. */
#ifndef SCHED_ALLOCATOR_H
#define SCHED_ALLOCATOR_H

#include "sched/base.h"

typedef struct lr_allocator {
    /* Memory for any type, or NULL. size_bytes is never 0. */
    void *(*allocate)(void *user, size_t size_bytes);
    /* Gives back what allocate returned for that size. */
    void (*release)(void *user, void *memory, size_t size_bytes);
    void *user;
} lr_allocator;

#endif
