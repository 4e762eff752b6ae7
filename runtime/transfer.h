/* runtime/transfer.h - an object that comes in chunks: which have come, and are they whole.
 *
 * Chunks are LR_CHUNK_BYTES long, but for the last, and lie at multiples of that; they may come in any order, from one
 * sender after another. Each has a check of its bytes (XXH3, 64 bits): one that is not right is refused and asked for
 * again, so many times.
 * Owns: the marks. What is filled is the caller's. Thread: the caller's. Blocks: never. */
#ifndef RUNTIME_TRANSFER_H
#define RUNTIME_TRANSFER_H

#include "sched/base.h"

#define LR_CHUNK_BYTES ((uint64_t)1 << 20)
#define LR_TRANSFER_REFUSALS 3u /* one more refused chunk ends the transfer */

typedef struct lr_transfer {
    uint64_t size_bytes, received_bytes;
    uint64_t *have; /* a bit for each chunk */
    uint32_t refused;
} lr_transfer;

/* False: no memory. size_bytes is not 0. */
LR_MUST_USE bool lr_transfer_init(lr_transfer *t, uint64_t size_bytes);
void lr_transfer_fini(lr_transfer *t);

typedef void lr_transfer_write(void *to, uint64_t offset, const void *bytes, uint64_t size_bytes);

typedef enum lr_transfer_got {
    LR_TRANSFER_TAKEN,   /* copied; more are to come */
    LR_TRANSFER_WHOLE,   /* copied, and it was the last */
    LR_TRANSFER_KNOWN,   /* it had come before */
    LR_TRANSFER_REFUSED, /* its check is wrong: ask again */
    LR_TRANSFER_HOPELESS /* refused too often, or no chunk of this object */
} lr_transfer_got;

/* A chunk of the object: what is right goes to write(to, offset, bytes, size_bytes). */
lr_transfer_got lr_transfer_take(lr_transfer *t, uint64_t offset, uint64_t check, const void *bytes,
                                 uint64_t size_bytes, lr_transfer_write *write, void *to);
/* Where the first chunk lies at or behind offset that has not come; size_bytes: all have. */
uint64_t lr_transfer_missing(const lr_transfer *t, uint64_t offset);
uint64_t lr_transfer_check(const void *bytes, uint64_t size_bytes);

#endif
