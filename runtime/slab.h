/* runtime/slab.h - memory for records of one size, made and freed by the million on any thread.
 *
 * Each thread keeps a list of free records; full lists travel to other threads through a depot in batches, so
 * that a thread which only makes and one which only frees are both served. Memory goes back to the
 * system only with the process. Under the address sanitizer it is plain malloc, so that every record's life is checked.
 * Thread: any. Blocks: for the depot's lock, once a batch. Errors: NULL when there is no memory. */
#ifndef RUNTIME_SLAB_H
#define RUNTIME_SLAB_H

#include <stddef.h>

/* A record of LR_SLAB_BYTES, 64-byte aligned, uninitialised. */
#define LR_SLAB_BYTES 192
void *lr_slab_alloc(void);
void lr_slab_free(void *record);
/* Gives this thread's lists to the depot: called as the thread ends. */
void lr_slab_thread_end(void);

#endif
