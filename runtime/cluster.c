#include "runtime/cluster.h"

#include "runtime/away.h"
#include "runtime/export.h"
#include "runtime/link.h"
#include "sched/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LINKS_MAX 64
#define FIRST_SLOTS 64
#define ATTEMPTS_MAX 4      /* the first, and three more on the loss of a node */
#define ASK_AGAIN_NS 5000000 /* a node that still has nothing to do asks again: a ring may have crossed its answer */
#define CLOSE_NS 200000000

typedef struct peer_state {
    lr_link link; /* first */
    lr_id node;
    bool up;
    int pid;                /* 0: not told yet */
    uint64_t wants;         /* tasks that it can still begin */
    lr_map away;            /* task id -> lr_task: ours, running there; the queue's count */
    lr_map lent;            /* task id -> loan */
    lr_map borrowed;        /* task id -> lr_task: theirs; one count */
    lr_map functions;       /* id there -> lr_fn: theirs; one count */
    lr_map known;           /* id here -> lr_fn: ours, sent; one count */
    struct guest *guests;   /* all that will be answered */
} peer_state;

typedef struct loan {
    lr_task *t; /* one count */
    uint64_t count; /* WANTs still to come */
} loan;

/* A task here whose end the peer is told: one that it gave us (attempt from 1), or one that it wants to know of (0).
 * */
typedef struct guest {
    lr_waiter waiter; /* first */
    lr_task *t;       /* one count */
    peer_state *peer; /* NULL: gone */
    uint64_t attempt;
    struct guest *next, **link; /* among the peer's */
    struct guest *next_ended;
} guest;

typedef struct line {
    struct line *next;
    size_t size_bytes;
    char bytes[];
} line;

static struct {
    lr_pool *pool;
    lr_cluster_config config;
    lr_transport *transport;
    peer_state *peers[LINKS_MAX];
    unsigned peer_count;
    lr_builder builder;
    bool started;
    uint64_t ask_again_ns;
    uint32_t epoch_seen;
    lr_task *lost, *lost_last; /* whose node was lost: for the next that asks; by next */
    /* any thread */
    _Atomic bool open;
    _Atomic(guest *) ended;
    _Atomic bool idle;            /* a worker has found nothing to do */
    _Atomic(line *) lines;        /* newest first */
    _Atomic uint64_t away_count, guest_count;
} cluster = {.ask_again_ns = LR_NEVER};

/* ---- maps that grow --------------------------------------------------------------------------------- */

static bool put(lr_map *map, lr_id key, void *value)
{
    if (map->slots && lr_map_put(map, key, value)) return true;
    size_t count = map->slots ? 2 * map->slot_count : FIRST_SLOTS;
    lr_map_slot *slots = malloc(count * sizeof *slots);
    if (!slots) return false;
    if (map->slots)
        free(lr_map_move(map, slots, count));
    else
        lr_map_init(map, slots, count);
    return lr_map_put(map, key, value);
}

static void *get(const lr_map *map, lr_id key) { return map->slots ? lr_map_get(map, key) : NULL; }
static void *take(lr_map *map, lr_id key) { return map->slots ? lr_map_remove(map, key) : NULL; }

static void *any(lr_map *map, lr_id (*key_of)(const void *value))
{
    size_t position = 0;
    void *value = map->slots ? lr_map_next(map, &position) : NULL;
    if (value) lr_map_remove(map, key_of(value));
    return value;
}

/* ---- values out ------------------------------------------------------------------------------------- */

static void send_function(peer_state *p, lr_fn *fn, lr_id id);

static void lend(void *peer, lr_task *t)
{
    peer_state *p = peer;
    loan *l = get(&p->lent, t->id);
    if (!l) {
        l = calloc(1, sizeof *l);
        if (!l || !put(&p->lent, t->id, l)) {
            free(l); /* its WANT is answered by a failure */
            return;
        }
        lr_task_retain(t);
        l->t = t;
    }
    l->count++;
}

static lr_id function_id(const lr_fn *fn) { return lr_id_child(cluster.config.node, fn->serial); }

static lr_id know(void *peer, lr_fn *fn)
{
    peer_state *p = peer;
    lr_id id = function_id(fn);
    if (get(&p->known, id) || !put(&p->known, id, fn)) return id;
    lr_object_retain(&fn->base);
    send_function(p, fn, id);
    return id;
}

/* The value as bytes, which last until the next call at the same level: *b is the caller's. */
static lr_bytes exported(peer_state *p, lr_builder *b, const lr_value *v)
{
    lr_export_to to = {lend, know, p};
    lr_export(b, v, &to);
    return lr_bytes_of(b->data, b->failed ? 0 : b->size_bytes);
}

static lr_bytes text_of(const char *s) { return lr_bytes_of(s, s ? strlen(s) : 0); }

static void send_function(peer_state *p, lr_fn *fn, lr_id id)
{
    lr_builder b; /* functions lie inside functions: each level has its own */
    lr_builder_init(&b);
    lr_message m = {.kind = LR_MESSAGE_FUNCTION};
    m.function.function = id;
    m.function.kind = fn->kind;
    m.function.name = text_of(fn->name);
    m.function.module = text_of(fn->kind == LR_FN_KERNEL ? fn->kernel->set->path : fn->module);
    m.function.field = text_of(fn->kind == LR_FN_KERNEL ? fn->kernel->set->name : fn->field);
    if (fn->kind == LR_FN_LUA) m.function.body = exported(p, &b, &fn->body);
    lr_link_send(&p->link, &m);
    lr_builder_fini(&b);
}

/* ---- values in -------------------------------------------------------------------------------------- */

static lr_task *borrow(void *peer, lr_id id)
{
    peer_state *p = peer;
    lr_message want = {.kind = LR_MESSAGE_WANT, .want.task = id};
    lr_link_send(&p->link, &want); /* one for each time that it was lent */
    lr_task *t = get(&p->borrowed, id);
    if (t) {
        lr_task_retain(t);
        return t;
    }
    t = lr_task_new_elsewhere(id);
    if (!t) return NULL;
    lr_task_retain(t);
    if (put(&p->borrowed, id, t)) return t;
    lr_task_release(t);
    lr_task_release(t);
    return NULL;
}

/* One that was not sent yet is on its way: functions may refer to each other. */
static lr_fn *find(void *peer, lr_id id)
{
    peer_state *p = peer;
    lr_fn *fn = get(&p->functions, id);
    if (fn) return fn;
    lr_value nothing = {0};
    fn = lr_fn_new_lua("?", &nothing);
    if (fn && put(&p->functions, id, fn)) return fn;
    if (fn) lr_object_release(&fn->base);
    return NULL;
}

static bool imported(peer_state *p, lr_bytes bytes, lr_value *v, char *text, size_t text_bytes)
{
    lr_import_from from = {borrow, find, p};
    lr_reader r = lr_reader_of(bytes.at, bytes.size_bytes);
    *v = (lr_value){0};
    return lr_import(&r, v, &from, text, text_bytes);
}

/* ---- giving work away ------------------------------------------------------------------------------- */

static void send_task(peer_state *p, lr_task *t)
{
    lr_message m = {.kind = LR_MESSAGE_TASK};
    lr_builder_reset(&cluster.builder);
    m.task.task = t->id;
    m.task.function = know(p, t->fn);
    m.task.attempt = t->attempt;
    m.task.args = exported(p, &cluster.builder, &t->args);
    atomic_fetch_add(&cluster.away_count, 1);
    if (put(&p->away, t->id, t)) {
        lr_link_send(&p->link, &m); /* where it fails, the end of the connection brings the task back */
        return;
    }
    atomic_fetch_sub(&cluster.away_count, 1);
    lr_away_return(cluster.pool, t);
}

/* Those whose node was lost go first. */
static void give_lost(peer_state *p)
{
    while (cluster.lost && p->wants > 0) {
        lr_task *t = cluster.lost;
        cluster.lost = t->next;
        if (!cluster.lost) cluster.lost_last = NULL;
        atomic_fetch_sub(&cluster.away_count, 1);
        if (lr_task_ended(t)) { /* cancelled meanwhile */
            lr_away_fail(cluster.pool, t, LR_ERR_CANCELLED, "");
            continue;
        }
        send_task(p, t);
        p->wants--;
    }
}

/* To those that asked, in turn, as long as there is something. */
static void give(void)
{
    for (unsigned i = 0; i < cluster.peer_count; i++) {
        peer_state *p = cluster.peers[i];
        if (!p->up || p->wants == 0) continue;
        give_lost(p);
        if (p->wants == 0) continue;
        lr_task *tasks[16];
        size_t wanted = p->wants < LR_COUNT(tasks) ? (size_t)p->wants : LR_COUNT(tasks);
        atomic_store(&cluster.pool->others_hungry, true); /* first: what is pushed from now on rings */
        size_t count = lr_away_take(cluster.pool, tasks, wanted);
        for (size_t k = 0; k < count; k++)
            send_task(p, tasks[k]);
        p->wants -= count;
        if (count < wanted) return; /* there is no more */
    }
}

static void work_is_left(void) { cluster.config.ring(); }

/* ---- what comes ------------------------------------------------------------------------------------- */

static void on_end(lr_waiter *w, lr_task *t, lr_wake *wake)
{
    (void)t;
    (void)wake;
    guest *g = (guest *)w, *head = atomic_load(&cluster.ended);
    do {
        g->next_ended = head;
    } while (!atomic_compare_exchange_weak(&cluster.ended, &head, g));
    cluster.config.ring();
}

static guest *guest_new(peer_state *p, lr_task *t, uint64_t attempt)
{
    guest *g = calloc(1, sizeof *g);
    LR_ASSERT(g); /* a few bytes beside a task */
    *g = (guest){.waiter.notify = on_end, .t = t, .peer = p, .attempt = attempt, .next = p->guests, .link = &p->guests};
    if (g->next) g->next->link = &g->next;
    p->guests = g;
    lr_task_retain(t);
    atomic_fetch_add(&cluster.guest_count, 1);
    return g;
}

static void guest_free(guest *g)
{
    if (g->peer) {
        *g->link = g->next;
        if (g->next) g->next->link = g->link;
    }
    lr_task_release(g->t);
    free(g);
    atomic_fetch_sub(&cluster.guest_count, 1);
}

/* Tells the end of g's task, and forgets g. */
static void tell(guest *g)
{
    peer_state *p = g->peer;
    if (p) {
        lr_message m = {.kind = LR_MESSAGE_RESULT};
        lr_builder_reset(&cluster.builder);
        m.result.task = g->t->id;
        m.result.attempt = g->attempt;
        m.result.state = lr_task_state_of(g->t);
        m.result.value = exported(p, &cluster.builder, &g->t->result);
        lr_task_set(g->t, LR_TASK_SEEN); /* whoever asked looks at it */
        lr_link_send(&p->link, &m);
    }
    guest_free(g);
}

static void watch(guest *g)
{
    if (!lr_task_watch(g->t, &g->waiter)) tell(g);
}

static void refuse(peer_state *p, lr_id task, uint64_t attempt, const char *why)
{
    lr_builder b;
    lr_value error = {0};
    lr_builder_init(&b);
    lr_builder_header(&b, 1);
    lr_builder_error(&b, LR_ERR_ERROR, why, NULL, NULL, task, (unsigned)attempt, NULL);
    lr_builder out;
    lr_builder_init(&out);
    lr_message m = {.kind = LR_MESSAGE_RESULT};
    if (lr_builder_finish(&b, &error)) m.result.value = exported(p, &out, &error);
    m.result.task = task;
    m.result.attempt = attempt;
    m.result.state = LR_TASK_FAILED;
    lr_link_send(&p->link, &m);
    lr_value_clear(&error);
    lr_builder_fini(&b);
    lr_builder_fini(&out);
}

static void take_function(peer_state *p, const lr_message *m)
{
    char name[200], module[4096], field[200], text[256];
    lr_fn *fn = find(p, m->function.function);
    if (!fn) return;
    snprintf(name, sizeof name, "%.*s", (int)m->function.name.size_bytes, (const char *)m->function.name.at);
    snprintf(module, sizeof module, "%.*s", (int)m->function.module.size_bytes, (const char *)m->function.module.at);
    snprintf(field, sizeof field, "%.*s", (int)m->function.field.size_bytes, (const char *)m->function.field.at);
    lr_value body = {0};
    if (m->function.kind == LR_FN_LUA && !imported(p, m->function.body, &body, text, sizeof text)) return;
    const lr_kernel_set *set = NULL;
    lr_kernel *kernel = NULL;
    if (m->function.kind == LR_FN_KERNEL) {
        char *message = NULL;
        const char *dot = strrchr(name, '.');
        if (lr_kernels_load(module, field, &set, &message) != LR_ERR_NONE) {
            free(message);
            return; /* its tasks are refused */
        }
        kernel = lr_kernels_get(set, dot ? dot + 1 : name);
        if (!kernel) return;
    }
    lr_fn_become(fn, (lr_fn_kind)m->function.kind, name, module, field, kernel, &body);
}

static void take_task(peer_state *p, const lr_message *m)
{
    char text[300];
    lr_value args;
    lr_fn *fn = get(&p->functions, m->task.function);
    if (!fn || !lr_fn_is_whole(fn)) {
        refuse(p, m->task.task, m->task.attempt, "its function could not be made on the node that was to run it");
        return;
    }
    if (!imported(p, m->task.args, &args, text, sizeof text)) {
        refuse(p, m->task.task, m->task.attempt, text);
        return;
    }
    lr_task *t = lr_task_new(fn, NULL, m->task.task, &args, 1); /* the queue's count */
    if (!t) {
        refuse(p, m->task.task, m->task.attempt, "not enough memory on the node that was to run it");
        return;
    }
    t->attempt = (uint16_t)m->task.attempt;
    watch(guest_new(p, t, m->task.attempt));
    lr_pool_submit_elsewhere(cluster.pool, t);
}

static void take_result(peer_state *p, const lr_message *m)
{
    char text[300];
    lr_value value;
    lr_task *t = take(m->result.attempt ? &p->away : &p->borrowed, m->result.task);
    if (!t) return; /* told before, or given back */
    lr_task_state state = (lr_task_state)m->result.state;
    bool whole = state >= LR_TASK_READY && state <= LR_TASK_CANCELLED &&
                 imported(p, m->result.value, &value, text, sizeof text);
    if (m->result.attempt) {
        atomic_fetch_sub(&cluster.away_count, 1);
        if (whole)
            lr_away_end(cluster.pool, t, state, &value);
        else
            lr_away_fail(cluster.pool, t, LR_ERR_ERROR, "its result could not be taken in from the node that ran it");
        return;
    }
    if (whole)
        lr_pool_end(t, state, &value);
    else
        lr_pool_fail(t, LR_ERR_OBJECT_LOST, "a value on another node could not be taken in", NULL);
    lr_task_release(t);
}

static void take_want(peer_state *p, const lr_message *m)
{
    loan *l = get(&p->lent, m->want.task);
    if (!l) {
        refuse(p, m->want.task, 0, "a future whose task this node does not know");
        return;
    }
    watch(guest_new(p, l->t, 0));
    if (--l->count > 0) return;
    take(&p->lent, m->want.task);
    lr_task_release(l->t);
    free(l);
}

static void take_cancel(peer_state *p, const lr_message *m)
{
    for (guest *g = p->guests; g; g = g->next)
        if (g->attempt && lr_id_equal(g->t->id, m->cancel.task)) {
            lr_pool_cancel(cluster.pool, g->t, LR_ERR_CANCELLED, "the task was cancelled");
            return;
        }
}

static void take_welcome(peer_state *p, const lr_message *m)
{
    static char paths[3][16384];
    const lr_bytes given[3] = {m->welcome.path, m->welcome.cpath, m->welcome.scriptdir};
    if (cluster.started || !cluster.config.serves) return;
    for (int i = 0; i < 3; i++) {
        snprintf(paths[i], sizeof paths[i], "%.*s", (int)given[i].size_bytes, (const char *)given[i].at);
        cluster.config.paths[i] = given[i].size_bytes ? paths[i] : NULL;
    }
    cluster.config.job = m->welcome.job;
    cluster.config.seed = m->welcome.seed;
    cluster.config.welcomed(&cluster.config);
    lr_message here = {.kind = LR_MESSAGE_HERE, .here.pid = (uint64_t)getpid()};
    lr_link_send(&p->link, &here);
}

static void handle(peer_state *p, const lr_message *m)
{
    switch (m->kind) {
    case LR_MESSAGE_WELCOME: take_welcome(p, m); return;
    case LR_MESSAGE_HERE: p->pid = (int)m->here.pid; return;
    case LR_MESSAGE_ASK: p->wants = m->ask.count; return; /* turn gives */
    case LR_MESSAGE_FUNCTION: take_function(p, m); return;
    case LR_MESSAGE_TASK: take_task(p, m); return;
    case LR_MESSAGE_RESULT: take_result(p, m); return;
    case LR_MESSAGE_WANT: take_want(p, m); return;
    case LR_MESSAGE_CANCEL: take_cancel(p, m); return;
    case LR_MESSAGE_PRINT:
        if (cluster.config.print) cluster.config.print(m->print.line.at, m->print.line.size_bytes);
        return;
    case LR_MESSAGE_PART:
    case LR_MESSAGE_NONE:
    case LR_MESSAGE_COUNT: return; /* the link keeps them */
    }
}

/* ---- the transport's handlers ------------------------------------------------------------------------- */

static void on_record(void *user, lr_peer *peer, uint16_t kind, const void *bytes, size_t size_bytes)
{
    (void)user;
    peer_state *p = lr_peer_user(peer);
    lr_message m;
    if (!p) return;
    lr_link_got got = lr_link_take(&p->link, kind, bytes, size_bytes, &m);
    if (got == LR_LINK_MESSAGE) handle(p, &m);
    if (got == LR_LINK_BAD) fprintf(stderr, "luarun: a node sent what is no message (kind %u); it is ignored\n", kind);
}

static void on_peer_up(void *user, lr_peer *peer, const lr_identity *identity)
{
    (void)user;
    peer_state *p = cluster.peer_count < LINKS_MAX ? calloc(1, sizeof *p) : NULL;
    if (!p) {
        lr_transport_hang_up(peer);
        return;
    }
    lr_link_init(&p->link, peer);
    p->node = identity->node;
    p->up = true;
    lr_peer_set_user(peer, p);
    cluster.peers[cluster.peer_count++] = p;
    if (cluster.config.serves) return;
    lr_message m = {.kind = LR_MESSAGE_WELCOME};
    m.welcome.job = cluster.config.job;
    m.welcome.seed = cluster.config.seed;
    m.welcome.path = text_of(cluster.config.paths[0]);
    m.welcome.cpath = text_of(cluster.config.paths[1]);
    m.welcome.scriptdir = text_of(cluster.config.paths[2]);
    lr_link_send(&p->link, &m);
}

static void on_writable(void *user, lr_peer *peer)
{
    (void)user;
    peer_state *p = lr_peer_user(peer);
    if (p) lr_link_go_on(&p->link);
}

static lr_id key_of_task(const void *t) { return ((const lr_task *)t)->id; }
static lr_id key_of_loan(const void *l) { return ((const loan *)l)->t->id; }

/* For the next node that asks. It counts as away until then. */
static void lose(lr_task *t)
{
    t->next = NULL;
    if (cluster.lost_last)
        cluster.lost_last->next = t;
    else
        cluster.lost = t;
    cluster.lost_last = t;
}

static void tasks_come_back(peer_state *p, const char *why)
{
    for (lr_task *t; (t = any(&p->away, key_of_task));) {
        char text[300];
        if (t->attempt < ATTEMPTS_MAX) {
            t->attempt++;
            lose(t);
            continue;
        }
        atomic_fetch_sub(&cluster.away_count, 1);
        snprintf(text, sizeof text, "%u nodes were lost while they ran it; the last one: %.200s", t->attempt, why);
        lr_away_fail(cluster.pool, t, LR_ERR_NODE_DIED, text);
    }
    for (lr_task *t; (t = any(&p->borrowed, key_of_task));) {
        lr_pool_fail(t, LR_ERR_NODE_DIED, "the node that had the value is gone", NULL);
        lr_task_release(t);
    }
}

static void release_all(lr_map *map)
{
    size_t position = 0;
    lr_object *o;
    while (map->slots && (o = lr_map_next(map, &position)))
        lr_object_release(o);
    free(map->slots);
}

static void peer_free(peer_state *p, const char *why)
{
    while (p->guests) {
        guest *g = p->guests;
        p->guests = g->next;
        g->peer = NULL; /* its end is still to come, and goes nowhere */
        if (g->attempt) lr_pool_cancel(cluster.pool, g->t, LR_ERR_CANCELLED, "the node that wanted it is gone");
    }
    tasks_come_back(p, why);
    for (loan *l; (l = any(&p->lent, key_of_loan));) {
        lr_task_release(l->t);
        free(l);
    }
    free(p->away.slots);
    free(p->borrowed.slots);
    free(p->lent.slots);
    release_all(&p->functions);
    release_all(&p->known);
    lr_link_fini(&p->link);
    free(p);
}

/* A process that was killed is seen to have ended a moment after its connection. */
static bool how_ended(const peer_state *p, char *text, size_t text_bytes)
{
    for (int i = 0; p->pid && cluster.config.how_ended && i < 50; i++) {
        if (cluster.config.how_ended(p->pid, text, text_bytes)) return true;
        usleep(1000);
    }
    return false;
}

/* Another process in the place of the lost one; where there can be none, and no other is left, what waits for one
 * fails. */
static void replace(void)
{
    if (cluster.config.replace && cluster.config.replace()) return;
    while (cluster.peer_count == 0 && cluster.lost) {
        lr_task *t = cluster.lost;
        cluster.lost = t->next;
        atomic_fetch_sub(&cluster.away_count, 1);
        lr_away_fail(cluster.pool, t, LR_ERR_NODE_DIED, "its node was lost, and no other is left to run it");
    }
    if (!cluster.lost) cluster.lost_last = NULL;
}

static void on_peer_down(void *user, lr_peer *peer, lr_ending end, const char *text)
{
    (void)user;
    (void)end;
    peer_state *p = lr_peer_user(peer);
    for (unsigned i = 0; p && i < cluster.peer_count; i++)
        if (cluster.peers[i] == p) {
            cluster.peers[i] = cluster.peers[--cluster.peer_count];
            break;
        }
    if (cluster.config.serves) {
        if (p) peer_free(p, text);
        cluster.config.lost(text);
        return;
    }
    if (!p) return; /* it never came up */
    char how[LR_ENDING_TEXT], id[LR_ID_TEXT];
    if (!how_ended(p, how, sizeof how)) snprintf(how, sizeof how, "%s", text);
    lr_id_format(p->node, id);
    fprintf(stderr, "luarun: node %.8s is lost (process %d: %s); its %zu tasks are run again\n", id, p->pid, how,
            p->away.count);
    peer_free(p, how);
    replace();
}

static void ring(void *user)
{
    (void)user;
    cluster.config.ring();
}

/* ---- turns ------------------------------------------------------------------------------------------ */

static void tell_ended(void)
{
    guest *g = atomic_exchange(&cluster.ended, NULL), *oldest = NULL;
    while (g) {
        guest *next = g->next_ended;
        g->next_ended = oldest;
        oldest = g;
        g = next;
    }
    for (; oldest; oldest = g) {
        g = oldest->next_ended;
        tell(oldest);
    }
}

static void send_lines(void)
{
    line *l = atomic_exchange(&cluster.lines, NULL), *oldest = NULL;
    while (l) {
        line *next = l->next;
        l->next = oldest;
        oldest = l;
        l = next;
    }
    for (; oldest; oldest = l) {
        l = oldest->next;
        lr_message m = {.kind = LR_MESSAGE_PRINT, .print.line = {oldest->bytes, oldest->size_bytes}};
        if (cluster.peer_count > 0) lr_link_send(&cluster.peers[0]->link, &m);
        free(oldest);
    }
}

static unsigned sleeping_workers(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i <= cluster.pool->worker_count / 64; i++)
        count += (unsigned)__builtin_popcountll(atomic_load(&cluster.pool->asleep[i]));
    return count;
}

static void ask(void)
{
    bool idle = atomic_exchange(&cluster.idle, false);
    uint64_t now = lr_clock_ns();
    if (!cluster.started || cluster.peer_count == 0 || (!idle && now < cluster.ask_again_ns)) return;
    unsigned sleeping = sleeping_workers();
    cluster.ask_again_ns = sleeping ? now + ASK_AGAIN_NS : LR_NEVER;
    if (!idle || sleeping == 0) return;
    lr_message m = {.kind = LR_MESSAGE_ASK, .ask.count = sleeping + 1}; /* one more lies ready when one ends */
    lr_link_send(&cluster.peers[0]->link, &m);
}

/* Tasks that are away and were cancelled here. */
static void tell_cancelled(void)
{
    uint32_t epoch = atomic_load(&cluster.pool->cancel_epoch);
    if (epoch == cluster.epoch_seen) return;
    cluster.epoch_seen = epoch;
    for (unsigned i = 0; i < cluster.peer_count; i++) {
        size_t position = 0;
        lr_task *t;
        while (cluster.peers[i]->away.slots && (t = lr_map_next(&cluster.peers[i]->away, &position)))
            if (lr_pool_cancelled(cluster.pool, t)) {
                lr_message m = {.kind = LR_MESSAGE_CANCEL, .cancel.task = t->id};
                lr_link_send(&cluster.peers[i]->link, &m);
            }
    }
}

void lr_cluster_turn(void)
{
    if (!cluster.transport) return;
    lr_transport_turn(cluster.transport);
    tell_ended();
    tell_cancelled();
    send_lines();
    if (cluster.config.serves)
        ask();
    else if (cluster.started)
        give();
    lr_transport_flush(cluster.transport);
}

uint64_t lr_cluster_deadline(void)
{
    if (!cluster.transport) return LR_NEVER;
    uint64_t deadline = lr_transport_deadline(cluster.transport);
    return deadline < cluster.ask_again_ns ? deadline : cluster.ask_again_ns;
}

/* ---- from other threads ------------------------------------------------------------------------------- */

static void work_is_wanted(void)
{
    if (!atomic_exchange(&cluster.idle, true)) cluster.config.ring();
}

bool lr_cluster_is_open(void) { return atomic_load(&cluster.open); }
bool lr_cluster_serves(void) { return lr_cluster_is_open() && cluster.config.serves; }
bool lr_cluster_rests(void) { return atomic_load(&cluster.away_count) + atomic_load(&cluster.guest_count) == 0; }

void lr_cluster_print(const char *bytes, size_t size_bytes)
{
    line *l = malloc(sizeof *l + size_bytes), *head = atomic_load(&cluster.lines);
    if (!l) return;
    l->size_bytes = size_bytes;
    memcpy(l->bytes, bytes, size_bytes);
    do {
        l->next = head;
    } while (!atomic_compare_exchange_weak(&cluster.lines, &head, l));
    cluster.config.ring();
}

/* ---- life --------------------------------------------------------------------------------------------- */

bool lr_cluster_open(lr_pool *pool, const lr_cluster_config *config, char text[LR_CLUSTER_TEXT])
{
    cluster.pool = pool;
    cluster.config = *config;
    lr_builder_init(&cluster.builder);
    lr_transport_config transport = {
        .handler = {on_peer_up, on_record, on_writable, on_peer_down, ring, NULL},
        .node = config->node,
        .version = LR_VERSION,
        .build = __DATE__ " " __TIME__,
        .secret = &cluster.config.secret,
        .record_max = LR_LINK_RECORD_BYTES + 64,
    };
    cluster.transport = lr_transport_open(&transport);
    if (!cluster.transport) {
        snprintf(text, LR_CLUSTER_TEXT, "not enough memory");
        return false;
    }
    char why[LR_ENDING_TEXT];
    lr_peer *peer;
    lr_ending end = config->serves ? lr_transport_connect(cluster.transport, config->url, &peer, why)
                                   : lr_transport_listen(cluster.transport, config->url, why);
    atomic_store(&cluster.open, true);
    if (end == LR_ENDING_OK) return true;
    snprintf(text, LR_CLUSTER_TEXT, "%s", why);
    lr_cluster_close();
    return false;
}

const char *lr_cluster_address(void) { return lr_transport_address(cluster.transport); }

void lr_cluster_start(void)
{
    cluster.started = true;
    if (cluster.config.serves)
        cluster.pool->work_is_wanted = work_is_wanted;
    else
        cluster.pool->work_is_left = work_is_left;
    atomic_store(&cluster.idle, cluster.config.serves);
}

void lr_cluster_close(void)
{
    if (!cluster.transport) return;
    lr_transport_close(cluster.transport, CLOSE_NS);
    cluster.transport = NULL;
    tell_ended(); /* to nobody any more */
    while (cluster.peer_count > 0)
        peer_free(cluster.peers[--cluster.peer_count], "the cluster ends");
    for (lr_task *t = cluster.lost, *next; t; t = next) {
        next = t->next;
        lr_away_fail(cluster.pool, t, LR_ERR_CANCELLED, "the job has ended");
    }
    cluster.lost = cluster.lost_last = NULL;
    tell_ended();
    lr_builder_fini(&cluster.builder);
    atomic_store(&cluster.open, false);
}
