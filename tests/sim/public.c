/* tests/sim/public.c - agents and drivers of a simulated public cluster, and what befalls them.
 *
 * A turn of an agent mirrors runtime/agent.c, joining and leaving of a driver runtime/member.c. The driver of the world's job
 * is one of them; the others have a row and nothing else, and their processes are a flag. With the faults over and
 * the script ended the job is closed, one more agent and one more job come at nearly the same time, some die, and when leases had their
 * time the checkers look at who is known and what is left. Owns: parties. */
#include "tests/sim/public.h"

#define LOOK_NS (S / 2)
#define CLOSE_NS (25 * S)  /* after the script's end: whatever it started has ended */
#define LAST_NS (16 * S)  /* after that: leases, their sweeping and its own mishaps are over */
#define SEEN_NS (700ull * MS) /* less than between two readings */
#define WARM_NS (100 * S)    /* all have come, and read as often as they will */
#define MEASURE_NS (200 * S)
#define CLIENT_NS (500ull * MS)

enum { PUBLIC_LOOK, PUBLIC_CLOSE, PUBLIC_SEEN, PUBLIC_LAST, PUBLIC_BACK, PUBLIC_LEFT, PUBLIC_GONE, PUBLIC_LATE,
       PUBLIC_WARM, PUBLIC_MEASURED };

static void plan(sim *w, uint64_t after_ns, void *what, unsigned side) { sim_at(w, w->now_ns + after_ns, EVENT_PUBLIC, NULL, what, side); }

/* ---- a party's clock and turns ------------------------------------------------------------------------ */

uint64_t party_now(const sim_party *p) { return p->world->now_ns + p->clock_offset_ns + S; }

void party_ring(sim_party *p, uint64_t after_ns)
{
    uint64_t at = p->world->now_ns + after_ns;
    if (p->dead || (p->ringing && p->turn_at_ns <= at)) return;
    p->ringing = true;
    p->turn_at_ns = at;
    sim_at(p->world, at, EVENT_PARTY, NULL, p, 0);
}

static void ring_at(sim_party *p, uint64_t clock_ns)
{
    uint64_t now_ns = party_now(p);
    if (clock_ns != LR_NEVER) party_ring(p, clock_ns > now_ns + US ? clock_ns - now_ns : US);
}

sim_party *party_of_key(sim *w, lr_control_table table, lr_bytes key)
{
    for (unsigned i = 0; i < w->public->count; i++) {
        sim_party *p = w->public->parties[i];
        if (p->dead || p->left || p->lease.table != table || key.size_bytes != sizeof p->lease.key) continue;
        if (memcmp(key.at, &p->lease.key, sizeof p->lease.key) == 0) return p;
    }
    return NULL;
}

/* ---- processes ---------------------------------------------------------------------------------------- */

static sim_hosted *hosted_of(lr_hosted *hosted) { return (sim_hosted *)(void *)hosted; }
static bool is_worlds(const sim_party *p) { return p == p->world->public->parties[0]; }

static void process_over(sim_hosted *j, bool well)
{
    j->alive = false;
    j->well = well;
    party_ring(j->at, 1 + sim_below(j->at->world, 2 * MS));
}

void sim_public_process(sim_node *n)
{
    sim_hosted *j = n->hosted;
    n->hosted = NULL;
    j->node = NULL;
    process_over(j, n->well);
}

static bool start_process(void *user, lr_hosted *hosted)
{
    sim_party *p = user;
    sim_hosted *j = hosted_of(hosted);
    j->pid = ++p->world->public->last_pid;
    j->alive = true;
    sim_say(p->world, "agent %u starts process %d for job %u", p->number, j->pid, j->driver->number);
    if (j->driver->dead || j->driver->left) {
        process_over(j, true);
    } else if (is_worlds(j->driver) && !p->world->config.big) {
        p->world->stats.joins++;
        j->node = sim_node_add(p->world, p->offers);
        j->node->hosted = j;
    }
    return true;
}

static void kill_process(void *user, lr_hosted *hosted)
{
    sim_hosted *j = hosted_of(hosted);
    (void)user;
    if (j->node) sim_node_kill(j->node);
    else process_over(j, true);
}

static void forget(void *user, lr_hosted *hosted)
{
    (void)user;
    free(hosted_of(hosted));
}

/* Its processes have lost it. */
static void driver_over(sim_party *driver)
{
    sim *w = driver->world;
    for (unsigned i = 0; i < w->public->count; i++) {
        sim_party *p = w->public->parties[i];
        if (p->dead || !p->begun) continue;
        for (lr_link *l = lr_list_first(&p->hosting.jobs); l; l = lr_list_next(&p->hosting.jobs, l)) {
            sim_hosted *j = hosted_of(LR_CONTAINER(l, lr_hosted, link));
            if (j->driver == driver && j->alive && !j->node) process_over(j, true);
        }
    }
}

static void end_processes(sim_party *p)
{
    for (lr_link *l = lr_list_first(&p->hosting.jobs); l; l = lr_list_next(&p->hosting.jobs, l)) {
        sim_hosted *j = hosted_of(LR_CONTAINER(l, lr_hosted, link));
        if (!j->node) continue;
        j->node->hosted = NULL;
        sim_node_kill(j->node);
        j->node = NULL;
    }
}

static void reap(sim_party *p)
{
    for (lr_link *l = lr_list_first(&p->hosting.jobs); l; l = lr_list_next(&p->hosting.jobs, l)) {
        sim_hosted *j = hosted_of(LR_CONTAINER(l, lr_hosted, link));
        if (!j->hosted.runs || j->alive) continue;
        lr_hosting_ended(&p->hosting, &j->hosted, j->pid, j->well ? NULL : "was killed by signal 9 (Killed)", party_now(p));
    }
}

/* ---- what an agent sees ------------------------------------------------------------------------------- */

static void on_job(void *user, lr_roster_entry *entry, lr_bytes row)
{
    sim_party *p = user;
    sim_hosted *j = calloc(1, sizeof *j);
    j->hosted = (lr_hosted){.id = entry->key, .served = true};
    j->at = p;
    j->driver = p->world->public->parties[lr_row_number(row, "workers", 0)]; /* its number stands there */
    entry->user = j;
    lr_hosting_add(&p->hosting, &j->hosted);
    sim_say(p->world, "agent %u sees job %u", p->number, j->driver->number);
}

static void on_job_gone(void *user, lr_roster_entry *entry)
{
    sim_party *p = user;
    sim_hosted *j = entry->user;
    entry->user = NULL;
    lr_hosting_over(&p->hosting, &j->hosted, party_now(p));
    sim_say(p->world, "agent %u: job %u is gone", p->number, j->driver->number);
}

static void on_node(void *user, lr_roster_entry *entry, lr_bytes row)
{
    (void)row;
    sim_mix(((sim_party *)user)->world, NULL, 0x610, entry->key, ((sim_party *)user)->number);
}

static void on_node_gone(void *user, lr_roster_entry *entry)
{
    sim_mix(((sim_party *)user)->world, NULL, 0x611, entry->key, ((sim_party *)user)->number);
}

static uint64_t wall_ms(void) { return 1; }

static bool job_lives(void *user, lr_id id)
{
    const sim_party *p = user;
    return !p->jobs.read || lr_roster_find(&p->jobs, id);
}

static unsigned node_count(void *user) { return (unsigned)((const sim_party *)user)->nodes.by_key.count; }

static void begin_watching(sim_party *p)
{
    const lr_roster usual = {.control = &p->client.control, .allocator = &p->allocator, .connections = client_connections,
                             .wall_ms = wall_ms};
    p->hosting.control = &p->client.control;
    p->hosting.tokens = 0xc5ull << 56;
    p->hosting.hooks = (lr_hosting_hooks){start_process, kill_process, forget, p};
    lr_hosting_begin(&p->hosting);
    p->jobs = p->nodes = usual;
    p->jobs.table = LR_CONTROL_TABLE_JOB;
    p->jobs.tokens = LR_ROSTER_TOKEN(1);
    p->jobs.subscribes = true;
    p->jobs.handler = (lr_roster_handler){on_job, on_job_gone, NULL, p};
    p->nodes.table = LR_CONTROL_TABLE_NODE;
    p->nodes.tokens = LR_ROSTER_TOKEN(2);
    p->nodes.handler = (lr_roster_handler){on_node, on_node_gone, NULL, p};
    lr_roster_begin(&p->jobs);
    lr_roster_begin(&p->nodes);
    p->leftover = (lr_leftover){.control = &p->client.control, .token = 0xc6ull << 56, .lives = job_lives, .agents = node_count,
                                .user = p};
    lr_leftover_begin(&p->leftover, party_now(p));
    p->begun = true;
}

/* ---- a party's life ----------------------------------------------------------------------------------- */

static lr_id fresh_key(sim_party *p)
{
    return lr_id_child(lr_id_from_seed(p->world->config.seed ^ 0x20b5), p->number * 1000u + p->new_keys++);
}

static size_t write_row(void *user, char text[LR_ROW_MAX])
{
    sim_party *p = user;
    lr_row row = {.lease_ms = LR_LEASE_NS / MS, .host = "h", .user = "u", .loopback = "l", .workers = (int)p->number,
                  .offers = p->offers, .address = "a", .name = "n"};
    return p->agent ? lr_row_write_node(&row, text) : lr_row_write_job(&row, text);
}

static void on_lost(void *user)
{
    sim_party *p = user;
    sim_say(p->world, "%s %u was taken for dead, or its row is lost", p->agent ? "agent" : "driver", p->number);
    if (p->agent) p->lease.key = fresh_key(p);
}

static void on_reply(void *user, const lr_control_reply *reply)
{
    sim_party *p = user;
    if (lr_lease_reply(&p->lease, reply) || !p->begun || p->left || lr_roster_reply(&p->jobs, reply)) return;
    if (lr_leftover_reply(&p->leftover, reply)) return;
    if (!lr_roster_reply(&p->nodes, reply)) lr_hosting_reply(&p->hosting, reply);
}

static void on_wake(void *user, lr_control_table table, lr_bytes key)
{
    sim_party *p = user;
    (void)key;
    if (p->begun) lr_roster_wake(&p->jobs, table);
}

static sim_party *party_new(sim *w, bool agent)
{
    sim_public *u = w->public;
    if (u->count == u->capacity) {
        u->capacity = u->capacity ? 2 * u->capacity : 16;
        u->parties = realloc((void *)u->parties, u->capacity * sizeof(sim_party *));
    }
    sim_party *p = calloc(1, sizeof *p);
    *p = (sim_party){.world = w, .number = u->count, .agent = agent, .memory = {.world = w}};
    u->parties[u->count++] = p;
    p->allocator = sim_allocator(&p->memory);
    snprintf(p->offers, sizeof p->offers, sim_chance(w, 50) ? "tpu=0,none=0" : "gpu=1,tpu=1,none=0");
    client_open(p);
    p->client.control.handler = (lr_control_handler){on_reply, on_wake, p};
    p->lease = (lr_lease){.control = &p->client.control, .key = fresh_key(p), .lease_ns = LR_LEASE_NS, .write = write_row,
                          .lost = on_lost, .user = p, .table = agent ? LR_CONTROL_TABLE_NODE : LR_CONTROL_TABLE_JOB};
    sim_say(w, "%s %u comes", agent ? "agent" : "driver", p->number);
    return p;
}

static void join(sim_party *p)
{
    lr_lease_begin(&p->lease);
    p->joined_ns = p->world->now_ns;
    party_ring(p, 1);
}

/* It is no more. */
static void party_over(sim_party *p)
{
    if (p->dead) return;
    if (!p->left && !p->agent) driver_over(p);
    if (p->begun) {
        end_processes(p);
        while (!lr_list_empty(&p->hosting.jobs)) {
            lr_link *l = lr_list_pop(&p->hosting.jobs);
            free(hosted_of(LR_CONTAINER(l, lr_hosted, link)));
        }
        lr_roster_end(&p->jobs);
        lr_roster_end(&p->nodes);
    }
    lr_control_fini(&p->client.control);
    if (p->memory.bytes > 0) sim_violation(p->world, "6: agent %u is over, and holds %zu bytes", p->number, p->memory.bytes);
}

static void party_kill(sim_party *p)
{
    sim_say(p->world, "%s %u dies", p->agent ? "agent" : "driver", p->number);
    party_over(p);
}

/* As leave() of an agent, lr_member_leave() of a driver. */
static void party_leave(sim_party *p)
{
    if (p->dead || p->left) return;
    sim_say(p->world, "%s %u leaves", p->agent ? "agent" : "driver", p->number);
    if (p->agent && p->begun) {
        end_processes(p);
        lr_hosting_end(&p->hosting);
    }
    p->left = true;
    lr_lease_end(&p->lease, 1);
    if (p->agent) lr_lease_clear(&p->lease);
    if (!p->agent) {
        lr_control_request history = {.token = LR_LEASE_TOKEN, .op = LR_CONTROL_APPEND, .table = LR_CONTROL_TABLE_JOB,
                                      .key = lr_bytes_of("history", 7), .value = lr_bytes_of("1 x", 3), .limit = 1000};
        LR_ASSERT(lr_control_request_make(&p->client.control, &history) == LR_ERR_NONE);
        driver_over(p);
    }
    plan(p->world, p->agent ? CLIENT_NS : 1 + sim_below(p->world, 20 * MS), p, p->agent ? PUBLIC_GONE : PUBLIC_LEFT);
}

/* As lr_member_close(). */
static void driver_close(sim_party *p)
{
    if (p->dead) return;
    lr_lease_clear(&p->lease);
    plan(p->world, CLIENT_NS, p, PUBLIC_GONE);
}

/* What a job has in the tables beside its row. */
static void write_owned(sim_party *p)
{
    for (unsigned i = 0; i < 3; i++) {
        lr_id key = lr_id_child(p->lease.key, 1000 + i);
        lr_control_request r = {.op = LR_CONTROL_PUT, .table = LR_CONTROL_TABLE_OBJECT, .key = lr_bytes_of_id(&key),
                                .owner = p->lease.key, .value = lr_bytes_of("1 o", 3)};
        LR_ASSERT(lr_control_request_make(&p->client.control, &r) == LR_ERR_NONE);
    }
}

static void party_turn(sim_party *p)
{
    uint64_t now_ns = party_now(p);
    p->ringing = false;
    if (p->left) {
        client_deliver(p);
        return;
    }
    lr_lease_turn(&p->lease, now_ns);
    if (p->begun) lr_roster_turn(&p->jobs, now_ns);
    if (p->begun) lr_roster_turn(&p->nodes, now_ns);
    if (p->begun) lr_leftover_turn(&p->leftover, now_ns);
    lr_control_turn(&p->client.control, 0);
    if (!p->agent && p->lease.held && !p->begun_job) {
        p->begun_job = true;
        write_owned(p);
    }
    if (p->agent && p->lease.held && !p->begun) {
        begin_watching(p);
        party_ring(p, US);
        if (p == p->world->public->late_agent) plan(p->world, sim_below(p->world, 4 * p->client.delay_ns), NULL, PUBLIC_LATE);
        return;
    }
    if (p->begun) {
        reap(p);
        ring_at(p, lr_hosting_tend(&p->hosting, now_ns));
        ring_at(p, lr_roster_deadline(&p->jobs));
        ring_at(p, lr_roster_deadline(&p->nodes));
        ring_at(p, lr_leftover_deadline(&p->leftover));
    }
    ring_at(p, lr_lease_deadline(&p->lease));
}

/* ---- faults ------------------------------------------------------------------------------------------- */

/* Not the driver of the world's job, nor the first agent: with none at all nobody knows what a dead driver had. */
static sim_party *some_party(sim *w, bool agent, bool any)
{
    for (int i = 0; i < 20; i++) {
        sim_party *p = w->public->parties[sim_below(w, w->public->count)];
        if (!p->dead && !p->left && (any || (p->agent == agent && p->number > 1))) return p;
    }
    return NULL;
}

/* A process of some job that is a flag: what runs the world's job dies by faults.c. */
static void crash(sim *w)
{
    sim_party *p = some_party(w, true, false);
    for (lr_link *l = p && p->begun ? lr_list_first(&p->hosting.jobs) : NULL; l; l = lr_list_next(&p->hosting.jobs, l)) {
        sim_hosted *j = hosted_of(LR_CONTAINER(l, lr_hosted, link));
        if (!j->node && j->alive) process_over(j, false);
    }
}

static void pause(sim *w)
{
    sim_party *p = some_party(w, false, true);
    if (!p) return;
    uint64_t about_ns = LR_LEASE_NS + sim_below(w, 2 * S); /* just when it is taken for dead */
    uint64_t until_ns = w->now_ns + (sim_chance(w, 50) ? about_ns : sim_below(w, 8 * S));
    if (until_ns < p->paused_until_ns) return;
    p->paused_until_ns = until_ns;
    sim_say(w, "party %u stops for %.1f s", p->number, (double)(p->paused_until_ns - w->now_ns) / 1e9);
    if (is_worlds(p)) w->nodes[0]->paused_until_ns = p->paused_until_ns;
}

static void jump(sim *w)
{
    sim_party *p = some_party(w, false, true);
    if (!p) return;
    p->clock_offset_ns += sim_below(w, 10 * S);
    p->jumped_ns = w->now_ns;
    sim_say(w, "the clock of party %u jumps", p->number);
    party_ring(p, 1);
}

static void befall_store(sim *w, uint64_t what)
{
    sim_public *u = w->public;
    unsigned shard = (unsigned)sim_below(w, u->shard_count);
    if (what < 40 && u->shards[shard].up) {
        store_away(w, shard);
        plan(w, sim_below(w, sim_chance(w, 50) ? 10 * S : S), (void *)(uintptr_t)(shard + 1), PUBLIC_BACK);
    } else if (what < 60) {
        sim_party *p = some_party(w, false, true);
        if (p) client_break(p, shard, sim_chance(w, 30));
    } else if (what < 85) {
        u->shards[shard].slow_ns = sim_below(w, S);
        u->shards[shard].slow_until_ns = w->now_ns + sim_below(w, 5 * S);
    } else {
        u->lost_percent = (unsigned)sim_below(w, 80);
        u->doubled_percent = (unsigned)sim_below(w, 50);
    }
}

void sim_public_fault(sim *w)
{
    uint64_t what = sim_below(w, 100);
    sim_party *p = some_party(w, what < 64, false);
    if (what < 45) befall_store(w, sim_below(w, 100));
    else if (what < 52 && p) party_kill(p);
    else if (what < 56 && p) party_leave(p);
    else if (what < 64) join(party_new(w, true));
    else if (what < 68 && p) party_kill(p);
    else if (what < 72 && p) party_leave(p);
    else if (what < 80) join(party_new(w, false));
    else if (what < 92) pause(w);
    else if (what < 96) crash(w);
    else jump(w);
}

void sim_public_mend(sim *w)
{
    sim_public *u = w->public;
    u->lost_percent = 0;
    for (unsigned i = 0; i < u->shard_count; i++) {
        store_back(w, i, sim_chance(w, 30));
        u->shards[i].slow_until_ns = 0;
    }
    for (unsigned i = 0; i < u->count; i++) {
        sim_party *p = u->parties[i];
        if (p->paused_until_ns <= w->now_ns) continue;
        p->paused_until_ns = w->now_ns;
        p->ringing = false;
        party_ring(p, 1);
    }
}

/* ---- the end ------------------------------------------------------------------------------------------ */

static void look(sim *w)
{
    sim_public *u = w->public;
    check_renews(w);
    plan(w, LOOK_NS, NULL, PUBLIC_LOOK);
    if (u->closes || !w->root_ended || !w->safe) return;
    u->closes = true;
    plan(w, CLOSE_NS, NULL, PUBLIC_CLOSE);
}

static void close_job(sim *w)
{
    sim_public *u = w->public;
    check_end(w);
    if (w->failed) return;
    party_leave(u->parties[0]);
    sim_node_kill(w->nodes[0]);
    sim_party *p = some_party(w, true, false);
    if (p && sim_chance(w, 50)) party_kill(p);
    p = some_party(w, false, false);
    if (p && sim_chance(w, 30)) party_kill(p);
    else if (p && sim_chance(w, 50)) party_leave(p);
    u->late_agent = party_new(w, true);
    u->late = party_new(w, false);
    join(u->late_agent);
    plan(w, LAST_NS, NULL, PUBLIC_LAST);
}

/* ---- for scale ---------------------------------------------------------------------------------------- */

static void warm(sim *w)
{
    for (unsigned i = 0; i < w->public->shard_count; i++)
        w->public->shards[i].ops = 0;
    w->stats.store_ops = 0;
    plan(w, MEASURE_NS, NULL, PUBLIC_MEASURED);
}

static void measured(sim *w)
{
    const sim_public *u = w->public;
    uint64_t most = 0;
    for (unsigned i = 0; i < u->shard_count; i++)
        if (u->shards[i].ops > most) most = u->shards[i].ops;
    w->stats.store_most = most;
    w->over = true;
}

static void step(sim *w, const sim_event *e)
{
    sim_party *p = e->what;
    switch (e->side) {
    case PUBLIC_LOOK: look(w); return;
    case PUBLIC_CLOSE: close_job(w); return;
    case PUBLIC_SEEN: check_seen(w); return;
    case PUBLIC_BACK: store_back(w, (unsigned)(uintptr_t)e->what - 1, sim_chance(w, 30)); return;
    case PUBLIC_LEFT: driver_close(p); return;
    case PUBLIC_GONE: party_over(p); return;
    case PUBLIC_LATE:
        join(w->public->late);
        if (!w->config.may_fail) plan(w, SEEN_NS, NULL, PUBLIC_SEEN);
        return;
    case PUBLIC_WARM: warm(w); return;
    case PUBLIC_MEASURED: measured(w); return;
    case PUBLIC_LAST:
        check_rosters(w);
        check_store_left(w);
        w->over = true;
        return;
    default: return;
    }
}

void sim_public_event(sim *w, const sim_event *e)
{
    sim_party *p = e->what;
    switch ((int)e->kind) {
    case EVENT_STORE: client_event(e->what, e->side); return;
    case EVENT_LINE: client_line(e->what); return;
    case EVENT_PUBLIC: step(w, e); return;
    default: break;
    }
    if (p->dead || !p->ringing || p->turn_at_ns != e->at_ns) return;
    if (p->paused_until_ns <= w->now_ns) {
        party_turn(p);
        return;
    }
    p->turn_at_ns = p->paused_until_ns;
    sim_at(w, p->turn_at_ns, EVENT_PARTY, NULL, p, 0);
}

void sim_public_drop(const sim_event *e)
{
    if (e->kind == EVENT_STORE) client_release(e->what);
    if (e->kind == EVENT_LINE) free(e->what);
}

void sim_public_open(sim *w)
{
    sim_public *u = w->public = calloc(1, sizeof *u);
    u->shard_count = w->config.shards ? w->config.shards : 1 + (unsigned)sim_below(w, 3);
    store_open(w);
    join(party_new(w, false));
    for (uint64_t n = w->config.big ? w->config.nodes : 1 + sim_below(w, 4); n > 0; n--)
        join(party_new(w, true));
    plan(w, w->config.big ? WARM_NS : LOOK_NS, NULL, w->config.big ? PUBLIC_WARM : PUBLIC_LOOK);
}

/* What a cluster of so many agents and one job asks of its store while nothing happens. One line, which docs/scale.md is
 * made of. */
int sim_store_scale(unsigned nodes, unsigned shards, uint64_t seed)
{
    char why[400] = "";
    sim_config config = {.seed = seed, .nodes = nodes, .tasks = 1, .workers = 1, .big = true, .public = true, .shards = shards};
    sim *w = sim_new(&config);
    sim_run(w);
    double seconds = (double)MEASURE_NS / 1e9, ops = (double)w->stats.store_ops;
    printf("nodes=%u shards=%u store_ops_per_s=%.1f store_ops_per_node_s=%.3f store_ops_per_shard_s=%.1f\n", nodes, shards,
           ops / seconds, ops / seconds / nodes, (double)w->stats.store_most / seconds);
    bool failed = w->failed;
    if (failed) printf("%s\n", w->why);
    sim_free(w, why, sizeof why);
    return failed;
}

void sim_public_free(sim *w)
{
    sim_public *u = w->public;
    if (!u) return;
    for (unsigned i = 0; i < u->count; i++)
        party_over(u->parties[i]);
    for (unsigned i = 0; i < u->count; i++)
        free(u->parties[i]);
    store_free(w);
    free((void *)u->parties);
    free(u);
}
