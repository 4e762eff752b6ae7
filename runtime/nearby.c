#include "runtime/nearby.h"

#include <unistd.h>

enum { OFFER = 1, TAKEN, SWITCH, SWITCHED, NO };

/* A record; what its step does not say is 0. Both ends are processes of one build's protocol on one host. */
typedef struct word {
    uint32_t step, pid;
    uint32_t ring_fd, bell_fd;
    uint8_t ring_nonce[LR_SHARE_NONCE_BYTES], bell_nonce[LR_SHARE_NONCE_BYTES];
    uint8_t host[LR_HOST_BYTES];
} word;

static word word_of(uint32_t step) { return (word){.step = step}; }

static void say_bell(word *w, const lr_bell *bell)
{
    w->pid = (uint32_t)getpid();
    w->bell_fd = (uint32_t)bell->share.fd;
    memcpy(w->bell_nonce, lr_share_nonce(&bell->share), sizeof w->bell_nonce);
}

static lr_ending say(lr_nearby *n, lr_stream *s, const word *w)
{
    n->said++;
    lr_ending end = lr_stream_send(s, LR_NEARBY_KIND, w, sizeof *w);
    return end == LR_ENDING_BUSY ? LR_ENDING_SYSTEM : end;
}

static lr_ending say_no(lr_nearby *n, lr_stream *s)
{
    word w = word_of(NO);
    n->step = LR_NEARBY_DONE;
    lr_stream_drop_ring(s);
    return say(n, s, &w);
}

static bool shares(const lr_bell *bell) { return bell && bell->share.fd >= 0; }

void lr_nearby_offer(lr_nearby *n, lr_stream *s, const lr_bell *bell)
{
    lr_ring ring;
    word w = word_of(OFFER);
    lr_share_host(w.host);
    if (!shares(bell) || !lr_share_same_host(w.host, w.host) || !lr_ring_make(&ring)) return;
    lr_stream_give_ring(s, &ring);
    say_bell(&w, bell);
    w.ring_fd = (uint32_t)ring.share.fd;
    memcpy(w.ring_nonce, lr_share_nonce(&ring.share), sizeof w.ring_nonce);
    if (say(n, s, &w) == LR_ENDING_OK)
        n->step = LR_NEARBY_OFFERED;
    else
        lr_stream_drop_ring(s);
}

static bool open_bell(lr_stream *s, const word *w)
{
    lr_share bell;
    if (!lr_share_open(&bell, w->pid, w->bell_fd, w->bell_nonce, sizeof(lr_bell_page))) return false;
    lr_stream_give_bell(s, &bell);
    return true;
}

static lr_ending take_offer(lr_nearby *n, lr_stream *s, const lr_bell *bell, const word *w)
{
    uint8_t host[LR_HOST_BYTES];
    lr_ring ring;
    lr_share_host(host);
    if (!shares(bell) || !lr_share_same_host(host, w->host) || !lr_ring_open(&ring, w->pid, w->ring_fd, w->ring_nonce))
        return say_no(n, s);
    lr_stream_give_ring(s, &ring);
    if (!open_bell(s, w)) return say_no(n, s);
    word taken = word_of(TAKEN);
    say_bell(&taken, bell);
    n->step = LR_NEARBY_TOOK;
    return say(n, s, &taken);
}

static lr_ending take_taken(lr_nearby *n, lr_stream *s, const word *w)
{
    lr_stream_close_ring_fd(s);
    if (!open_bell(s, w)) return say_no(n, s);
    word change = word_of(SWITCH);
    n->step = LR_NEARBY_SWITCHING;
    n->said++;
    return lr_stream_switch_out(s, LR_NEARBY_KIND, &change, sizeof change);
}

lr_ending lr_nearby_take(lr_nearby *n, lr_stream *s, bool dialed, const lr_bell *bell, const void *bytes,
                         size_t size_bytes)
{
    word w;
    if (size_bytes != sizeof w) return LR_ENDING_GARBAGE;
    memcpy(&w, bytes, sizeof w);
    if (w.step == OFFER && dialed && n->step == LR_NEARBY_IDLE) return take_offer(n, s, bell, &w);
    if (w.step == TAKEN && n->step == LR_NEARBY_OFFERED) return take_taken(n, s, &w);
    if (w.step == SWITCH && n->step == LR_NEARBY_TOOK) {
        word changed = word_of(SWITCHED);
        n->step = LR_NEARBY_DONE;
        lr_stream_switch_in(s);
        n->said++;
        return lr_stream_switch_out(s, LR_NEARBY_KIND, &changed, sizeof changed);
    }
    if (w.step == SWITCHED && n->step == LR_NEARBY_SWITCHING) {
        n->step = LR_NEARBY_DONE;
        lr_stream_switch_in(s);
        return LR_ENDING_OK;
    }
    if (w.step == NO && (n->step == LR_NEARBY_OFFERED || n->step == LR_NEARBY_TOOK)) {
        n->step = LR_NEARBY_DONE;
        lr_stream_drop_ring(s);
        return LR_ENDING_OK;
    }
    return LR_ENDING_GARBAGE;
}
