/* runtime/slab.h - memory for records of one size, made and freed by the million on any thread.
 *
 * Each thread keeps a list of free records; full lists travel to other threads through a depot in batches, so
 * that a thread which only makes and one which only frees are both served. Memory goes back to the
 * system only with the process. Under the address sanitizer it is plain malloc, so that every record's life is checked.
 * Thread: any. Blocks: for the depot's lock, once a batch. Errors: NULL when there is no memory. */
#ifndef RUNTIME_SLAB_H
#define RUNTIME_SLAB_H

#include <stddef.h>

/* A record of LR_SLAB_BYTES, 64-byte aligned, uninitialised but for its mark: the LR_SLAB_MARK_BYTES from LR_SLAB_MARK
 * on are zero. The user sets them to something else, once the record means something. */
#define LR_SLAB_BYTES 192
#define LR_SLAB_MARK 16
#define LR_SLAB_MARK_BYTES 16
void *lr_slab_alloc(void);
void lr_slab_free(void *record);
/* Shows every record that has a mark, while others make, use and free them: what look reads may change under it, and
 * belongs to nobody any more a moment later. Misses none that lives throughout. */
void lr_slab_each(void (*look)(void *user, const void *record), void *user);
/* Gives this thread's lists to the depot: called as the thread ends. */
void lr_slab_thread_end(void);

#endif
