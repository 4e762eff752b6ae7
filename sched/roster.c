#include "sched/roster.h"

#include "sched/fault.h"
#include "sched/lease.h"
#include "sched/text.h"

#define READ_NS (LR_LEASE_NS / 3)
#define ROWS_PER_S 16
#define PAGES_PER_S 4
#define SLACK_NS (LR_NS_PER_S / 2) /* a renewal may be a little late */
#define HISTORY_LIMIT 1000u

enum { ASK_SUBSCRIBE = 1, ASK_SCAN, ASK_CLAIM, ASK_DELETE_OWNED, ASK_NOTHING };

static bool ask(lr_roster *r, int what, lr_control_request *request)
{
    request->token = r->tokens | (uint64_t)what;
    request->table = r->table;
    return lr_control_request_make(r->control, request) == LR_ERR_NONE;
}

void lr_roster_begin(lr_roster *r)
{
    lr_list_init(&r->entries);
    r->by_key = (lr_map){0};
    r->pages = r->pages_read = r->round = r->cursor = r->next_ns = r->believe_ns = 0;
    r->reading = r->again = r->read = r->subscribed = false;
    r->sweeps = LR_ID_NIL;
    r->connections_seen = r->connections(r->control);
}

static void scan(lr_roster *r)
{
    lr_control_request request = {.op = LR_CONTROL_SCAN, .cursor = r->cursor};
    r->pages_read = r->cursor ? r->pages_read + 1 : 1;
    r->reading = ask(r, ASK_SCAN, &request);
}

static uint64_t pause_ns(const lr_roster *r)
{
    uint64_t rows_ns = r->by_key.count * (LR_NS_PER_S / ROWS_PER_S), pages_ns = r->pages * (LR_NS_PER_S / PAGES_PER_S);
    uint64_t long_ns = rows_ns > pages_ns ? rows_ns : pages_ns;
    return long_ns > READ_NS ? long_ns : READ_NS;
}

static lr_roster_entry *entry_of(lr_link *link) { return link ? LR_CONTAINER(link, lr_roster_entry, link) : NULL; }
static lr_roster_entry *first(const lr_roster *r) { return entry_of(lr_list_first(&r->entries)); }

static lr_roster_entry *next(const lr_roster *r, const lr_roster_entry *e)
{
    return entry_of(lr_list_next(&r->entries, &e->link));
}

static void free_entry(lr_roster *r, lr_roster_entry *e)
{
    lr_link_remove(&e->link);
    lr_map_take(&r->by_key, e->key);
    r->allocator->release(r->allocator->user, e, sizeof *e);
}

/* The store was away: nobody could renew. */
static void forgive(lr_roster *r, uint64_t now_ns)
{
    uint64_t connections = r->connections(r->control);
    if (connections == r->connections_seen || LR_FAULT(AWAY_COUNTS)) return;
    if (r->connections_seen > 0) r->believe_ns = now_ns + LR_LEASE_NS;
    r->connections_seen = connections;
    for (lr_roster_entry *e = first(r); e; e = next(r, e)) {
        e->seen_ns = now_ns;
        e->silent_ns = 0;
        e->missed = true;
    }
}

static void claim(lr_roster *r, lr_roster_entry *e)
{
    char text[LR_ROW_MAX];
    size_t size = lr_row_write_swept(r->wall_ms(), text);
    lr_control_request request = {.op = LR_CONTROL_COMPARE_AND_SET, .key = lr_bytes_of_id(&e->key),
                                  .value = lr_bytes_of(text, size), .version = e->version, .notify = true};
    r->claimed_ns = r->now_ns;
    if (ask(r, ASK_CLAIM, &request)) r->sweeps = e->key;
}

static void claim_expired(lr_roster *r)
{
    for (lr_roster_entry *e = first(r); e; e = next(r, e)) {
        if (e->round != r->round || e->silent_ns < e->lease_ns + SLACK_NS) continue;
        claim(r, e);
        return; /* one at a time */
    }
}

void lr_roster_turn(lr_roster *r, uint64_t now_ns)
{
    r->now_ns = now_ns;
    if (r->reading || now_ns < r->next_ns) return;
    if (r->subscribes && !r->subscribed) {
        lr_control_request request = {.op = LR_CONTROL_SUBSCRIBE};
        r->subscribed = ask(r, ASK_SUBSCRIBE, &request);
    }
    forgive(r, now_ns);
    r->round++;
    r->cursor = 0;
    r->again = false;
    r->next_ns = now_ns + pause_ns(r);
    scan(r);
}

uint64_t lr_roster_deadline(const lr_roster *r) { return r->reading ? LR_NEVER : r->next_ns; }

const lr_roster_entry *lr_roster_find(const lr_roster *r, lr_id key) { return lr_map_find(&r->by_key, key); }

/* NULL: no memory; the next reading tries again. */
static lr_roster_entry *add(lr_roster *r, lr_id key)
{
    lr_roster_entry *e = r->allocator->allocate(r->allocator->user, sizeof *e);
    if (!e) return NULL;
    *e = (lr_roster_entry){.key = key};
    if (!lr_map_add(&r->by_key, key, e, r->allocator)) {
        r->allocator->release(r->allocator->user, e, sizeof *e);
        return NULL;
    }
    lr_list_append(&r->entries, &e->link);
    return e;
}

static void take_row(lr_roster *r, const lr_control_row *row, uint64_t now_ns)
{
    lr_id key;
    if (row->key.size_bytes != sizeof key) return; /* none of ours */
    memcpy(&key, row->key.at, sizeof key);
    lr_roster_entry *e = lr_map_find(&r->by_key, key);
    bool is_new = !e;
    if (!e) e = add(r, key);
    if (!e) return;
    e->round = r->round;
    e->missed = false;
    uint64_t pause = now_ns - e->seen_ns, most_ns = pause_ns(r) + READ_NS / 4;
    e->seen_ns = now_ns;
    e->silent_ns += pause < most_ns || LR_FAULT(CLOCK_BELIEVED) || LR_FAULT(AWAY_COUNTS) ? pause : most_ns;
    if (e->version != row->version) {
        e->version = row->version;
        e->silent_ns = 0;
        e->lease_ns = lr_row_number(row->value, "lease", LR_LEASE_NS / 1000000) * 1000000;
    }
    bool swept = lr_row_is_swept(row->value), was_told = !is_new && !e->swept;
    e->swept = swept;
    if (swept && was_told) r->handler.on_gone(r->handler.user, e);
    if (!swept && !was_told) r->handler.on_row(r->handler.user, e, row->value);
}

static void delete_rest(lr_roster *r, lr_id key)
{
    lr_control_request request = {.op = LR_CONTROL_DELETE_OWNED, .owner = key};
    ask(r, ASK_NOTHING, &request);
}

static void end_reading(lr_roster *r)
{
    bool believes = r->now_ns >= r->believe_ns;
    for (lr_roster_entry *e = first(r), *after; e; e = after) {
        after = next(r, e);
        if (e->round == r->round || !believes) continue;
        if (!e->swept) r->handler.on_gone(r->handler.user, e);
        if (e->missed && r->table == LR_CONTROL_TABLE_JOB) delete_rest(r, e->key);
        free_entry(r, e);
    }
    r->read = true;
    r->reading = false;
    r->pages = r->pages_read;
    if (lr_id_is_nil(r->sweeps)) claim_expired(r);
    if (r->again) r->next_ns = 0;
}

static void on_scan(lr_roster *r, const lr_control_reply *reply)
{
    forgive(r, r->now_ns); /* it may have been asked before the store was away */
    if (reply->status != LR_CONTROL_STATUS_OK) { /* what is there is not known: nobody is gone */
        r->reading = false;
        return;
    }
    for (uint32_t i = 0; i < reply->count; i++)
        take_row(r, &reply->rows[i], r->now_ns);
    r->cursor = reply->cursor;
    if (r->cursor)
        scan(r);
    else
        end_reading(r);
}

static void tell_history(lr_roster *r, lr_id key)
{
    char text[LR_ROW_MAX];
    lr_text t = lr_text_of(text, sizeof text);
    lr_text_string(&t, "1 job=");
    lr_text_id(&t, key);
    lr_text_string(&t, " ended=");
    lr_text_u64(&t, r->wall_ms());
    lr_text_string(&t, " status=lost");
    lr_control_request request = {.op = LR_CONTROL_APPEND, .key = lr_bytes_of("history", 7),
                                  .value = lr_bytes_of(text, t.needed_bytes), .limit = HISTORY_LIMIT};
    ask(r, ASK_NOTHING, &request);
}

/* A sweep that takes long is given up: another may have swept the row meanwhile, and its owner have written it anew. */
static bool may_go_on(const lr_roster *r, const lr_control_reply *reply)
{
    return reply->status == LR_CONTROL_STATUS_OK && r->now_ns - r->claimed_ns < LR_LEASE_NS;
}

/* Not done: it lives, another was first, or it is not known: the next reading shows. */
static void on_claim(lr_roster *r, const lr_control_reply *reply)
{
    lr_roster_entry *e = lr_map_find(&r->by_key, r->sweeps);
    lr_control_request request = {.op = LR_CONTROL_DELETE_OWNED, .owner = r->sweeps};
    if (LR_FAULT(REST_STAYS)) request.owner = LR_ID_NIL;
    bool goes_on = may_go_on(r, reply) && ask(r, ASK_DELETE_OWNED, &request);
    lr_id key = r->sweeps;
    if (!goes_on) r->sweeps = LR_ID_NIL;
    if (reply->status != LR_CONTROL_STATUS_OK) return;
    if (e && !e->swept) {
        if (r->table == LR_CONTROL_TABLE_JOB) tell_history(r, key);
        r->handler.on_gone(r->handler.user, e);
        e->swept = true;
        if (r->handler.on_swept) r->handler.on_swept(r->handler.user, key);
    }
    r->next_ns = 0;
}

/* The row goes last: until then somebody will sweep what is left. */
static void on_deleted(lr_roster *r, const lr_control_reply *reply)
{
    lr_control_request request = {.op = LR_CONTROL_DELETE, .key = lr_bytes_of_id(&r->sweeps), .notify = true};
    if (may_go_on(r, reply) && !LR_FAULT(ROW_STAYS)) ask(r, ASK_NOTHING, &request);
    r->sweeps = LR_ID_NIL;
    r->next_ns = 0;
}

bool lr_roster_reply(lr_roster *r, const lr_control_reply *reply)
{
    if ((reply->token & ~0xffull) != r->tokens) return false;
    switch (reply->token & 0xff) {
    case ASK_SCAN: on_scan(r, reply); break;
    case ASK_CLAIM: on_claim(r, reply); break;
    case ASK_DELETE_OWNED: on_deleted(r, reply); break;
    case ASK_SUBSCRIBE:
        r->subscribed = reply->status == LR_CONTROL_STATUS_OK;
        if (r->subscribed && !LR_FAULT(SNAPSHOT_FIRST)) lr_roster_wake(r, r->table);
        break;
    default: break;
    }
    return true;
}

void lr_roster_wake(lr_roster *r, lr_control_table table)
{
    if (table != r->table) return;
    if (r->reading)
        r->again = !LR_FAULT(WAKE_UNHEARD); /* the reading may have passed by what changed */
    else
        r->next_ns = 0;
}

void lr_roster_end(lr_roster *r)
{
    while (!lr_list_empty(&r->entries))
        free_entry(r, first(r));
    lr_map_free(&r->by_key, r->allocator);
}
