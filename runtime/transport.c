#include "runtime/transport.h"

#include "runtime/address.h"
#include "runtime/clock.h"
#include "runtime/nearby.h"
#include "runtime/tls.h"
#include "sched/list.h"
#include "sched/rival.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define URL_MAX NNG_MAXADDRLEN
#define LISTENERS_MAX 4
#define TURN_BYTES ((size_t)16 << 20) /* of one peer in a turn: twice what may lie here unread */
#define RETRY_NS (LR_NS_PER_S / 10) /* after a failed accept */

typedef enum peer_state {
    DIALING, /* nng connects */
    SHAKING, /* the handshake */
    UP,
    LEAVING, /* what is queued is written, then it ends; the owner has heard its last word about it */
    OVER,    /* in the graveyard until the turn is over */
} peer_state;

struct lr_peer {
    lr_transport *transport;
    lr_link link;   /* in transport->peers, or graves */
    lr_peer *ready_next;
    bool is_ready;  /* in the ready list; under its lock */
    peer_state state;
    bool dialed;
    char url[URL_MAX];
    nng_stream_dialer *dialer;
    nng_aio *dial_aio;
    atomic_bool dial_done;
    lr_stream *stream;
    bool stream_taken;       /* from dial_aio */
    lr_handshake *handshake; /* until UP */
    lr_identity remote;
    uint64_t deadline_ns;    /* DIALING, SHAKING, LEAVING */
    uint64_t up_ns, heard_ns, looked_ns; /* heard_ns: no later than it was heard of last */
    uint64_t heard, spoke; /* what the counters said then */
    uint64_t records_in;
    lr_nearby nearby;
    void *user;
};

typedef struct listener {
    lr_transport *transport;
    nng_stream_listener *nng;
    nng_aio *aio;
    atomic_bool done;     /* an accept ended */
    uint64_t retry_ns;    /* when to accept again after a failure; 0: it runs */
    char url[URL_MAX];
} listener;

struct lr_transport {
    lr_transport_config config;
    lr_identity self;
    lr_secret secret;
    bool advertised;
    char address[URL_MAX];
    listener listeners[LISTENERS_MAX];
    unsigned listener_count;
    lr_list peers, graves;
    uint64_t timer_ns;
    lr_transport_stats stats;
    size_t called; /* handlers, in this turn */
    atomic_bool rung;
    pthread_mutex_t lock; /* the ready list */
    lr_peer *ready;
};

static lr_peer *peer_of(const lr_link *link) { return LR_CONTAINER(link, lr_peer, link); }

/* ---- nng's threads: only these functions ------------------------------------------------------------- */

static void ring(lr_transport *t)
{
    if (!atomic_exchange(&t->rung, true)) t->config.handler.ring(t->config.handler.user);
}

static void make_ready(lr_peer *p)
{
    lr_transport *t = p->transport;
    pthread_mutex_lock(&t->lock);
    if (!p->is_ready) {
        p->is_ready = true;
        p->ready_next = t->ready;
        t->ready = p;
    }
    pthread_mutex_unlock(&t->lock);
}

static void notify(void *user)
{
    lr_peer *p = user;
    make_ready(p);
    ring(p->transport);
}

static void on_dialed(void *user)
{
    lr_peer *p = user;
    atomic_store(&p->dial_done, true);
    notify(p);
}

static void on_accepted(void *user)
{
    listener *l = user;
    atomic_store(&l->done, true);
    ring(l->transport);
}

/* ---- peers ------------------------------------------------------------------------------------------- */

static void set_timer(lr_transport *t, uint64_t at_ns)
{
    if (at_ns < t->timer_ns) t->timer_ns = at_ns;
}

static lr_peer *peer_new(lr_transport *t, bool dialed)
{
    lr_peer *p = calloc(1, sizeof *p);
    lr_handshake *h = calloc(1, sizeof *h);
    if (!p || !h) {
        free(p);
        free(h);
        return NULL;
    }
    p->transport = t;
    p->handshake = h;
    p->dialed = dialed;
    p->deadline_ns = lr_clock_ns() + t->config.handshake_ns;
    set_timer(t, p->deadline_ns);
    lr_list_append(&t->peers, &p->link);
    return p;
}

/* Everything of nng's that the peer has; after it no thread but the owner's knows the peer. */
static void peer_let_go(lr_peer *p)
{
    if (p->dial_aio) {
        nng_aio_stop(p->dial_aio);
        if (atomic_load(&p->dial_done) && !p->stream_taken && nng_aio_result(p->dial_aio) == 0)
            nng_stream_free(nng_aio_get_output(p->dial_aio, 0));
        nng_stream_dialer_close(p->dialer);
        nng_stream_dialer_free(p->dialer);
        nng_aio_free(p->dial_aio);
        p->dial_aio = NULL;
    }
    if (p->stream) lr_stream_close(p->stream);
    p->stream = NULL;
}

static void peer_bury(lr_peer *p)
{
    lr_transport *t = p->transport;
    if (p->state == UP) t->stats.peers_up--;
    if (p->state == SHAKING && !p->dialed) t->stats.strangers--;
    p->state = OVER;
    peer_let_go(p);
    lr_link_remove(&p->link);
    lr_list_append(&t->graves, &p->link);
}

/* The owner hears that the peer is down, if it ever heard of it. */
static void tell_down(lr_peer *p, lr_ending end, const char *detail)
{
    lr_transport *t = p->transport;
    t->stats.ended[end]++;
    if (!p->dialed && p->state != UP) return;
    char text[LR_ENDING_TEXT], where[LR_WORD_MAX + LR_ID_TEXT + 16], id[LR_ID_TEXT];
    lr_id_format(p->remote.node, id);
    snprintf(where, sizeof where, "%.127s%s%s", p->dialed ? p->url : p->remote.address,
             p->state == UP ? " of node " : "", p->state == UP ? id : "");
    const char *what = p->state == UP ? "the connection to" : "cannot connect to";
    lr_ending_explain(end, what, where, detail, text, sizeof text);
    t->called++;
    t->config.handler.on_peer_down(t->config.handler.user, p, end, text);
}

static void peer_end(lr_peer *p, lr_ending end, const char *detail)
{
    if (p->state == OVER) return;
    if (p->state != LEAVING) {
        peer_state before = p->state;
        tell_down(p, end, detail);
        if (p->state != before) return; /* the handler hung up */
    }
    peer_bury(p);
}

/* Ends once what is queued is written. */
static void peer_leave(lr_peer *p)
{
    lr_transport *t = p->transport;
    if (p->state == UP) t->stats.peers_up--;
    if (p->state == SHAKING && !p->dialed) t->stats.strangers--;
    p->state = LEAVING;
    p->deadline_ns = lr_clock_ns() + t->config.handshake_ns;
    set_timer(t, p->deadline_ns);
}

static void leave_if_written(lr_peer *p)
{
    if (lr_stream_unsent(p->stream) == 0 || lr_stream_end(p->stream) != LR_ENDING_OK) peer_bury(p);
}

/* ---- the handshake ----------------------------------------------------------------------------------- */

static void send_out(lr_peer *p)
{
    lr_handshake *h = p->handshake;
    if (h->out_bytes == 0) return;
    lr_ending end = lr_stream_send_raw(p->stream, h->out, h->out_bytes);
    (void)end; /* where it failed the stream says so itself */
    h->out_bytes = 0;
}

static void begin_shaking(lr_peer *p, nng_stream *stream)
{
    lr_transport *t = p->transport;
    uint8_t nonce[LR_NONCE_BYTES];
    ssize_t n = getrandom(nonce, sizeof nonce, 0);
    LR_ASSERT(n == (ssize_t)sizeof nonce); /* never less for so few bytes */
    lr_handshake_init(p->handshake, p->dialed, &t->self, &t->secret, t->config.same_build, nonce);
    lr_stream_config config = {
        .body_max = lr_record_room(t->config.record_max),
        .receive_max = t->config.receive_max,
        .send_max = t->config.send_max,
        .notify = notify,
        .user = p,
    };
    if (config.body_max < LR_FRAME_BODY_MIN) config.body_max = LR_FRAME_BODY_MIN;
    p->state = SHAKING;
    if (!p->dialed) t->stats.strangers++;
    p->stream = lr_stream_open(stream, &config);
    if (p->stream)
        send_out(p);
    else
        peer_end(p, LR_ENDING_OUT_OF_MEMORY, NULL);
}

/* Is the other connection to the same node one that this node dialed and has proved itself on? */
static bool is_own_dial(const lr_peer *p)
{
    return p->dialed && (p->state == UP || (p->state == SHAKING && p->handshake->state == LR_HANDSHAKE_PROOF));
}

/* Has this node, as listener, told the dialer yes? */
static bool is_promised(const lr_peer *p)
{
    return !p->dialed && (p->state == UP || (p->state == SHAKING && p->handshake->state == LR_HANDSHAKE_ACCEPT));
}

static bool same_node(const lr_peer *p, const lr_peer *q)
{
    lr_id id = q->state == UP ? q->remote.node : q->handshake->remote.node;
    return p != q && (q->state == UP || q->state == SHAKING) && lr_id_equal(p->handshake->remote.node, id);
}

/* Two nodes that dial each other at once: sched/rival.h. */
static lr_ending judge_double(const lr_peer *p, uint64_t now_ns)
{
    lr_transport *t = p->transport;
    for (lr_link *l = lr_list_first(&t->peers); l; l = lr_list_next(&t->peers, l)) {
        lr_peer *q = peer_of(l);
        if (!same_node(p, q)) continue;
        bool young = q->state != UP || now_ns - q->up_ns < t->config.handshake_ns;
        lr_rival rival = {is_own_dial(q), is_promised(q), young};
        if (lr_rival_stays(t->self.node, p->handshake->remote.node, p->dialed, &rival)) return LR_ENDING_DUPLICATE;
    }
    return LR_ENDING_OK;
}

static void end_others(const lr_peer *p)
{
    lr_transport *t = p->transport;
    for (lr_link *l = lr_list_first(&t->peers), *next; l; l = next) {
        next = lr_list_next(&t->peers, l);
        lr_peer *q = peer_of(l);
        if (!same_node(p, q) || !(q->state == UP || is_promised(q))) continue;
        peer_end(q, LR_ENDING_REPLACED, NULL);
        next = lr_list_first(&t->peers); /* a handler may have changed the list */
    }
}

static void come_up(lr_peer *p, const uint8_t *rest, size_t rest_bytes)
{
    lr_transport *t = p->transport;
    end_others(p);
    if (p->state != SHAKING) return;
    p->remote = p->handshake->remote;
    p->state = UP;
    p->up_ns = p->heard_ns = p->looked_ns = lr_clock_ns();
    free(p->handshake);
    p->handshake = NULL;
    t->stats.up++;
    t->stats.peers_up++;
    if (!p->dialed) t->stats.strangers--;
    set_timer(t, p->up_ns + t->config.keepalive_ns);
    lr_stream_begin_frames(p->stream, rest, rest_bytes);
    t->called++;
    t->config.handler.on_peer_up(t->config.handler.user, p, &p->remote);
    if (p->state == UP && !p->dialed) lr_nearby_offer(&p->nearby, p->stream, t->config.bell);
}

/* The handshake failed here; the other end is told why as far as out says it. */
static void shake_failed(lr_peer *p)
{
    lr_handshake *h = p->handshake;
    peer_state before = p->state;
    p->remote = h->remote;
    tell_down(p, h->end, h->detail);
    if (p->state != before) return;
    peer_leave(p);
}

static void shake(lr_peer *p)
{
    lr_handshake *h = p->handshake;
    lr_chunk *c = lr_stream_take(p->stream);
    if (!c) {
        lr_ending end = lr_stream_end(p->stream);
        if (end == LR_ENDING_GONE && h->theirs_bytes == 0) end = LR_ENDING_NOT_LUARUN;
        if (end != LR_ENDING_OK) peer_end(p, end, "it closed the connection before it said who it is");
        return;
    }
    size_t at = 0, used;
    while (at < c->used && h->state < LR_HANDSHAKE_DONE) {
        lr_handshake_feed(h, c->bytes + at, c->used - at, &used);
        at += used;
        if (h->state == LR_HANDSHAKE_ASK) lr_handshake_answer(h, judge_double(p, lr_clock_ns()));
        send_out(p);
    }
    if (h->state == LR_HANDSHAKE_DONE)
        come_up(p, c->bytes + at, c->used - at);
    else if (h->state == LR_HANDSHAKE_FAILED)
        shake_failed(p);
    if (p->stream)
        lr_stream_return(p->stream, c);
    else
        free(c);
}

/* ---- connections that are up ------------------------------------------------------------------------- */

/* Calls on_record for what is in a chunk of whole frames. */
static lr_ending deliver(lr_peer *p, const lr_chunk *c)
{
    const lr_transport_handler *handler = &p->transport->config.handler;
    size_t at = 0, frame_bytes;
    while (at < c->used) {
        lr_frame_reader reader;
        lr_record record;
        lr_ending end = lr_frame_read(&reader, c->bytes + at, c->used - at, &frame_bytes);
        if (end != LR_ENDING_OK) return end;
        while (lr_frame_next(&reader, &record, &end)) {
            if (record.kind == LR_NEARBY_KIND) {
                end = lr_nearby_take(&p->nearby, p->stream, p->dialed, p->transport->config.bell, record.bytes,
                                     record.size_bytes);
                if (end != LR_ENDING_OK) return end;
                continue;
            }
            p->records_in++;
            p->transport->called++;
            handler->on_record(handler->user, p, record.kind, record.bytes, record.size_bytes);
            if (p->state != UP) return LR_ENDING_OK; /* the handler hung up */
        }
        if (end != LR_ENDING_OK) return end;
        at += frame_bytes;
    }
    return LR_ENDING_OK;
}

static void hear(lr_peer *p)
{
    lr_transport *t = p->transport;
    lr_ending end = lr_stream_end(p->stream); /* before the chunks: what was read before the end is delivered */
    size_t bytes = 0;
    for (lr_chunk *c; p->state == UP && bytes < TURN_BYTES && (c = lr_stream_take(p->stream));) {
        bytes += c->used;
        lr_ending bad = deliver(p, c);
        lr_stream_return(p->stream, c);
        if (bad != LR_ENDING_OK && p->state == UP) {
            peer_end(p, bad, NULL);
            return;
        }
    }
    if (p->state != UP) return;
    if (bytes >= TURN_BYTES) { /* a ring may fill as fast as it is read: others have their turn, too */
        notify(p);
        end = LR_ENDING_OK;
    }
    lr_stream_release(p->stream);
    if (lr_stream_writable(p->stream) && t->config.handler.on_writable) {
        t->called++;
        t->config.handler.on_writable(t->config.handler.user, p);
    }
    if (end != LR_ENDING_OK && p->state == UP) peer_end(p, end, NULL);
}

/* ---- dialing and accepting ---------------------------------------------------------------------------- */

static void dialed(lr_peer *p)
{
    if (!atomic_load(&p->dial_done)) return;
    int failed = nng_aio_result(p->dial_aio);
    if (failed) {
        peer_end(p, lr_stream_end_of(failed), nng_strerror(failed));
        return;
    }
    p->stream_taken = true;
    begin_shaking(p, nng_aio_get_output(p->dial_aio, 0));
}

static void accept_again(listener *l)
{
    l->retry_ns = 0;
    nng_stream_listener_accept(l->nng, l->aio);
}

/* The stranger that came first makes room. */
static void make_room(lr_transport *t)
{
    if (t->stats.strangers < t->config.strangers_max) return;
    for (lr_link *l = lr_list_first(&t->peers); l; l = lr_list_next(&t->peers, l)) {
        lr_peer *p = peer_of(l);
        if (p->state != SHAKING || p->dialed) continue;
        peer_end(p, LR_ENDING_CROWDED, NULL);
        return;
    }
}

static void accepted(listener *l, uint64_t now_ns)
{
    lr_transport *t = l->transport;
    if (l->retry_ns != 0 && now_ns >= l->retry_ns) accept_again(l);
    if (!atomic_exchange(&l->done, false)) return;
    int failed = nng_aio_result(l->aio);
    if (failed) {
        t->stats.ended[lr_stream_end_of(failed)]++;
        l->retry_ns = now_ns + RETRY_NS;
        set_timer(t, l->retry_ns);
        return;
    }
    nng_stream *stream = nng_aio_get_output(l->aio, 0);
    t->stats.accepted++;
    make_room(t);
    lr_peer *p = peer_new(t, false);
    if (p) {
        begin_shaking(p, stream);
    } else {
        t->stats.ended[LR_ENDING_OUT_OF_MEMORY]++;
        nng_stream_free(stream);
    }
    accept_again(l);
}

/* ---- turns ------------------------------------------------------------------------------------------- */

static void peer_turn(lr_peer *p)
{
    switch (p->state) {
    case DIALING: dialed(p); return;
    case SHAKING: shake(p); return;
    case UP: hear(p); return;
    case LEAVING: leave_if_written(p); return;
    case OVER: return;
    }
}

/* The timer of one peer; returns when to look again. */
static uint64_t peer_tick(lr_peer *p, uint64_t now_ns)
{
    lr_transport *t = p->transport;
    if (p->state != UP) {
        if (now_ns < p->deadline_ns) return p->deadline_ns;
        peer_end(p, LR_ENDING_NO_ANSWER, NULL);
        return LR_NEVER;
    }
    uint64_t heard = lr_stream_heard(p->stream);
    bool near = lr_stream_has_ring(p->stream);
    uint64_t silence_ns = near ? t->config.near_silence_ns : t->config.silence_ns;
    bool slept = now_ns - p->looked_ns > 3 * t->config.keepalive_ns; /* this node: what came meanwhile is read now */
    if (heard != p->heard || slept) {
        p->heard = heard;
        p->heard_ns = slept ? now_ns : p->looked_ns;
    } else if (now_ns - p->heard_ns >= silence_ns) {
        peer_end(p, LR_ENDING_SILENT, NULL);
        return LR_NEVER;
    }
    p->looked_ns = now_ns;
    lr_stream_stats stats;
    lr_stream_count(p->stream, &stats);
    if (stats.bytes_out != p->spoke) {
        p->spoke = stats.bytes_out;
    } else {
        lr_stream_ping(p->stream);
    }
    uint64_t again_ns = now_ns + t->config.keepalive_ns, silent_ns = p->heard_ns + silence_ns;
    return silent_ns > now_ns && silent_ns < again_ns ? silent_ns : again_ns;
}

static void tick(lr_transport *t, uint64_t now_ns)
{
    if (now_ns < t->timer_ns) return;
    t->timer_ns = LR_NEVER;
    for (lr_link *l = lr_list_first(&t->peers), *next; l; l = next) {
        lr_peer *p = peer_of(l);
        uint64_t at_ns = peer_tick(p, now_ns); /* the peer stays in memory; it may be in the graveyard now */
        if (p->state == OVER) {
            next = lr_list_first(&t->peers); /* from the beginning: handlers may have changed the list */
            continue;
        }
        set_timer(t, at_ns);
        next = lr_list_next(&t->peers, l);
    }
    for (unsigned i = 0; i < t->listener_count; i++)
        if (t->listeners[i].retry_ns != 0) set_timer(t, t->listeners[i].retry_ns);
}

static void empty_graves(lr_transport *t)
{
    for (lr_link *l; (l = lr_list_pop(&t->graves));) {
        lr_peer *p = peer_of(l);
        free(p->handshake);
        free(p);
    }
}

/* No thread of nng's reads the rings. */
static void look_into_rings(lr_transport *t)
{
    bool near = false;
    for (lr_link *l = lr_list_first(&t->peers); l; l = lr_list_next(&t->peers, l)) {
        lr_peer *p = peer_of(l);
        bool looks = p->state == UP ? lr_stream_ring_has(p->stream)
                                    : p->state == LEAVING && lr_stream_has_ring(p->stream);
        if (looks) make_ready(p);
        near |= p->state == UP && lr_stream_has_ring(p->stream);
    }
    if (t->config.bell) atomic_store_explicit(&t->config.bell->near, near, memory_order_relaxed);
}

/* In the order in which they became ready; the graves are emptied later, so each is still there. */
static void serve_ready(lr_transport *t)
{
    pthread_mutex_lock(&t->lock);
    lr_peer *first = NULL;
    for (lr_peer *p = t->ready, *next; p; p = next) {
        next = p->ready_next;
        p->ready_next = first;
        first = p;
    }
    t->ready = NULL;
    pthread_mutex_unlock(&t->lock);
    for (lr_peer *p = first, *next; p; p = next) {
        pthread_mutex_lock(&t->lock);
        next = p->ready_next; /* before it may be put into the list again */
        p->is_ready = false;
        pthread_mutex_unlock(&t->lock);
        peer_turn(p);
    }
}

void lr_transport_flush(lr_transport *t)
{
    for (lr_link *l = lr_list_first(&t->peers); l; l = lr_list_next(&t->peers, l)) {
        lr_peer *p = peer_of(l);
        if (p->state == UP || p->state == LEAVING) lr_stream_flush(p->stream);
    }
}

size_t lr_transport_turn(lr_transport *t)
{
    t->called = 0;
    atomic_store(&t->rung, false);
    uint64_t now_ns = lr_clock_ns();
    for (unsigned i = 0; i < t->listener_count; i++)
        accepted(&t->listeners[i], now_ns);
    look_into_rings(t);
    serve_ready(t);
    tick(t, now_ns);
    lr_transport_flush(t);
    /* a peer that ended may be in the ready list: a notify came before its threads let go */
    pthread_mutex_lock(&t->lock);
    for (lr_peer **at = &t->ready; *at;) {
        if ((*at)->state == OVER)
            *at = (*at)->ready_next;
        else
            at = &(*at)->ready_next;
    }
    pthread_mutex_unlock(&t->lock);
    empty_graves(t);
    return t->called;
}

uint64_t lr_transport_deadline(const lr_transport *t) { return t->timer_ns; }

/* ---- addresses --------------------------------------------------------------------------------------- */

static lr_ending complain(lr_transport *t, lr_ending end, const char *what, const char *where, const char *detail,
                            char *text)
{
    t->stats.ended[end]++;
    lr_ending_explain(end, what, where, detail, text, LR_ENDING_TEXT);
    return end;
}

/* Is the address one that may be used? */
static lr_ending check_address(lr_transport *t, const char *url, lr_address *address, const char **detail)
{
    *detail = NULL;
    lr_address_parse(url, address);
    if (address->kind == LR_ADDRESS_BAD || strlen(url) >= URL_MAX) return LR_ENDING_BAD_ADDRESS;
    if (address->kind == LR_ADDRESS_TLS && !lr_tls_is_there()) return LR_ENDING_NO_TLS;
    return address->loopback || t->secret.size_bytes > 0 ? LR_ENDING_OK : LR_ENDING_NEEDS_SECRET;
}

static lr_ending make_tls(lr_transport *t, const lr_address *address, bool listens, nng_tls_config **out,
                            const char **detail)
{
    lr_tls_files files = {t->config.tls_ca_file, t->config.tls_cert_file, t->config.tls_key_file};
    return lr_tls_make(&files, listens ? NULL : address->host, out, detail);
}

/* ---- connecting and listening ------------------------------------------------------------------------- */

static lr_ending make_dialer(lr_transport *t, lr_peer *p, const lr_address *address, const char **detail)
{
    nng_tls_config *tls = NULL;
    lr_ending end = address->kind == LR_ADDRESS_TLS ? make_tls(t, address, false, &tls, detail) : LR_ENDING_OK;
    if (end != LR_ENDING_OK) return end;
    int failed = nng_stream_dialer_alloc(&p->dialer, p->url);
    if (!failed) {
        if (address->kind != LR_ADDRESS_IPC) {
            (void)nng_stream_dialer_set_bool(p->dialer, NNG_OPT_TCP_NODELAY, true);
            (void)nng_stream_dialer_set_bool(p->dialer, NNG_OPT_TCP_KEEPALIVE, true);
        }
        if (tls) failed = nng_stream_dialer_set_ptr(p->dialer, NNG_OPT_TLS_CONFIG, tls);
        if (!failed) failed = nng_aio_alloc(&p->dial_aio, on_dialed, p);
        if (failed) nng_stream_dialer_free(p->dialer);
    }
    if (tls) nng_tls_config_free(tls); /* the dialer holds it */
    if (failed) *detail = nng_strerror(failed);
    return lr_stream_end_of(failed);
}

lr_ending lr_transport_connect(lr_transport *t, const char *url, lr_peer **out, char text[LR_ENDING_TEXT])
{
    static const char what[] = "cannot connect to";
    lr_address address;
    const char *detail;
    *out = NULL;
    lr_ending end = check_address(t, url, &address, &detail);
    if (end != LR_ENDING_OK) return complain(t, end, what, url, detail, text);
    lr_peer *p = peer_new(t, true);
    if (!p) return complain(t, LR_ENDING_OUT_OF_MEMORY, what, url, NULL, text);
    memcpy(p->url, url, strlen(url) + 1);
    end = make_dialer(t, p, &address, &detail);
    if (end != LR_ENDING_OK) {
        lr_link_remove(&p->link);
        free(p->handshake);
        free(p);
        return complain(t, end, what, url, detail, text);
    }
    t->stats.dialed++;
    p->state = DIALING;
    *out = p;
    nng_stream_dialer_dial(p->dialer, p->dial_aio);
    return LR_ENDING_OK;
}

/* The address with the port that the system has given. */
static void note_address(lr_transport *t, const listener *l, const lr_address *address)
{
    nng_sockaddr bound;
    unsigned port = 0;
    if (address->kind != LR_ADDRESS_IPC && nng_stream_listener_get_addr(l->nng, NNG_OPT_LOCADDR, &bound) == 0)
        port = bound.s_family == NNG_AF_INET ? bound.s_in.sa_port : bound.s_in6.sa_port;
    port = ((port & 0xff) << 8) | ((port >> 8) & 0xff); /* it is in network order */
    if (t->address[0]) return;
    const char *colon = strrchr(l->url, ':');
    if (port != 0)
        snprintf(t->address, sizeof t->address, "%.*s:%u", (int)(colon - l->url), l->url, port);
    else
        memcpy(t->address, l->url, sizeof t->address);
    if (!t->advertised) snprintf(t->self.address, sizeof t->self.address, "%.127s", t->address);
}

static int start_listener(listener *l, const lr_address *address, nng_tls_config *tls)
{
    int failed = nng_stream_listener_alloc(&l->nng, l->url);
    if (failed) return failed;
    if (address->kind == LR_ADDRESS_IPC) {
        failed = nng_stream_listener_set_int(l->nng, NNG_OPT_IPC_PERMISSIONS, 0600);
    } else {
        (void)nng_stream_listener_set_bool(l->nng, NNG_OPT_TCP_NODELAY, true);
        (void)nng_stream_listener_set_bool(l->nng, NNG_OPT_TCP_KEEPALIVE, true);
    }
    if (!failed && tls) failed = nng_stream_listener_set_ptr(l->nng, NNG_OPT_TLS_CONFIG, tls);
    if (!failed) failed = nng_aio_alloc(&l->aio, on_accepted, l);
    if (!failed) failed = nng_stream_listener_listen(l->nng);
    if (!failed) return 0;
    if (l->aio) nng_aio_free(l->aio);
    l->aio = NULL;
    nng_stream_listener_free(l->nng);
    return failed;
}

lr_ending lr_transport_listen(lr_transport *t, const char *url, char text[LR_ENDING_TEXT])
{
    static const char what[] = "cannot listen on";
    lr_address address;
    const char *detail;
    nng_tls_config *tls = NULL;
    LR_ASSERT(t->listener_count < LISTENERS_MAX);
    lr_ending end = check_address(t, url, &address, &detail);
    if (end == LR_ENDING_OK && address.kind == LR_ADDRESS_TLS) end = make_tls(t, &address, true, &tls, &detail);
    if (end != LR_ENDING_OK) return complain(t, end, what, url, detail, text);
    listener *l = &t->listeners[t->listener_count];
    *l = (listener){.transport = t};
    memcpy(l->url, url, strlen(url) + 1);
    int failed = start_listener(l, &address, tls);
    if (tls) nng_tls_config_free(tls);
    if (failed) return complain(t, lr_stream_end_of(failed), what, url, nng_strerror(failed), text);
    t->listener_count++;
    note_address(t, l, &address);
    accept_again(l);
    return LR_ENDING_OK;
}

const char *lr_transport_address(const lr_transport *t) { return t->address; }

/* ---- sending ----------------------------------------------------------------------------------------- */

lr_ending lr_transport_send(lr_peer *p, uint16_t kind, const void *bytes, size_t size_bytes)
{
    LR_ASSERT(p->state == UP && kind != LR_NEARBY_KIND);
    if (size_bytes > p->transport->config.record_max) return LR_ENDING_TOO_LARGE;
    return lr_stream_send(p->stream, kind, bytes, size_bytes);
}

lr_ending lr_transport_send_owned(lr_peer *p, uint16_t kind, const void *bytes, size_t size_bytes,
                                    void (*release)(void *user), void *user)
{
    LR_ASSERT(p->state == UP && kind != LR_NEARBY_KIND);
    if (size_bytes > p->transport->config.record_max) return LR_ENDING_TOO_LARGE;
    return lr_stream_send_owned(p->stream, kind, bytes, size_bytes, release, user);
}

void lr_transport_hang_up(lr_peer *p)
{
    if (p->state == LEAVING || p->state == OVER) return;
    p->transport->stats.ended[LR_ENDING_CLOSED]++;
    if (p->state != UP) {
        peer_bury(p);
        return;
    }
    lr_stream_flush(p->stream);
    peer_leave(p);
    notify(p); /* looks whether there is anything to wait for */
}

/* ---- opening and closing ------------------------------------------------------------------------------ */

static void default_to(uint64_t *field, uint64_t value)
{
    if (*field == 0) *field = value;
}

static void default_size(size_t *field, size_t value)
{
    if (*field == 0) *field = value;
}

lr_transport *lr_transport_open(const lr_transport_config *config)
{
    LR_ASSERT(!lr_id_is_nil(config->node) && config->handler.ring);
    lr_transport *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->config = *config;
    default_size(&t->config.record_max, (size_t)1 << 20);
    default_size(&t->config.send_max, (size_t)8 << 20);
    default_size(&t->config.receive_max, (size_t)8 << 20);
    if (t->config.strangers_max == 0) t->config.strangers_max = 64;
    default_to(&t->config.handshake_ns, 5 * LR_NS_PER_S);
    default_to(&t->config.keepalive_ns, LR_NS_PER_S / 2);
    default_to(&t->config.silence_ns, 3 * LR_NS_PER_S);
    default_to(&t->config.near_silence_ns, 10 * LR_NS_PER_S);
    t->self = (lr_identity){.node = config->node, .protocol = LR_PROTOCOL};
    t->advertised = config->advertise != NULL;
    snprintf(t->self.version, sizeof t->self.version, "%s", config->version ? config->version : "");
    snprintf(t->self.build, sizeof t->self.build, "%s", config->build ? config->build : "");
    snprintf(t->self.address, sizeof t->self.address, "%s", config->advertise ? config->advertise : "");
    if (config->secret) t->secret = *config->secret;
    t->config.secret = NULL; /* the caller's memory */
    lr_list_init(&t->peers);
    lr_list_init(&t->graves);
    t->timer_ns = LR_NEVER;
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

static bool all_written(lr_transport *t)
{
    for (lr_link *l = lr_list_first(&t->peers); l; l = lr_list_next(&t->peers, l)) {
        lr_peer *p = peer_of(l);
        if ((p->state == UP || p->state == LEAVING) && lr_stream_end(p->stream) == LR_ENDING_OK &&
            lr_stream_unsent(p->stream) > 0)
            return false;
    }
    return true;
}

void lr_transport_close(lr_transport *t, uint64_t linger_ns)
{
    uint64_t until_ns = lr_clock_ns() + linger_ns;
    lr_transport_flush(t);
    while (!all_written(t) && lr_clock_ns() < until_ns) {
        usleep(1000);
        lr_transport_flush(t); /* what did not fit into a ring */
    }
    for (unsigned i = 0; i < t->listener_count; i++) {
        listener *l = &t->listeners[i];
        nng_aio_stop(l->aio);
        if (atomic_load(&l->done) && nng_aio_result(l->aio) == 0) nng_stream_free(nng_aio_get_output(l->aio, 0));
        nng_stream_listener_close(l->nng);
        nng_stream_listener_free(l->nng);
        nng_aio_free(l->aio);
    }
    for (lr_link *l; (l = lr_list_first(&t->peers));)
        peer_bury(peer_of(l));
    empty_graves(t);
    lr_secret_clear(&t->secret);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* ---- looking ----------------------------------------------------------------------------------------- */

void lr_peer_count(lr_peer *p, lr_peer_stats *out)
{
    *out = (lr_peer_stats){.records_in = p->records_in};
    if (!p->stream) return;
    lr_stream_stats s;
    lr_stream_count(p->stream, &s);
    out->records_out = s.records_out - p->nearby.said;
    out->frames_in = s.frames_in;
    out->frames_out = s.frames_out;
    out->bytes_in = s.bytes_in;
    out->bytes_out = s.bytes_out;
    out->unsent_bytes = lr_stream_unsent(p->stream);
    out->near = p->nearby.step == LR_NEARBY_DONE && lr_stream_has_ring(p->stream);
}

const lr_identity *lr_peer_identity(const lr_peer *p) { return &p->remote; }
const char *lr_peer_url(const lr_peer *p) { return p->url; }
void lr_peer_set_user(lr_peer *p, void *user) { p->user = user; }
void *lr_peer_user(const lr_peer *p) { return p->user; }
const lr_transport_stats *lr_transport_stats_of(const lr_transport *t) { return &t->stats; }
