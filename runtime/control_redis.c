#include "runtime/control_redis.h"

#include "runtime/clock.h"
#include "runtime/control_redis_scripts.h"
#include "runtime/control_redis_store.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define MS 1000000ull
#define REQUEST_BYTES 2048 /* what a request's bytes are at most, without its value */
#define HELLO_AGAIN_NS LR_NS_PER_S
#define FIRST_RECORDS 64

static lr_redis_store *store_of(const lr_control *c) { return (lr_redis_store *)(void *)(uintptr_t)c; }

/* --- the queue of a shard: a ring of records --- */

static lr_redis_record *queue_at(const lr_redis_shard *shard, uint32_t index)
{
    return &shard->queue[(shard->head + index) & (shard->capacity - 1)];
}

static lr_redis_record *queue_head(const lr_redis_shard *shard) { return shard->count ? queue_at(shard, 0) : NULL; }

static void queue_pop(lr_redis_shard *shard)
{
    shard->head = (shard->head + 1) & (shard->capacity - 1);
    shard->count--;
}

static bool queue_grow(lr_redis_shard *shard)
{
    uint32_t capacity = shard->capacity ? shard->capacity * 2 : FIRST_RECORDS;
    lr_redis_record *queue = malloc(capacity * sizeof *queue);
    if (!queue) return false;
    for (uint32_t i = 0; i < shard->count; i++)
        queue[i] = *queue_at(shard, i);
    free(shard->queue);
    shard->queue = queue;
    shard->capacity = capacity;
    shard->head = 0;
    return true;
}

/* A new record at the end, with no bytes yet; NULL: no memory. */
static lr_redis_record *queue_push(lr_redis_shard *shard, lr_redis_record_kind kind)
{
    if (shard->count == shard->capacity && !queue_grow(shard)) return NULL;
    lr_redis_record *r = queue_at(shard, shard->count++);
    r->kind = (uint8_t)kind;
    r->gather = NULL;
    r->key_bytes = 0;
    r->by_owner = false;
    r->begin = r->end = lr_redis_out_end(&shard->link.out);
    r->deadline_ns = lr_clock_ns() + shard->store->config.answer_timeout_ns;
    return r;
}

static bool has_bytes(const lr_redis_record *r) { return r->kind <= LR_REDIS_RECORD_OWN; }

static bool was_sent(const lr_redis_shard *shard, const lr_redis_record *r)
{
    return has_bytes(r) && r->begin < shard->link.out.sent;
}

/* Ends the record that was pushed last: with its bytes written, or without it. */
static bool queue_finish(lr_redis_shard *shard, lr_redis_record *r, bool written)
{
    r->end = lr_redis_out_end(&shard->link.out);
    if (!written) shard->count--;
    return written;
}

/* --- answers --- */

void lr_redis_deliver(lr_redis_store *store, const lr_control_reply *reply)
{
    store->delivered++;
    store->control.handler.on_reply(store->control.handler.user, reply);
}

void lr_redis_gather_part(lr_redis_store *store, lr_redis_gather *gather, lr_control_status status, uint64_t count)
{
    gather->count += count;
    if (status != LR_CONTROL_STATUS_OK) gather->status = status;
    if (--gather->left > 0) return;
    const lr_control_reply reply = {.token = gather->token, .op = gather->op, .status = gather->status,
                                    .version = gather->status == LR_CONTROL_STATUS_OK ? gather->count : 0};
    free(gather);
    lr_redis_deliver(store, &reply);
}

/* Answers the head of the queue without a server. */
static void answer_here(lr_redis_shard *shard, lr_control_status status)
{
    lr_redis_record r = *queue_head(shard); /* a handler may make requests */
    queue_pop(shard);
    if (r.kind == LR_REDIS_RECORD_GONE || r.kind == LR_REDIS_RECORD_OWN) return;
    if (r.gather) {
        lr_redis_gather_part(shard->store, r.gather, status, 0);
        return;
    }
    lr_redis_deliver(shard->store, &(lr_control_reply){.token = r.token, .op = r.op, .status = status});
}

/* The head's answer, where it needs no server (any more). False: it waits. */
static bool settle(lr_redis_shard *shard, const lr_redis_record *r, lr_control_status *status)
{
    *status = r->status;
    if (r->kind == LR_REDIS_RECORD_LOCAL || r->kind == LR_REDIS_RECORD_GONE) return true;
    if (r->kind == LR_REDIS_RECORD_HERE) {
        if (r->op == LR_CONTROL_SUBSCRIBE) return lr_redis_subscribe(shard->store, r, status);
        lr_redis_unsubscribe(shard->store, r, status);
        return true;
    }
    *status = LR_CONTROL_STATUS_UNAVAILABLE;
    if (was_sent(shard, r) || lr_clock_ns() < r->deadline_ns) return false;
    lr_redis_out_drop(&shard->link.out, (size_t)(r->end - r->begin)); /* it waited too long to be sent */
    return true;
}

/* Answers what stands at the head and needs no server. A subscription that is not confirmed holds up the replies
 * behind it, so that the order stays. */
static void advance(lr_redis_shard *shard)
{
    lr_control_status status;
    for (lr_redis_record *r; (r = queue_head(shard)) && settle(shard, r, &status);)
        answer_here(shard, status);
    const lr_redis_record *r = queue_head(shard);
    shard->link.paused = r && r->kind == LR_REDIS_RECORD_HERE;
}

/* --- the owner of the link that carries requests --- */

static void on_ready(void *user) { ((lr_redis_shard *)user)->hello_ns = lr_clock_ns() + HELLO_AGAIN_NS; }

/* What had been sent, even in part, will have no answer; the rest waits for the next connection. */
static void on_lost(void *user)
{
    lr_redis_shard *shard = user;
    uint64_t sent = shard->link.out.sent, end = sent;
    for (uint32_t i = 0; i < shard->count; i++) {
        lr_redis_record *r = queue_at(shard, i);
        if (!has_bytes(r) || r->begin >= sent) continue;
        if (r->end > end) end = r->end;
        r->kind = r->kind == LR_REDIS_RECORD_OWN ? LR_REDIS_RECORD_GONE : LR_REDIS_RECORD_LOCAL;
        r->status = LR_CONTROL_STATUS_UNAVAILABLE;
    }
    lr_redis_out_drop(&shard->link.out, (size_t)(end - sent));
}

static void on_reply(void *user, const redisReply *reply)
{
    lr_redis_shard *shard = user;
    lr_redis_record *head = queue_head(shard);
    if (!head || !was_sent(shard, head)) {
        lr_redis_link_fail(&shard->link, false, "it answered what was not asked (%.80s): this is tried again",
                           reply->str ? reply->str : "");
        return;
    }
    lr_redis_record r = *head;
    queue_pop(shard);
    lr_redis_answer(shard, &r, reply);
    advance(shard);
}

static void on_idle(void *user)
{
    lr_redis_shard *shard = user;
    lr_redis_record *r = queue_push(shard, LR_REDIS_RECORD_OWN);
    if (!r) return;
    bool written = lr_redis_out_begin(&shard->link.out, 1, 4);
    if (written) lr_redis_out_text(&shard->link.out, "PING");
    queue_finish(shard, r, written);
}

static bool is_awaiting(void *user)
{
    const lr_redis_shard *shard = user;
    const lr_redis_record *head = queue_head(shard);
    return head && was_sent(shard, head);
}

void lr_redis_line_changed(lr_redis_store *store)
{
    char text[LR_REDIS_ERROR_TEXT];
    if (!store->config.on_status) return;
    lr_control_redis_status(&store->control, text, sizeof text);
    store->config.on_status(store->config.user, text);
}

static void on_line(void *user) { lr_redis_line_changed(((lr_redis_shard *)user)->store); }

/* --- requests --- */

static lr_redis_shard *shard_of_key(lr_redis_store *store, lr_bytes key)
{
    if (store->shard_count == 1) return &store->shards[0];
    return &store->shards[lr_id_from_bytes(key.size_bytes ? key.at : "", key.size_bytes).lo % store->shard_count];
}

/* False where one of the shard's capacities is used up. */
static bool has_room(const lr_redis_shard *shard, size_t value_bytes)
{
    const lr_control_redis_config *config = &shard->store->config;
    return shard->count < config->queue_requests &&
           lr_redis_out_size(&shard->link.out) + value_bytes + REQUEST_BYTES <= config->queue_bytes;
}

static bool op_has_value(lr_control_op op)
{
    return op == LR_CONTROL_PUT || op == LR_CONTROL_COMPARE_AND_SET || op == LR_CONTROL_APPEND;
}

static void describe(lr_redis_record *r, const lr_control_request *request)
{
    r->token = request->token;
    r->op = (uint8_t)request->op;
    r->table = (uint8_t)request->table;
    r->status = LR_CONTROL_STATUS_OK;
    r->cursor = request->cursor;
    r->by_owner = request->op == LR_CONTROL_SCAN && !lr_id_is_nil(request->owner);
    if (request->key.size_bytes > LR_CONTROL_KEY_MAX) return;
    r->key_bytes = (uint8_t)request->key.size_bytes;
    if (r->key_bytes > 0) memcpy(r->key, request->key.at, r->key_bytes);
}

/* A request that is answered without a server, in its order. */
static lr_err take_local(lr_redis_shard *shard, const lr_control_request *request, lr_redis_record_kind kind,
                         lr_control_status status)
{
    lr_redis_record *r = has_room(shard, 0) ? queue_push(shard, kind) : NULL;
    if (!r) return LR_ERR_OUT_OF_MEMORY;
    describe(r, request);
    r->status = (uint8_t)status;
    return LR_ERR_NONE;
}

static lr_err take(lr_redis_shard *shard, const lr_control_request *request, uint64_t cursor)
{
    lr_control_request asked = *request;
    if (!op_has_value(asked.op)) asked.value = lr_bytes_of(NULL, 0);
    lr_redis_record *r = has_room(shard, asked.value.size_bytes) ? queue_push(shard, LR_REDIS_RECORD_SENT) : NULL;
    if (!r) return LR_ERR_OUT_OF_MEMORY;
    describe(r, &asked);
    return queue_finish(shard, r, lr_redis_ask(shard, &asked, cursor)) ? LR_ERR_NONE : LR_ERR_OUT_OF_MEMORY;
}

bool lr_redis_delete_owned(lr_redis_shard *shard, lr_redis_gather *gather)
{
    lr_redis_record *r = queue_push(shard, LR_REDIS_RECORD_SENT);
    if (!r) return false;
    describe(r, &(lr_control_request){.token = gather->token, .op = gather->op});
    r->gather = gather;
    return queue_finish(shard, r, lr_redis_ask_delete_owned(shard, gather->owner, gather->notify));
}

static lr_err take_delete_owned(lr_redis_store *store, const lr_control_request *request)
{
    if (lr_id_is_nil(request->owner))
        return take_local(&store->shards[0], request, LR_REDIS_RECORD_LOCAL, LR_CONTROL_STATUS_OK);
    for (uint32_t i = 0; i < store->shard_count; i++)
        if (!has_room(&store->shards[i], 0)) return LR_ERR_OUT_OF_MEMORY;
    lr_redis_gather *gather = malloc(sizeof *gather);
    if (!gather) return LR_ERR_OUT_OF_MEMORY;
    *gather = (lr_redis_gather){.token = request->token, .op = request->op, .owner = request->owner,
                                .notify = request->notify};
    for (uint32_t i = 0; i < store->shard_count; i++) {
        if (lr_redis_delete_owned(&store->shards[i], gather))
            gather->left++;
        else
            gather->status = LR_CONTROL_STATUS_UNAVAILABLE;
    }
    if (gather->left > 0) return LR_ERR_NONE;
    free(gather);
    return LR_ERR_OUT_OF_MEMORY;
}

/* A cursor of nobody's ends the scan. */
static lr_err take_scan(lr_redis_store *store, const lr_control_request *request)
{
    uint64_t shard = request->cursor >> LR_REDIS_CURSOR_BITS;
    if (shard >= store->shard_count)
        return take_local(&store->shards[0], request, LR_REDIS_RECORD_LOCAL, LR_CONTROL_STATUS_OK);
    return take(&store->shards[shard], request, request->cursor & ((1ull << LR_REDIS_CURSOR_BITS) - 1));
}

static lr_err redis_request(lr_control *c, const lr_control_request *request)
{
    lr_redis_store *store = store_of(c);
    lr_control_op op = request->op;
    LR_ASSERT(op < LR_CONTROL_OP_COUNT && request->table < LR_CONTROL_TABLE_COUNT);
    if (op == LR_CONTROL_DELETE_OWNED) return take_delete_owned(store, request);
    if (request->key.size_bytes > LR_CONTROL_KEY_MAX)
        return take_local(&store->shards[0], request, LR_REDIS_RECORD_LOCAL, LR_CONTROL_STATUS_TOO_LARGE);
    lr_redis_shard *shard = shard_of_key(store, request->key);
    if (op_has_value(op) && request->value.size_bytes > LR_CONTROL_VALUE_MAX)
        return take_local(shard, request, LR_REDIS_RECORD_LOCAL, LR_CONTROL_STATUS_TOO_LARGE);
    LR_ASSERT(op != LR_CONTROL_APPEND || request->limit > 0);
    if (op == LR_CONTROL_SUBSCRIBE || op == LR_CONTROL_UNSUBSCRIBE)
        return take_local(shard, request, LR_REDIS_RECORD_HERE, LR_CONTROL_STATUS_OK);
    if (op == LR_CONTROL_SCAN) return take_scan(store, request);
    return take(shard, request, request->cursor);
}

/* --- turns --- */

/* A wake link is left alone until there is something to be woken for. */
static bool wakes(const lr_redis_shard *shard)
{
    return shard->wake_link.connections > 0 || lr_redis_wake_wanted(shard->store);
}

static void say_hello_again(lr_redis_shard *shard, uint64_t now_ns)
{
    if (!shard->link.hello_due || shard->link.state != LR_REDIS_LINK_READY || now_ns < shard->hello_ns) return;
    lr_redis_record *r = queue_push(shard, LR_REDIS_RECORD_OWN);
    if (r) queue_finish(shard, r, lr_redis_ask_hello(shard));
    shard->hello_ns = now_ns + HELLO_AGAIN_NS;
}

static void step_shard(lr_redis_shard *shard, uint64_t now_ns)
{
    advance(shard);
    say_hello_again(shard, now_ns);
    lr_redis_link_step(&shard->link, now_ns);
    if (wakes(shard)) lr_redis_link_step(&shard->wake_link, now_ns);
    shard->store->woken = false;
    bool paused = shard->link.paused;
    advance(shard);
    if (paused && !shard->link.paused) lr_redis_link_step(&shard->link, now_ns); /* replies lie in the parser */
}

static void wait_for(const lr_redis_store *store, uint64_t now_ns, uint64_t until_ns)
{
    struct pollfd fds[LR_CONTROL_REDIS_FDS];
    uint32_t count = lr_control_redis_fds(&store->control, fds);
    uint64_t deadline_ns = lr_control_redis_deadline(&store->control);
    if (deadline_ns < until_ns) until_ns = deadline_ns;
    if (until_ns <= now_ns) return;
    uint64_t wait_ns = until_ns - now_ns;
    if (wait_ns > 3600 * LR_NS_PER_S) wait_ns = 3600 * LR_NS_PER_S;
    struct timespec wait = {(time_t)(wait_ns / LR_NS_PER_S), (long)(wait_ns % LR_NS_PER_S)};
    ppoll(fds, count, &wait, NULL);
}

static bool settled(const lr_redis_store *store)
{
    lr_control_redis_state state = lr_control_redis_state_of(&store->control);
    return state == LR_CONTROL_REDIS_READY || state == LR_CONTROL_REDIS_REFUSED;
}

static void run(lr_redis_store *store, uint64_t wait_ns, bool until_settled)
{
    uint64_t now_ns = lr_clock_ns(), until_ns = wait_ns < LR_NEVER - now_ns ? now_ns + wait_ns : LR_NEVER;
    LR_ASSERT(!store->turning); /* handlers make requests, not turns */
    store->turning = true;
    for (;; now_ns = lr_clock_ns()) {
        for (uint32_t i = 0; i < store->shard_count; i++)
            step_shard(&store->shards[i], now_ns);
        if (until_settled ? settled(store) : store->delivered > 0) break;
        if (now_ns >= until_ns) break;
        wait_for(store, now_ns, until_ns);
    }
    store->turning = false;
}

static uint32_t redis_turn(lr_control *c, uint64_t wait_ns)
{
    lr_redis_store *store = store_of(c);
    store->delivered = 0;
    run(store, wait_ns, false);
    return store->delivered;
}

static void close_shard(lr_redis_shard *shard)
{
    for (uint32_t i = 0; i < shard->count; i++) {
        lr_redis_gather *gather = queue_at(shard, i)->gather;
        if (gather && --gather->left == 0) free(gather);
    }
    free(shard->queue);
    lr_redis_link_fini(&shard->link);
    lr_redis_link_fini(&shard->wake_link);
}

static void redis_fini(lr_control *c)
{
    lr_redis_store *store = store_of(c);
    LR_ASSERT(!store->turning);
    for (uint32_t i = 0; i < store->shard_count; i++)
        close_shard(&store->shards[i]);
    free(store->shards);
    free(store);
}

static const lr_control_class redis_class = {redis_request, redis_turn, redis_fini};

/* --- opening --- */

void lr_control_redis_config_init(lr_control_redis_config *config, const char *url)
{
    *config = (lr_control_redis_config){
        .url = url,
        .connect_timeout_ns = 2000 * MS,
        .answer_timeout_ns = 5000 * MS,
        .idle_ns = 5000 * MS,
        .retry_min_ns = 50 * MS,
        .retry_max_ns = 500 * MS, /* its return is seen within half a second */
        .queue_requests = 1u << 20,
        .queue_bytes = 256u << 20,
    };
}

static void open_shard(lr_redis_store *store, uint32_t index)
{
    lr_redis_shard *shard = &store->shards[index];
    const lr_redis_link_owner owner = {on_ready, on_lost, on_reply, on_idle, is_awaiting, on_line, shard};
    shard->store = store;
    shard->index = index;
    lr_redis_link_init(&shard->link, &store->targets.shard[index], &store->link_config, &owner);
    lr_redis_wake_init(shard);
}

lr_control *lr_control_redis_open(const lr_control_redis_config *config, const lr_control_handler *handler, char *error,
                                  size_t error_bytes)
{
    lr_redis_store *store = calloc(1, sizeof *store);
    if (!store) {
        snprintf(error, error_bytes, "out of memory for the control store: free some");
        return NULL;
    }
    store->control = (lr_control){&redis_class, *handler};
    store->config = *config;
    bool parsed = lr_redis_targets_parse(&store->targets, config->url, error, error_bytes);
    if (parsed) store->shards = calloc(store->targets.count, sizeof *store->shards);
    if (!store->shards) {
        if (parsed) snprintf(error, error_bytes, "out of memory for the control store: free some");
        free(store);
        return NULL;
    }
    lr_redis_scripts_init();
    store->config.url = NULL; /* it is the caller's, and holds passwords */
    snprintf(store->prefix, sizeof store->prefix, "luarun:{%s}:", store->targets.cluster);
    snprintf(store->name, sizeof store->name, "luarun-%s", store->targets.cluster);
    store->link_config = (lr_redis_link_config){config->connect_timeout_ns, config->answer_timeout_ns, config->idle_ns,
                                                config->retry_min_ns,       config->retry_max_ns,      store->name,
                                                store->prefix,              true};
    store->wake_config = store->link_config;
    store->wake_config.scripts = false;
    store->shard_count = store->targets.count;
    for (uint32_t i = 0; i < store->shard_count; i++)
        open_shard(store, i);
    return &store->control;
}

/* --- what people and loops want to know --- */

static lr_control_redis_state state_of_link(const lr_redis_link *link)
{
    if (link->state == LR_REDIS_LINK_READY) return LR_CONTROL_REDIS_READY;
    if (!link->line[0]) return LR_CONTROL_REDIS_CONNECTING;
    return link->refused ? LR_CONTROL_REDIS_REFUSED : LR_CONTROL_REDIS_UNREACHABLE;
}

/* The worst of all links that are used. */
lr_control_redis_state lr_control_redis_state_of(const lr_control *control)
{
    const lr_redis_store *store = store_of(control);
    static const int badness[] = {[LR_CONTROL_REDIS_READY] = 0,
                                  [LR_CONTROL_REDIS_CONNECTING] = 1,
                                  [LR_CONTROL_REDIS_UNREACHABLE] = 2,
                                  [LR_CONTROL_REDIS_REFUSED] = 3};
    lr_control_redis_state worst = LR_CONTROL_REDIS_READY;
    for (uint32_t i = 0; i < store->shard_count; i++) {
        const lr_redis_shard *shard = &store->shards[i];
        lr_control_redis_state of_link = state_of_link(&shard->link);
        if (badness[of_link] > badness[worst]) worst = of_link;
        of_link = wakes(shard) ? state_of_link(&shard->wake_link) : LR_CONTROL_REDIS_READY;
        if (badness[of_link] > badness[worst]) worst = of_link;
    }
    return worst;
}

void lr_control_redis_status(const lr_control *control, char *text, size_t text_bytes)
{
    const lr_redis_store *store = store_of(control);
    char where[LR_REDIS_ADDRESS_TEXT];
    for (uint32_t i = 0; i < store->shard_count; i++) {
        const lr_redis_shard *shard = &store->shards[i];
        const char *line = shard->link.line[0] ? shard->link.line : shard->wake_link.line;
        if (!line[0]) continue;
        snprintf(text, text_bytes, "%s", line);
        return;
    }
    size_t length = 0;
    for (uint32_t i = 0; i < store->shard_count; i++) {
        const lr_redis_link *link = &store->shards[i].link;
        lr_redis_address_format(link->asking || !link->address.host[0] ? &link->target->at[0] : &link->address, where);
        length += (size_t)snprintf(text + length, text_bytes - length, "%s%s%s%s", i ? ", " : "redis at ", where,
                                   link->version[0] ? " version " : "", link->version);
        if (length >= text_bytes) return;
    }
    snprintf(text + length, text_bytes - length, ": %s, cluster '%s'",
             lr_control_redis_state_of(control) == LR_CONTROL_REDIS_READY ? "connected" : "connecting",
             store->targets.cluster);
}

lr_control_redis_state lr_control_redis_await(lr_control *control, uint64_t wait_ns)
{
    run(store_of(control), wait_ns, true);
    return lr_control_redis_state_of(control);
}

uint64_t lr_control_redis_connections(const lr_control *control)
{
    const lr_redis_store *store = store_of(control);
    uint64_t count = 0;
    for (uint32_t i = 0; i < store->shard_count; i++)
        count += store->shards[i].link.connections;
    return count;
}

uint32_t lr_control_redis_fds(const lr_control *control, struct pollfd *fds)
{
    const lr_redis_store *store = store_of(control);
    uint32_t count = 0;
    for (uint32_t i = 0; i < store->shard_count; i++) {
        count += lr_redis_link_wants(&store->shards[i].link, &fds[count]);
        if (wakes(&store->shards[i])) count += lr_redis_link_wants(&store->shards[i].wake_link, &fds[count]);
    }
    return count;
}

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

static uint64_t deadline_of_shard(const lr_redis_shard *shard)
{
    const lr_redis_record *head = queue_head(shard);
    uint64_t deadline_ns = lr_redis_link_deadline(&shard->link);
    if (wakes(shard)) deadline_ns = earlier(deadline_ns, lr_redis_link_deadline(&shard->wake_link));
    if (shard->link.hello_due && shard->link.state == LR_REDIS_LINK_READY)
        deadline_ns = earlier(deadline_ns, shard->hello_ns);
    if (!head || was_sent(shard, head)) return deadline_ns;
    if (head->kind == LR_REDIS_RECORD_LOCAL || head->kind == LR_REDIS_RECORD_GONE) return 0;
    return earlier(deadline_ns, head->deadline_ns);
}

uint64_t lr_control_redis_deadline(const lr_control *control)
{
    const lr_redis_store *store = store_of(control);
    uint64_t deadline_ns = LR_NEVER;
    for (uint32_t i = 0; i < store->shard_count; i++)
        deadline_ns = earlier(deadline_ns, deadline_of_shard(&store->shards[i]));
    return deadline_ns;
}
