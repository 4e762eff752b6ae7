#include "runtime/tables.h"

#include "runtime/clock.h"
#include "runtime/control_redis_store.h"

#include <stdio.h>
#include <stdlib.h>

#define ANSWER_NS (5 * LR_NS_PER_S)
#define TURN_NS (LR_NS_PER_S / 500)
#define PURGE_AT_ONCE 500

struct lr_tables {
    lr_control *control;
    uint64_t token; /* of the question that is asked now */
    bool answered;
    lr_control_status status;
    uint64_t cursor;
    lr_tables_row *on_row;
    void *user;
};

static void on_reply(void *user, const lr_control_reply *reply)
{
    lr_tables *t = user;
    if (reply->token != t->token) return; /* one that was given up */
    t->answered = true;
    t->status = reply->status;
    t->cursor = reply->cursor;
    for (uint32_t i = 0; t->on_row && i < reply->count; i++)
        t->on_row(t->user, &reply->rows[i]);
}

static void on_wake(void *user, lr_control_table table, lr_bytes key)
{
    (void)user;
    (void)table;
    (void)key;
}

static void tell_missing(const lr_tables *t, uint64_t wait_ns, char text[LR_TABLES_TEXT])
{
    lr_tables_status(t, text);
    if (lr_control_redis_state_of(t->control) != LR_CONTROL_REDIS_CONNECTING) return;
    size_t n = strlen(text);
    snprintf(text + n, LR_TABLES_TEXT - n, "; no answer within %.1f s", (double)wait_ns / (double)LR_NS_PER_S);
}

/* What fails once is told at once: a command is not there to wait for better times. */
static bool is_ready(lr_control *control, uint64_t wait_ns)
{
    uint64_t give_up_ns = lr_clock_ns() + wait_ns;
    while (lr_control_redis_state_of(control) == LR_CONTROL_REDIS_CONNECTING && lr_clock_ns() < give_up_ns)
        lr_control_turn(control, TURN_NS);
    return lr_control_redis_state_of(control) == LR_CONTROL_REDIS_READY;
}

lr_tables *lr_tables_open(const char *url, uint64_t wait_ns, char text[LR_TABLES_TEXT])
{
    lr_tables *t = calloc(1, sizeof *t);
    if (!t) {
        snprintf(text, LR_TABLES_TEXT, "not enough memory");
        return NULL;
    }
    lr_control_redis_config config;
    const lr_control_handler handler = {on_reply, on_wake, t};
    lr_control_redis_config_init(&config, url);
    t->control = lr_control_redis_open(&config, &handler, text, LR_TABLES_TEXT);
    if (t->control && is_ready(t->control, wait_ns)) return t;
    if (t->control) tell_missing(t, wait_ns, text);
    lr_tables_close(t);
    return NULL;
}

void lr_tables_close(lr_tables *t)
{
    if (t->control) lr_control_fini(t->control);
    free(t);
}

void lr_tables_status(const lr_tables *t, char text[LR_TABLES_TEXT])
{
    lr_control_redis_status(t->control, text, LR_TABLES_TEXT);
}

/* False: text says why. */
static bool ask(lr_tables *t, lr_control_request *r, char text[LR_TABLES_TEXT])
{
    uint64_t give_up_ns = lr_clock_ns() + ANSWER_NS, now_ns;
    r->token = ++t->token;
    t->answered = false;
    if (lr_control_request_make(t->control, r) != LR_ERR_NONE) {
        snprintf(text, LR_TABLES_TEXT, "not enough memory");
        return false;
    }
    while (!t->answered && (now_ns = lr_clock_ns()) < give_up_ns)
        lr_control_turn(t->control, give_up_ns - now_ns);
    if (t->answered && t->status == LR_CONTROL_STATUS_OK) return true;
    lr_control_status status = t->answered ? t->status : LR_CONTROL_STATUS_UNAVAILABLE;
    lr_tables_status(t, text);
    size_t n = strlen(text);
    snprintf(text + n, LR_TABLES_TEXT - n, " (%s)", lr_control_status_name(status));
    return false;
}

static bool pages(lr_tables *t, lr_control_request *r, lr_tables_row *on_row, void *user, char text[LR_TABLES_TEXT])
{
    t->on_row = on_row;
    t->user = user;
    bool ok = ask(t, r, text);
    while (ok && t->cursor && (r->op == LR_CONTROL_SCAN || t->cursor != r->cursor)) {
        r->cursor = t->cursor;
        ok = ask(t, r, text);
    }
    t->on_row = NULL;
    return ok;
}

bool lr_tables_scan(lr_tables *t, lr_control_table table, lr_tables_row *on_row, void *user, char text[LR_TABLES_TEXT])
{
    return pages(t, &(lr_control_request){.op = LR_CONTROL_SCAN, .table = table}, on_row, user, text);
}

bool lr_tables_log(lr_tables *t, lr_control_table table, const char *key, lr_tables_row *on_row, void *user,
                   char text[LR_TABLES_TEXT])
{
    lr_control_request r = {.op = LR_CONTROL_READ, .table = table, .key = lr_bytes_of(key, strlen(key))};
    return pages(t, &r, on_row, user, text);
}

bool lr_tables_put(lr_tables *t, lr_control_table table, lr_bytes key, lr_bytes value, char text[LR_TABLES_TEXT])
{
    lr_control_request r = {.op = LR_CONTROL_PUT, .table = table, .key = key, .value = value, .notify = true};
    return ask(t, &r, text);
}

bool lr_tables_delete(lr_tables *t, lr_control_table table, lr_bytes key, char text[LR_TABLES_TEXT])
{
    lr_control_request r = {.op = LR_CONTROL_DELETE, .table = table, .key = key, .notify = true};
    return ask(t, &r, text);
}

bool lr_tables_publish(lr_tables *t, lr_control_table table, lr_bytes key, char text[LR_TABLES_TEXT])
{
    lr_control_request r = {.op = LR_CONTROL_PUBLISH, .table = table, .key = key};
    return ask(t, &r, text);
}

/* ---- beside the tables ------------------------------------------------------------------------------------ */

static const lr_redis_store *store_of(const lr_tables *t) { return (const lr_redis_store *)(const void *)t->control; }

uint32_t lr_tables_shards(const lr_tables *t) { return store_of(t)->shard_count; }

static bool said_ok(redisReply *reply)
{
    bool ok = reply && reply->type != REDIS_REPLY_ERROR;
    if (reply) freeReplyObject(reply);
    return ok;
}

/* A plain connection to the server that a shard's link has found. NULL: text says why not. */
static redisContext *connect_beside(lr_tables *t, uint32_t shard, char text[LR_TABLES_TEXT])
{
    const lr_redis_link *link = &store_of(t)->shards[shard].link;
    const lr_redis_target *target = link->target;
    const lr_redis_address *at = link->address.host[0] ? &link->address : &target->at[0];
    const struct timeval limit = {2, 0};
    redisContext *c = at->host[0] == '/' ? redisConnectUnixWithTimeout(at->host, limit)
                                         : redisConnectWithTimeout(at->host, at->port, limit);
    bool ok = c && !c->err && redisSetTimeout(c, limit) == REDIS_OK;
    if (ok && target->password[0] && target->user[0])
        ok = said_ok(redisCommand(c, "AUTH %s %s", target->user, target->password));
    else if (ok && target->password[0])
        ok = said_ok(redisCommand(c, "AUTH %s", target->password));
    if (ok && target->database) ok = said_ok(redisCommand(c, "SELECT %u", target->database));
    if (ok) return c;
    char where[LR_REDIS_ADDRESS_TEXT];
    lr_redis_address_format(at, where);
    snprintf(text, LR_TABLES_TEXT, "redis at %s: %s", where, c && c->err ? c->errstr : "it takes no other connection");
    if (c) redisFree(c);
    return NULL;
}

char *lr_tables_info(lr_tables *t, uint32_t shard, char text[LR_TABLES_TEXT])
{
    redisContext *c = connect_beside(t, shard, text);
    if (!c) return NULL;
    redisReply *reply = redisCommand(c, "INFO");
    char *info = reply && reply->type == REDIS_REPLY_STRING ? strdup(reply->str) : NULL;
    if (!info) snprintf(text, LR_TABLES_TEXT, "INFO: %s", reply && reply->str ? reply->str : "no answer");
    if (reply) freeReplyObject(reply);
    redisFree(c);
    return info;
}

static bool unlink_keys(redisContext *c, const redisReply *keys)
{
    for (size_t i = 0; i < keys->elements; i++) {
        const redisReply *key = keys->element[i];
        if (!said_ok(redisCommand(c, "UNLINK %b", key->str, (size_t)key->len))) return false;
    }
    return true;
}

static bool purge_shard(redisContext *c, const char *prefix)
{
    char cursor[24] = "0";
    do {
        redisReply *reply = redisCommand(c, "SCAN %s MATCH %s* COUNT %d", cursor, prefix, PURGE_AT_ONCE);
        bool ok = reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
                  unlink_keys(c, reply->element[1]);
        if (ok) snprintf(cursor, sizeof cursor, "%s", reply->element[0]->str);
        if (reply) freeReplyObject(reply);
        if (!ok) return false;
    } while (strcmp(cursor, "0") != 0);
    return true;
}

bool lr_tables_purge(lr_tables *t, char text[LR_TABLES_TEXT])
{
    const char *prefix = store_of(t)->prefix;
    for (uint32_t i = 0; i < lr_tables_shards(t); i++) {
        redisContext *c = connect_beside(t, i, text);
        if (!c) return false;
        bool ok = purge_shard(c, prefix);
        if (!ok) snprintf(text, LR_TABLES_TEXT, "redis: the keys %s* cannot be removed: %s", prefix, c->errstr);
        redisFree(c);
        if (!ok) return false;
    }
    return true;
}
