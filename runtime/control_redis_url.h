/* runtime/control_redis_url.h - the addresses of a cluster's Redis servers, read from a text.
 *
 *   redis://[user[:password]@]host[:port][/database]
 *   unix://[user[:password]@]/path/of/the/socket
 *   sentinel://[user[:password]@]host[:port],host[:port].../name-of-the-primary[/database]
 *
 * (redis+unix:// and redis+sentinel:// mean the same), each with ?cluster=NAME, ?database=N, ?sentinel_password=WORD
 * (joined by &) behind it, and several separated by commas: the shards. %41 and the like stand for bytes; an IPv6
 * address stands in brackets.
 * Owns: nothing; lr_redis_targets may be copied as it is. It holds passwords: never print it.
 * Thread: any. Blocks: never. */
#ifndef RUNTIME_CONTROL_REDIS_URL_H
#define RUNTIME_CONTROL_REDIS_URL_H

#include "sched/base.h"

#define LR_REDIS_SHARDS_MAX 16
#define LR_REDIS_SENTINELS_MAX 8
#define LR_REDIS_CLUSTER_TEXT 33
#define LR_REDIS_ADDRESS_TEXT 280 /* of lr_redis_address_format */

typedef struct lr_redis_address {
    char host[256]; /* a name, a number, or the path of a socket (begins with /) */
    uint16_t port;  /* 0 for a socket */
} lr_redis_address;

/* One shard: where its server is, or whom to ask for it. */
typedef struct lr_redis_target {
    lr_redis_address at[LR_REDIS_SENTINELS_MAX];
    uint32_t count;    /* of at; 1 unless sentinel */
    bool sentinel;     /* at are Sentinels */
    char primary[64];  /* the name Sentinels know it by */
    char user[64];     /* "": the default user */
    char password[256]; /* "": none */
    char sentinel_password[256];
    uint32_t database;
} lr_redis_target;

typedef struct lr_redis_targets {
    lr_redis_target shard[LR_REDIS_SHARDS_MAX];
    uint32_t count;
    char cluster[LR_REDIS_CLUSTER_TEXT]; /* letters, digits, _ - . */
} lr_redis_targets;

/* Reads a text. False, with a sentence in error that never holds a password. */
LR_MUST_USE bool lr_redis_targets_parse(lr_redis_targets *targets, const char *text, char *error, size_t error_bytes);
/* "host:port" or "/path" for people. */
void lr_redis_address_format(const lr_redis_address *address, char text[LR_REDIS_ADDRESS_TEXT]);
/* Reads "host[:port]", "[ipv6][:port]". False where it is none. */
LR_MUST_USE bool lr_redis_address_parse(lr_redis_address *address, const char *text, size_t length, uint16_t port);

#endif
