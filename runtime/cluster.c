#include "runtime/cluster.h"

#include "runtime/allocator.h"
#include "runtime/address.h"
#include "runtime/away.h"
#include "runtime/death.h"
#include "runtime/exchange.h"
#include "runtime/extra.h"
#include "runtime/far.h"
#include "runtime/inspection.h"
#include "runtime/lineage.h"
#include "runtime/lending.h"
#include "runtime/modules.h"
#include "runtime/pile.h"
#include "sched/mesh.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BROKERS 3           /* nodes that carry the role, the driver among them */
#define ALL_AT_ONCE 16      /* in a cluster of so many a node that comes connects to all; in a larger one as need be */
#define IDLE_LESS_NS 1000000 /* that this node is busy again is told at most so often */
#define GIVE_NS 50000        /* a worker here that is about to end something comes sooner */
#define PROGRESS_NS 100000000
#define CLOSE_NS 200000000
#define LOOK_SOON_NS 50000000 /* for children that ended before they came, while they are expected; and later */
#define LOOK_NS 1000000000
#define OFFERS_TEXT 1024

/* A connection, from when it is sure to its end. */
typedef struct link_state {
    lr_channel link; /* first */
    lr_id node;
    lr_exchange exchange;
    lr_lending lending;
    lr_mesh_peer *peer; /* NULL: no HERE has come yet */
    bool is_driver, is_broker, said_here;
    int pid;
    lr_task *returned_by; /* while a result is taken in: the task of this node that it is of, or */
    lr_origin *origin;    /* where the futures and objects in it come from */
    lr_id record;         /* what it is of */
} link_state;

/* A connection that the mesh has asked for, until it is up or over. */
typedef struct dial {
    struct dial *next;
    lr_peer *peer;
    lr_id node;
} dial;

/* A task here whose end a peer is told. */
typedef struct guest {
    lr_waiter waiter; /* first */
    lr_task *t;       /* one count */
    lr_crossing *crossing;
    lr_piled ended;             /* in cluster.ended */
    struct guest *next, **link; /* in cluster.guests */
    uint16_t told;              /* how far it was when that was last told */
} guest;

typedef struct line {
    lr_piled piled; /* first */
    size_t size_bytes;
    char bytes[];
} line;

static struct {
    lr_pool *pool;
    lr_cluster_config config;
    lr_transport *transport;
    lr_mesh mesh;
    link_state **links;
    unsigned link_count, link_room;
    dial *dials;
    lr_builder values, extras;
    bool started, closing;
    bool refused_told; /* driver: that a node was refused, and why */
    bool forsaken; /* serving, and the driver is gone: nobody else is connected to from then on */
    uint64_t expect_until_ns; /* 0: nobody is expected any more */
    uint64_t look_ns;         /* when to look next whether some ended before they came */
    uint64_t give_ns;         /* from when on what lies here may be given away; 0: nothing has lain here */
    bool give_waits;          /* somebody would take it */
    uint64_t less_ns;         /* when it was last told that this node is busy again */
    uint32_t epoch_seen;
    guest *guests;
    uint64_t progress_ns;     /* when to look how far they are */
    lr_resources free_told;
    char offers[OFFERS_TEXT];
    lr_death *dying;          /* of the node whose end is being told to the mesh */
    /* any thread */
    _Atomic bool open;
    lr_pile ended;         /* guests */
    _Atomic bool idle;     /* a worker has found nothing to do */
    lr_pile lines;
    _Atomic uint64_t busy; /* tasks away, seeking, lost, and guests */
} cluster;

/* Tasks may be sent to it, with futures that are lent, before lr_mesh_peer_up has returned it. */
static link_state *link_of(lr_mesh_peer *p)
{
    link_state *l = p->runtime;
    l->peer = p;
    return l;
}

/* ---- the mesh's hooks: messages --------------------------------------------------------------------- */

static void send_message(void *user, lr_mesh_peer *to, const lr_message *m)
{
    (void)user;
    lr_channel_send(&link_of(to)->link, m); /* where it fails, the end of the connection follows */
}

/* Claims one that was in the machine's hands; false: it has ended, and its count is gone. */
static bool still_wanted(lr_task *t)
{
    if (lr_task_state_of(t) == LR_TASK_QUEUED) return lr_away_claim(cluster.pool, t);
    if (!lr_task_ended(t) && !lr_pool_cancelled(cluster.pool, t)) return true;
    if (lr_task_has(t, LR_TASK_BODY))
        lr_away_over(cluster.pool, t);
    else
        lr_task_release(t);
    return false;
}

static bool send_task(void *user, lr_mesh_peer *to, lr_crossing *c)
{
    (void)user;
    lr_task *t = c->task.runtime;
    link_state *l = link_of(to);
    if (!still_wanted(t)) return false;
    t->attempt = (uint16_t)c->task.attempt;
    lr_message m = {.kind = LR_MESSAGE_TASK};
    m.task.task = t->id;
    m.task.function = lr_exchange_know(&l->exchange, t->fn);
    m.task.attempt = c->task.attempt;
    m.task.args = lr_exchange_out(&l->exchange, &cluster.values, &t->args);
    lr_builder_reset(&cluster.extras);
    lr_extra_write(&cluster.extras, t, cluster.config.names);
    m.task.options = lr_bytes_of(cluster.extras.data, cluster.extras.size_bytes);
    lr_channel_send(&l->link, &m);
    if (!lr_lineage_is_kept()) lr_value_clear(&t->args);
    return true;
}

static bool error_value(lr_value *v, lr_id task, uint32_t attempt, const char *why)
{
    lr_builder b;
    lr_builder_init(&b);
    lr_builder_header(&b, 1);
    lr_builder_error(&b, LR_ERR_ERROR, why, NULL, NULL, task, attempt, NULL);
    bool made = lr_builder_finish(&b, v);
    lr_builder_fini(&b);
    return made;
}

static void send_result(link_state *l, lr_id task, uint32_t attempt, lr_task_state state, const lr_value *value)
{
    lr_message m = {.kind = LR_MESSAGE_RESULT};
    m.result.task = task;
    m.result.attempt = attempt;
    m.result.state = state;
    m.result.value = lr_exchange_out(&l->exchange, &cluster.values, value);
    lr_channel_send(&l->link, &m);
}

static void refuse(link_state *l, lr_id task, uint32_t attempt, const char *why)
{
    lr_value error = {0};
    if (!error_value(&error, task, attempt, why)) error = (lr_value){0};
    send_result(l, task, attempt, LR_TASK_FAILED, &error);
    lr_value_clear(&error);
}

/* Where it has changed. */
static void say_progress(guest *g)
{
    uint16_t done = atomic_load_explicit(&g->t->progress, memory_order_relaxed);
    const lr_crossing *c = g->crossing;
    if (done == g->told) return;
    g->told = done;
    lr_message m = {.kind = LR_MESSAGE_PROGRESS};
    m.progress.task = c->task.id;
    m.progress.attempt = c->kind == LR_CROSSING_GUEST ? c->task.attempt : 0;
    m.progress.done = done;
    send_message(NULL, c->peer, &m);
}

static void send_end(void *user, lr_mesh_peer *to, const lr_crossing *c)
{
    (void)user;
    guest *g = c->task.runtime;
    uint32_t attempt = c->kind == LR_CROSSING_GUEST ? c->task.attempt : 0;
    if (!g) {
        refuse(link_of(to), c->task.id, attempt, "a future whose task this node does not know");
        return;
    }
    say_progress(g); /* the last that its body has told */
    send_result(link_of(to), c->task.id, attempt, lr_task_state_of(g->t), &g->t->result);
    lr_task_set(g->t, LR_TASK_SEEN); /* whoever asked looks at it */
}

/* ---- the mesh's hooks: tasks ------------------------------------------------------------------------ */

/* Those here first: what has lain for a moment only may be begun by a worker here before it could be there. */
static size_t count_left(void *user)
{
    (void)user;
    atomic_store(&cluster.pool->others_hungry, true); /* first: what is pushed from now on rings */
    size_t count = lr_away_count(cluster.pool);
    if (!lr_pool_frees_soon(cluster.pool, GIVE_NS)) return count;
    uint64_t now_ns = lr_clock_ns();
    if (count == 0)
        cluster.give_ns = 0;
    else if (cluster.give_ns == 0)
        cluster.give_ns = now_ns + GIVE_NS;
    cluster.give_waits = count > 0 && cluster.give_ns > now_ns;
    return cluster.give_waits ? 0 : count;
}

static lr_mesh_task leaving(lr_task *t)
{
    const lr_options *o = t->extra ? t->extra->options : NULL;
    lr_mesh_task task = {.id = t->id, .attempt = t->attempt, .runtime = t};
    task.retries = (uint16_t)(o && o->retries < UINT16_MAX ? o->retries : o ? UINT16_MAX : 3);
    if (!lr_lineage_is_kept()) task.retries = 0;
    task.risky = t->fn->kind == LR_FN_KERNEL;
    task.deadline_ns = t->extra && t->extra->spec ? t->extra->spec->deadline_ns : 0;
    return task;
}

static void take_left(void *user, lr_mesh_peer *to, size_t max)
{
    (void)user;
    lr_task *tasks[64];
    while (max > 0) {
        size_t wanted = max < LR_COUNT(tasks) ? max : LR_COUNT(tasks);
        size_t count = lr_away_take(cluster.pool, tasks, wanted);
        for (size_t i = 0; i < count; i++) {
            lr_mesh_task task = leaving(tasks[i]);
            lr_mesh_give(&cluster.mesh, to, &task);
        }
        if (count < wanted) return;
        max -= count;
    }
}

static void run_queued(lr_task *t)
{
    if (!lr_task_has(t, LR_TASK_MACHINE)) {
        lr_pool_inject(cluster.pool, t, 0);
        return;
    }
    t->extra->spec->affinity = LR_AFFINITY_NONE;
    cluster.config.submit(t);
}

static bool has_far_inputs(const lr_task *t)
{
    for (uint32_t i = 0; t->extra && i < t->extra->input_count; i++)
        if (lr_far_any(&t->extra->inputs[i].input->result)) return true;
    return false;
}

static void run_here(void *user, const lr_crossing *c)
{
    (void)user;
    lr_task *t = c->task.runtime;
    if (!still_wanted(t) || !lr_away_return(cluster.pool, t, c->task.attempt)) return;
    if (has_far_inputs(t))
        lr_far_bring(t);
    else
        run_queued(t);
}

static void fail(void *user, const lr_crossing *c, lr_err code, const char *why)
{
    (void)user;
    if (c->kind == LR_CROSSING_BORROW) {
        lr_stand_in *s = c->task.runtime;
        if (code == LR_ERR_NODE_DIED && !cluster.closing && lr_lineage_orphan(s)) return;
        lr_pool_fail(s->t, code, why, NULL);
        lr_stand_in_free(s);
    } else if (cluster.dying && c->kind == LR_CROSSING_AWAY && lr_death_fail(cluster.dying, c->task.runtime, why)) {
        return; /* once it is known how the node died */
    } else if (still_wanted(c->task.runtime)) {
        lr_away_fail(cluster.pool, c->task.runtime, code, why);
    }
}

static void stop(void *user, lr_crossing *c)
{
    (void)user;
    const guest *g = c->task.runtime;
    lr_pool_cancel(cluster.pool, g->t, LR_ERR_CANCELLED, "the task was cancelled");
}

static void on_end(lr_waiter *w, lr_task *t, lr_wake *wake)
{
    (void)t;
    (void)wake;
    lr_pile_put(&cluster.ended, &((guest *)w)->ended);
    if (!lr_pool_turn_soon()) cluster.config.ring();
}

/* Takes over a count of t. */
static guest *guest_new(lr_task *t)
{
    guest *g = calloc(1, sizeof *g);
    LR_ASSERT(g); /* a few bytes beside a task */
    *g = (guest){.waiter.notify = on_end, .t = t, .next = cluster.guests, .link = &cluster.guests};
    if (g->next) g->next->link = &g->next;
    cluster.guests = g;
    return g;
}

static void guest_free(guest *g)
{
    *g->link = g->next;
    if (g->next) g->next->link = g->link;
    lr_task_release(g->t);
    free(g);
}

static void watch(void *user, lr_crossing *c)
{
    (void)user;
    lr_task *t = c->task.runtime;
    if (t) {
        lr_task_retain(t);
        guest *g = guest_new(t);
        g->crossing = c;
        c->task.runtime = g;
        if (lr_task_watch(t, &g->waiter)) return;
    }
    lr_mesh_ended(&cluster.mesh, c, t && lr_task_state_of(t) == LR_TASK_READY);
}

static void forget(void *user, const lr_crossing *c)
{
    (void)user;
    guest *g = c->task.runtime;
    switch (c->kind) {
    case LR_CROSSING_GUEST:
    case LR_CROSSING_WATCH:
        if (g) guest_free(g);
        return;
    case LR_CROSSING_SEEKING:
        if (still_wanted(c->task.runtime)) lr_away_fail(cluster.pool, c->task.runtime, LR_ERR_CANCELLED, "");
        return;
    case LR_CROSSING_LOAN: lr_task_release(c->task.runtime); return;
    case LR_CROSSING_BORROW: lr_stand_in_free(c->task.runtime); return;
    case LR_CROSSING_AWAY:
    case LR_CROSSING_LOST: return; /* its end has taken the count */
    }
}

/* ---- the mesh's hooks: connections ------------------------------------------------------------------ */

static const char *reach(void *user, lr_id node, const char *address)
{
    static char why[LR_ENDING_TEXT];
    (void)user;
    if (cluster.forsaken) return "the driver is gone";
    dial *d = malloc(sizeof *d);
    if (!d) return "not enough memory";
    *d = (dial){.next = cluster.dials, .node = node};
    if (lr_transport_connect(cluster.transport, address, &d->peer, why) != LR_ENDING_OK) {
        free(d);
        return why;
    }
    cluster.dials = d;
    return NULL;
}

/* The driver is reached by nobody again: a node that has lost it ends. */
static const char *address_of(void *user, const lr_mesh_peer *to)
{
    (void)user;
    const link_state *l = to->runtime;
    return cluster.config.serves && l->is_driver ? "" : lr_peer_identity(l->link.peer)->address;
}

/* The node that the mesh wanted by it; false: it has not asked for it. */
static bool end_of_dial(const lr_peer *peer, lr_id *node)
{
    for (dial **at = &cluster.dials, *d; (d = *at); at = &d->next)
        if (d->peer == peer) {
            *node = d->node;
            *at = d->next;
            free(d);
            return true;
        }
    return false;
}

/* ---- futures in values ------------------------------------------------------------------------------ */

static void lend(void *user, lr_task *t)
{
    link_state *l = user;
    if (lr_mesh_lend(&cluster.mesh, l->peer, t->id, t->fn != NULL, t)) lr_task_retain(t);
}

/* What came in a result is made again by the task that returned it, should its node be lost. */
static lr_origin *origin_of(link_state *l)
{
    if (!l->origin && l->returned_by) l->origin = lr_origin_new(l->returned_by);
    return l->origin;
}

static lr_task *borrow(void *user, lr_id id)
{
    link_state *l = user;
    lr_stand_in *s = lr_mesh_borrowed(&cluster.mesh, l->peer, id);
    if (s) { /* it may have come with arguments before */
        if (!s->origin) lr_stand_in_returned(s, origin_of(l));
        lr_task_retain(s->t);
        return s->t;
    }
    lr_task *t = lr_task_new_elsewhere(id);
    if (!t) return NULL;
    s = lr_stand_in_new(t, origin_of(l));
    lr_task_retain(t);
    if (s && lr_mesh_borrow(&cluster.mesh, l->peer, id, s)) return t;
    lr_task_release(t);
    if (s) lr_stand_in_free(s);
    if (!s) lr_task_release(t);
    return NULL;
}

/* An object in a result stays where it is. */
static lr_buffer *absent(void *user, const lr_reference *ref, uint32_t index)
{
    link_state *l = user;
    return lr_far_new(ref, &l->lending, l->node, origin_of(l), l->record, index);
}

/* ---- what comes ------------------------------------------------------------------------------------- */

/* NULL: it was refused. */
static lr_task *make_guest(link_state *l, const lr_message *m)
{
    char text[300] = "not enough memory on the node that was to run it";
    lr_value args;
    lr_fn *fn = lr_exchange_function(&l->exchange, m->task.function);
    if (!fn) {
        snprintf(text, sizeof text, "its function could not be made on that node: %.200s", l->exchange.why);
        refuse(l, m->task.task, (uint32_t)m->task.attempt, text);
        return NULL;
    }
    lr_reader r = lr_reader_of(m->task.options.at, m->task.options.size_bytes);
    lr_task *t = NULL;
    if (lr_exchange_in(&l->exchange, m->task.args, &args, text, sizeof text))
        t = lr_task_new(fn, NULL, m->task.task, &args, 2); /* the queue's and the guest's */
    if (t && !lr_extra_read(&r, t, cluster.config.job, cluster.config.names, text, sizeof text)) {
        lr_task_drop(t);
        t = NULL;
    }
    if (!t) refuse(l, m->task.task, (uint32_t)m->task.attempt, text);
    return t;
}

static void take_task(link_state *l, const lr_message *m)
{
    lr_task *t = make_guest(l, m);
    if (!t) return;
    guest *g = guest_new(t);
    g->crossing = lr_mesh_guest(&cluster.mesh, l->peer, m->task.task, (uint32_t)m->task.attempt, g);
    if (!g->crossing) {
        guest_free(g);
        lr_task_release(t);
        refuse(l, m->task.task, (uint32_t)m->task.attempt, "not enough memory on the node that was to run it");
        return;
    }
    t->attempt = (uint16_t)m->task.attempt;
    lr_task_set(t, LR_TASK_GUEST);
    bool watched = lr_task_watch(t, &g->waiter); /* it is waiting: nobody else knows it */
    LR_ASSERT(watched);
    lr_pool_submit(NULL, t);
}

static void take_progress(link_state *l, const lr_message *m)
{
    lr_crossing *c = lr_mesh_result(&cluster.mesh, l->peer, m->progress.task, (uint32_t)m->progress.attempt);
    if (!c) return;
    lr_task *t = c->kind == LR_CROSSING_BORROW ? ((lr_stand_in *)c->task.runtime)->t : c->task.runtime;
    atomic_store_explicit(&t->progress, (uint16_t)(m->progress.done < UINT16_MAX ? m->progress.done : UINT16_MAX),
                          memory_order_relaxed);
}

/* Of a future that was lent to this node. */
static void take_lent_result(link_state *l, lr_crossing *c, const lr_message *m, bool sound)
{
    char text[300];
    lr_value value;
    lr_stand_in *s = c->task.runtime;
    l->origin = s->origin;
    bool whole = sound && lr_exchange_in_result(&l->exchange, m->result.value, &value, text, sizeof text);
    l->origin = NULL;
    bool is_far = whole && lr_far_any(&value);
    if (is_far) lr_task_set(s->t, LR_TASK_FAR);
    if (whole)
        lr_pool_end(s->t, (lr_task_state)m->result.state, &value);
    else
        lr_pool_fail(s->t, LR_ERR_OBJECT_LOST, "a value on another node could not be taken in", NULL);
    if (is_far) lr_far_ended(s->t);
}

static void take_away_result(link_state *l, lr_crossing *c, const lr_message *m, bool sound)
{
    char text[300];
    lr_value value;
    lr_task *t = c->task.runtime;
    l->returned_by = lr_lineage_is_kept() ? t : NULL;
    bool whole = sound && lr_exchange_in_result(&l->exchange, m->result.value, &value, text, sizeof text);
    lr_origin *o = l->origin;
    l->origin = NULL;
    l->returned_by = NULL;
    bool is_far = whole && lr_far_any(&value);
    if (is_far) {
        lr_task_set(t, LR_TASK_FAR);
        lr_task_retain(t); /* its end takes the count */
    }
    if (whole) {
        lr_origin_keep(o, t, &value);
        lr_away_end(cluster.pool, t, (lr_task_state)m->result.state, &value);
    } else {
        lr_away_fail(cluster.pool, t, LR_ERR_ERROR, "its result could not be taken in from the node that ran it");
    }
    if (is_far) {
        lr_far_ended(t);
        lr_task_release(t);
    }
    lr_origin_release(o);
}

/* Of a task that is not waited for any more. What it lends is asked for all the same: else the lender would keep it. */
static void drop_result(link_state *l, const lr_message *m)
{
    char text[300];
    lr_value value;
    if (lr_exchange_in_result(&l->exchange, m->result.value, &value, text, sizeof text)) lr_value_clear(&value);
}

static void take_result(link_state *l, const lr_message *m)
{
    lr_crossing *c = lr_mesh_result(&cluster.mesh, l->peer, m->result.task, (uint32_t)m->result.attempt);
    l->record = m->result.task;
    if (!c) {
        drop_result(l, m);
        return;
    }
    bool sound = m->result.state >= LR_TASK_READY && m->result.state <= LR_TASK_CANCELLED;
    if (c->kind == LR_CROSSING_AWAY)
        take_away_result(l, c, m, sound);
    else
        take_lent_result(l, c, m, sound);
    lr_mesh_over(&cluster.mesh, c);
}

/* "ID=tcp://a:1 ID=tcp://b:2" */
static void connect_to(lr_bytes nodes, bool brokers)
{
    const char *at = nodes.at, *end = at + nodes.size_bytes;
    char word[LR_WORD_MAX + LR_ID_TEXT + 1], *address = word + LR_ID_TEXT;
    while (at < end) {
        const char *blank = memchr(at, ' ', (size_t)(end - at));
        size_t length = (size_t)((blank ? blank : end) - at);
        lr_id node;
        snprintf(word, sizeof word, "%.*s", (int)length, at);
        if (length > LR_ID_TEXT && address[-1] == '=') {
            address[-1] = 0;
            if (lr_id_parse(word, &node)) lr_mesh_reach(&cluster.mesh, node, address, brokers);
        }
        at += length + 1;
    }
}

static void take_welcome(link_state *l, const lr_message *m)
{
    static char paths[3][16384];
    const lr_bytes given[3] = {m->welcome.path, m->welcome.cpath, m->welcome.scriptdir};
    if (cluster.started || !cluster.config.serves || !l->is_driver) return;
    for (int i = 0; i < 3; i++) {
        snprintf(paths[i], sizeof paths[i], "%.*s", (int)given[i].size_bytes, (const char *)given[i].at);
        cluster.config.paths[i] = given[i].size_bytes ? paths[i] : NULL;
    }
    cluster.config.job = m->welcome.job;
    cluster.config.seed = m->welcome.seed;
    if (m->welcome.broker) lr_mesh_become_broker(&cluster.mesh);
    cluster.config.welcomed(&cluster.config);
    connect_to(m->welcome.brokers, true);
    connect_to(m->welcome.others, false);
}

/* Once this node can run tasks: they may come from then on. */
static void say_here(link_state *l)
{
    if (l->said_here || !cluster.started) return;
    l->said_here = true;
    lr_message m = {.kind = LR_MESSAGE_HERE};
    m.here.pid = (uint64_t)getpid();
    m.here.role = lr_mesh_role_of(&cluster.mesh);
    m.here.offers = lr_bytes_of(cluster.offers, strlen(cluster.offers));
    lr_channel_send(&l->link, &m);
}

static void take_here(link_state *l, const lr_message *m)
{
    char offers[OFFERS_TEXT];
    if (l->peer) return;
    say_here(l); /* first: what the mesh sends now would be heard by nobody */
    snprintf(offers, sizeof offers, "%.*s", (int)m->here.offers.size_bytes, (const char *)m->here.offers.at);
    l->pid = (int)m->here.pid;
    l->is_broker = m->here.role != LR_MESH_PLAIN;
    l->peer = lr_mesh_peer_up(&cluster.mesh, l->node, (lr_mesh_role)m->here.role, offers, l);
    if (!l->peer) lr_transport_hang_up(l->link.peer);
    if (l->peer && l->is_driver) lr_mesh_expect(&cluster.mesh, false); /* it knows every node, and is asked */
}

static void take_want_module(link_state *l, const lr_message *m)
{
    lr_message answer;
    if (cluster.config.serves) return;
    lr_modules_answer(m, cluster.config.paths[0], &cluster.values, &answer);
    lr_channel_send(&l->link, &answer);
}

static void take_inspect(link_state *l, const lr_message *m)
{
    size_t size = 0;
    char *text = lr_inspection_write(m, cluster.config.node, &size);
    lr_message answer = {.kind = LR_MESSAGE_INSPECTED, .inspected = {m->inspect.token, {text, size}}};
    if (text) lr_channel_send(&l->link, &answer); /* else the asker says that this node did not answer */
    free(text);
}

static void handle(void *link, const lr_message *m)
{
    link_state *l = link;
    if (m->kind == LR_MESSAGE_WELCOME) {
        take_welcome(l, m);
        return;
    }
    if (m->kind == LR_MESSAGE_HERE) {
        take_here(l, m);
        return;
    }
    if (!l->peer || lr_mesh_message(&cluster.mesh, l->peer, m)) return; /* nothing else is said before */
    switch ((int)m->kind) {
    case LR_MESSAGE_FUNCTION: lr_exchange_take_function(&l->exchange, m); return;
    case LR_MESSAGE_TASK: take_task(l, m); return;
    case LR_MESSAGE_RESULT: take_result(l, m); return;
    case LR_MESSAGE_PROGRESS: take_progress(l, m); return;
    case LR_MESSAGE_WANT_MODULE: take_want_module(l, m); return;
    case LR_MESSAGE_MODULE: lr_modules_came(m); return;
    case LR_MESSAGE_INSPECT: take_inspect(l, m); return;
    case LR_MESSAGE_INSPECTED: lr_inspection_came(m); return;
    case LR_MESSAGE_PRINT:
        if (cluster.config.print) cluster.config.print(m->print.line.at, m->print.line.size_bytes);
        return;
    default: return;
    }
}

/* ---- the transport's handlers ------------------------------------------------------------------------- */

static void on_record(void *user, lr_peer *peer, uint16_t kind, const void *bytes, size_t size_bytes)
{
    (void)user;
    link_state *l = lr_peer_user(peer);
    lr_message m;
    if (!l) return;
    if (kind == LR_LENDING_DATA) {
        lr_lending_data(&l->lending, bytes, size_bytes);
        return;
    }
    lr_channel_got got = lr_channel_take(&l->link, kind, bytes, size_bytes, &m);
    if (got == LR_CHANNEL_MESSAGE) lr_lending_take(&l->lending, &m);
    if (got == LR_CHANNEL_BAD)
        fprintf(stderr, "luarun: a node sent what is no message (kind %u); it is ignored\n", kind);
}

static lr_bytes text_of(const char *s) { return lr_bytes_of(s, s ? strlen(s) : 0); }

static void write_node(lr_builder *b, const link_state *l)
{
    char id[LR_ID_TEXT];
    const char *address = lr_peer_identity(l->link.peer)->address;
    lr_id_format(l->node, id);
    lr_builder_bytes(b, id, LR_ID_TEXT - 1);
    lr_builder_bytes(b, "=", 1);
    lr_builder_bytes(b, address, strlen(address));
    lr_builder_bytes(b, " ", 1);
}

/* Whom it shall connect to at once: the brokers, and all where it is one itself or they are few. */
static void say_welcome(link_state *l)
{
    lr_builder *brokers = &cluster.values, *others = &cluster.extras;
    unsigned count = 1;
    for (unsigned i = 0; i < cluster.link_count; i++)
        count += cluster.links[i] != l && cluster.links[i]->is_broker;
    l->is_broker = count < BROKERS; /* until its HERE says so itself */
    lr_builder_reset(brokers);
    lr_builder_reset(others);
    for (unsigned i = 0; i < cluster.link_count; i++) {
        if (cluster.links[i] == l) continue;
        if (cluster.links[i]->is_broker)
            write_node(brokers, cluster.links[i]);
        else if (l->is_broker || cluster.link_count <= ALL_AT_ONCE)
            write_node(others, cluster.links[i]);
    }
    lr_message m = {.kind = LR_MESSAGE_WELCOME};
    m.welcome.job = cluster.config.job;
    m.welcome.seed = cluster.config.seed;
    m.welcome.broker = l->is_broker;
    m.welcome.brokers = lr_bytes_of(brokers->data, brokers->size_bytes);
    m.welcome.others = lr_bytes_of(others->data, others->size_bytes);
    m.welcome.path = text_of(cluster.config.paths[0]);
    m.welcome.cpath = text_of(cluster.config.paths[1]);
    m.welcome.scriptdir = text_of(cluster.config.paths[2]);
    lr_channel_send(&l->link, &m);
}

static bool is_driver(const lr_peer *peer)
{
    return cluster.config.serves && strcmp(lr_peer_url(peer), cluster.config.url) == 0;
}

static bool room_for_link(void)
{
    if (cluster.link_count < cluster.link_room) return true;
    unsigned room = cluster.link_room ? 2 * cluster.link_room : 16;
    link_state **links = realloc((void *)cluster.links, room * sizeof(link_state *));
    if (!links) return false;
    cluster.links = links;
    cluster.link_room = room;
    return true;
}

static void on_peer_up(void *user, lr_peer *peer, const lr_identity *identity)
{
    (void)user;
    lr_id wanted;
    bool as_wanted = !end_of_dial(peer, &wanted) || lr_id_equal(wanted, identity->node);
    link_state *l = as_wanted && !cluster.forsaken && room_for_link() ? calloc(1, sizeof *l) : NULL;
    if (!as_wanted) lr_mesh_unreached(&cluster.mesh, wanted, "another node answers there");
    if (!l) {
        lr_transport_hang_up(peer);
        return;
    }
    lr_channel_init(&l->link, peer);
    l->node = identity->node;
    l->exchange = (lr_exchange){&l->link, cluster.config.node, lend, borrow, absent, l, &l->lending};
    l->is_driver = is_driver(peer);
    lr_peer_set_user(peer, l);
    cluster.links[cluster.link_count++] = l;
    lr_lending_init(&l->lending, &l->link, handle, l);
    if (!cluster.config.serves) say_welcome(l);
    say_here(l);
}

static void on_writable(void *user, lr_peer *peer)
{
    (void)user;
    link_state *l = lr_peer_user(peer);
    if (l) lr_channel_go_on(&l->link);
}

static void link_free(link_state *l, const char *why)
{
    if (l->peer) lr_mesh_peer_down(&cluster.mesh, l->peer, why);
    lr_lending_fini(&l->lending);
    lr_exchange_fini(&l->exchange);
    lr_channel_fini(&l->link);
    free(l);
}

/* Of a task that was lost too often: how is known by now. */
static void fail_lost(lr_task *t, const char *why)
{
    if (still_wanted(t)) lr_away_fail(cluster.pool, t, LR_ERR_NODE_DIED, why);
}

/* What ran there is run elsewhere at once; how it died is told once it is known. */
static void node_lost(link_state *l, const char *text)
{
    size_t count = l->peer ? l->peer->away.count : 0;
    lr_mesh_expect(&cluster.mesh, true); /* until it is known whether another comes in its place */
    cluster.dying = lr_death_begin(l->node, l->pid, count, text);
    link_free(l, cluster.dying ? "" : text);
    cluster.dying = NULL;
}

/* It never came up. Where another connection to the same node stays, which that one has made, the mesh waits for its
 * HERE. */
static void on_no_peer(lr_peer *peer, lr_ending end, const char *text)
{
    lr_id node;
    if (is_driver(peer)) cluster.config.lost(text);
    if (end_of_dial(peer, &node) && end != LR_ENDING_DUPLICATE) lr_mesh_unreached(&cluster.mesh, node, text);
}

/* Without the driver this node ends, and cancels what is here. To the others, who may have it still, it has vanished:
 * what they wanted of it runs again elsewhere, and none of it is told as cancelled. */
static void forsake(const char *text)
{
    cluster.forsaken = true;
    while (cluster.link_count > 0) {
        link_state *l = cluster.links[--cluster.link_count];
        lr_transport_hang_up(l->link.peer);
        link_free(l, text);
    }
    lr_modules_lost();
    cluster.config.lost(text);
}

static void on_peer_down(void *user, lr_peer *peer, lr_ending end, const char *text)
{
    (void)user;
    link_state *l = lr_peer_user(peer);
    if (!l) {
        on_no_peer(peer, end, text);
        return;
    }
    for (unsigned i = 0; i < cluster.link_count; i++)
        if (cluster.links[i] == l) {
            cluster.links[i] = cluster.links[--cluster.link_count];
            break;
        }
    bool driver_gone = is_driver(peer);
    if (!l->peer) lr_mesh_unreached(&cluster.mesh, l->node, text); /* it has not said HERE */
    if (cluster.config.serves)
        link_free(l, text);
    else
        node_lost(l, text);
    atomic_store(&cluster.idle, true); /* a grant may have died with it: whoever sleeps here says so once more */
    if (driver_gone) forsake(text);
}

static void ring(void *user)
{
    (void)user;
    cluster.config.ring();
}

/* ---- turns ------------------------------------------------------------------------------------------ */

static void tell_ended(void)
{
    for (lr_piled *p = lr_pile_take_oldest(&cluster.ended), *next; p; p = next) {
        const guest *g = LR_CONTAINER(p, guest, ended);
        next = p->next;
        lr_mesh_ended(&cluster.mesh, g->crossing, lr_task_state_of(g->t) == LR_TASK_READY);
    }
}

static link_state *driver(void)
{
    for (unsigned i = 0; i < cluster.link_count; i++)
        if (cluster.links[i]->is_driver) return cluster.links[i];
    return NULL;
}

static void tell_driver(const lr_message *m)
{
    link_state *to = driver();
    if (to) lr_channel_send(&to->link, m);
}

static void send_lines(void)
{
    for (lr_piled *p = lr_pile_take_oldest(&cluster.lines), *next; p; p = next) {
        line *l = (line *)(void *)p;
        next = p->next;
        tell_driver(&(lr_message){.kind = LR_MESSAGE_PRINT, .print.line = {l->bytes, l->size_bytes}});
        free(l);
    }
}

/* More room is told when a worker has found nothing to do; less, now and then. */
static void tell_idle(uint64_t now_ns)
{
    bool idle = atomic_exchange(&cluster.idle, false);
    if (cluster.mesh.idle_told == UINT32_MAX) idle = true; /* the brokers may know nothing of it any more */
    unsigned looking = atomic_load(&cluster.pool->looking);
    if (idle && looking > 0) lr_mesh_idle(&cluster.mesh, looking + 1); /* one more lies ready when one ends */
    if (looking > 0 || cluster.mesh.idle_told == 0 || now_ns - cluster.less_ns < IDLE_LESS_NS) return;
    cluster.less_ns = now_ns;
    lr_mesh_idle(&cluster.mesh, 0);
}

static void look_cancelled(void *user, lr_mesh_peer *peer, lr_crossing *c)
{
    (void)user;
    const lr_stand_in *s = c->task.runtime;
    lr_task *t = c->kind == LR_CROSSING_BORROW ? s->t : c->task.runtime;
    if (lr_pool_cancelled(cluster.pool, t)) lr_mesh_cancelled(&cluster.mesh, peer, c->task.id);
}

/* Tasks that are away, or borrowed, and were cancelled here. */
static void tell_cancelled(void)
{
    uint32_t epoch = atomic_load(&cluster.pool->cancel_epoch);
    if (epoch == cluster.epoch_seen) return;
    cluster.epoch_seen = epoch;
    lr_mesh_each_away(&cluster.mesh, look_cancelled, NULL);
    lr_lineage_cancelled();
}

static void tell_free(const lr_resources *free)
{
    char text[OFFERS_TEXT];
    if (lr_resources_equal(free, &cluster.free_told)) return;
    cluster.free_told = *free;
    lr_resources now = *free;
    if (now.amount[LR_RESOURCE_CPU] < 0) now.amount[LR_RESOURCE_CPU] = 0;
    lr_resources_format(&now, cluster.config.names, text, sizeof text);
    lr_mesh_free(&cluster.mesh, text);
}

/* What ended before it came is seen by no connection's end. */
static void look_for_missing(uint64_t now_ns)
{
    if (!cluster.config.starts || cluster.mesh.peers.count > cluster.config.expected) return;
    if (now_ns < cluster.look_ns) return;
    if (cluster.config.replace()) cluster.expect_until_ns = now_ns + LR_CLUSTER_EXPECT_NS;
    cluster.look_ns = now_ns + (cluster.expect_until_ns ? LOOK_SOON_NS : LOOK_NS);
}

static void tell_progress(uint64_t now_ns)
{
    if (!cluster.guests || now_ns < cluster.progress_ns) return;
    cluster.progress_ns = now_ns + PROGRESS_NS;
    for (guest *g = cluster.guests; g; g = g->next)
        if (g->crossing->peer) say_progress(g);
}

static void look_whether_all_came(uint64_t now_ns)
{
    look_for_missing(now_ns);
    if (!cluster.expect_until_ns || lr_deaths_count() > 0) return;
    unsigned wanted = cluster.config.expected ? cluster.config.expected : 1;
    if (cluster.mesh.peers.count <= wanted && now_ns < cluster.expect_until_ns) return;
    cluster.expect_until_ns = 0;
    lr_mesh_expect(&cluster.mesh, false);
}

/* Another process in the place of each that ended. In a cluster with agents those start it: where nobody is left at all
 * it is waited for. */
static void settle_deaths(uint64_t now_ns)
{
    if (!lr_deaths_turn(now_ns)) return;
    bool alone = !cluster.config.serves && cluster.mesh.peers.count <= 1;
    bool more = cluster.config.replace ? cluster.config.replace() : alone;
    uint64_t patience_ns = alone && !cluster.config.replace ? LR_CLUSTER_ALONE_NS : LR_CLUSTER_EXPECT_NS;
    if (more) cluster.expect_until_ns = lr_clock_ns() + patience_ns;
    if (cluster.expect_until_ns || lr_deaths_count() > 0) return; /* one started before may be on its way */
    lr_mesh_expect(&cluster.mesh, false);
    lr_transport_flush(cluster.transport);
}

/* A node may not become this job's at all. Once: a job that waits for nodes would else do so without a word. */
static void tell_refused(void)
{
    static const lr_ending ends[] = {LR_ENDING_WRONG_SECRET, LR_ENDING_NO_SECRET_HERE, LR_ENDING_NO_SECRET_THERE,
                                     LR_ENDING_OTHER_PROTOCOL, LR_ENDING_OTHER_BUILD};
    if (cluster.config.serves || cluster.refused_told) return;
    const lr_transport_stats *stats = lr_transport_stats_of(cluster.transport);
    for (size_t i = 0; i < LR_COUNT(ends) && !cluster.refused_told; i++) {
        if (stats->ended[ends[i]] == 0) continue;
        cluster.refused_told = true;
        fprintf(stderr, "luarun: a node that came to work for this script was refused: %s; %s\n",
                lr_ending_meaning(ends[i]), lr_ending_advice(ends[i]));
    }
}

void lr_cluster_turn(const lr_resources *free)
{
    if (!cluster.transport) return;
    uint64_t now_ns = lr_clock_ns();
    lr_mesh_now(&cluster.mesh, now_ns);
    lr_transport_turn(cluster.transport);
    lr_far_turn();
    lr_lending_turn();
    lr_lineage_turn(now_ns);
    tell_ended();
    tell_cancelled();
    send_lines();
    if (cluster.config.serves) lr_modules_turn(tell_driver);
    look_whether_all_came(now_ns);
    tell_refused();
    if (cluster.started) {
        tell_free(free);
        tell_idle(now_ns);
        cluster.give_waits = false;
        tell_progress(now_ns);
        lr_mesh_left(&cluster.mesh);
    }
    lr_transport_flush(cluster.transport);
    settle_deaths(now_ns); /* after what was sent: starting a process takes a while */
    const lr_mesh *m = &cluster.mesh;
    uint64_t busy = m->away_count + m->guest_count + m->seeking.count + m->lost_count;
    atomic_store(&cluster.busy, busy + lr_deaths_tasks());
}

uint64_t lr_cluster_deadline(void)
{
    if (!cluster.transport) return LR_NEVER;
    uint64_t deadline = lr_transport_deadline(cluster.transport), mesh = lr_mesh_deadline(&cluster.mesh);
    uint64_t lending = lr_lending_deadline(), deaths = lr_deaths_deadline(), lineage = lr_lineage_deadline();
    if (mesh < deadline) deadline = mesh;
    if (deaths < deadline) deadline = deaths;
    if (lending < deadline) deadline = lending;
    if (lineage < deadline) deadline = lineage;
    if (cluster.give_waits && cluster.give_ns < deadline) deadline = cluster.give_ns;
    bool missing = cluster.config.starts && cluster.mesh.peers.count <= cluster.config.expected;
    if (missing && cluster.look_ns < deadline) deadline = cluster.look_ns;
    if (cluster.guests && cluster.progress_ns < deadline) deadline = cluster.progress_ns;
    bool expects = cluster.expect_until_ns && lr_deaths_count() == 0;
    return expects && cluster.expect_until_ns < deadline ? cluster.expect_until_ns : deadline;
}

/* ---- tasks that ask for something ------------------------------------------------------------------- */

bool lr_cluster_wants(const lr_task *t)
{
    if (!cluster.transport || !cluster.started || lr_task_has(t, LR_TASK_GUEST)) return false;
    const lr_spec *spec = t->extra->spec;
    if (spec->affinity == LR_AFFINITY_SPREAD) return true;
    if (spec->affinity == LR_AFFINITY_NODE) return !lr_id_equal(spec->node, cluster.config.node);
    if (cluster.pool->worker_count == 0) return true; /* also with cpu = 0 */
    return spec->unknown_resource || !lr_resources_fit(cluster.config.offers, &spec->need);
}

void lr_cluster_place(lr_task *t)
{
    char need[OFFERS_TEXT], error[160];
    lr_place_ask ask = {.affinity = t->extra->spec->affinity, .node = t->extra->spec->node};
    lr_mesh_task task = leaving(t);
    atomic_fetch_add(&cluster.busy, 1); /* until the turn counts */
    if (ask.affinity == LR_AFFINITY_NONE) ask.near_bytes = lr_far_nearest(t, &ask.near);
    lr_extra_need(t->extra->options, cluster.config.names, need, sizeof need);
    if (lr_resources_parse(need, &cluster.mesh.names, &ask.need, error, sizeof error)) {
        lr_mesh_place(&cluster.mesh, &task, &ask);
        return;
    }
    lr_crossing c = {.kind = LR_CROSSING_SEEKING, .task = task};
    fail(NULL, &c, LR_ERR_INFEASIBLE, error);
}

/* A task whose inputs lie on another node, most of them on that one. One that must leave this node anyway goes the
 * usual way; what is another node's stays here. */
static bool place_near(lr_task *t, lr_id node, uint64_t bytes)
{
    lr_place_ask ask = {.near = node, .near_bytes = bytes, .need.amount[LR_RESOURCE_CPU] = LR_AMOUNT_ONE};
    if (!cluster.started || lr_task_has(t, LR_TASK_GUEST)) return false;
    if (lr_task_has(t, LR_TASK_MACHINE)) {
        bool goes = lr_cluster_wants(t);
        if (goes) lr_pool_inputs_here(t); /* what moves its inputs is the node that it goes to */
        return goes;
    }
    if (!lr_task_enqueue(t)) {
        lr_task_release(t); /* cancelled meanwhile */
        return true;
    }
    lr_mesh_task task = leaving(t);
    atomic_fetch_add(&cluster.busy, 1); /* until the turn counts */
    lr_mesh_place(&cluster.mesh, &task, &ask);
    return true;
}

static lr_lending *lending_of(lr_id node)
{
    for (unsigned i = 0; i < cluster.link_count; i++)
        if (cluster.links[i]->peer && lr_id_equal(cluster.links[i]->node, node)) return &cluster.links[i]->lending;
    return NULL;
}

/* ---- what all are told ------------------------------------------------------------------------------ */

lr_id lr_cluster_node(void) { return cluster.config.node; }

unsigned lr_cluster_node_count(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < cluster.link_count; i++)
        count += cluster.links[i]->peer != NULL;
    return count;
}

bool lr_cluster_has_away(lr_id task)
{
    if (!cluster.transport) return false;
    for (unsigned i = 0; i < cluster.link_count; i++) {
        const lr_mesh_peer *p = cluster.links[i]->peer;
        if (p && lr_map_find(&p->away, task)) return true;
    }
    return lr_map_find(&cluster.mesh.seeking, task) != NULL;
}

unsigned lr_cluster_tell_all(const lr_message *m)
{
    unsigned count = 0;
    for (unsigned i = 0; i < cluster.link_count; i++) {
        if (!cluster.links[i]->peer) continue;
        lr_channel_send(&cluster.links[i]->link, m);
        count++;
    }
    return count;
}

/* ---- from other threads ------------------------------------------------------------------------------- */

static void work_is_left(void) { cluster.config.ring(); }

static void work_is_wanted(void)
{
    if (!atomic_exchange(&cluster.idle, true)) cluster.config.ring();
}

bool lr_cluster_is_open(void) { return atomic_load(&cluster.open); }
bool lr_cluster_serves(void) { return lr_cluster_is_open() && cluster.config.serves; }
bool lr_cluster_rests(void) { return atomic_load(&cluster.busy) == 0 && lr_far_rests(); }

bool lr_cluster_fetch_module(const char *name, struct lr_module_source *out, char why[160])
{
    return lr_modules_fetch(name, cluster.config.ring, out, why);
}

void lr_cluster_print(const char *bytes, size_t size_bytes)
{
    line *l = malloc(sizeof *l + size_bytes);
    if (!l) return;
    l->size_bytes = size_bytes;
    memcpy(l->bytes, bytes, size_bytes);
    lr_pile_put(&cluster.lines, &l->piled);
    cluster.config.ring();
}

/* ---- life --------------------------------------------------------------------------------------------- */

static bool open_mesh(void)
{
    const lr_mesh_hooks hooks = {send_message, send_task, send_end, count_left, take_left, run_here,
                                 fail,         stop,      watch,    forget,     reach,     address_of, NULL};
    const lr_cluster_config *c = &cluster.config;
    lr_builder_init(&cluster.values);
    lr_builder_init(&cluster.extras);
    lr_resources_format(c->offers, c->names, cluster.offers, sizeof cluster.offers);
    lr_mesh_role role = c->serves ? LR_MESH_PLAIN : LR_MESH_SCRIPT;
    if (!lr_mesh_init(&cluster.mesh, c->node, role, cluster.offers, &lr_process_allocator, &hooks, c->node.lo))
        return false;
    lr_mesh_now(&cluster.mesh, lr_clock_ns());
    if (c->expected == 0 && !c->serves) return true;
    lr_mesh_expect(&cluster.mesh, true); /* serving: the driver */
    if (c->serves) return true;
    cluster.expect_until_ns = lr_clock_ns() + LR_CLUSTER_EXPECT_NS;
    return true;
}

static const char *given(const char *variable)
{
    const char *value = getenv(variable);
    return value && *value ? value : NULL;
}

/* A tcp address is one of TLS where there is a certificate to show. */
static lr_ending listen_on(const char *url, char why[LR_ENDING_TEXT])
{
    char secure[LR_WORD_MAX + 8];
    bool plain = strncmp(url, "tcp://", 6) == 0;
    snprintf(secure, sizeof secure, "tls+%s", url);
    return lr_transport_listen(cluster.transport, plain && given(LR_CLUSTER_TLS_CERT) ? secure : url, why);
}

/* Where the others reach this node: as told, or as it reaches the driver. */
static lr_ending listen_for_others(const char *driver_url, char why[LR_ENDING_TEXT])
{
    lr_address driver_at;
    const char *told = cluster.config.listen;
    lr_address_parse(driver_url, &driver_at);
    bool here = driver_at.loopback || driver_at.kind == LR_ADDRESS_IPC;
    const char *url = here ? "tcp://127.0.0.1:0" : "tcp://0.0.0.0:0";
    if (told && told[0]) url = told;
    return listen_on(url, why);
}

static void spare(void) { atomic_store(&cluster.idle, true); }

static void collect(void)
{
    if (cluster.started) lr_pool_collect(cluster.pool);
}

bool lr_cluster_open(lr_pool *pool, const lr_cluster_config *config, char text[LR_CLUSTER_TEXT])
{
    cluster.pool = pool;
    cluster.config = *config;
    lr_transport_config transport = {
        .handler = {on_peer_up, on_record, on_writable, on_peer_down, ring, NULL},
        .node = config->node,
        .version = LR_VERSION,
        .build = __DATE__ " " __TIME__,
        .secret = &cluster.config.secret,
        .bell = cluster.config.bell,
        .record_max = LR_LENDING_RECORD_MAX,
        .tls_ca_file = given(LR_CLUSTER_TLS_CA),
        .tls_cert_file = given(LR_CLUSTER_TLS_CERT),
        .tls_key_file = given(LR_CLUSTER_TLS_KEY),
    };
    snprintf(text, LR_CLUSTER_TEXT, "not enough memory");
    if (!open_mesh()) return false;
    lr_lending_open(config->ring, collect, spare);
    lr_deaths_open(config->how_ended, fail_lost);
    cluster.transport = lr_transport_open(&transport);
    if (!cluster.transport) return false;
    char why[LR_ENDING_TEXT];
    lr_peer *peer;
    atomic_store(&cluster.open, true);
    lr_ending end = config->serves ? listen_for_others(config->url, why)
                                   : listen_on(config->url, why);
    if (end == LR_ENDING_OK && config->serves) end = lr_transport_connect(cluster.transport, config->url, &peer, why);
    if (end == LR_ENDING_OK) return true;
    snprintf(text, LR_CLUSTER_TEXT, "%s", why);
    lr_cluster_close();
    return false;
}

const char *lr_cluster_address(void) { return lr_transport_address(cluster.transport); }

void lr_cluster_start(void)
{
    cluster.started = true;
    lr_lineage_open(cluster.pool, cluster.config.job, cluster.config.names, cluster.config.ring);
    lr_far_open(&(lr_far_hooks){cluster.config.ring, lending_of, place_near, run_queued});
    cluster.pool->inputs_far = lr_far_bring;
    cluster.pool->work_is_wanted = work_is_wanted;
    cluster.pool->work_is_left = work_is_left;
    atomic_store(&cluster.idle, true);
    for (unsigned i = 0; i < cluster.link_count; i++) /* before the first task */
        say_here(cluster.links[i]);
}

static bool is_connected(int pid)
{
    for (unsigned i = 0; i < cluster.link_count; i++)
        if (cluster.links[i]->pid == pid) return true;
    return false;
}

void lr_cluster_close(void)
{
    if (!cluster.transport) return;
    lr_lending_close();
    cluster.closing = true;
    lr_far_close();
    lr_lineage_close();
    lr_deaths_close();
    lr_mesh_fini(&cluster.mesh);
    if (cluster.config.forsake) cluster.config.forsake(is_connected);
    lr_transport_close(cluster.transport, CLOSE_NS);
    cluster.transport = NULL;
    while (cluster.link_count > 0) {
        link_state *l = cluster.links[--cluster.link_count];
        l->peer = NULL; /* the mesh has let go of it */
        link_free(l, "");
    }
    free((void *)cluster.links);
    cluster.links = NULL;
    cluster.link_room = 0;
    for (dial *d; (d = cluster.dials); free(d))
        cluster.dials = d->next;
    tell_ended(); /* to nobody any more */
    lr_builder_fini(&cluster.values);
    lr_builder_fini(&cluster.extras);
    atomic_store(&cluster.open, false);
}
