/* runtime/arena.h - the memory file in which large buffers lie, and the extents that it is cut into.
 *
 * A sparse anonymous memory file (no name anywhere, sealed against resizing): first `span` bytes of data, then a header
 * and one stamp for each page of data, for those who map the file from another process (runtime/segment.h). All
 * extents form a list in address order, for coalescing; the free ones also a treap by address in which each node knows
 * the largest free extent below it, so that the lowest that fits is found in O(log n). Extents that still have
 * pages (warm) are taken first, then those given back, then fresh addresses. Records lie outside the file: a
 * kernel that writes past its tensor damages data, not the store.
 * Where the system gives no memory file the arena is anonymous memory: fd is -1, there are no stamps, and nobody can
 * map it.
 * Owns: the mapping, the descriptor, the extents. One a process. Thread: any; all but what says so under lr_arena_lock.
 * Blocks: for that lock. */
#ifndef RUNTIME_ARENA_H
#define RUNTIME_ARENA_H

#include "sched/id.h"

#include <stdatomic.h>

#define LR_ARENA_PAGE ((uint64_t)4096)
#define LR_ARENA_MAGIC UINT64_C(0x6c75617265676d31)

typedef struct lr_extent {
    uint64_t offset, bytes;           /* multiples of a page */
    uint64_t warm;                    /* of a free extent's bytes, how many are backed, from its start */
    void *owner;                      /* NULL: free */
    struct lr_extent *before, *after; /* all extents, by address */
    struct lr_extent *left, *right;   /* free extents, a treap by offset */
    uint64_t max_any, max_warm;       /* the largest, and the largest warm one, in this subtree */
} lr_extent;

/* What others read behind the data. */
typedef struct lr_arena_table {
    uint64_t magic, span_bytes;
    lr_id segment;                 /* random */
    uint8_t unused[LR_ARENA_PAGE - 32];
    _Atomic uint64_t stamps[];     /* one for each page of data */
} lr_arena_table;

void lr_arena_lock(void);
void lr_arena_unlock(void);

/* Maps an arena for so many bytes of live buffers, unless there is one. False: the system gives no addresses. */
LR_MUST_USE bool lr_arena_open(uint64_t capacity_bytes);
bool lr_arena_is_open(void);
/* Unmaps it. No extent may be taken. */
void lr_arena_close(void);

/* An extent of at least bytes (whole pages), whose owner the caller sets. NULL: no such piece. */
lr_extent *lr_arena_take(uint64_t bytes);
/* Gives it back; the first `warm` bytes are backed by memory. */
void lr_arena_give(lr_extent *e, uint64_t warm);
/* Gives pages back to the system while more are idle than allowed() says. Lets go of the lock meanwhile. */
void lr_arena_trim(uint64_t (*allowed)(void));

/* The extents in the order of addresses; owner says whether somebody has it: NULL nobody, LR_ARENA_NOBODY the arena. */
lr_extent *lr_arena_first(void);
#define LR_ARENA_NOBODY ((void *)&lr_arena_nobody)
extern char lr_arena_nobody;
uint64_t lr_arena_idle(void); /* freed, but still backed by memory */

/* These last until close, and need no lock while a buffer lives in the arena. */
uint8_t *lr_arena_at(uint64_t offset);
int lr_arena_fd(void);
uint64_t lr_arena_span(void);
lr_arena_table *lr_arena_table_of(void); /* NULL: anonymous memory */

static inline uint64_t lr_arena_pages(uint64_t bytes)
{
    return (bytes + LR_ARENA_PAGE - 1) / LR_ARENA_PAGE * LR_ARENA_PAGE;
}
/* Size of the table behind so many bytes of data. */
static inline uint64_t lr_arena_table_bytes(uint64_t span_bytes)
{
    return LR_ARENA_PAGE + lr_arena_pages(span_bytes / LR_ARENA_PAGE * sizeof(uint64_t));
}

#endif
