/* runtime/channel.h - messages to one other node, in order, however large they are and however full the connection is.
 *
 * A message larger than a record goes as PARTs and a rest; what the transport does not take waits here and goes on
 * when it is writable again. On the way in PARTs are put together, up to LR_CHANNEL_MESSAGE_MAX bytes.
 * Owns: what waits, and the parts. Thread: the node thread. Blocks: never. */
#ifndef RUNTIME_CHANNEL_H
#define RUNTIME_CHANNEL_H

#include "runtime/transport.h"
#include "sched/message.h"

#define LR_CHANNEL_RECORD_BYTES (512u << 10)
#define LR_CHANNEL_MESSAGE_MAX (4ull << 30)

typedef struct lr_channel {
    lr_peer *peer;
    struct lr_channel_waiting *first, *last; /* records not taken yet, oldest first */
    uint8_t *parts;
    size_t parts_bytes, parts_capacity;
} lr_channel;

void lr_channel_init(lr_channel *l, lr_peer *peer);
void lr_channel_fini(lr_channel *l);
/* False: no memory, or the connection is at its end (its on_peer_down follows). */
bool lr_channel_send(lr_channel *l, const lr_message *m);
/* The transport is writable again. */
void lr_channel_go_on(lr_channel *l);

typedef enum lr_channel_got { LR_CHANNEL_PART, LR_CHANNEL_MESSAGE, LR_CHANNEL_BAD } lr_channel_got;
/* A record came. MESSAGE: *out is whole, and lasts until the next call. BAD: malformed, too large, or no memory. */
lr_channel_got lr_channel_take(lr_channel *l, uint16_t kind, const void *bytes, size_t size_bytes, lr_message *out);

#endif
