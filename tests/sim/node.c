/* tests/sim/node.c - a node of the simulated cluster: the real mesh and node machine, and a model of what stands around them.
 *
 * The mesh's hooks, what is done with a TASK and a RESULT, and the order of a turn mirror runtime/cluster.c: where that
 * changes, this must. Owns: the node. */
#include "tests/sim/sim.h"

#include "sched/fault.h"

#define IDLE_LESS_NS 1000000u
#define EXPECT_NS 5000000000ull
#define ALONE_NS 30000000000ull

uint64_t sim_node_now(const sim_node *n) { return n->world->now_ns + n->clock_offset_ns; }

void sim_node_ring(sim_node *n)
{
    sim *w = n->world;
    if (n->dead) return;
    uint64_t at = w->now_ns + (1 + sim_below(w, 10 * US)) * n->slow;
    if (n->ringing && n->turn_at_ns <= at) return;
    n->ringing = true;
    n->turn_at_ns = at;
    sim_at(w, at, EVENT_TURN, n, NULL, 0);
}

static void ring_at(sim_node *n, uint64_t clock_ns)
{
    if (clock_ns == UINT64_MAX) return;
    uint64_t at = clock_ns > n->clock_offset_ns ? clock_ns - n->clock_offset_ns : 0;
    if (at <= n->world->now_ns) at = n->world->now_ns + 1;
    if (n->ringing && n->turn_at_ns <= at) return;
    n->ringing = true;
    n->turn_at_ns = at;
    sim_at(n->world, at, EVENT_TURN, n, NULL, 0);
}

/* ---- values on the wire ------------------------------------------------------------------------------- */

typedef struct wire {
    uint64_t number, work_ns, size, err, pushed_ns, left_ns;
    bool poisoned, risky;
    unsigned future_count;
    lr_id futures[SIM_ARGS];
} wire;

typedef struct wire_options {
    lr_resources need;
    bool asks, secret;
    lr_affinity affinity;
    lr_id node;
} wire_options;

static sim_link *link_of(const lr_mesh_peer *p) { return p->runtime; }
static sim_node *far_end(const sim_link *l, const sim_node *n) { return l->end[l->end[0] == n]; }

static void lend(sim_node *n, lr_mesh_peer *to, wire *x, sim_task *f)
{
    if (lr_mesh_lend(&n->mesh, to, f->id, f->phase != PHASE_ELSEWHERE, f)) sim_task_retain(f);
    x->futures[x->future_count++] = f->id;
}

/* One count of it for the caller; NULL: no memory. */
static sim_task *borrow(sim_node *n, lr_mesh_peer *from, lr_id id)
{
    sim_task *t = lr_mesh_borrowed(&n->mesh, from, id);
    if (t) { /* it may have come with arguments before */
        if (!t->origin && !LR_FAULT(NO_ORIGIN)) sim_origin_retain(t->origin = sim_origin_of(n));
        sim_task_retain(t);
        return t;
    }
    t = sim_task_new(n, id, NULL, 2);
    t->phase = PHASE_ELSEWHERE;
    t->origin = sim_origin_of(n);
    sim_origin_retain(t->origin);
    if (lr_mesh_borrow(&n->mesh, from, id, t)) return t;
    sim_task_release(t);
    sim_stand_in_free(t);
    return NULL;
}

/* Takes futures in; false: no memory, and none is kept. */
static bool take_in(sim_node *n, lr_mesh_peer *from, const wire *x, sim_task **futures)
{
    for (unsigned i = 0; i < x->future_count; i++)
        if (!(futures[i] = borrow(n, from, x->futures[i]))) {
            while (i > 0)
                sim_task_release(futures[--i]);
            return false;
        }
    return true;
}

/* ---- hooks: messages ---------------------------------------------------------------------------------- */

static void hook_send(void *user, lr_mesh_peer *to, const lr_message *m) { sim_link_send(link_of(to), user, m); }

static bool still_wanted(sim_task *t)
{
    if (!t->claimed && !t->ended) return sim_pool_claim(t);
    if (!t->ended && !sim_task_cancelled(t)) return true;
    sim_task_over(t);
    return false;
}

static bool hook_send_task(void *user, lr_mesh_peer *to, lr_crossing *c)
{
    sim_node *n = user;
    sim_task *t = c->task.runtime;
    if (!still_wanted(t)) return false;
    check_attempt(t, c->task.attempt);
    t->phase = PHASE_MESH;
    t->attempt = t->sent_attempt = c->task.attempt;
    wire x = {.number = t->call.number, .work_ns = t->call.work_ns, .size = t->call.size};
    wire_options o = {t->call.need, t->call.asks, t->secret, t->call.affinity, t->call.node};
    x.poisoned = t->call.poisoned;
    x.risky = t->call.risky;
    x.pushed_ns = t->pushed_ns;
    x.left_ns = n->world->now_ns;
    for (unsigned i = 0; i < t->call.arg_count; i++)
        lend(n, to, &x, t->call.args[i]);
    lr_message m = {.kind = LR_MESSAGE_TASK};
    m.task.task = t->id;
    m.task.function = n->id;
    m.task.attempt = c->task.attempt;
    m.task.args = (lr_bytes){&x, sizeof x};
    m.task.options = (lr_bytes){&o, sizeof o};
    n->world->stats.sent++;
    sim_link_send(link_of(to), n, &m);
    return true;
}

static void send_result(sim_node *n, lr_mesh_peer *to, lr_id task, uint32_t attempt, const sim_value *v)
{
    wire x = {.number = v->number, .err = (uint64_t)v->err, .poisoned = v->poisoned};
    for (unsigned i = 0; i < v->future_count; i++)
        lend(n, to, &x, v->futures[i]);
    lr_message m = {.kind = LR_MESSAGE_RESULT};
    m.result.task = task;
    m.result.attempt = attempt;
    m.result.state = v->state;
    m.result.value = (lr_bytes){&x, sizeof x};
    sim_link_send(link_of(to), n, &m);
}

static void refuse(sim_node *n, lr_mesh_peer *to, lr_id task, uint32_t attempt)
{
    sim_value v = {.state = LR_TASK_FAILED, .err = LR_ERR_ERROR, .poisoned = true};
    send_result(n, to, task, attempt, &v);
}

static void hook_send_end(void *user, lr_mesh_peer *to, const lr_crossing *c)
{
    const sim_guest *g = c->task.runtime;
    uint32_t attempt = c->kind == LR_CROSSING_GUEST ? c->task.attempt : 0;
    if (g)
        send_result(user, to, c->task.id, attempt, &g->t->value);
    else
        refuse(user, to, c->task.id, attempt);
}

/* ---- hooks: tasks ------------------------------------------------------------------------------------- */

static size_t hook_count_left(void *user)
{
    sim_node *n = user;
    check_turn(n);
    n->others_hungry = true;
    size_t left = n->queue_count - n->woken_count, looking = n->workers - n->busy;
    return left > looking ? left - looking : 0;
}

static lr_mesh_task leaving(sim_task *t)
{
    lr_mesh_task task = {.id = t->id, .attempt = t->attempt, .runtime = t, .risky = t->call.risky};
    task.retries = (uint16_t)t->call.retries;
    task.deadline_ns = t->call.deadline_ns;
    t->left_attempt = t->attempt;
    t->phase = PHASE_MESH;
    return task;
}

static void hook_take_left(void *user, lr_mesh_peer *to, size_t max)
{
    sim_node *n = user;
    sim_task *tasks[64];
    while (max > 0) {
        size_t wanted = max < LR_COUNT(tasks) ? max : LR_COUNT(tasks), count = sim_pool_take(n, tasks, wanted);
        for (size_t i = 0; i < count; i++) {
            lr_mesh_task task = leaving(tasks[i]);
            lr_mesh_give(&n->mesh, to, &task);
        }
        if (count < wanted) return;
        max -= count;
    }
}

static void hook_run_here(void *user, const lr_crossing *c)
{
    sim_node *n = user;
    sim_task *t = c->task.runtime;
    sim_mix(n->world, n, 0x401, t->id, c->task.attempt);
    if (!still_wanted(t)) return;
    check_run_here(n, c);
    t->attempt = c->task.attempt;
    t->claimed = false;
    if (!t->call.asks) {
        sim_pool_push(n, t, false);
        return;
    }
    t->call.affinity = LR_AFFINITY_NONE;
    sim_node_submit(n, t);
}

static void hook_fail(void *user, const lr_crossing *c, lr_err code, const char *why)
{
    sim_node *n = user;
    sim_task *t = c->task.runtime;
    sim_mix(n->world, n, 0x402, t->id, (uint64_t)code);
    sim_say(n->world, "node %u: task %016llx fails: %s", n->number, (unsigned long long)t->id.lo, why);
    bool weather = code == LR_ERR_NODE_DIED || code == LR_ERR_UNREACHABLE || code == LR_ERR_OUT_OF_MEMORY || n->mesh.ending;
    if (c->kind == LR_CROSSING_BORROW) {
        if (code == LR_ERR_NODE_DIED && !n->mesh.ending && sim_lineage_orphan(t)) return;
        sim_task_fail(t, code, weather);
        sim_stand_in_free(t);
    } else if (still_wanted(t)) {
        check_given_up(n, c, code);
        sim_task_fail(t, code, weather);
        sim_task_over(t);
    }
}

static void hook_stop(void *user, lr_crossing *c)
{
    sim_node *n = user;
    const sim_guest *g = c->task.runtime;
    sim_mix(n->world, n, 0x403, c->task.id, 0);
    sim_task_cancel(g->t);
}

static sim_guest *guest_new(sim_task *t)
{
    sim_guest *g = calloc(1, sizeof *g);
    *g = (sim_guest){.t = t};
    return g;
}

static void hook_watch(void *user, lr_crossing *c)
{
    sim_node *n = user;
    sim_task *t = c->task.runtime;
    if (t) {
        sim_task_retain(t);
        sim_guest *g = guest_new(t);
        g->crossing = c;
        c->task.runtime = g;
        if (sim_task_watch(t, NULL, NULL, g)) return;
    }
    lr_mesh_ended(&n->mesh, c, t && t->value.state == LR_TASK_READY);
}

static void hook_forget(void *user, const lr_crossing *c)
{
    (void)user;
    sim_guest *g = c->task.runtime;
    switch (c->kind) {
    case LR_CROSSING_GUEST:
    case LR_CROSSING_WATCH:
        if (g) sim_task_release(g->t);
        free(g);
        return;
    case LR_CROSSING_SEEKING: {
        sim_task *t = c->task.runtime;
        if (!still_wanted(t)) return;
        sim_task_fail(t, LR_ERR_CANCELLED, false);
        sim_task_over(t);
        return;
    }
    case LR_CROSSING_LOAN: sim_task_release(c->task.runtime); return;
    case LR_CROSSING_BORROW: sim_stand_in_free(c->task.runtime); return;
    case LR_CROSSING_AWAY:
    case LR_CROSSING_LOST: return;
    }
}

/* ---- hooks: connections ------------------------------------------------------------------------------- */

static const char *hook_reach(void *user, lr_id node, const char *address)
{
    sim_node *n = user;
    sim *w = n->world;
    (void)node;
    if (!w->safe && !w->config.big && sim_chance(w, 3)) return "it cannot even begin";
    sim_link_dial(w, n, w->nodes[strtoul(address, NULL, 10)]);
    return NULL;
}

/* The driver is reached by nobody again. */
static const char *hook_address(void *user, const lr_mesh_peer *p)
{
    static char text[16];
    const sim_node *other = far_end(link_of(p), user);
    snprintf(text, sizeof text, "%u", other->number);
    return other->number == 0 ? "" : text;
}

/* ---- what comes --------------------------------------------------------------------------------------- */

static void take_task(sim_node *n, lr_mesh_peer *from, const lr_message *m)
{
    wire x;
    wire_options o;
    memcpy(&x, m->task.args.at, sizeof x);
    memcpy(&o, m->task.options.at, sizeof o);
    sim_task *t = sim_task_new(n, m->task.task, NULL, 2); /* the queue's and the guest's */
    if (!take_in(n, from, &x, t->call.args)) {
        sim_task_release(t);
        sim_task_release(t);
        refuse(n, from, m->task.task, (uint32_t)m->task.attempt);
        return;
    }
    t->call.arg_count = x.future_count;
    sim_guest *g = guest_new(t);
    g->crossing = lr_mesh_guest(&n->mesh, from, m->task.task, (uint32_t)m->task.attempt, g);
    if (!g->crossing) {
        sim_task_release(t);
        sim_task_release(t);
        free(g);
        refuse(n, from, m->task.task, (uint32_t)m->task.attempt);
        return;
    }
    t->attempt = (uint32_t)m->task.attempt;
    t->guest = true;
    t->secret = o.secret;
    t->call.size = (uint32_t)x.size;
    t->call.number = x.number;
    t->call.poisoned = x.poisoned;
    t->call.work_ns = x.work_ns;
    t->call.risky = x.risky;
    t->call.asks = o.asks;
    t->call.need = o.need;
    t->call.affinity = o.affinity;
    t->call.node = o.node;
    (void)sim_task_watch(t, NULL, NULL, g);
    t->left_ns = x.left_ns;
    sim_task_submit(t, x.pushed_ns);
}

static void take_result(sim_node *n, lr_mesh_peer *from, const lr_message *m)
{
    wire x;
    memcpy(&x, m->result.value.at, sizeof x);
    lr_crossing *c = lr_mesh_result(&n->mesh, from, m->result.task, (uint32_t)m->result.attempt);
    if (!c) {
        sim_value nobody = {0};
        if (take_in(n, from, &x, nobody.futures)) nobody.future_count = x.future_count; /* what it lends is asked for */
        sim_value_clear(&nobody);
        return;
    }
    sim_task *t = c->task.runtime;
    bool away = c->kind == LR_CROSSING_AWAY;
    sim_value v = {.state = (lr_task_state)m->result.state, .err = (lr_err)x.err, .poisoned = x.poisoned, .number = x.number};
    if (away)
        n->returned_by = t;
    else
        n->taking = t->origin;
    bool whole = take_in(n, from, &x, v.futures);
    sim_origin *o = away ? n->taking : NULL;
    n->taking = NULL;
    n->returned_by = NULL;
    sim_origin_keep(o, t);
    if (whole) {
        v.future_count = x.future_count;
        sim_task_end(t, &v);
    } else {
        sim_task_fail(t, LR_ERR_OBJECT_LOST, true);
    }
    if (away) sim_task_over(t);
    sim_origin_release(o);
    lr_mesh_over(&n->mesh, c);
}

static void take_here(sim_node *n, sim_link *l, unsigned side, const lr_message *m)
{
    char offers[96];
    snprintf(offers, sizeof offers, "%.*s", (int)m->here.offers.size_bytes, (const char *)m->here.offers.at);
    l->peer[side] = lr_mesh_peer_up(&n->mesh, l->end[!side]->id, (lr_mesh_role)m->here.role, offers, l);
    sim_say(n->world, "node %u: %u is up%s", n->number, l->end[!side]->number, m->here.role != LR_MESH_PLAIN ? ", a broker" : "");
    if (!l->peer[side]) sim_link_break(n->world, l, 1 * MS); /* it hangs up */
    if (l->peer[side] && l->end[!side]->number == 0) lr_mesh_expect(&n->mesh, false);
    if (l->end[!side]->number > 0 || n->welcome) return;
    n->welcome = true;
    sim_welcome(n->world, n);
}

void sim_node_down(sim_node *n, sim_link *l, unsigned side)
{
    sim *w = n->world;
    lr_mesh_peer *p = l->peer[side];
    bool driver = n->number == 0;
    bool up = l->stage[side] == STAGE_UP;
    lr_id other = l->end[!side]->id;
    sim_link_over(w, l, side);
    sim_say(w, "node %u: %u is %s", n->number, l->end[!side]->number, up ? "down" : l->twice ? "connected otherwise" : "not reached");
    sim_mix(w, n, 0x404, other, up);
    if (!p && !l->twice) lr_mesh_unreached(&n->mesh, other, "the connection failed");
    if (!up) {
        sim_link_release(l);
        return;
    }
    if (driver) lr_mesh_expect(&n->mesh, true);
    if (p) lr_mesh_peer_down(&n->mesh, p, "the connection ended");
    if (l->end[!side]->number == 0) {
        n->well = true;
        sim_node_kill(n); /* without the driver it is nothing */
        sim_link_release(l);
        return;
    }
    bool more = driver && !w->config.alone && !w->public && (w->alive <= 2 || sim_chance(w, 60));
    if (more) sim_at(w, w->now_ns + 1 * MS + sim_below(w, 5 * MS), EVENT_JOIN, NULL, NULL, 0);
    if (more && !n->expect_until_ns) n->expected = (unsigned)n->mesh.peers.count;
    if (more) n->expect_until_ns = sim_node_now(n) + EXPECT_NS;
    if (driver && !more && n->expected > 0) n->expected--;
    bool alone = driver && w->public && n->mesh.peers.count <= 1; /* agents start another */
    if (alone) n->expect_until_ns = sim_node_now(n) + ALONE_NS;
    bool later = sim_chance(w, 50); /* how it died is not known yet, nor whether another comes */
    if (driver && !more && !n->expect_until_ns && later) n->expect_until_ns = sim_node_now(n) + sim_below(w, 500 * MS);
    else if (driver && !more && !n->expect_until_ns) lr_mesh_expect(&n->mesh, false);
    sim_link_release(l);
}

/* False: n is no more. */
static bool take(sim_node *n, sim_message *m)
{
    sim_link *l = m->link;
    lr_message message;
    if (m->kind == LR_MESSAGE_NONE && l->over[m->side]) return true; /* told before */
    if (m->kind == LR_MESSAGE_NONE) {
        sim_node_down(n, l, m->side);
        return !n->dead;
    }
    LR_ASSERT(lr_message_decode(m->kind, m->bytes, m->size_bytes, &message));
    if (l->over[m->side]) return true;
    lr_mesh_peer *p = l->peer[m->side];
    if (message.kind == LR_MESSAGE_HERE) {
        if (!p) take_here(n, l, m->side, &message);
    } else if (p && !lr_mesh_message(&n->mesh, p, &message)) {
        if (message.kind == LR_MESSAGE_TASK) take_task(n, p, &message);
        if (message.kind == LR_MESSAGE_RESULT) take_result(n, p, &message);
    }
    return true;
}

/* ---- turns -------------------------------------------------------------------------------------------- */

static void take_messages(sim_node *n)
{
    sim_message *m;
    while (!n->dead && (m = n->inbox)) {
        sim_link *l = m->link;
        n->inbox = m->next;
        if (!n->inbox) n->inbox_end = &n->inbox;
        (void)take(n, m);
        free(m);
        sim_link_release(l);
    }
}

static void tell_ended(sim_node *n)
{
    sim_guest *list = n->ended;
    n->ended = NULL;
    for (sim_guest *g; (g = list);) {
        list = g->next;
        g->next = NULL;
        lr_mesh_ended(&n->mesh, g->crossing, g->t->value.state == LR_TASK_READY);
    }
}

static void look_cancelled(void *user, lr_mesh_peer *peer, lr_crossing *c)
{
    sim_node *n = user;
    if (sim_task_cancelled(c->task.runtime)) lr_mesh_cancelled(&n->mesh, peer, c->task.id);
}

static void tell_free(sim_node *n)
{
    char text[96];
    lr_resources now = *lr_node_available(n->machine);
    if (lr_resources_equal(&now, &n->free_told)) return;
    n->free_told = now;
    if (now.amount[LR_RESOURCE_CPU] < 0) now.amount[LR_RESOURCE_CPU] = 0;
    lr_resources_format(&now, &n->names, text, sizeof text);
    lr_mesh_free(&n->mesh, text);
}

static void tell_idle(sim_node *n)
{
    unsigned sleeping = n->queue_count > 0 ? 0 : n->workers - n->busy;
    uint64_t now_ns = sim_node_now(n);
    bool idle = n->idle || n->mesh.idle_told == UINT32_MAX; /* the brokers may know nothing of it any more */
    n->idle = false;
    if (idle && sleeping > 0) lr_mesh_idle(&n->mesh, sleeping + 1);
    if (sleeping > 0 || n->mesh.idle_told == 0 || now_ns - n->less_ns < IDLE_LESS_NS) return;
    n->less_ns = now_ns;
    lr_mesh_idle(&n->mesh, 0);
}

static void look_whether_all_came(sim_node *n, uint64_t now_ns)
{
    if (!n->expect_until_ns) return;
    unsigned wanted = n->expected ? n->expected : 1;
    if (n->mesh.peers.count <= wanted && now_ns < n->expect_until_ns) return;
    n->expect_until_ns = 0;
    lr_mesh_expect(&n->mesh, false);
}

static void place_those(sim_node *n);

void sim_node_turn(sim_node *n)
{
    uint64_t now_ns = sim_node_now(n);
    n->ringing = false;
    n->turns++;
    n->asked_in_turn = 0;
    lr_mesh_now(&n->mesh, now_ns);
    if (n->timer_ns && n->timer_ns <= now_ns) n->timer_ns = 0, sim_node_feed(n, (lr_event){.kind = LR_EVENT_TICK});
    take_messages(n);
    if (n->dead) return;
    sim_lineage_turn(n);
    tell_ended(n);
    place_those(n);
    if (n->cancels) {
        n->cancels = false;
        lr_mesh_each_away(&n->mesh, look_cancelled, n);
        sim_lineage_cancelled(n);
    }
    look_whether_all_came(n, now_ns);
    tell_free(n);
    tell_idle(n);
    lr_mesh_left(&n->mesh);
    if (n->ended || n->inbox || n->cancels || n->to_run || n->followed || !lr_list_empty(&n->placing)) sim_node_ring(n);
    ring_at(n, lr_mesh_deadline(&n->mesh));
    if (n->timer_ns) ring_at(n, n->timer_ns);
    if (n->expect_until_ns) ring_at(n, n->expect_until_ns);
}

/* ---- the machine -------------------------------------------------------------------------------------- */

bool sim_node_wants(const sim_node *n, const sim_task *t)
{
    if (!t->call.asks || t->guest) return false;
    if (t->call.affinity == LR_AFFINITY_SPREAD) return true;
    if (t->call.affinity == LR_AFFINITY_NODE) return !lr_id_equal(t->call.node, n->id);
    if (n->workers == 0) return true;
    return !lr_resources_fit(&n->total, &t->call.need);
}

void sim_node_place(sim_node *n, sim_task *t)
{
    t->phase = PHASE_MESH;
    lr_list_append(&n->placing, &t->place_link);
    sim_node_ring(n);
}

static void place_those(sim_node *n)
{
    for (lr_link *l; (l = lr_list_pop(&n->placing));) {
        sim_task *t = LR_CONTAINER(l, sim_task, place_link);
        if (sim_task_cancelled(t) || t->ended) {
            sim_task_over(t);
            continue;
        }
        lr_mesh_task task = leaving(t);
        lr_place_ask ask = {.need = t->call.need, .affinity = t->call.affinity, .node = t->call.node};
        lr_mesh_place(&n->mesh, &task, &ask);
    }
}

void sim_node_submit(sim_node *n, sim_task *t)
{
    if (t->ended) {
        sim_task_over(t);
        return;
    }
    if (!t->spec) t->spec = malloc(sizeof *t->spec);
    lr_spec_init(t->spec, t->id, LR_ID_NIL, "f");
    t->spec->need = t->call.need;
    t->spec->affinity = t->call.affinity;
    t->spec->node = t->call.node;
    t->spec->deadline_ns = t->call.deadline_ns;
    t->spec->runtime = t;
    t->spec_in = true;
    t->phase = PHASE_MACHINE;
    sim_task_retain(t); /* the machine's */
    sim_node_feed(n, (lr_event){.kind = LR_EVENT_TASK_SUBMIT, .spec = t->spec});
}

static void act(sim_node *n, const lr_action *a)
{
    sim_task *t = a->spec ? a->spec->runtime : NULL;
    sim_mix(n->world, n, 0x500u + a->kind, t ? t->id : LR_ID_NIL, a->at_ns);
    switch (a->kind) {
    case LR_ACTION_TASK_START: check_machine_start(t); sim_pool_push(n, t, true); return;
    case LR_ACTION_TASK_FAIL: /* where it has begun, the start was faster */
        check_machine_fail(t, a->err);
        if (!t->claimed && !t->ended) sim_task_fail(t, a->err, false);
        return;
    case LR_ACTION_TASK_TIMEOUT: return;
    case LR_ACTION_TASK_RELEASE:
        t->spec_in = false;
        if (t->phase == PHASE_MACHINE) sim_task_over(t);
        sim_task_release(t);
        return;
    case LR_ACTION_TIMER:
        n->timer_ns = a->at_ns;
        ring_at(n, a->at_ns);
        return;
    case LR_ACTION_CONTROL:
    case LR_ACTION_COUNT: return;
    }
}

/* Actions feed events: those wait until the ones before them are done. */
void sim_node_feed(sim_node *n, lr_event event)
{
    lr_action actions[64];
    bool more = true;
    if (n->dead) return;
    while (more) {
        lr_node_step(n->machine, sim_node_now(n), &event, &n->out);
        uint32_t count = n->out.count;
        memcpy(actions, n->items, count * sizeof *actions);
        more = n->out.more;
        event = (lr_event){.kind = LR_EVENT_TICK};
        for (uint32_t i = 0; i < count; i++)
            act(n, &actions[i]);
    }
    if (!n->dead) sim_node_ring(n); /* what is free has changed */
}

/* ---- life --------------------------------------------------------------------------------------------- */

static void open_mesh(sim_node *n)
{
    const lr_mesh_hooks hooks = {hook_send, hook_send_task, hook_send_end, hook_count_left, hook_take_left, hook_run_here,
                                 hook_fail, hook_stop,      hook_watch,    hook_forget,     hook_reach,      hook_address,   n};
    bool driver = n->number == 0;
    uint64_t fail_at = n->world->config.fail_at;
    n->world->config.fail_at = 0; /* a node that does not even start is none */
    LR_ASSERT(lr_mesh_init(&n->mesh, n->id, driver ? LR_MESH_SCRIPT : LR_MESH_PLAIN, n->offers, &n->allocator, &hooks, n->id.lo));
    n->world->config.fail_at = fail_at;
    if (n->is_broker && !driver) lr_mesh_become_broker(&n->mesh);
    if (!driver) lr_mesh_expect(&n->mesh, true);
    lr_mesh_now(&n->mesh, sim_node_now(n));
    n->total = n->mesh.self.node.place.total;
    n->free_told = n->total;
    n->names = n->mesh.names;
    n->machine = calloc(1, sizeof *n->machine);
    lr_node_init(n->machine, &n->names);
    lr_actions_init(&n->out, n->items, LR_COUNT(n->items), n->action_bytes, sizeof n->action_bytes);
    sim_node_feed(n, (lr_event){.kind = LR_EVENT_START, .start = {n->id, &n->total}});
}

sim_node *sim_node_new(sim *w, bool broker, unsigned workers, const char *offers)
{
    sim_node *n = calloc(1, sizeof *n);
    if (w->node_count == w->node_capacity) {
        w->node_capacity = w->node_capacity ? 2 * w->node_capacity : 16;
        w->nodes = realloc((void *)w->nodes, w->node_capacity * sizeof(sim_node *));
    }
    *n = (sim_node){.world = w, .number = w->node_count, .workers = workers, .is_broker = broker, .slow = 1, .can_die = true};
    w->nodes[w->node_count++] = n;
    w->alive++;
    n->id = lr_id_child(lr_id_from_seed(w->config.seed ^ 0x90de), n->number);
    n->memory = (sim_memory){.world = w};
    n->allocator = sim_allocator(&n->memory);
    n->inbox_end = &n->inbox;
    lr_list_init(&n->queue);
    lr_list_init(&n->injected);
    lr_list_init(&n->woken);
    lr_list_init(&n->records);
    lr_list_init(&n->placing);
    lr_list_init(&n->origins);
    lr_list_init(&n->followers);
    lr_list_init(&n->links);
    snprintf(n->offers, sizeof n->offers, "cpu=%u%s%s", workers, *offers ? "," : "", offers);
    open_mesh(n);
    n->idle = true;
    sim_node_ring(n);
    return n;
}

static void drop_inbox(sim_node *n)
{
    for (sim_message *m; (m = n->inbox);) {
        n->inbox = m->next;
        sim_link_release(m->link);
        free(m);
    }
    n->inbox_end = &n->inbox;
}

static sim_task *not_ended(const sim_node *n)
{
    for (lr_link *l = lr_list_first(&n->records); l; l = lr_list_next(&n->records, l)) {
        sim_task *t = LR_CONTAINER(l, sim_task, link);
        if (!t->ended) return t;
    }
    return NULL;
}

/* Whatever it is doing: its mesh must let go of everything. The rest vanishes with it. */
void sim_node_kill(sim_node *n)
{
    sim *w = n->world;
    sim_say(w, "node %u dies", n->number);
    n->dead = true;
    w->alive--;
    w->stats.deaths++;
    lr_mesh_fini(&n->mesh);
    for (sim_task *t; (t = not_ended(n));) {
        t->refs++; /* for ever: it vanishes */
        sim_task_fail(t, LR_ERR_CANCELLED, true);
    }
    tell_ended(n); /* to nobody any more */
    check_freed_memory(n);
    for (lr_link *i; (i = lr_list_first(&n->links));) {
        sim_link *l = LR_CONTAINER(i, sim_end, link)->of;
        unsigned side = l->end[1] == n;
        sim_link_over(w, l, side);
        sim_link_break(w, l, 5 * MS);
        sim_link_release(l);
    }
    drop_inbox(n);
    if (n->hosted) sim_public_process(n);
}

/* What vanished is given back at the end: events may name it until then. */
void sim_node_free(sim_node *n)
{
    for (sim_guest *g; (g = n->ended);) {
        n->ended = g->next;
        free(g);
    }
    sim_lineage_vanish(n);
    for (lr_link *l = lr_list_first(&n->records), *next; l; l = next) {
        sim_task *t = LR_CONTAINER(l, sim_task, link);
        next = lr_list_next(&n->records, l);
        for (sim_waiter *x; (x = t->waiters);) {
            t->waiters = x->next;
            free(x);
        }
        free(t->body);
        sim_family_release(t->family);
        free(t->spec);
        free(t);
    }
    free(n->machine);
    free(n);
}
