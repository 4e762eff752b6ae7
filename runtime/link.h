/* runtime/link.h - messages to one other node, in order, however large they are and however full the connection is.
 *
 * A message larger than a record goes as PARTs and a rest; what the transport does not take waits here and goes on
 * when it is writable again. On the way in PARTs are put together, up to LR_LINK_MESSAGE_MAX bytes.
 * Owns: what waits, and the parts. Thread: the node thread. Blocks: never. */
#ifndef RUNTIME_LINK_H
#define RUNTIME_LINK_H

#include "runtime/transport.h"
#include "sched/message.h"

#define LR_LINK_RECORD_BYTES (512u << 10)
#define LR_LINK_MESSAGE_MAX (4ull << 30)

typedef struct lr_link {
    lr_peer *peer;
    struct lr_link_waiting *first, *last; /* records not taken yet, oldest first */
    uint8_t *parts;
    size_t parts_bytes, parts_capacity;
} lr_link;

void lr_link_init(lr_link *l, lr_peer *peer);
void lr_link_fini(lr_link *l);
/* False: no memory, or the connection is at its end (its on_peer_down follows). */
bool lr_link_send(lr_link *l, const lr_message *m);
/* The transport is writable again. */
void lr_link_go_on(lr_link *l);

typedef enum lr_link_got { LR_LINK_PART, LR_LINK_MESSAGE, LR_LINK_BAD } lr_link_got;
/* A record came. MESSAGE: *out is whole, and lasts until the next call. BAD: malformed, too large, or no memory. */
lr_link_got lr_link_take(lr_link *l, uint16_t kind, const void *bytes, size_t size_bytes, lr_message *out);

#endif
