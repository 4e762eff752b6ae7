/* runtime/store.h - the node's object store: capacity, totals, and where buffers lie.
 *
 * Buffers are made and freed through runtime/buffer.h; this is the store's own face. Small buffers
 * are heap memory, larger ones extents of one sparse arena (runtime/arena.h, made when the first large buffer is). Both
 * count against one capacity. What is too much goes to disk (runtime/spill.h), what other processes of the host
 * hold stays (runtime/shared.h).
 * Owns: the totals and the names of sites. One store a process.
 * Thread: any. Blocks: for the arena's lock at most; stats for that of shared.h, too. */
#ifndef RUNTIME_STORE_H
#define RUNTIME_STORE_H

#include "runtime/buffer.h"

#define LR_STORE_SMALL_BYTES (32u * 1024u)    /* buffers below this are heap memory */
#define LR_STORE_IDLE_BYTES ((uint64_t)1 << 30) /* freed memory kept warm; more is given back */

struct lr_store_stats {
    uint64_t capacity_bytes;
    uint64_t used_bytes;  /* held by live buffers; large ones count in whole pages */
    uint64_t peak_bytes;  /* the most that was used at once; small buffers exact to 1 MiB */
    uint64_t idle_bytes;  /* freed, but still backed by memory */
    uint64_t count;       /* live buffers */
    uint64_t arena_count; /* of these, in the arena */
    uint64_t spilled_bytes, spilled_count; /* in the arena's addresses, but on disk: not in used_bytes */
    uint64_t limbo_bytes, limbo_count;     /* gone here, but mapped by another process: in used_bytes */
    uint64_t view_bytes, view_count;       /* mapped here from another process: neither in used_bytes nor in count */
};

/* Sets the capacity in bytes; 0: the default, 30 % of the memory this process may use. To be called
 * before the first large buffer: false, with nothing changed, after it. */
bool lr_store_configure(uint64_t capacity_bytes);
/* The capacity in bytes. */
uint64_t lr_store_capacity(void);
/* How much is held by live buffers and views, about: small ones exact to 1 MiB. A few nanoseconds. */
uint64_t lr_store_used(void);
/* A snapshot of the totals. */
void lr_store_stats(struct lr_store_stats *out);
/* Gives the arena back and returns 0; the store may be used again afterwards. While buffers still
 * live in it the arena stays, and their number is returned. */
uint64_t lr_store_close(void);
/* An interned copy of text for lr_buffer.site ("tensor made at pi.lua:12"). It lives as long as the
 * process. At most 4,096 are kept: after that, and without memory, fallback (a literal) is returned. */
const char *lr_store_site(const char *text, const char *fallback);
/* bytes as people read them: "64 bytes", "4.2 kB", "12.0 MB", "1.5 GB" (powers of 1000). */
void lr_store_format(uint64_t bytes, char *text, size_t text_bytes);

#endif
