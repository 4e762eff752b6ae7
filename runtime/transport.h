/* runtime/transport.h - the connections between this node and others: records go out, records come in.
 *
 * A record is a kind (16 bits) and bytes; what they mean is the caller's. To each other node there is at most one
 * connection, a peer. lr_transport_send puts a record into the peer's batch; the batch leaves as one frame when
 * the owner's turn is over (lr_transport_turn and lr_transport_flush), or earlier when it is large. What arrives
 * is queued by nng's threads, which ring the owner's bell and do nothing else; the owner then calls
 * lr_transport_turn, and all handlers are called in there and nowhere else. Handlers may call anything below but
 * turn and close.
 *
 *     ring (any thread) ──▶ owner wakes ──▶ lr_transport_turn ──▶ on_peer_up, on_record, on_writable, on_peer_down
 *     lr_transport_deadline says when to call turn without a ring (handshakes, signs of life).
 *
 * Who may connect. Addresses are tcp://HOST:PORT, tls+tcp://HOST:PORT, ipc:///PATH (the socket is made with mode
 * 0600). Off loopback a secret is required; on loopback it is used where there is one. Both ends must speak the same
 * protocol (handshake.h). When two nodes connect to each other at once, the node with the smaller id decides, and
 * one connection is left; the other ends as DUPLICATE, which is no failure.
 *
 * Bounds, each with a default: bytes waiting to be sent to a peer (BUSY, then on_writable), bytes received and not
 * yet handled of a peer (then its socket is not read), a record's size, connections that have not proved who they are
 * (the oldest makes room), the time a handshake may take.
 *
 * Nothing of nng runs before lr_transport_open; after it the process must not fork without exec.
 * Owns: sockets, peers, buffers. Errors: lr_ending with a line of words. Units: ns of lr_clock_ns. Thread: all
 * functions by the owner. Blocks: listen on resolving a name, close until nng's threads have let go. */
#ifndef RUNTIME_TRANSPORT_H
#define RUNTIME_TRANSPORT_H

#include "runtime/handshake.h"

typedef struct lr_transport lr_transport;
typedef struct lr_peer lr_peer;

typedef struct lr_transport_handler {
    /* The peer is sure and may be sent to. identity lasts as long as the peer. */
    void (*on_peer_up)(void *user, lr_peer *peer, const lr_identity *identity);
    /* The bytes last until it returns; they are aligned to 8. */
    void (*on_record)(void *user, lr_peer *peer, uint16_t kind, const void *bytes, size_t size_bytes);
    /* After a BUSY: half of the room is free again. May be NULL. */
    void (*on_writable)(void *user, lr_peer *peer);
    /* Once for every peer that was up or that connect made, unless the owner closed it. text: one line of why. The
     * peer is gone when it returns. */
    void (*on_peer_down)(void *user, lr_peer *peer, lr_ending end, const char *text);
    /* From any thread: wake the owner. */
    void (*ring)(void *user);
    void *user;
} lr_transport_handler;

/* Zeros mean the defaults. */
typedef struct lr_transport_config {
    lr_transport_handler handler;
    lr_id node;             /* not nil */
    const char *version, *build;
    const char *advertise;  /* what others are told to connect to; NULL: the first address listened on */
    const lr_secret *secret; /* NULL: none; copied */
    struct lr_bell *bell;   /* the owner's: with peers of this host that have one too, records then go through rings in
                               shared memory, and they ring it (nearby.h). NULL: none */
    bool same_build;        /* refuse nodes of another build, even when they speak the same protocol */
    const char *tls_ca_file, *tls_cert_file, *tls_key_file; /* PEM; for tls+tcp only */
    size_t record_max;      /* bytes of a record (1 MiB) */
    size_t send_max;        /* bytes waiting per peer (8 MiB) */
    size_t receive_max;     /* bytes received and not handled per peer (8 MiB) */
    uint32_t strangers_max; /* connections that have not proved who they are (64) */
    uint64_t handshake_ns;  /* time for resolving, connecting and proving (5 s) */
    uint64_t keepalive_ns;  /* a sign of life after so long without another (0.5 s) */
    uint64_t silence_ns;    /* a peer not heard of for so long is down (3 s): its host may have vanished */
    uint64_t near_silence_ns; /* the same where records go through a ring (10 s): its host is this one, it is stopped */
} lr_transport_config;

/* NULL: no memory. Starts nothing yet. */
lr_transport *lr_transport_open(const lr_transport_config *config);
/* Waits up to linger_ns until what was sent is written, then ends everything. Calls no handler, but releases. */
void lr_transport_close(lr_transport *t, uint64_t linger_ns);

/* text gets one line where it fails. */
lr_ending LR_MUST_USE lr_transport_listen(lr_transport *t, const char *url, char text[LR_ENDING_TEXT]);
/* The first address listened on, with the real port; empty: none. */
const char *lr_transport_address(const lr_transport *t);
/* Begins to connect; on_peer_up or on_peer_down follows. */
lr_ending LR_MUST_USE lr_transport_connect(lr_transport *t, const char *url, lr_peer **out, char text[LR_ENDING_TEXT]);

/* OK, BUSY (on_writable will follow), TOO_LARGE, OUT_OF_MEMORY, or why the connection ended (on_peer_down will
 * follow). Only to peers that are up. */
lr_ending LR_MUST_USE lr_transport_send(lr_peer *peer, uint16_t kind, const void *bytes, size_t size_bytes);
/* Does not copy the bytes: for large ones. release is called once, on the owner's thread; not at all where this
 * fails. */
lr_ending LR_MUST_USE lr_transport_send_owned(lr_peer *peer, uint16_t kind, const void *bytes, size_t size_bytes,
                                                void (*release)(void *user), void *user);
/* Every open batch leaves. */
void lr_transport_flush(lr_transport *t);
/* Calls handlers for what has happened, then flushes. Returns how many it called. */
size_t lr_transport_turn(lr_transport *t);
/* When to call turn though nobody rings; LR_NEVER: not at all. */
uint64_t lr_transport_deadline(const lr_transport *t);
/* What was sent is still written; then the connection ends. No handler is called for this peer any more. */
void lr_transport_hang_up(lr_peer *peer);

/* --- looking --- */

typedef struct lr_peer_stats {
    uint64_t records_in, records_out, frames_in, frames_out;
    uint64_t bytes_in, bytes_out; /* heads and handshake too */
    uint64_t unsent_bytes;
    bool near; /* through a ring */
} lr_peer_stats;

typedef struct lr_transport_stats {
    uint64_t accepted, dialed; /* connections begun */
    uint64_t up;               /* of these, came up */
    uint64_t ended[LR_ENDING_COUNT]; /* failed or ended, by reason */
    uint32_t peers_up, strangers;  /* now */
} lr_transport_stats;

void lr_peer_count(lr_peer *peer, lr_peer_stats *out);
const lr_identity *lr_peer_identity(const lr_peer *peer);
/* The address connected to; empty for one that came in. */
const char *lr_peer_url(const lr_peer *peer);
void lr_peer_set_user(lr_peer *peer, void *user);
void *lr_peer_user(const lr_peer *peer);
const lr_transport_stats *lr_transport_stats_of(const lr_transport *t);

#endif
