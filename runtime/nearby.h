/* runtime/nearby.h - two nodes that find themselves on one host go over to a ring in shared memory (ring.h).
 *
 * The connection is up already: each knows who the other is. What they say about the ring travels as records of the
 * kind LR_NEARBY_KIND, which the transport keeps to itself:
 *
 *     who listened                              who dialed
 *     OFFER  host, pid, ring, bell  ─────────▶            same host, and may open both? else NO
 *            ◀─────────  TAKEN  pid, bell                  it has both mapped
 *     SWITCH ─────────▶                                    its last word through the socket; the ring from here on
 *            ◀─────────  SWITCHED                          the same, the other way
 *     instead of SWITCH: NO                                the dialer's bell cannot be opened: the socket stays
 *
 * So each way changes at one place in the order of records, and nothing overtakes anything. A process that does not
 * turn its node's loop by a bell has none to offer, and says NO.
 *
 * Owns: nothing but the step. Thread: the owner's. Blocks: never. */
#ifndef RUNTIME_NEARBY_H
#define RUNTIME_NEARBY_H

#include "runtime/stream.h"

#define LR_NEARBY_KIND 0xffffu

typedef struct lr_nearby {
    enum { LR_NEARBY_IDLE, LR_NEARBY_OFFERED, LR_NEARBY_TOOK, LR_NEARBY_SWITCHING, LR_NEARBY_DONE } step;
    unsigned said; /* records of its own that went out */
} lr_nearby;

/* Who listened, once the peer is up. bell may be NULL. */
void lr_nearby_offer(lr_nearby *n, lr_stream *s, const lr_bell *bell);
/* A record of that kind. GARBAGE: not what may come now; or why the connection cannot go on. */
lr_ending LR_MUST_USE lr_nearby_take(lr_nearby *n, lr_stream *s, bool dialed, const lr_bell *bell, const void *bytes,
                                     size_t size_bytes);

#endif
