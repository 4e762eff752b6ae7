/* tests/sim/store.c - the simulated control store: real tables in memory, shard by shard, behind connections of each party.
 *
 * Mirrors what runtime/control_redis.c promises: requests of one shard are done and answered in order; what was sent when
 * the connection broke is `unavailable`, and some of it has been done or still will be; the rest waits for the next connection, for so
 * long; connections are made again after growing pauses; subscriptions are made on a connection of their own, made again,
 * and then wake. Owns: shards, requests under way. */
#include "tests/sim/public.h"

#define ANSWER_NS (5 * S)
#define PAUSE_MIN_NS (50ull * MS)
#define PAUSE_MAX_NS (500ull * MS)
#define CURSOR_BITS 53

enum { STORE_ARRIVE, STORE_ANSWER, STORE_LATE, STORE_EXPIRE, STORE_SUBSCRIBE };

typedef struct line_event { /* what EVENT_LINE is about */
    sim_party *party;
    unsigned shard;
    uint64_t epoch;
    bool retry;            /* connect; else wake for table */
    lr_control_table table;
} line_event;

unsigned store_shard_of(const sim *w, lr_bytes key)
{
    if (w->public->shard_count == 1) return 0;
    return (unsigned)(lr_id_from_bytes(key.size_bytes ? key.at : "", key.size_bytes).lo % w->public->shard_count);
}

uint64_t store_down_ns(const sim *w, unsigned shard)
{
    const sim_shard *s = &w->public->shards[shard];
    return s->down_ns + (s->up ? 0 : w->now_ns - s->down_at_ns);
}

uint64_t client_connections(const lr_control *control)
{
    const sim_client *c = (const sim_client *)(const void *)control;
    uint64_t count = 0;
    for (unsigned i = 0; i < SHARDS_MAX; i++)
        count += c->line[i].made;
    return count;
}

/* ---- deliveries --------------------------------------------------------------------------------------- */

void client_release(sim_ask *a)
{
    if (--a->refs > 0) return;
    free(a->value);
    free(a->rows);
    free(a);
}

static void deliver(sim_party *p, sim_ask *ask, lr_control_status status, lr_control_table table)
{
    if (p->dead) return;
    sim_delivery *d = calloc(1, sizeof *d);
    *d = (sim_delivery){.ask = ask, .status = status, .table = table};
    if (ask) ask->refs++;
    *p->client.inbox_end = d;
    p->client.inbox_end = &d->next;
    party_ring(p, 1 + sim_below(p->world, 20 * US));
}

/* Its answer, or part of one, is there. */
static void settle(sim_ask *a, lr_control_status status)
{
    sim_gather *g = a->gather;
    lr_link_remove(&a->link);
    if (g) {
        if (status != LR_CONTROL_STATUS_OK) g->status = status;
        else g->count += a->reply.version;
        a->gather = NULL;
        if (--g->left == 0) {
            a->reply.version = g->count;
            status = g->status;
            free(g);
            deliver(a->from, a, status, 0);
        }
    } else {
        deliver(a->from, a, status, 0);
    }
    client_release(a);
}

uint32_t client_deliver(sim_party *p)
{
    uint32_t count = 0;
    for (sim_delivery *d; !p->dead && (d = p->client.inbox); count++) {
        const lr_control_handler *h = &p->client.control.handler;
        p->client.inbox = d->next;
        if (!d->next) p->client.inbox_end = &p->client.inbox;
        if (!d->ask) {
            h->on_wake(h->user, d->table, lr_bytes_of(NULL, 0));
        } else {
            lr_control_reply reply = {.token = d->ask->ask.token, .op = d->ask->ask.op, .status = d->status};
            if (d->status == LR_CONTROL_STATUS_OK || d->ask->reply.status == d->status) reply = d->ask->reply;
            reply.token = d->ask->ask.token;
            reply.op = d->ask->ask.op;
            reply.status = d->status;
            h->on_reply(h->user, &reply);
            client_release(d->ask);
        }
        free(d);
    }
    return count;
}

/* ---- servers ------------------------------------------------------------------------------------------ */

static void copy_reply(sim_ask *a, const lr_control_reply *reply)
{
    size_t bytes = reply->count * sizeof(lr_control_row);
    for (uint32_t i = 0; i < reply->count; i++)
        bytes += reply->rows[i].key.size_bytes + reply->rows[i].value.size_bytes;
    a->reply = *reply;
    a->rows = bytes ? malloc(bytes) : NULL;
    a->reply.rows = a->rows;
    uint8_t *at = (uint8_t *)(a->rows + reply->count);
    for (uint32_t i = 0; i < reply->count; i++) {
        const lr_bytes key = reply->rows[i].key, value = reply->rows[i].value;
        a->rows[i] = reply->rows[i];
        a->rows[i].key.at = memcpy(at, key.at, key.size_bytes);
        at += key.size_bytes;
        a->rows[i].value.at = value.size_bytes ? memcpy(at, value.at, value.size_bytes) : NULL;
        at += value.size_bytes;
    }
}

static void on_reply(void *user, const lr_control_reply *reply)
{
    sim *w = user;
    if (w->public->applying) copy_reply(w->public->applying, reply);
    if (w->public->looking) w->public->lives = reply->count > 0 && !lr_row_is_swept(reply->rows[0].value);
}

bool store_row_lives(sim *w, unsigned shard, lr_control_table table, lr_id key)
{
    lr_control_memory *m = &w->public->shards[shard].memory;
    lr_control_request get = {.op = LR_CONTROL_GET, .table = table, .key = lr_bytes_of_id(&key)};
    LR_ASSERT(lr_control_request_make(&m->control, &get) == LR_ERR_NONE);
    w->public->looking = true;
    lr_control_turn(&m->control, 0);
    w->public->looking = false;
    return w->public->lives;
}

static void wake(sim_party *p, unsigned shard, lr_control_table table, uint64_t after_ns)
{
    line_event *e = calloc(1, sizeof *e);
    *e = (line_event){p, shard, p->client.line[shard].epoch, false, table};
    sim_at(p->world, p->world->now_ns + after_ns, EVENT_LINE, NULL, e, 0);
}

static uint64_t delay(sim_party *p, unsigned shard)
{
    sim *w = p->world;
    const sim_shard *s = &w->public->shards[shard];
    uint64_t ns = p->client.delay_ns / 2 + sim_below(w, p->client.delay_ns + 1);
    return s->slow_until_ns > w->now_ns ? ns + sim_below(w, s->slow_ns) : ns;
}

static void on_wake(void *user, lr_control_table table, lr_bytes key)
{
    sim *w = user;
    unsigned shard = store_shard_of(w, key);
    for (unsigned i = 0; i < w->public->count; i++) {
        sim_party *p = w->public->parties[i];
        if (p->dead || !p->client.line[shard].up || !p->client.line[shard].told[table]) continue;
        if (!sim_chance(w, w->public->lost_percent)) wake(p, shard, table, delay(p, shard));
        if (sim_chance(w, w->public->doubled_percent)) wake(p, shard, table, delay(p, shard));
    }
}

static void shard_open(sim *w, sim_shard *s)
{
    const lr_control_handler handler = {on_reply, on_wake, w};
    LR_ASSERT(lr_control_memory_init(&s->memory, &lr_process_allocator, 64u << 20, &handler) == LR_ERR_NONE);
    s->memory.version = 1 + w->now_ns / 1000; /* above what any store before it has given */
    for (unsigned t = 0; t < LR_CONTROL_TABLE_COUNT; t++) {
        lr_control_request all = {.op = LR_CONTROL_SUBSCRIBE, .table = (lr_control_table)t};
        LR_ASSERT(lr_control_request_make(&s->memory.control, &all) == LR_ERR_NONE);
    }
    lr_control_turn(&s->memory.control, 0);
    s->up = true;
}

/* A request is done by its shard. */
static void apply(sim_ask *a)
{
    sim *w = a->from->world;
    sim_shard *s = &w->public->shards[a->shard];
    if (a->applied || !s->up) return;
    a->applied = true;
    s->ops++;
    w->stats.store_ops++;
    sim_party *victim = check_sweep_before(w, a);
    lr_control_request ask = a->ask;
    if (ask.op == LR_CONTROL_SCAN) ask.cursor &= (1ull << CURSOR_BITS) - 1;
    LR_ASSERT(lr_control_request_make(&s->memory.control, &ask) == LR_ERR_NONE);
    w->public->applying = a;
    lr_control_turn(&s->memory.control, 0);
    w->public->applying = NULL;
    check_sweep_after(w, a, victim);
    w->stats.swept += ask.op == LR_CONTROL_COMPARE_AND_SET && a->reply.status == LR_CONTROL_STATUS_OK && lr_row_is_swept(ask.value);
    sim_mix(w, NULL, 0x600u + ask.op, ask.owner, (uint64_t)a->reply.status << 32 ^ a->from->number);
    sim_party *p = a->from;
    bool own = ask.op == LR_CONTROL_COMPARE_AND_SET && ask.table == p->lease.table && ask.key.size_bytes == sizeof(lr_id) &&
               memcmp(ask.key.at, &p->lease.key, sizeof(lr_id)) == 0 && a->reply.status == LR_CONTROL_STATUS_OK;
    if (own) p->wrote_ns = w->now_ns, p->wrote_down_ns = store_down_ns(w, a->shard);
    if (ask.op != LR_CONTROL_SCAN) return;
    uint64_t next = a->shard + 1u;
    if (a->reply.cursor) a->reply.cursor |= (uint64_t)a->shard << CURSOR_BITS;
    else if (next < w->public->shard_count) a->reply.cursor = next << CURSOR_BITS;
}

void store_open(sim *w)
{
    sim_public *u = w->public;
    for (unsigned i = 0; i < u->shard_count; i++)
        shard_open(w, &u->shards[i]);
}

void store_free(sim *w)
{
    for (unsigned i = 0; i < w->public->shard_count; i++)
        lr_control_fini(&w->public->shards[i].memory.control);
}

/* ---- requests ----------------------------------------------------------------------------------------- */

static void at(sim_ask *a, uint64_t at_ns, unsigned what)
{
    a->refs++;
    sim_at(a->from->world, at_ns, EVENT_STORE, NULL, a, what);
}

static uint64_t in_order(uint64_t *last_ns, uint64_t at_ns) { return *last_ns = at_ns > *last_ns ? at_ns : *last_ns + 1; }

static void send(sim_ask *a)
{
    sim_party *p = a->from;
    sim_line *l = &p->client.line[a->shard];
    a->epoch = l->epoch;
    if (a->ask.op == LR_CONTROL_SUBSCRIBE) /* by another connection, which nothing waits for */
        at(a, p->world->now_ns + delay(p, a->shard), STORE_SUBSCRIBE);
    else
        at(a, in_order(&l->to_ns, p->world->now_ns + delay(p, a->shard)), STORE_ARRIVE);
}

static void ask_shard(sim_party *p, unsigned shard, const lr_control_request *ask, sim_gather *gather)
{
    sim_ask *a = calloc(1, sizeof *a);
    sim_line *l = &p->client.line[shard];
    *a = (sim_ask){.from = p, .shard = shard, .refs = 1, .ask = *ask, .gather = gather};
    if (ask->key.size_bytes) memcpy(a->key, ask->key.at, ask->key.size_bytes);
    a->ask.key = lr_bytes_of(a->key, ask->key.size_bytes);
    bool has_value = ask->op == LR_CONTROL_PUT || ask->op == LR_CONTROL_COMPARE_AND_SET || ask->op == LR_CONTROL_APPEND;
    a->value = has_value ? memcpy(malloc(ask->value.size_bytes + 1), ask->value.at, ask->value.size_bytes) : NULL;
    a->ask.value = lr_bytes_of(a->value, has_value ? ask->value.size_bytes : 0);
    lr_list_append(&l->asks, &a->link);
    if (l->up) send(a);
    else at(a, p->world->now_ns + ANSWER_NS, STORE_EXPIRE);
}

static lr_err client_request(lr_control *control, const lr_control_request *ask)
{
    sim_party *p = LR_CONTAINER(control, sim_party, client.control);
    unsigned count = p->world->public->shard_count;
    if (ask->op == LR_CONTROL_SUBSCRIBE) p->client.wanted[ask->table] = true;
    if (ask->op != LR_CONTROL_DELETE_OWNED && ask->op != LR_CONTROL_SUBSCRIBE) {
        bool scans = ask->op == LR_CONTROL_SCAN;
        ask_shard(p, scans ? (unsigned)(ask->cursor >> CURSOR_BITS) : store_shard_of(p->world, ask->key), ask, NULL);
        return LR_ERR_NONE;
    }
    sim_gather *gather = calloc(1, sizeof *gather);
    gather->left = count;
    for (unsigned i = 0; i < count; i++)
        ask_shard(p, i, ask, gather);
    return LR_ERR_NONE;
}

static void arrive(sim_ask *a)
{
    sim_party *p = a->from;
    sim_line *l = &p->client.line[a->shard];
    if (p->dead || a->dropped || a->epoch != l->epoch) return; /* broken meanwhile */
    apply(a);
    at(a, in_order(&l->from_ns, p->world->now_ns + delay(p, a->shard)), STORE_ANSWER);
}

/* By the connection for wake-ups. It holds up nothing that is read meanwhile. */
static void subscribe(sim_ask *a)
{
    sim_line *l = &a->from->client.line[a->shard];
    if (a->from->dead || a->epoch != l->epoch) return;
    l->told[a->ask.table] = true;
    a->from->world->public->shards[a->shard].ops++;
    a->from->world->stats.store_ops++;
    at(a, a->from->world->now_ns + delay(a->from, a->shard), STORE_ANSWER);
}

/* EVENT_STORE. */
void client_event(void *what, unsigned side)
{
    sim_ask *a = what;
    sim_line *l = &a->from->client.line[a->shard];
    switch (side) {
    case STORE_ARRIVE: arrive(a); break;
    case STORE_SUBSCRIBE: subscribe(a); break;
    case STORE_LATE: apply(a); break;
    case STORE_ANSWER:
        if (!a->from->dead && a->epoch == l->epoch && lr_link_in_list(&a->link)) settle(a, a->reply.status);
        break;
    case STORE_EXPIRE:
        if (!a->from->dead && a->epoch == 0 && lr_link_in_list(&a->link)) settle(a, LR_CONTROL_STATUS_UNAVAILABLE);
        break;
    default: break;
    }
    client_release(a);
}

/* ---- connections -------------------------------------------------------------------------------------- */

/* What was on its way: the first of it has been done, or will be. */
static void cut(sim_party *p, unsigned shard)
{
    sim_line *l = &p->client.line[shard];
    sim *w = p->world;
    uint64_t late_ns = w->now_ns;
    bool gets_there = w->public->shards[shard].up;
    for (lr_link *k = lr_list_first(&l->asks); k; k = lr_list_next(&l->asks, k)) {
        sim_ask *a = LR_CONTAINER(k, sim_ask, link);
        if (a->epoch != l->epoch || a->applied || a->ask.op == LR_CONTROL_SUBSCRIBE) continue;
        gets_there = gets_there && sim_chance(w, 50);
        a->dropped = true; /* its own event finds it so */
        if (!gets_there) continue;
        late_ns += sim_below(w, 100 * MS);
        at(a, late_ns, STORE_LATE);
    }
}

static void fail_sent(sim_party *p, unsigned shard)
{
    sim_line *l = &p->client.line[shard];
    for (lr_link *k = lr_list_first(&l->asks), *next; k; k = next) {
        sim_ask *a = LR_CONTAINER(k, sim_ask, link);
        next = lr_list_next(&l->asks, k);
        if (a->epoch == 0) continue;
        a->reply = (lr_control_reply){0};
        settle(a, LR_CONTROL_STATUS_UNAVAILABLE);
    }
}

static void try_again(sim_party *p, unsigned shard, uint64_t after_ns)
{
    line_event *e = calloc(1, sizeof *e);
    *e = (line_event){p, shard, p->client.line[shard].epoch, true, 0};
    sim_at(p->world, p->world->now_ns + after_ns, EVENT_LINE, NULL, e, 0);
}

/* silent: the party is told when it has waited for an answer in vain. */
void client_break(sim_party *p, unsigned shard, bool silent)
{
    sim_line *l = &p->client.line[shard];
    if (!l->up || p->dead) return;
    cut(p, shard);
    l->up = false;
    l->epoch++;
    l->pause_ns = PAUSE_MIN_NS;
    memset(l->told, 0, sizeof l->told);
    try_again(p, shard, silent ? sim_below(p->world, ANSWER_NS) : sim_below(p->world, 50 * MS));
}

static void reconnect(sim_party *p, unsigned shard)
{
    sim_line *l = &p->client.line[shard];
    sim *w = p->world;
    fail_sent(p, shard);
    if (!w->public->shards[shard].up) {
        try_again(p, shard, l->pause_ns / 2 + sim_below(w, l->pause_ns / 2));
        l->pause_ns = l->pause_ns * 2 < PAUSE_MAX_NS ? l->pause_ns * 2 : PAUSE_MAX_NS;
        return;
    }
    l->up = true;
    l->made++;
    l->made_at_ns = w->now_ns;
    for (lr_link *k = lr_list_first(&l->asks); k; k = lr_list_next(&l->asks, k))
        send(LR_CONTAINER(k, sim_ask, link));
    for (unsigned t = 0; t < LR_CONTROL_TABLE_COUNT; t++) {
        if (!p->client.wanted[t]) continue;
        l->told[t] = true;
        if (l->made > 1) wake(p, shard, (lr_control_table)t, delay(p, shard));
    }
    party_ring(p, 1);
}

/* EVENT_LINE. */
void client_line(void *what)
{
    line_event e = *(line_event *)what;
    free(what);
    if (e.party->dead || e.epoch != e.party->client.line[e.shard].epoch) return;
    if (e.retry) reconnect(e.party, e.shard);
    else deliver(e.party, NULL, LR_CONTROL_STATUS_OK, e.table);
}

static uint32_t client_turn(lr_control *control, uint64_t wait_ns)
{
    (void)wait_ns;
    return client_deliver(LR_CONTAINER(control, sim_party, client.control));
}

static void client_fini(lr_control *control) { client_close(LR_CONTAINER(control, sim_party, client.control)); }

void client_open(sim_party *p)
{
    static const lr_control_class class = {client_request, client_turn, client_fini};
    p->client.control.class = &class;
    p->client.inbox_end = &p->client.inbox;
    p->client.delay_ns = 100 * US + sim_below(p->world, sim_chance(p->world, 80) ? 2 * MS : 20 * MS);
    for (unsigned i = 0; i < SHARDS_MAX; i++)
        lr_list_init(&p->client.line[i].asks);
    for (unsigned i = 0; i < p->world->public->shard_count; i++) {
        p->client.line[i].epoch = 1;
        p->client.line[i].pause_ns = PAUSE_MIN_NS;
        try_again(p, i, 1 + sim_below(p->world, 2 * MS));
    }
}

/* What is under way is done or not; nobody hears of it. */
void client_close(sim_party *p)
{
    for (sim_delivery *d; (d = p->client.inbox);) {
        p->client.inbox = d->next;
        if (d->ask) client_release(d->ask);
        free(d);
    }
    for (unsigned i = 0; i < p->world->public->shard_count; i++) {
        sim_line *l = &p->client.line[i];
        if (l->up) cut(p, i);
        for (lr_link *k; (k = lr_list_pop(&l->asks));) {
            sim_ask *a = LR_CONTAINER(k, sim_ask, link);
            if (a->epoch == 0) a->dropped = true;
            if (a->gather && --a->gather->left == 0) free(a->gather);
            a->gather = NULL;
            client_release(a);
        }
        l->up = false;
    }
    p->client.inbox_end = &p->client.inbox;
    p->dead = true;
}

void store_away(sim *w, unsigned shard)
{
    sim_shard *s = &w->public->shards[shard];
    if (!s->up) return;
    bool silent = sim_chance(w, 30);
    s->down_at_ns = w->now_ns;
    for (unsigned i = 0; i < w->public->count; i++)
        client_break(w->public->parties[i], shard, silent);
    s->up = false;
    sim_say(w, "shard %u of the store is away", shard);
}

void store_back(sim *w, unsigned shard, bool empty)
{
    sim_shard *s = &w->public->shards[shard];
    if (s->up) return;
    s->down_ns += w->now_ns - s->down_at_ns;
    s->up = true;
    sim_say(w, "shard %u of the store is back%s", shard, empty ? ", empty" : "");
    if (!empty) return;
    lr_control_fini(&s->memory.control);
    shard_open(w, s);
}
