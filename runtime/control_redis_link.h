/* runtime/control_redis_link.h - one connection to a Redis server: found, greeted, watched, made again.
 *
 * hiredis gives the socket (its non-blocking context) and the parser; the rest is here, for hiredis 0.14 lacks it:
 * timers for connecting and for silence, reconnection with growing, jittered pauses, the server's name without waiting,
 * Sentinel, and the greeting: AUTH, CLIENT SETNAME, SELECT, INFO (is this a Redis we can use?), the scripts. A link is
 * `ready` when the greeting was answered; then what lies in `out` is sent and replies go to the owner. What lay in
 * `out` when the connection was lost is the owner's to sort out (`sent` tells what had left).
 *
 * Owns: its context, its buffers. Never: what a reply means. Thread: one. Blocks: never. */
#ifndef RUNTIME_CONTROL_REDIS_LINK_H
#define RUNTIME_CONTROL_REDIS_LINK_H

#include "runtime/control_redis_lookup.h"
#include "runtime/control_redis_out.h"
#include "runtime/control_redis_url.h"
#include "sched/prng.h"

#include <hiredis/hiredis.h>
#include <poll.h>

#define LR_REDIS_ERROR_TEXT 512

typedef enum lr_redis_link_state {
    LR_REDIS_LINK_WAITING,    /* until retry_ns */
    LR_REDIS_LINK_LOOKING_UP, /* the name's address */
    LR_REDIS_LINK_CONNECTING,
    LR_REDIS_LINK_GREETING,
    LR_REDIS_LINK_READY
} lr_redis_link_state;

typedef struct lr_redis_link_config {
    uint64_t connect_timeout_ns; /* from the first step until it is ready */
    uint64_t answer_timeout_ns;  /* silence while something is awaited */
    uint64_t idle_ns;            /* silence after which on_idle is called */
    uint64_t retry_min_ns, retry_max_ns;
    const char *name;            /* told to the server: seen in CLIENT LIST */
    const char *prefix;          /* of our keys there, "luarun:{cluster}:" */
    bool scripts;                /* load them in the greeting */
} lr_redis_link_config;

typedef struct lr_redis_link_owner {
    void (*on_ready)(void *user);
    void (*on_lost)(void *user); /* it was ready */
    /* The reply stays the link's. Not called while paused. */
    void (*on_reply)(void *user, const redisReply *reply);
    void (*on_idle)(void *user);
    bool (*is_awaiting)(void *user); /* whether something that was sent has no reply yet */
    void (*on_line)(void *user);     /* what `line` says has changed */
    void *user;
} lr_redis_link_owner;

typedef struct lr_redis_link {
    const lr_redis_target *target;
    const lr_redis_link_config *config;
    lr_redis_link_owner owner;
    lr_redis_link_state state;
    lr_redis_out out;    /* the owner's requests */
    bool paused;         /* the owner wants no replies now */
    bool refused;        /* what is wrong will not pass by itself: password, version, role, ... */
    bool hello_due;      /* the server had no room for the greeting's writes */
    bool asking;         /* a Sentinel, for the server's address */
    bool was_awaiting;
    uint32_t sentinel;   /* the next one to ask */
    uint32_t attempt;    /* grows with every connection let go */
    lr_redis_address address; /* of the server; host "" while a Sentinel has not said */
    lr_redis_lookup *lookup;
    redisContext *context;
    lr_redis_out greeting;
    uint32_t step;       /* of the greeting: what the next reply answers */
    uint64_t retry_ns, give_up_ns, heard_ns, pause_ns;
    uint64_t connections; /* how many times it became ready */
    lr_prng prng;
    char version[16];    /* the server's, "7.0.15" */
    char line[LR_REDIS_ERROR_TEXT]; /* what is wrong, one line with what to do; "": nothing */
} lr_redis_link;

/* Nothing is tried before the first step. target and config must outlive the link. */
void lr_redis_link_init(lr_redis_link *link, const lr_redis_target *target, const lr_redis_link_config *config,
                        const lr_redis_link_owner *owner);
void lr_redis_link_fini(lr_redis_link *link);
/* Does what can be done now: timers, connecting, sending, reading. */
void lr_redis_link_step(lr_redis_link *link, uint64_t now_ns);
/* What to wait for. False: only for lr_redis_link_deadline. */
bool lr_redis_link_wants(const lr_redis_link *link, struct pollfd *out);
/* When it wants to be stepped even if nothing happens; LR_NEVER. */
uint64_t lr_redis_link_deadline(const lr_redis_link *link);
/* Gives this connection up because of what it said; the words become the line ("...: what: what to do"). */
void lr_redis_link_fail(lr_redis_link *link, bool refused, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Notes something wrong that does not end the connection. */
void lr_redis_link_note(lr_redis_link *link, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Nothing is wrong any more. */
void lr_redis_link_clear(lr_redis_link *link);
/* Explains a server's error reply that ends the connection, and ends it. False: it is none of those. */
bool lr_redis_link_judge(lr_redis_link *link, const char *error);

#endif
