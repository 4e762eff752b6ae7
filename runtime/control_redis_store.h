/* runtime/control_redis_store.h - what the files of the Redis control store share; nobody else includes it.
 *
 * A store has shards; a shard has the link that carries requests, the queue of what was asked and not answered, and the
 * link that wake-ups come by (a subscribed connection may do nothing else). A request is a record in its shard's queue
 * and bytes in its link's `out`; replies come in the queue's order.
 * Thread: the store's. */
#ifndef RUNTIME_CONTROL_REDIS_STORE_H
#define RUNTIME_CONTROL_REDIS_STORE_H

#include "runtime/control_redis.h"
#include "runtime/control_redis_link.h"

#define LR_REDIS_PREFIX_TEXT (LR_REDIS_CLUSTER_TEXT + 16)
#define LR_REDIS_CURSOR_BITS 53 /* of a scan cursor: a version; the shard above them */

/* An operation on all shards: one answer when every shard has done its part. */
typedef struct lr_redis_gather {
    uint64_t token, count;
    uint32_t left; /* shards that are not done */
    bool notify;
    lr_control_op op;
    lr_control_status status;
    lr_id owner;
} lr_redis_gather;

typedef enum lr_redis_record_kind {
    LR_REDIS_RECORD_SENT,  /* has bytes: a reply will come */
    LR_REDIS_RECORD_OWN,   /* the same, asked by the store itself */
    LR_REDIS_RECORD_LOCAL, /* answered with `status` when its turn comes */
    LR_REDIS_RECORD_HERE,  /* done here when its turn comes: subscriptions */
    LR_REDIS_RECORD_GONE   /* one of the store's own that was lost */
} lr_redis_record_kind;

typedef struct lr_redis_record {
    uint64_t token, cursor, deadline_ns;
    uint64_t begin, end; /* its bytes' positions */
    lr_redis_gather *gather;
    uint8_t kind, op, table, status, key_bytes;
    bool by_owner; /* a scan of an owner's index */
    uint8_t key[LR_CONTROL_KEY_MAX];
} lr_redis_record;

typedef struct lr_redis_store lr_redis_store;

typedef struct lr_redis_shard {
    lr_redis_store *store;
    uint32_t index;
    lr_redis_link link, wake_link;
    lr_redis_record *queue; /* a ring of capacity (a power of two) records */
    uint32_t capacity, head, count;
    uint32_t wake_awaited; /* replies that wake_link has to come */
    uint64_t hello_ns;     /* when to try the greeting's writes again */
} lr_redis_shard;

typedef struct lr_redis_subscription {
    bool used;
    lr_control_table table;
    uint32_t prefix_bytes;
    uint8_t prefix[LR_CONTROL_KEY_MAX];
    uint32_t there; /* bit i: shard i has confirmed it on its present connection */
    uint32_t known; /* bit i: shard i has confirmed it some time */
} lr_redis_subscription;

struct lr_redis_store {
    lr_control control; /* first */
    lr_control_redis_config config;
    lr_redis_targets targets;
    lr_redis_link_config link_config, wake_config;
    char prefix[LR_REDIS_PREFIX_TEXT], name[LR_REDIS_PREFIX_TEXT];
    lr_redis_shard *shards;
    uint32_t shard_count;
    uint32_t delivered; /* in this turn */
    bool turning;
    lr_redis_subscription subscription[LR_CONTROL_SUBSCRIPTIONS_MAX];
    lr_control_table woken_table; /* of the last wake-up, while woken */
    uint32_t woken_bytes;
    bool woken;
    uint8_t woken_key[LR_CONTROL_KEY_MAX];
};

/* --- control_redis.c --- */
/* Answers a request (not one of the store's own). */
void lr_redis_deliver(lr_redis_store *store, const lr_control_reply *reply);
/* A part of an operation on all shards is done; the last one answers. */
void lr_redis_gather_part(lr_redis_store *store, lr_redis_gather *gather, lr_control_status status, uint64_t count);
/* What a link says has changed: tells whoever listens. */
void lr_redis_line_changed(lr_redis_store *store);
/* Writes the next step of removing an owner's rows, and its record. False: no memory. */
LR_MUST_USE bool lr_redis_delete_owned(lr_redis_shard *shard, lr_redis_gather *gather);

/* --- control_redis_ask.c: a request as bytes --- */
/* Writes it into the shard's out. False: no memory. */
LR_MUST_USE bool lr_redis_ask(lr_redis_shard *shard, const lr_control_request *request, uint64_t cursor);
LR_MUST_USE bool lr_redis_ask_delete_owned(lr_redis_shard *shard, lr_id owner, bool notify);
LR_MUST_USE bool lr_redis_ask_hello(lr_redis_shard *shard);

/* --- control_redis_answer.c: a reply as an answer --- */
void lr_redis_answer(lr_redis_shard *shard, const lr_redis_record *record, const redisReply *reply);

/* --- control_redis_wake.c: subscriptions --- */
void lr_redis_wake_init(lr_redis_shard *shard);
/* SUBSCRIBE and UNSUBSCRIBE. True with the answer's status; false: not known yet. */
bool lr_redis_subscribe(lr_redis_store *store, const lr_redis_record *record, lr_control_status *status);
void lr_redis_unsubscribe(lr_redis_store *store, const lr_redis_record *record, lr_control_status *status);
/* Whether there is anything to be woken for. */
bool lr_redis_wake_wanted(const lr_redis_store *store);

#endif
