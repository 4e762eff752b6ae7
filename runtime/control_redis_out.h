/* runtime/control_redis_out.h - bytes on their way to a Redis: requests in its protocol, written by hand.
 *
 * A queue of bytes with positions that only grow: `sent` counts what has left, so that a request knows by its own
 * position whether it has. hiredis' formatters take 260 to 620 ns a request; writing lengths and bytes in place takes
 * a tenth of that. A request begins with lr_redis_out_begin, which sees to room for all of it, so that the parts
 * after it cannot fail.
 * Owns: its memory. Thread: one. Blocks: never. */
#ifndef RUNTIME_CONTROL_REDIS_OUT_H
#define RUNTIME_CONTROL_REDIS_OUT_H

#include "sched/control.h"

typedef struct lr_redis_out {
    char *memory;
    size_t capacity_bytes, head, tail; /* what waits lies from head to tail */
    uint64_t sent;                     /* the position of head */
} lr_redis_out;

void lr_redis_out_fini(lr_redis_out *out);
static inline size_t lr_redis_out_size(const lr_redis_out *out) { return out->tail - out->head; }
/* The position behind the last byte. */
static inline uint64_t lr_redis_out_end(const lr_redis_out *out) { return out->sent + lr_redis_out_size(out); }
/* So many bytes from the head are gone: sent, or not wanted any more. */
void lr_redis_out_drop(lr_redis_out *out, size_t size_bytes);

/* Begins a request of so many parts that hold size_bytes together. False: no memory. */
LR_MUST_USE bool lr_redis_out_begin(lr_redis_out *out, unsigned parts, size_t size_bytes);
void lr_redis_out_part(lr_redis_out *out, const void *at, size_t size_bytes);
void lr_redis_out_text(lr_redis_out *out, const char *text);
void lr_redis_out_number(lr_redis_out *out, uint64_t number);
/* One part made of several pieces. */
void lr_redis_out_pieces(lr_redis_out *out, const lr_bytes *pieces, unsigned count);

#endif
