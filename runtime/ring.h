/* runtime/ring.h - two rings of bytes between two processes of one host, one each way, in memory that both have.
 *
 * Each ring has one writer and one reader. The writer's count of bytes written and the reader's of bytes read lie in
 * the shared memory; each side keeps its own count to itself too, and what the other side's count says is believed only
 * where it can be: no more than a ring full beyond the own. Bytes are copied out before anybody looks into them. What
 * the other process writes into the memory can so be garbage, but not lead outside of it.
 *
 * Writing and reading wake nobody: the bell does (bell.h). A writer that finds no room says so (lr_ring_want_room), and
 * the reader learns that from its next read.
 *
 * Owns: the memory. Thread: each direction one at a time. Blocks: never. */
#ifndef RUNTIME_RING_H
#define RUNTIME_RING_H

#include "runtime/share.h"

#define LR_RING_BYTES ((size_t)256 << 10) /* of each way; a power of two */

typedef struct lr_ring_way lr_ring_way;

typedef struct lr_ring {
    lr_share share;
    lr_ring_way *out, *in; /* in the shared memory */
    uint8_t *out_bytes;
    const uint8_t *in_bytes;
    uint64_t written, published, read; /* bytes; written: also those not published yet */
    uint64_t there_read;               /* what the other side has read, as last seen */
} lr_ring;

size_t lr_ring_share_bytes(void);
/* Made by one side; opened by the other with what lr_share_open wants. */
LR_MUST_USE bool lr_ring_make(lr_ring *r);
LR_MUST_USE bool lr_ring_open(lr_ring *r, uint32_t pid, uint32_t fd, const uint8_t nonce[LR_SHARE_NONCE_BYTES]);
void lr_ring_close(lr_ring *r);

#define LR_RING_GARBAGE SIZE_MAX

/* Copies in as much as there is room for; how much that was. Seen there after lr_ring_publish. GARBAGE: the other side
 * says that it has read what was never written. */
size_t lr_ring_write(lr_ring *r, const void *bytes, size_t size_bytes);
/* True: there was something to publish. */
bool lr_ring_publish(lr_ring *r);
/* The other side shall say when it has read something. True: there is room already. */
bool lr_ring_want_room(lr_ring *r);

/* Copies out at most size_bytes; how many. *room_wanted: the other side waits for that, ring its bell. GARBAGE: it says
 * that it has written more than fits. */
size_t lr_ring_read(lr_ring *r, void *bytes, size_t size_bytes, bool *room_wanted);
/* Whether a read would find something. */
bool lr_ring_has(const lr_ring *r);

#endif
