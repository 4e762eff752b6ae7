#include "runtime/stream.h"

#include <pthread.h>
#include <stdlib.h>

#define CHUNK_BYTES 65536u    /* what is read into, unless a frame is larger */
#define RAW_BYTES 2048u       /* the same before the handshake is over */
#define COPIED_BYTES 4096u    /* fewer bytes of frames are handed over in a copy, and the chunk goes on being filled */
#define BATCH_BYTES 65536u    /* body of a batch */
#define SOLO_BYTES 32768u     /* a record from here on is a frame of its own */
#define SPARES_MAX 3
#define IOV_MAX_NNG 8

/* A frame (or raw bytes) on its way out: bytes of ours, then perhaps somebody else's, then zeros. */
typedef struct outgoing {
    struct outgoing *next;
    size_t capacity, used;
    uint32_t records;
    bool is_frame;
    const uint8_t *owned;
    size_t owned_bytes, fill_bytes;
    void (*release)(void *user);
    void *user;
    _Alignas(16) uint8_t bytes[];
} outgoing;

typedef struct queue {
    outgoing *first, *last;
} queue;

struct lr_stream {
    lr_stream_config config;
    nng_stream *stream;
    nng_aio *rx_aio, *tx_aio;
    pthread_mutex_t lock; /* everything below */
    lr_ending end;
    bool closing, framed;
    lr_stream_stats stats;
    /* in */
    lr_chunk *filling; /* the reading thread's while rx_busy */
    lr_chunk *first, *last, *spares;
    size_t queued_bytes, expected_bytes;
    unsigned spare_count;
    bool rx_busy, rx_held;
    uint64_t held_count;
    /* out */
    queue sealed, released;
    outgoing *open, *out_spares;
    unsigned out_spare_count;
    size_t unsent_bytes, front_sent_bytes;
    bool tx_busy, flush_wanted, blocked, writable;
    /* the ring: the owner's, but for ring_out and what is counted */
    lr_ring ring;
    lr_share bell;      /* the other side's page; at NULL: none */
    bool has_ring, ring_in, ring_out;
    lr_chunk *ring_filling;
    queue ringed;       /* sealed, to go through the ring */
    size_t ring_sent_bytes; /* of the first of these */
};

lr_ending lr_stream_end_of(int nng_error)
{
    switch (nng_error) {
    case 0: return LR_ENDING_OK;
    case NNG_ENOMEM: return LR_ENDING_OUT_OF_MEMORY;
    case NNG_ETIMEDOUT: return LR_ENDING_NO_ANSWER;
    case NNG_ENOENT:
    case NNG_ECONNREFUSED: return LR_ENDING_NOT_LISTENING;
    case NNG_EADDRINUSE: return LR_ENDING_PORT_IN_USE;
    case NNG_EUNREACHABLE: return LR_ENDING_UNREACHABLE;
    case NNG_EADDRINVAL: return LR_ENDING_NO_HOST;
    case NNG_ENOTSUP:
    case NNG_EINVAL: return LR_ENDING_BAD_ADDRESS;
    case NNG_EPERM: return LR_ENDING_NOT_ALLOWED;
    case NNG_ENOFILES: return LR_ENDING_NO_FILES;
    case NNG_EPROTO:
    case NNG_ECRYPTO:
    case NNG_EPEERAUTH: return LR_ENDING_BAD_TLS;
    case NNG_ECLOSED:
    case NNG_ECANCELED:
    case NNG_ECONNABORTED:
    case NNG_ECONNRESET:
    case NNG_ECONNSHUT: return LR_ENDING_GONE;
    default: return LR_ENDING_SYSTEM;
    }
}

/* ---- chunks; under the lock ------------------------------------------------------------------------- */

static lr_chunk *chunk_new(lr_stream *s, size_t capacity)
{
    for (lr_chunk **at = &s->spares; *at; at = &(*at)->next) {
        lr_chunk *c = *at;
        if (c->capacity < capacity) continue;
        *at = c->next;
        s->spare_count--;
        c->next = NULL;
        c->used = 0;
        return c;
    }
    lr_chunk *c = malloc(sizeof *c + capacity);
    if (c) *c = (lr_chunk){.capacity = capacity};
    return c;
}

static void chunk_free(lr_stream *s, lr_chunk *c)
{
    if (c->capacity < CHUNK_BYTES || s->spare_count >= SPARES_MAX) {
        free(c);
        return;
    }
    c->next = s->spares;
    s->spares = c;
    s->spare_count++;
}

static void enqueue(lr_stream *s, lr_chunk *c)
{
    c->next = NULL;
    if (s->last)
        s->last->next = c;
    else
        s->first = c;
    s->last = c;
    s->queued_bytes += sizeof *c + c->capacity;
}

/* ---- in --------------------------------------------------------------------------------------------- */

/* Hands the whole frames of the chunk being filled to the owner; what is behind them begins the next one. */
static bool hand_over(lr_stream *s, lr_chunk **filling, const lr_frame_scan *scan)
{
    lr_chunk *c = *filling;
    size_t whole = scan->whole_bytes, rest = c->used - whole;
    if (whole <= COPIED_BYTES) {
        lr_chunk *copy = chunk_new(s, whole);
        if (!copy) return false;
        memcpy(copy->bytes, c->bytes, whole);
        copy->used = whole;
        memmove(c->bytes, c->bytes + whole, rest);
        c->used = rest;
        enqueue(s, copy);
        return true;
    }
    size_t wanted = whole / scan->frames > CHUNK_BYTES ? whole / scan->frames : CHUNK_BYTES; /* more of the same */
    lr_chunk *fresh = chunk_new(s, wanted > rest ? wanted : rest);
    if (!fresh) return false;
    memcpy(fresh->bytes, c->bytes + whole, rest);
    fresh->used = rest;
    c->used = whole;
    enqueue(s, c);
    *filling = fresh;
    return true;
}

static bool make_room_for_frame(lr_stream *s, lr_chunk **filling, size_t frame_bytes)
{
    lr_chunk *c = *filling;
    if (c->capacity >= frame_bytes) return true;
    lr_chunk *larger = chunk_new(s, frame_bytes);
    if (!larger) return false;
    memcpy(larger->bytes, c->bytes, c->used);
    larger->used = c->used;
    *filling = larger;
    chunk_free(s, c);
    return true;
}

/* Sorts what has been read. True: there is something for the owner. */
static bool sort_frames(lr_stream *s, lr_chunk **filling)
{
    lr_frame_scan scan;
    lr_ending end = lr_frame_scan_bytes((*filling)->bytes, (*filling)->used, s->config.body_max, &scan);
    bool any = scan.whole_bytes > 0;
    s->stats.frames_in += scan.frames;
    if (any && !hand_over(s, filling, &scan)) end = LR_ENDING_OUT_OF_MEMORY;
    if (end == LR_ENDING_OK && !make_room_for_frame(s, filling, scan.next_bytes)) end = LR_ENDING_OUT_OF_MEMORY;
    if (end != LR_ENDING_OK) s->end = end;
    return any || end != LR_ENDING_OK;
}

static bool sort_raw(lr_stream *s)
{
    lr_chunk *c = s->filling;
    s->filling = chunk_new(s, RAW_BYTES);
    if (!s->filling) s->end = LR_ENDING_OUT_OF_MEMORY;
    enqueue(s, c);
    return true;
}

/* May the next read begin? Then it has: the caller, without the lock, calls read_more. */
static bool may_read(lr_stream *s)
{
    if (s->rx_busy || s->closing || s->end != LR_ENDING_OK) return false;
    s->rx_held = s->framed ? s->queued_bytes > s->config.receive_max : s->first != NULL;
    s->held_count += s->rx_held;
    s->rx_busy = !s->rx_held;
    return s->rx_busy;
}

static void read_more(lr_stream *s)
{
    lr_chunk *c = s->filling;
    nng_iov iov = {c->bytes + c->used, c->capacity - c->used};
    int failed = nng_aio_set_iov(s->rx_aio, 1, &iov);
    LR_ASSERT(!failed && iov.iov_len > 0);
    nng_stream_recv(s->stream, s->rx_aio);
}

static void on_read(void *user)
{
    lr_stream *s = user;
    int failed = nng_aio_result(s->rx_aio);
    size_t n = failed ? 0 : nng_aio_count(s->rx_aio);
    pthread_mutex_lock(&s->lock);
    s->rx_busy = false;
    bool ready = true;
    if (s->end != LR_ENDING_OK || s->closing) {
        ready = false;
    } else if (failed || n == 0) {
        s->end = failed ? lr_stream_end_of(failed) : LR_ENDING_GONE;
    } else {
        s->filling->used += n;
        s->stats.bytes_in += n;
        ready = s->framed ? sort_frames(s, &s->filling) : sort_raw(s);
    }
    bool more = may_read(s);
    pthread_mutex_unlock(&s->lock);
    if (more) read_more(s);
    if (ready) s->config.notify(s->config.user);
}

static void ring_other(lr_stream *s)
{
    if (s->bell.at) lr_bell_ring(s->bell.at);
}

/* One read out of the ring, also when the socket has ended: what was written before is there. */
static void read_ring(lr_stream *s)
{
    bool room_wanted;
    lr_chunk *c = s->ring_filling;
    size_t n = lr_ring_read(&s->ring, c->bytes + c->used, c->capacity - c->used, &room_wanted);
    if (n == LR_RING_GARBAGE) {
        s->end = LR_ENDING_GARBAGE;
        s->ring_in = false;
        return;
    }
    if (n == 0) return;
    c->used += n;
    s->stats.bytes_in += n;
    lr_ending before = s->end;
    s->end = LR_ENDING_OK;
    sort_frames(s, &s->ring_filling);
    if (s->end != LR_ENDING_OK) s->ring_in = false;
    if (s->end == LR_ENDING_OK) s->end = before;
    if (room_wanted) ring_other(s);
}

lr_chunk *lr_stream_take(lr_stream *s)
{
    pthread_mutex_lock(&s->lock);
    while (!s->first && s->ring_in && lr_ring_has(&s->ring))
        read_ring(s);
    lr_chunk *c = s->first;
    if (c) {
        s->first = c->next;
        if (!s->first) s->last = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    return c;
}

void lr_stream_return(lr_stream *s, lr_chunk *c)
{
    pthread_mutex_lock(&s->lock);
    s->queued_bytes -= sizeof *c + c->capacity;
    chunk_free(s, c);
    bool more = may_read(s);
    pthread_mutex_unlock(&s->lock);
    if (more) read_more(s);
}

void lr_stream_begin_frames(lr_stream *s, const uint8_t *bytes, size_t size_bytes)
{
    pthread_mutex_lock(&s->lock);
    LR_ASSERT(!s->framed && !s->rx_busy && !s->first);
    s->framed = true;
    free(s->filling);
    s->filling = chunk_new(s, CHUNK_BYTES);
    if (!s->filling) {
        s->end = LR_ENDING_OUT_OF_MEMORY;
    } else {
        memcpy(s->filling->bytes, bytes, size_bytes);
        s->filling->used = size_bytes;
        sort_frames(s, &s->filling);
    }
    bool ready = s->first || s->end != LR_ENDING_OK;
    pthread_mutex_unlock(&s->lock);
    if (ready) s->config.notify(s->config.user);
}

lr_ending lr_stream_end(lr_stream *s)
{
    pthread_mutex_lock(&s->lock);
    lr_ending end = s->end;
    pthread_mutex_unlock(&s->lock);
    return end;
}

uint64_t lr_stream_heard(lr_stream *s)
{
    pthread_mutex_lock(&s->lock);
    if (s->rx_held) s->held_count++;
    uint64_t heard = s->stats.bytes_in + s->held_count;
    pthread_mutex_unlock(&s->lock);
    return heard;
}

/* ---- out -------------------------------------------------------------------------------------------- */

static void push(queue *q, outgoing *o)
{
    o->next = NULL;
    if (q->last)
        q->last->next = o;
    else
        q->first = o;
    q->last = o;
}

static outgoing *pop(queue *q)
{
    outgoing *o = q->first;
    if (!o) return NULL;
    q->first = o->next;
    if (!q->first) q->last = NULL;
    return o;
}

static outgoing *outgoing_new(lr_stream *s, size_t capacity)
{
    outgoing *o = capacity == LR_FRAME_HEAD + BATCH_BYTES ? s->out_spares : NULL;
    if (o) {
        s->out_spares = o->next;
        s->out_spare_count--;
    } else {
        o = malloc(sizeof *o + capacity);
        if (!o) return NULL;
    }
    memset(o, 0, sizeof *o);
    o->capacity = capacity;
    return o;
}

static void outgoing_free(lr_stream *s, outgoing *o)
{
    if (o->capacity == LR_FRAME_HEAD + BATCH_BYTES && s->out_spare_count < SPARES_MAX) {
        o->next = s->out_spares;
        s->out_spares = o;
        s->out_spare_count++;
    } else {
        free(o);
    }
}

static size_t size_of(const outgoing *o) { return o->used + o->owned_bytes + o->fill_bytes; }

/* A frame that is whole: behind all others of its way. */
static void push_sealed(lr_stream *s, outgoing *o) { push(s->ring_out ? &s->ringed : &s->sealed, o); }

static void seal(lr_stream *s)
{
    outgoing *o = s->open;
    s->open = NULL;
    s->flush_wanted = false;
    if (!o) return;
    lr_frame_write_head(o->bytes, (uint32_t)(o->used - LR_FRAME_HEAD), o->records);
    push_sealed(s, o);
}

/* May the next write begin? Then it has: the caller, without the lock, calls write_more. */
static bool may_write(lr_stream *s)
{
    if (s->tx_busy || s->closing || s->end != LR_ENDING_OK || !s->sealed.first) return false;
    s->tx_busy = true;
    return true;
}

static void add_piece(nng_iov *iov, unsigned *count, size_t *skip, const void *at, size_t size_bytes)
{
    if (*skip >= size_bytes) {
        *skip -= size_bytes;
        return;
    }
    iov[(*count)++] = (nng_iov){(uint8_t *)(uintptr_t)at + *skip, size_bytes - *skip};
    *skip = 0;
}

static void write_more(lr_stream *s)
{
    static const uint8_t zeros[8];
    nng_iov iov[IOV_MAX_NNG];
    unsigned count = 0;
    pthread_mutex_lock(&s->lock);
    size_t skip = s->front_sent_bytes;
    for (const outgoing *o = s->sealed.first; o && count + 3 <= IOV_MAX_NNG; o = o->next) {
        add_piece(iov, &count, &skip, o->bytes, o->used);
        add_piece(iov, &count, &skip, o->owned, o->owned_bytes);
        add_piece(iov, &count, &skip, zeros, o->fill_bytes);
    }
    pthread_mutex_unlock(&s->lock);
    int failed = nng_aio_set_iov(s->tx_aio, count, iov);
    LR_ASSERT(!failed && count > 0);
    nng_stream_send(s->stream, s->tx_aio);
}

/* So many bytes more of the queue were written; *sent: how many of its first were before. True: the owner has something
 * to do. */
static bool written(lr_stream *s, queue *q, size_t *sent, size_t n)
{
    bool ready = false;
    s->stats.bytes_out += n;
    s->unsent_bytes -= n;
    *sent += n;
    while (q->first && *sent >= size_of(q->first)) {
        outgoing *o = pop(q);
        *sent -= size_of(o);
        s->stats.frames_out += o->is_frame;
        if (o->release) {
            push(&s->released, o);
            ready = true;
        } else {
            outgoing_free(s, o);
        }
    }
    if (s->blocked && s->unsent_bytes <= s->config.send_max / 2) {
        s->blocked = false;
        s->writable = ready = true;
    }
    return ready;
}

/* ---- out through the ring; under the lock ------------------------------------------------------------ */

/* The first of the queue, from where it stands; what fitted. */
static size_t write_first(lr_stream *s)
{
    static const uint8_t zeros[8];
    const outgoing *o = s->ringed.first;
    const struct {
        const uint8_t *at;
        size_t size_bytes;
    } pieces[] = {{o->bytes, o->used}, {o->owned, o->owned_bytes}, {zeros, o->fill_bytes}};
    size_t skip = s->ring_sent_bytes, sum = 0;
    for (unsigned i = 0; i < LR_COUNT(pieces); i++) {
        if (skip >= pieces[i].size_bytes) {
            skip -= pieces[i].size_bytes;
            continue;
        }
        size_t left = pieces[i].size_bytes - skip, n = lr_ring_write(&s->ring, pieces[i].at + skip, left);
        if (n == LR_RING_GARBAGE) return n;
        sum += n;
        if (n < left) break;
        skip = 0;
    }
    return sum;
}

/* As much as there is room for. True: the owner has something to do. */
static bool write_ring(lr_stream *s)
{
    bool ready = false;
    while (s->ringed.first && s->end == LR_ENDING_OK) {
        size_t n = write_first(s);
        if (n == LR_RING_GARBAGE) {
            s->end = LR_ENDING_GARBAGE;
            ready = true;
            break;
        }
        ready |= written(s, &s->ringed, &s->ring_sent_bytes, n);
        if (n > 0) continue;
        if (lr_ring_publish(&s->ring)) ring_other(s); /* it must read before it can make room */
        if (!lr_ring_want_room(&s->ring)) return ready; /* it will ring when it has read something */
    }
    if (lr_ring_publish(&s->ring)) ring_other(s);
    return ready;
}

static void on_written(void *user)
{
    lr_stream *s = user;
    int failed = nng_aio_result(s->tx_aio);
    size_t n = failed ? 0 : nng_aio_count(s->tx_aio);
    pthread_mutex_lock(&s->lock);
    bool ready = written(s, &s->sealed, &s->front_sent_bytes, n);
    s->tx_busy = false;
    if (failed && s->end == LR_ENDING_OK && !s->closing) {
        s->end = lr_stream_end_of(failed);
        ready = true;
    }
    if (!s->sealed.first && s->flush_wanted) seal(s);
    bool more = may_write(s);
    if (!more && !s->unsent_bytes) ready = ready || !s->framed; /* the last word of a refusal is out */
    pthread_mutex_unlock(&s->lock);
    if (more) write_more(s);
    if (ready) s->config.notify(s->config.user);
}

static lr_ending admit(lr_stream *s, size_t size_bytes)
{
    if (s->end != LR_ENDING_OK) return s->end;
    if (lr_record_room(size_bytes) > s->config.body_max || size_bytes > s->config.body_max) return LR_ENDING_TOO_LARGE;
    if (s->unsent_bytes > 0 && s->unsent_bytes + lr_record_room(size_bytes) > s->config.send_max) {
        s->blocked = true;
        return LR_ENDING_BUSY;
    }
    return LR_ENDING_OK;
}

static void put_outgoing(lr_stream *s, outgoing *o)
{
    o->is_frame = true;
    o->records = 1;
    s->stats.records_out++;
    s->unsent_bytes += size_of(o);
    seal(s); /* what was said before goes before */
    push_sealed(s, o);
}

static lr_ending put_solo(lr_stream *s, uint16_t kind, const void *bytes, uint32_t size_bytes)
{
    outgoing *o = outgoing_new(s, LR_FRAME_HEAD + lr_record_room(size_bytes));
    if (!o) return LR_ENDING_OUT_OF_MEMORY;
    lr_frame_write_head(o->bytes, (uint32_t)lr_record_room(size_bytes), 1);
    o->used = LR_FRAME_HEAD + lr_record_write(o->bytes + LR_FRAME_HEAD, kind, bytes, size_bytes);
    put_outgoing(s, o);
    return LR_ENDING_OK;
}

static lr_ending put_batched(lr_stream *s, uint16_t kind, const void *bytes, uint32_t size_bytes)
{
    size_t room = lr_record_room(size_bytes);
    if (s->open && s->open->capacity - s->open->used < room) seal(s);
    if (!s->open) {
        s->open = outgoing_new(s, LR_FRAME_HEAD + BATCH_BYTES);
        if (!s->open) return LR_ENDING_OUT_OF_MEMORY;
        s->open->is_frame = true;
        s->open->used = LR_FRAME_HEAD;
        s->unsent_bytes += LR_FRAME_HEAD;
    }
    lr_record_write(s->open->bytes + s->open->used, kind, bytes, size_bytes);
    s->open->used += room;
    s->open->records++;
    s->unsent_bytes += room;
    s->stats.records_out++;
    return LR_ENDING_OK;
}

/* Unlocks. What is sealed goes out, by the way that is open. */
static void go_on(lr_stream *s)
{
    bool ready = s->ringed.first && write_ring(s), more = may_write(s);
    pthread_mutex_unlock(&s->lock);
    if (more) write_more(s);
    if (ready) s->config.notify(s->config.user);
}

lr_ending lr_stream_send(lr_stream *s, uint16_t kind, const void *bytes, size_t size_bytes)
{
    pthread_mutex_lock(&s->lock);
    lr_ending end = admit(s, size_bytes);
    if (end == LR_ENDING_OK)
        end = size_bytes >= SOLO_BYTES ? put_solo(s, kind, bytes, (uint32_t)size_bytes)
                                       : put_batched(s, kind, bytes, (uint32_t)size_bytes);
    go_on(s);
    return end;
}

lr_ending lr_stream_send_owned(lr_stream *s, uint16_t kind, const void *bytes, size_t size_bytes,
                                 void (*release)(void *user), void *user)
{
    pthread_mutex_lock(&s->lock);
    lr_ending end = admit(s, size_bytes);
    outgoing *o = end == LR_ENDING_OK ? outgoing_new(s, LR_FRAME_HEAD + LR_RECORD_HEAD) : NULL;
    if (o) {
        lr_frame_write_head(o->bytes, (uint32_t)lr_record_room(size_bytes), 1);
        lr_record_write_head(o->bytes + LR_FRAME_HEAD, (uint32_t)size_bytes, kind);
        o->used = LR_FRAME_HEAD + LR_RECORD_HEAD;
        o->owned = bytes;
        o->owned_bytes = size_bytes;
        o->fill_bytes = lr_record_padded(size_bytes) - size_bytes;
        o->release = release;
        o->user = user;
        put_outgoing(s, o);
    } else if (end == LR_ENDING_OK) {
        end = LR_ENDING_OUT_OF_MEMORY;
    }
    go_on(s);
    return end;
}

lr_ending lr_stream_send_raw(lr_stream *s, const void *bytes, size_t size_bytes)
{
    pthread_mutex_lock(&s->lock);
    lr_ending end = s->end;
    outgoing *o = end == LR_ENDING_OK ? outgoing_new(s, size_bytes) : NULL;
    if (o) {
        memcpy(o->bytes, bytes, size_bytes);
        o->used = size_bytes;
        s->unsent_bytes += size_bytes;
        push(&s->sealed, o);
    } else if (end == LR_ENDING_OK) {
        end = LR_ENDING_OUT_OF_MEMORY;
    }
    bool more = may_write(s);
    pthread_mutex_unlock(&s->lock);
    if (more) write_more(s);
    return end;
}

void lr_stream_flush(lr_stream *s)
{
    pthread_mutex_lock(&s->lock);
    if (s->tx_busy && !s->ring_out)
        s->flush_wanted = s->open != NULL; /* it goes on filling until then */
    else
        seal(s);
    go_on(s);
}

void lr_stream_ping(lr_stream *s)
{
    pthread_mutex_lock(&s->lock);
    outgoing *o = s->unsent_bytes == 0 && s->end == LR_ENDING_OK ? outgoing_new(s, LR_FRAME_HEAD) : NULL;
    if (o) {
        lr_frame_write_head(o->bytes, 0, 0);
        o->used = LR_FRAME_HEAD;
        o->is_frame = true;
        s->unsent_bytes += o->used;
        push(&s->sealed, o);
    }
    bool more = may_write(s);
    pthread_mutex_unlock(&s->lock);
    if (more) write_more(s);
}

void lr_stream_release(lr_stream *s)
{
    for (;;) {
        pthread_mutex_lock(&s->lock);
        outgoing *o = pop(&s->released);
        pthread_mutex_unlock(&s->lock);
        if (!o) return;
        o->release(o->user);
        free(o);
    }
}

bool lr_stream_writable(lr_stream *s)
{
    pthread_mutex_lock(&s->lock);
    bool writable = s->writable;
    s->writable = false;
    pthread_mutex_unlock(&s->lock);
    return writable;
}

size_t lr_stream_unsent(lr_stream *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->unsent_bytes;
    pthread_mutex_unlock(&s->lock);
    return n;
}

void lr_stream_count(lr_stream *s, lr_stream_stats *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->stats;
    pthread_mutex_unlock(&s->lock);
}

/* ---- the ring --------------------------------------------------------------------------------------- */

void lr_stream_give_ring(lr_stream *s, const lr_ring *ring)
{
    s->ring = *ring;
    s->has_ring = true;
}

void lr_stream_give_bell(lr_stream *s, const lr_share *bell) { s->bell = *bell; }
bool lr_stream_has_ring(lr_stream *s) { return s->has_ring; }
void lr_stream_close_ring_fd(lr_stream *s) { lr_share_close_fd(&s->ring.share); }

void lr_stream_drop_ring(lr_stream *s)
{
    if (s->has_ring) lr_ring_close(&s->ring);
    if (s->bell.at) lr_share_close(&s->bell);
    s->has_ring = s->ring_in = s->ring_out = false;
}

lr_ending lr_stream_switch_out(lr_stream *s, uint16_t kind, const void *bytes, size_t size_bytes)
{
    pthread_mutex_lock(&s->lock);
    lr_ending end = s->end;
    if (end == LR_ENDING_OK) end = put_batched(s, kind, bytes, (uint32_t)size_bytes);
    seal(s);
    s->ring_out = end == LR_ENDING_OK;
    go_on(s);
    return end;
}

void lr_stream_switch_in(lr_stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->ring_filling = chunk_new(s, CHUNK_BYTES);
    if (s->ring_filling)
        s->ring_in = true;
    else
        s->end = LR_ENDING_OUT_OF_MEMORY;
    pthread_mutex_unlock(&s->lock);
}

bool lr_stream_ring_has(lr_stream *s) { return s->ring_in && lr_ring_has(&s->ring); }

/* ---- opening and closing ---------------------------------------------------------------------------- */

static void free_all(lr_stream *s)
{
    lr_stream_release(s);
    for (outgoing *o; (o = pop(&s->sealed)) || (o = pop(&s->ringed));) {
        if (o->release) o->release(o->user);
        free(o);
    }
    lr_stream_drop_ring(s);
    free(s->ring_filling);
    free(s->open);
    for (outgoing *o = s->out_spares, *next; o; o = next) {
        next = o->next;
        free(o);
    }
    for (lr_chunk *c = s->first, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    for (lr_chunk *c = s->spares, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(s->filling);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

lr_stream *lr_stream_open(nng_stream *stream, const lr_stream_config *config)
{
    lr_stream *s = calloc(1, sizeof *s);
    if (s) {
        s->config = *config;
        s->ring.share.fd = s->bell.fd = -1;
        pthread_mutex_init(&s->lock, NULL);
        s->filling = chunk_new(s, RAW_BYTES);
    }
    if (!s || !s->filling || nng_aio_alloc(&s->rx_aio, on_read, s) != 0 ||
        nng_aio_alloc(&s->tx_aio, on_written, s) != 0) {
        nng_stream_close(stream);
        nng_stream_free(stream);
        if (s && s->rx_aio) nng_aio_free(s->rx_aio);
        if (s) free_all(s);
        return NULL;
    }
    s->stream = stream;
    s->rx_busy = true;
    read_more(s);
    return s;
}

void lr_stream_close(lr_stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_mutex_unlock(&s->lock);
    nng_aio_stop(s->rx_aio); /* waits for its callback; none begins after that */
    nng_aio_stop(s->tx_aio);
    nng_stream_close(s->stream);
    nng_stream_free(s->stream);
    nng_aio_free(s->rx_aio);
    nng_aio_free(s->tx_aio);
    free_all(s);
}
