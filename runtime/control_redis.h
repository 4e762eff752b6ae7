/* runtime/control_redis.h - the control store on Redis: the interface of sched/control.h over one or several servers.
 *
 * Each shard is a Redis of its own (docs/internals-control.md): a row lies on the shard that the hash of its key names,
 * owners have an index on each, scans walk all of them. Requests are written out when they are made and sent by the
 * next turn, as many at once as there are. A request that got no answer in time, or whose connection broke, is
 * answered `unavailable`; one that had not been sent yet waits for the connection until its time is over. After a
 * reconnection every subscription is made again and woken once. Wake-ups of the same key that come together are one.
 *
 * The store can be told that it is unreachable or refused: it goes on trying, with growing pauses, and says why in one
 * line. Nothing is written outside the prefix luarun:{cluster}:.
 * Owns: its connections and memory, all freed by lr_control_fini. Thread: one. Blocks: turn up to wait_ns; host
 * names are looked up on threads of their own. */
#ifndef RUNTIME_CONTROL_REDIS_H
#define RUNTIME_CONTROL_REDIS_H

#include "sched/control.h"

#include <poll.h>

#define LR_CONTROL_REDIS_FDS 32 /* at most: two a shard */

typedef struct lr_control_redis_config {
    const char *url;            /* runtime/control_redis_url.h; several, separated by commas, are shards */
    uint64_t connect_timeout_ns;
    uint64_t answer_timeout_ns; /* for a request that waits, and for a server that is silent */
    uint64_t idle_ns;           /* a quiet connection is tried after that */
    uint64_t retry_min_ns, retry_max_ns;
    uint32_t queue_requests;    /* not answered yet, for each shard */
    size_t queue_bytes;         /* not sent yet, for each shard */
    /* Where not NULL: told each time the words of lr_control_redis_status change. */
    void (*on_status)(void *user, const char *line);
    void *user;
} lr_control_redis_config;

typedef enum lr_control_redis_state {
    LR_CONTROL_REDIS_CONNECTING,
    LR_CONTROL_REDIS_READY,       /* all shards */
    LR_CONTROL_REDIS_UNREACHABLE, /* it may come back by itself */
    LR_CONTROL_REDIS_REFUSED      /* somebody has to change something: password, address, version, ... */
} lr_control_redis_state;

/* Defaults for everything but the url. */
void lr_control_redis_config_init(lr_control_redis_config *config, const char *url);
/* A store that begins to connect with its first turn. NULL, with a sentence in error, where the url is none
 * or memory is out. The config is copied. Ended and freed by lr_control_fini. */
lr_control *lr_control_redis_open(const lr_control_redis_config *config, const lr_control_handler *handler, char *error,
                                  size_t error_bytes);
lr_control_redis_state lr_control_redis_state_of(const lr_control *control);
/* One line for people: what is wrong where and what to do, or what it is connected to. Never a password. */
void lr_control_redis_status(const lr_control *control, char *text, size_t text_bytes);
/* Turns until the store is ready or refused, at most wait_ns; then its state. Delivers what is there. */
lr_control_redis_state lr_control_redis_await(lr_control *control, uint64_t wait_ns);
/* How many times connections were made: a larger number than before says that the store may have lost something. */
uint64_t lr_control_redis_connections(const lr_control *control);

/* For a loop that waits itself: what to poll for (fds has room for LR_CONTROL_REDIS_FDS); returns how many. When one is
 * ready, or lr_clock_ns() has come to the deadline (LR_NEVER: none), or a request was made: turn with wait_ns 0. */
uint32_t lr_control_redis_fds(const lr_control *control, struct pollfd *fds);
uint64_t lr_control_redis_deadline(const lr_control *control);

#endif
