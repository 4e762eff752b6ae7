/* runtime/stream.h - one nng byte stream: frames in, batches out, both bounded; and perhaps a ring beside it.
 *
 * In. nng's threads read, find where frames end (frame.h), and queue chunks of whole frames; the owner takes them.
 * Above receive_max queued bytes nothing is read until the owner has taken some, and the network makes the other
 * end wait. Before lr_stream_begin_frames bytes come as they are, one piece at a time, none read before the piece
 * is taken: a stranger makes this end keep a few KiB.
 * Out. Records are put into an open batch; a batch is closed into a frame by lr_stream_flush, or when it is full.
 * While one is being written, the next one fills: a busy stream makes large frames by itself. Above send_max
 * waiting bytes the owner is told BUSY, and later that it may write again.
 *
 * With a ring (ring.h), frames go through that, each way from a moment on that both sides agree on; the socket stays
 * for signs of life, and its end is the connection's. The owner itself then reads (lr_stream_take) and writes (send,
 * flush), no thread of nng's: what does not fit into the ring waits here, as before a socket.
 *
 * notify is called by nng's threads, with no lock held; it must only wake the owner.
 * Owns: the nng_stream, its aios, all buffers; bytes sent by lr_stream_send_owned until it calls release (on the
 * owner's thread). Thread: the owner's, but for notify. Blocks: close, until nng's threads have let go. */
#ifndef RUNTIME_STREAM_H
#define RUNTIME_STREAM_H

#include "runtime/bell.h"
#include "runtime/frame.h"
#include "runtime/ring.h"

#include <nng/nng.h>

typedef struct lr_stream lr_stream;

typedef struct lr_stream_config {
    size_t body_max;    /* bytes of a received frame's body */
    size_t receive_max; /* bytes of chunks not taken */
    size_t send_max;    /* bytes not written */
    void (*notify)(void *user);
    void *user;
} lr_stream_config;

typedef struct lr_stream_stats {
    uint64_t records_out;
    uint64_t frames_in, frames_out; /* frames_out: written whole */
    uint64_t bytes_in, bytes_out;   /* handshake and heads too */
} lr_stream_stats;

/* Takes the nng stream over and begins to read, also where it fails (NULL: no memory). */
lr_stream *lr_stream_open(nng_stream *stream, const lr_stream_config *config);
/* Ends everything; what was not written is dropped and released. */
void lr_stream_close(lr_stream *s);

/* --- in --- */

typedef struct lr_chunk {
    struct lr_chunk *next;
    size_t capacity, used; /* bytes */
    _Alignas(16) uint8_t bytes[];
} lr_chunk;

/* The oldest chunk, or NULL. Give it back with lr_stream_return. */
lr_chunk *lr_stream_take(lr_stream *s);
void lr_stream_return(lr_stream *s, lr_chunk *chunk);
/* From here on frames; the first bytes are those left over from the piece that was taken last. */
void lr_stream_begin_frames(lr_stream *s, const uint8_t *bytes, size_t size_bytes);
/* Why nothing more will come or can be sent; OK: it may. Chunks that were read before are still there. */
lr_ending lr_stream_end(lr_stream *s);
/* A number that changes whenever bytes were read, or could not be for want of room here. */
uint64_t lr_stream_heard(lr_stream *s);

/* --- out --- */

/* Copies. OK, BUSY (once told, notify comes when there is room), TOO_LARGE (above record_max), or why it ended. */
lr_ending LR_MUST_USE lr_stream_send(lr_stream *s, uint16_t kind, const void *bytes, size_t size_bytes);
/* Does not copy; release(user) is called once, by lr_stream_release or lr_stream_close, unless this fails. */
lr_ending LR_MUST_USE lr_stream_send_owned(lr_stream *s, uint16_t kind, const void *bytes, size_t size_bytes,
                                             void (*release)(void *user), void *user);
/* Bytes outside any frame: the handshake's. */
lr_ending LR_MUST_USE lr_stream_send_raw(lr_stream *s, const void *bytes, size_t size_bytes);
/* What is in the open batch goes out as a frame. */
void lr_stream_flush(lr_stream *s);
/* A frame of no records, unless something is on its way already. */
void lr_stream_ping(lr_stream *s);
/* Calls release for what was sent. */
void lr_stream_release(lr_stream *s);
/* True once after a BUSY, when there is room again. */
bool lr_stream_writable(lr_stream *s);
/* Bytes not yet written. */
size_t lr_stream_unsent(lr_stream *s);

void lr_stream_count(lr_stream *s, lr_stream_stats *out);

/* --- the ring --- */

/* The stream owns both from here on; nothing goes through them yet. */
void lr_stream_give_ring(lr_stream *s, const lr_ring *ring);
void lr_stream_give_bell(lr_stream *s, const lr_share *bell); /* an lr_bell_page: the other side's */
bool lr_stream_has_ring(lr_stream *s);
void lr_stream_drop_ring(lr_stream *s);
/* The other side has opened it, or will not. */
void lr_stream_close_ring_fd(lr_stream *s);
/* What is sent from here on goes through the ring. The record is the last one before. As lr_stream_send, never BUSY. */
lr_ending LR_MUST_USE lr_stream_switch_out(lr_stream *s, uint16_t kind, const void *bytes, size_t size_bytes);
/* What was sent through the ring is taken from here on, too. */
void lr_stream_switch_in(lr_stream *s);
/* Whether there is something to take out of the ring: cheap. */
bool lr_stream_ring_has(lr_stream *s);

/* What an nng error means for a connection. */
lr_ending lr_stream_end_of(int nng_error);

#endif
