/* runtime/control_redis_wake.c - subscriptions, and the connection of each shard that wake-ups come by.
 *
 * A subscription is a pattern subscribed to on every shard. It is made again on every new connection of that link,
 * and when the server confirms it the second time the subscriber is woken: what happened in between was not told.
 * The link is opened with the first subscription. Messages of patterns that are over are dropped here, so that an
 * UNSUBSCRIBE counts at once. Owns: the store's table of subscriptions. Thread: the store's. Blocks: never. */
#include "runtime/control_redis_store.h"

#include "runtime/clock.h"

#define PATTERN_BYTES (LR_REDIS_PREFIX_TEXT + 24 + 2 * LR_CONTROL_KEY_MAX)

/* "prefix wake:T:K*", with what a glob would take for its own escaped. Returns its length. */
static size_t pattern(const lr_redis_store *store, const lr_redis_subscription *s, char out[PATTERN_BYTES])
{
    size_t length = 0;
    const char *parts[] = {store->prefix, "wake:", lr_control_table_name(s->table), ":"};
    for (size_t i = 0; i < LR_COUNT(parts); i++) {
        memcpy(out + length, parts[i], strlen(parts[i]));
        length += strlen(parts[i]);
    }
    for (uint32_t i = 0; i < s->prefix_bytes; i++) {
        if (s->prefix[i] != 0 && strchr("*?[]\\^-", s->prefix[i])) out[length++] = '\\';
        out[length++] = (char)s->prefix[i];
    }
    out[length++] = '*';
    return length;
}

/* Sends it where the link is ready; else it is made when it is. */
static void send_pattern(lr_redis_shard *shard, const char *command, const lr_redis_subscription *s)
{
    char text[PATTERN_BYTES];
    size_t length = pattern(shard->store, s, text);
    lr_redis_out *out = &shard->wake_link.out;
    if (shard->wake_link.state != LR_REDIS_LINK_READY) return;
    if (!lr_redis_out_begin(out, 2, strlen(command) + length)) {
        lr_redis_link_fail(&shard->wake_link, false, "out of memory: free some");
        return;
    }
    lr_redis_out_text(out, command);
    lr_redis_out_part(out, text, length);
    shard->wake_awaited++;
}

/* --- wake-ups --- */

static bool wanted(const lr_redis_store *store, lr_control_table table, lr_bytes key)
{
    for (int i = 0; i < LR_CONTROL_SUBSCRIPTIONS_MAX; i++) {
        const lr_redis_subscription *s = &store->subscription[i];
        if (s->used && s->table == table && key.size_bytes >= s->prefix_bytes &&
            memcmp(key.at, s->prefix, s->prefix_bytes) == 0)
            return true;
    }
    return false;
}

/* Tells the subscriber, but not twice in a row of the same key: both writes were before we read of the first. */
static void wake(lr_redis_store *store, lr_control_table table, lr_bytes key)
{
    if (store->woken && store->woken_table == table && store->woken_bytes == key.size_bytes &&
        memcmp(store->woken_key, key.at, key.size_bytes) == 0)
        return;
    store->woken = true;
    store->woken_table = table;
    store->woken_bytes = (uint32_t)key.size_bytes;
    memcpy(store->woken_key, key.at, key.size_bytes);
    store->delivered++;
    store->control.handler.on_wake(store->control.handler.user, table, key);
}

static void message(lr_redis_store *store, const redisReply *channel)
{
    size_t skip = strlen(store->prefix) + 5; /* "wake:" */
    if (channel->type != REDIS_REPLY_STRING || (size_t)channel->len < skip) return;
    const char *at = channel->str + skip, *colon = memchr(at, ':', (size_t)channel->len - skip);
    if (!colon) return;
    lr_bytes key = lr_bytes_of(colon + 1, (size_t)channel->len - skip - (size_t)(colon + 1 - at));
    if (key.size_bytes > LR_CONTROL_KEY_MAX) return;
    for (lr_control_table t = 0; t < LR_CONTROL_TABLE_COUNT; t++) {
        const char *name = lr_control_table_name(t);
        if (strlen(name) != (size_t)(colon - at) || memcmp(name, at, strlen(name)) != 0) continue;
        if (wanted(store, t, key)) wake(store, t, key);
        return;
    }
}

static void confirmed(lr_redis_shard *shard, const redisReply *name)
{
    lr_redis_store *store = shard->store;
    uint32_t bit = 1u << shard->index;
    for (int i = 0; i < LR_CONTROL_SUBSCRIPTIONS_MAX; i++) {
        lr_redis_subscription *s = &store->subscription[i];
        char text[PATTERN_BYTES];
        if (!s->used || s->there & bit) continue;
        size_t length = pattern(store, s, text);
        if (name->type != REDIS_REPLY_STRING || (size_t)name->len != length || memcmp(name->str, text, length) != 0)
            continue;
        bool again = s->known & bit;
        s->there |= bit;
        s->known |= bit;
        store->woken = false; /* never merged */
        if (again) wake(store, s->table, lr_bytes_of(s->prefix, s->prefix_bytes));
        return;
    }
}

/* --- the link's owner --- */

static void on_ready(void *user)
{
    lr_redis_shard *shard = user;
    for (int i = 0; i < LR_CONTROL_SUBSCRIPTIONS_MAX; i++)
        if (shard->store->subscription[i].used) send_pattern(shard, "PSUBSCRIBE", &shard->store->subscription[i]);
}

static void on_lost(void *user)
{
    lr_redis_shard *shard = user;
    lr_redis_out_drop(&shard->wake_link.out, lr_redis_out_size(&shard->wake_link.out));
    shard->wake_awaited = 0;
    for (int i = 0; i < LR_CONTROL_SUBSCRIPTIONS_MAX; i++)
        shard->store->subscription[i].there &= ~(1u << shard->index);
}

static void on_reply(void *user, const redisReply *r)
{
    lr_redis_shard *shard = user;
    const char *kind = r->type == REDIS_REPLY_ARRAY && r->elements >= 2 ? r->element[0]->str : "";
    if (kind && strcmp(kind, "pmessage") == 0) {
        if (r->elements == 4) message(shard->store, r->element[2]);
        return;
    }
    if (shard->wake_awaited > 0) shard->wake_awaited--;
    if (kind && strcmp(kind, "psubscribe") == 0) confirmed(shard, r->element[1]);
    if (r->type == REDIS_REPLY_ERROR && !lr_redis_link_judge(&shard->wake_link, r->str))
        lr_redis_link_fail(&shard->wake_link, true, "it refuses subscriptions (%.160s): see its log", r->str);
}

static void on_idle(void *user)
{
    lr_redis_shard *shard = user;
    if (!lr_redis_out_begin(&shard->wake_link.out, 1, 4)) return;
    lr_redis_out_text(&shard->wake_link.out, "PING");
    shard->wake_awaited++;
}

static bool is_awaiting(void *user) { return ((lr_redis_shard *)user)->wake_awaited > 0; }

static void on_line(void *user)
{
    lr_redis_store *store = ((lr_redis_shard *)user)->store;
    lr_redis_line_changed(store);
}

void lr_redis_wake_init(lr_redis_shard *shard)
{
    lr_redis_store *store = shard->store;
    const lr_redis_link_owner owner = {on_ready, on_lost, on_reply, on_idle, is_awaiting, on_line, shard};
    lr_redis_link_init(&shard->wake_link, &store->targets.shard[shard->index], &store->wake_config, &owner);
}

/* --- operations --- */

static lr_redis_subscription *find(lr_redis_store *store, const lr_redis_record *r)
{
    for (int i = 0; i < LR_CONTROL_SUBSCRIPTIONS_MAX; i++) {
        lr_redis_subscription *s = &store->subscription[i];
        if (s->used && s->table == r->table && s->prefix_bytes == r->key_bytes &&
            memcmp(s->prefix, r->key, r->key_bytes) == 0)
            return s;
    }
    return NULL;
}

static lr_redis_subscription *add(lr_redis_store *store, const lr_redis_record *r)
{
    for (int i = 0; i < LR_CONTROL_SUBSCRIPTIONS_MAX; i++) {
        lr_redis_subscription *s = &store->subscription[i];
        if (s->used) continue;
        *s = (lr_redis_subscription){.used = true, .table = r->table, .prefix_bytes = r->key_bytes};
        memcpy(s->prefix, r->key, r->key_bytes);
        for (uint32_t shard = 0; shard < store->shard_count; shard++)
            send_pattern(&store->shards[shard], "PSUBSCRIBE", s);
        return s;
    }
    return NULL;
}

bool lr_redis_subscribe(lr_redis_store *store, const lr_redis_record *record, lr_control_status *status)
{
    lr_redis_subscription *s = find(store, record);
    if (!s) s = add(store, record);
    bool everywhere = s && s->there == (1u << store->shard_count) - 1;
    bool refused = false;
    for (uint32_t i = 0; i < store->shard_count; i++)
        refused |= store->shards[i].wake_link.refused;
    *status = everywhere ? LR_CONTROL_STATUS_OK : s ? LR_CONTROL_STATUS_UNAVAILABLE : LR_CONTROL_STATUS_FULL;
    return everywhere || !s || refused || lr_clock_ns() >= record->deadline_ns;
}

void lr_redis_unsubscribe(lr_redis_store *store, const lr_redis_record *record, lr_control_status *status)
{
    lr_redis_subscription *s = find(store, record);
    *status = s ? LR_CONTROL_STATUS_OK : LR_CONTROL_STATUS_NOT_FOUND;
    if (!s) return;
    for (uint32_t shard = 0; shard < store->shard_count; shard++)
        send_pattern(&store->shards[shard], "PUNSUBSCRIBE", s);
    s->used = false;
}

bool lr_redis_wake_wanted(const lr_redis_store *store)
{
    for (int i = 0; i < LR_CONTROL_SUBSCRIPTIONS_MAX; i++)
        if (store->subscription[i].used) return true;
    return false;
}
