#include "sched/mesh.h"

#define QUIET_FIRST_NS 100000u
#define QUIET_MOST_NS 1000000u

static void work_off(lr_mesh *m);

static bool is_self(const lr_mesh *m, const lr_mesh_peer *p) { return p == &m->self; }
static lr_mesh_peer *peer_of(lr_broker_node *node) { return LR_CONTAINER(node, lr_mesh_peer, node); }
static lr_mesh_peer *find(const lr_mesh *m, lr_id node) { return lr_map_find(&m->peers, node); }
static lr_id id_of(const lr_mesh_peer *p) { return p->node.place.id; }

static uint32_t bounded(uint64_t count) { return (uint32_t)(count < 1u << 20 ? count : 1u << 20); }

static void send(lr_mesh *m, lr_mesh_peer *to, const lr_message *message)
{
    if (!m->ending) m->hooks.send(m->hooks.user, to, message);
}

/* Text of a message, with a 0; cut at the end of the buffer. */
static const char *text_of(lr_bytes bytes, char *text, size_t text_bytes)
{
    size_t size = bytes.size_bytes < text_bytes ? bytes.size_bytes : text_bytes - 1;
    if (size) memcpy(text, bytes.at, size);
    text[size] = 0;
    return text;
}

static bool read_resources(lr_mesh *m, const char *text, lr_resources *out)
{
    char error[128];
    return lr_resources_parse(text, &m->names, out, error, sizeof error);
}

/* ---- crossings -------------------------------------------------------------------------------------- */

static lr_crossing *crossing_new(lr_mesh *m, lr_crossing_kind kind, lr_mesh_peer *peer, const lr_mesh_task *task)
{
    lr_crossing *c = m->allocator->allocate(m->allocator->user, sizeof *c);
    if (c) *c = (lr_crossing){.kind = kind, .task = *task, .peer = peer};
    return c;
}

static void free_ask(lr_mesh *m, lr_crossing *c)
{
    if (c->ask) m->allocator->release(m->allocator->user, c->ask, sizeof *c->ask);
    c->ask = NULL;
}

static void release(lr_mesh *m, lr_crossing *c)
{
    if (lr_link_in_list(&c->link)) lr_link_remove(&c->link);
    free_ask(m, c);
    m->allocator->release(m->allocator->user, c, sizeof *c);
}

static void forget(lr_mesh *m, lr_crossing *c)
{
    m->hooks.forget(m->hooks.user, c);
    release(m, c);
}

/* Takes any out of a map. */
static lr_crossing *any(lr_map *map)
{
    size_t position = 0;
    lr_crossing *c = map->slots ? lr_map_next(map, &position) : NULL;
    if (c) lr_map_remove(map, c->task.id);
    return c;
}

/* ---- brokers ---------------------------------------------------------------------------------------- */

/* Whom this node asks: itself, or one that its id picks among those that are there: rendezvous hashing (Thaler,
 * Ravishankar 1998). */
static void choose_broker(lr_mesh *m)
{
    uint64_t best = 0;
    m->asked = m->self.is_broker ? &m->self : NULL;
    if (m->asked) return;
    for (lr_link *l = lr_list_first(&m->brokers); l; l = lr_list_next(&m->brokers, l)) {
        lr_mesh_peer *p = LR_CONTAINER(l, lr_mesh_peer, broker_link);
        uint64_t rank = lr_mix64(id_of(p).lo ^ lr_mix64(id_of(&m->self).lo));
        if (!m->asked || rank > best) m->asked = p, best = rank;
    }
}

static void each_broker(lr_mesh *m, const lr_message *message)
{
    for (lr_link *l = lr_list_first(&m->brokers); l; l = lr_list_next(&m->brokers, l)) {
        lr_mesh_peer *p = LR_CONTAINER(l, lr_mesh_peer, broker_link);
        if (!is_self(m, p)) send(m, p, message);
    }
}

/* What was not used goes back to the broker that has taken it off the node's idle workers: another one would count
 * them twice, and this one would never again know of them. */
static void not_used(lr_mesh *m, lr_mesh_peer *to, lr_id by, uint32_t count)
{
    lr_mesh_peer *broker = find(m, by);
    lr_message unused = {.kind = LR_MESSAGE_UNUSED, .unused = {id_of(to), count}};
    if (broker && is_self(m, broker))
        lr_broker_unused(&m->broker, &m->self.node, &to->node, count);
    else if (broker)
        send(m, broker, &unused);
}

static void granted(lr_mesh *m, lr_mesh_peer *by, lr_mesh_peer *to, uint32_t count)
{
    if (to->granted > 0 && !lr_id_equal(to->granted_by, id_of(by))) {
        not_used(m, to, id_of(by), count);
        return;
    }
    to->granted_by = id_of(by);
    to->granted += count;
    if (!lr_link_in_list(&to->granted_link)) lr_list_append(&m->granted, &to->granted_link);
    m->left = true;
}

static void on_grant(void *user, lr_broker_node *from, lr_broker_node *to, uint32_t count)
{
    lr_mesh *m = user;
    lr_mesh_peer *source = peer_of(from), *target = peer_of(to);
    if (is_self(m, source)) {
        granted(m, source, target, count);
        return;
    }
    lr_message grant = {.kind = LR_MESSAGE_GRANT, .grant = {id_of(target), count}};
    send(m, source, &grant);
}

static void on_hungry(void *user, lr_broker_node *node)
{
    lr_mesh *m = user;
    lr_mesh_peer *p = peer_of(node);
    if (is_self(m, p)) {
        p->hungry = m->left = true;
        return;
    }
    lr_message hungry = {.kind = LR_MESSAGE_HUNGRY, .hungry.count = 1};
    send(m, p, &hungry);
}

/* The crossing is to be sent to the node that was found, when this call is over. */
static void settle(lr_mesh *m, lr_id task, lr_mesh_peer *on)
{
    lr_crossing *c = lr_map_find(&m->seeking, task);
    if (!c) return; /* cancelled meanwhile */
    c->peer = on;
    if (lr_link_in_list(&c->link)) lr_link_remove(&c->link);
    lr_list_append(&m->settled, &c->link);
    m->left = true;
}

static void on_placed(void *user, lr_broker_node *from, lr_id task, lr_broker_node *on)
{
    lr_mesh *m = user;
    lr_mesh_peer *p = peer_of(from);
    if (is_self(m, p)) {
        settle(m, task, peer_of(on));
        return;
    }
    lr_message placed = {.kind = LR_MESSAGE_PLACED, .placed = {task, on->place.id}};
    send(m, p, &placed);
}

static void fail(lr_mesh *m, lr_crossing *c, lr_err code, const char *why)
{
    m->stats.failed++;
    m->hooks.fail(m->hooks.user, c, code, why);
    release(m, c);
}

static void nowhere(lr_mesh *m, lr_id task, const char *why)
{
    lr_crossing *c = lr_map_take(&m->seeking, task);
    if (c) fail(m, c, LR_ERR_INFEASIBLE, why);
}

static void on_nowhere(void *user, lr_broker_node *from, lr_id task, const char *why)
{
    lr_mesh *m = user;
    lr_mesh_peer *p = peer_of(from);
    if (is_self(m, p)) {
        nowhere(m, task, why);
        return;
    }
    lr_message message = {.kind = LR_MESSAGE_NOWHERE, .nowhere = {task, {why, strlen(why)}}};
    send(m, p, &message);
}

/* The room that was kept for it is free. Any broker may have given it; the others do not know it. */
static void tell_done(lr_mesh *m, lr_id task)
{
    lr_message done = {.kind = LR_MESSAGE_DONE, .done.task = task};
    if (m->asked && !is_self(m, m->asked))
        send(m, m->asked, &done);
    else if (m->asked)
        lr_broker_done(&m->broker, task);
}

static void ask_broker(lr_mesh *m, lr_crossing *c)
{
    lr_mesh_peer *broker = m->asked;
    if (!broker) return; /* asked when one has come */
    if (is_self(m, broker)) {
        lr_broker_ask(&m->broker, &m->self.node, c->task.id, c->ask);
        return;
    }
    char need[512];
    size_t size = lr_resources_format(&c->ask->need, &m->names, need, sizeof need);
    lr_message place = {.kind = LR_MESSAGE_PLACE};
    place.place.task = c->task.id;
    place.place.need = (lr_bytes){need, size < sizeof need ? size : sizeof need - 1};
    place.place.affinity = c->ask->affinity;
    place.place.near = c->ask->near;
    place.place.near_bytes = c->ask->near_bytes;
    send(m, broker, &place);
}

static void no_such_node(lr_mesh *m, const lr_crossing *c)
{
    char text[128];
    lr_text t = lr_text_of(text, sizeof text);
    lr_text_string(&t, "node: ");
    lr_text_id(&t, c->ask->node);
    lr_text_string(&t, " asked, there is no such node (lr.nodes() lists them)");
    nowhere(m, c->task.id, text);
}

/* c, which asks, is in no map: to a node of its choice, or a broker is asked. */
static void seek(lr_mesh *m, lr_crossing *c)
{
    c->kind = LR_CROSSING_SEEKING;
    c->peer = NULL;
    if (!lr_map_add(&m->seeking, c->task.id, c, m->allocator)) {
        fail(m, c, LR_ERR_OUT_OF_MEMORY, "no memory to look for a node that could run it");
        return;
    }
    if (c->ask->affinity != LR_AFFINITY_NODE) {
        ask_broker(m, c);
        return;
    }
    lr_mesh_peer *p = find(m, c->ask->node);
    if (p) {
        settle(m, c->task.id, p);
        return;
    }
    if (!m->broker.expects) no_such_node(m, c); /* else it may be on its way */
}

/* ---- sending tasks ---------------------------------------------------------------------------------- */

static void run_here(lr_mesh *m, lr_crossing *c)
{
    m->stats.run_again++;
    m->hooks.run_here(m->hooks.user, c);
    release(m, c);
}

/* c is in no map and no list. */
static void send_away(lr_mesh *m, lr_mesh_peer *to, lr_crossing *c)
{
    if (is_self(m, to)) {
        if (c->ask) tell_done(m, c->task.id); /* its own scheduler counts from here on */
        run_here(m, c);
        return;
    }
    c->kind = LR_CROSSING_AWAY;
    c->peer = to;
    if (!lr_map_add(&to->away, c->task.id, c, m->allocator)) {
        run_here(m, c);
        return;
    }
    if (m->hooks.send_task(m->hooks.user, to, c)) {
        m->away_count++;
        m->stats.sent++;
        return;
    }
    lr_map_take(&to->away, c->task.id);
    if (c->ask) tell_done(m, c->task.id);
    forget(m, c);
}

/* Those whose node was lost go first. */
static size_t give_lost(lr_mesh *m, lr_mesh_peer *to, size_t max)
{
    size_t count = 0;
    lr_link *l;
    for (; count < max && (l = lr_list_pop(&m->lost)); count++) {
        m->lost_count--;
        send_away(m, to, LR_CONTAINER(l, lr_crossing, link));
    }
    return count;
}

void lr_mesh_give(lr_mesh *m, lr_mesh_peer *to, const lr_mesh_task *task)
{
    lr_crossing *c = crossing_new(m, LR_CROSSING_AWAY, to, task), none = {.kind = LR_CROSSING_AWAY, .task = *task};
    if (c)
        send_away(m, to, c);
    else
        m->hooks.run_here(m->hooks.user, &none);
}

static bool is_quiet(const lr_mesh *m) { return m->now_ns < m->quiet_until_ns; }

static void be_quiet(lr_mesh *m)
{
    m->quiet_ns = m->quiet_ns ? 2 * m->quiet_ns : QUIET_FIRST_NS;
    if (m->quiet_ns > QUIET_MOST_NS) m->quiet_ns = QUIET_MOST_NS;
    m->quiet_until_ns = m->now_ns + m->quiet_ns;
}

static void give(lr_mesh *m, lr_mesh_peer *to, uint32_t count)
{
    uint64_t before = m->stats.sent;
    give_lost(m, to, count);
    uint64_t sent = m->stats.sent - before;
    if (sent < count) m->hooks.take_left(m->hooks.user, to, (size_t)(count - sent));
    sent = m->stats.sent - before;
    if (sent > 0) m->quiet_ns = 0;
    if (sent == 0) be_quiet(m);
    if (sent < count) not_used(m, to, to->granted_by, (uint32_t)(count - sent));
}

/* A broker for which work is wanted: this node itself first. */
static lr_mesh_peer *hungry_broker(lr_mesh *m)
{
    if (m->self.hungry) return &m->self;
    for (lr_link *l = lr_list_first(&m->brokers); l; l = lr_list_next(&m->brokers, l)) {
        lr_mesh_peer *p = LR_CONTAINER(l, lr_mesh_peer, broker_link);
        if (p->hungry) return p;
    }
    return NULL;
}

/* Tells one hungry broker of what is left. */
static void offer(lr_mesh *m)
{
    lr_mesh_peer *broker = hungry_broker(m);
    if (!broker || (is_quiet(m) && lr_list_empty(&m->lost))) return;
    size_t count = m->lost_count + m->hooks.count_left(m->hooks.user);
    if (count == 0) return;
    broker->hungry = false;
    lr_message surplus = {.kind = LR_MESSAGE_SURPLUS, .surplus.count = count};
    if (is_self(m, broker))
        lr_broker_surplus(&m->broker, &m->self.node, bounded(count));
    else
        send(m, broker, &surplus);
}

/* What hooks of the broker, and calls in the midst of a call, have left to do. */
static void work_off(lr_mesh *m)
{
    if (m->busy) return;
    m->busy = true;
    while (m->left) {
        lr_link *l;
        m->left = false;
        while ((l = lr_list_pop(&m->settled))) {
            lr_crossing *c = LR_CONTAINER(l, lr_crossing, link);
            lr_map_take(&m->seeking, c->task.id);
            send_away(m, c->peer, c);
        }
        while ((l = lr_list_pop(&m->granted))) {
            lr_mesh_peer *p = LR_CONTAINER(l, lr_mesh_peer, granted_link);
            uint32_t count = p->granted;
            p->granted = 0;
            give(m, p, count);
        }
        offer(m);
    }
    m->busy = false;
}

void lr_mesh_left(lr_mesh *m)
{
    m->left = true;
    work_off(m);
}

void lr_mesh_idle(lr_mesh *m, uint32_t count)
{
    if (count == m->idle_told) return;
    m->idle_told = count;
    lr_message idle = {.kind = LR_MESSAGE_IDLE, .idle.count = count};
    each_broker(m, &idle);
    if (m->self.is_broker) lr_broker_idle(&m->broker, &m->self.node, count);
    work_off(m);
}

void lr_mesh_place(lr_mesh *m, const lr_mesh_task *task, const lr_place_ask *ask)
{
    lr_crossing *c = crossing_new(m, LR_CROSSING_SEEKING, NULL, task), none = {.task = *task};
    if (c) c->ask = m->allocator->allocate(m->allocator->user, sizeof *c->ask);
    if (!c || !c->ask) {
        if (c) release(m, c);
        m->hooks.fail(m->hooks.user, &none, LR_ERR_OUT_OF_MEMORY, "no memory to look for a node that could run it");
        return;
    }
    *c->ask = *ask;
    uint64_t deadline = task->deadline_ns;
    if (deadline && (!m->deadline_ns || deadline < m->deadline_ns)) m->deadline_ns = deadline;
    seek(m, c);
    work_off(m);
}

void lr_mesh_cancelled(lr_mesh *m, lr_mesh_peer *peer, lr_id task)
{
    lr_message cancel = {.kind = LR_MESSAGE_CANCEL, .cancel.task = task};
    if (peer) {
        send(m, peer, &cancel);
        return;
    }
    lr_crossing *c = lr_map_take(&m->seeking, task);
    if (!c) return;
    tell_done(m, task);
    forget(m, c);
    work_off(m);
}

/* ---- ends ------------------------------------------------------------------------------------------- */

lr_crossing *lr_mesh_result(lr_mesh *m, lr_mesh_peer *peer, lr_id task, uint32_t attempt)
{
    (void)m;
    lr_crossing *c = lr_map_find(attempt > 0 ? &peer->away : &peer->borrows, task);
    if (!c || (attempt > 0 && c->task.attempt != attempt)) return NULL; /* told before, or given up */
    return c;
}

void lr_mesh_over(lr_mesh *m, lr_crossing *c)
{
    bool away = c->kind == LR_CROSSING_AWAY;
    lr_map_take(away ? &c->peer->away : &c->peer->borrows, c->task.id);
    if (away) {
        m->away_count--;
        m->stats.came_back++;
        if (c->ask) tell_done(m, c->task.id);
    }
    forget(m, c);
    work_off(m);
}

lr_crossing *lr_mesh_guest(lr_mesh *m, lr_mesh_peer *peer, lr_id task, uint32_t attempt, void *runtime)
{
    lr_mesh_task record = {.id = task, .attempt = attempt, .runtime = runtime};
    lr_crossing *c = lr_map_find(&peer->guests, task) ? NULL : crossing_new(m, LR_CROSSING_GUEST, peer, &record);
    if (!c) return NULL;
    if (!lr_map_add(&peer->guests, task, c, m->allocator)) {
        release(m, c);
        return NULL;
    }
    if (m->idle_told > 0 && m->idle_told < UINT32_MAX) m->idle_told--; /* the broker has counted it too */
    m->guest_count++;
    m->stats.guests++;
    return c;
}

void lr_mesh_ended(lr_mesh *m, lr_crossing *c)
{
    if (c->peer) {
        m->hooks.send_end(m->hooks.user, c->peer, c);
        if (c->kind == LR_CROSSING_GUEST) lr_map_take(&c->peer->guests, c->task.id);
    }
    m->guest_count--;
    forget(m, c);
}

/* ---- futures in values ------------------------------------------------------------------------------ */

bool lr_mesh_lend(lr_mesh *m, lr_mesh_peer *peer, lr_id task, void *runtime)
{
    lr_crossing *c = lr_map_find(&peer->loans, task);
    if (c) {
        c->count++;
        return false;
    }
    lr_mesh_task record = {.id = task, .runtime = runtime};
    c = crossing_new(m, LR_CROSSING_LOAN, peer, &record);
    if (!c) return false; /* its WANT is answered by a failure */
    c->count = 1;
    if (lr_map_add(&peer->loans, task, c, m->allocator)) return true;
    release(m, c);
    return false;
}

static void take_want(lr_mesh *m, lr_mesh_peer *peer, lr_id task)
{
    lr_crossing *loan = lr_map_find(&peer->loans, task);
    lr_mesh_task record = {.id = task, .runtime = loan ? loan->task.runtime : NULL};
    lr_crossing *c = crossing_new(m, LR_CROSSING_WATCH, peer, &record);
    if (!c) return;
    m->guest_count++;
    lr_list_append(&peer->watches, &c->link);
    m->hooks.watch(m->hooks.user, c); /* takes what it needs of runtime; c may be gone */
    if (!loan || --loan->count > 0) return;
    lr_map_take(&peer->loans, task);
    forget(m, loan);
}

void *lr_mesh_borrowed(lr_mesh *m, lr_mesh_peer *peer, lr_id task)
{
    lr_message want = {.kind = LR_MESSAGE_WANT, .want.task = task};
    send(m, peer, &want); /* one for each time that it was lent */
    lr_crossing *c = lr_map_find(&peer->borrows, task);
    return c ? c->task.runtime : NULL;
}

bool lr_mesh_borrow(lr_mesh *m, lr_mesh_peer *peer, lr_id task, void *runtime)
{
    lr_mesh_task record = {.id = task, .runtime = runtime};
    lr_crossing *c = crossing_new(m, LR_CROSSING_BORROW, peer, &record);
    if (!c) return false;
    if (lr_map_add(&peer->borrows, task, c, m->allocator)) return true;
    release(m, c);
    return false;
}

void lr_mesh_each_away(lr_mesh *m, void (*look)(void *user, lr_mesh_peer *peer, lr_crossing *c), void *user)
{
    lr_mesh_peer *p;
    size_t position = 0;
    while (m->peers.slots && (p = lr_map_next(&m->peers, &position))) {
        lr_crossing *c;
        size_t at = 0;
        while (p->away.slots && (c = lr_map_next(&p->away, &at)))
            look(user, p, c);
        at = 0;
        while (p->borrows.slots && (c = lr_map_next(&p->borrows, &at)))
            look(user, p, c);
    }
    lr_crossing *c;
    for (;;) { /* a look may let go of it: then again from the start */
        size_t at = 0, count = m->seeking.count;
        while (m->seeking.slots && count == m->seeking.count && (c = lr_map_next(&m->seeking, &at)))
            look(user, NULL, c);
        if (count == m->seeking.count) return;
    }
}

/* ---- messages --------------------------------------------------------------------------------------- */

static void take_place(lr_mesh *m, lr_mesh_peer *peer, const lr_message *message)
{
    char text[512];
    lr_place_ask ask = {.near = message->place.near, .near_bytes = message->place.near_bytes};
    if (message->place.affinity == LR_AFFINITY_SPREAD) ask.affinity = LR_AFFINITY_SPREAD;
    if (read_resources(m, text_of(message->place.need, text, sizeof text), &ask.need))
        lr_broker_ask(&m->broker, &peer->node, message->place.task, &ask);
    else
        on_nowhere(m, &peer->node, message->place.task, "the cluster has too many names of resources for one more");
}

static void take_free(lr_mesh *m, lr_mesh_peer *peer, const lr_message *message)
{
    char text[512];
    lr_resources free;
    if (!read_resources(m, text_of(message->free.resources, text, sizeof text), &free)) return;
    peer->node.place.free = free;
    lr_broker_node_changed(&m->broker);
}

static void take_grant(lr_mesh *m, lr_mesh_peer *from, const lr_message *message)
{
    lr_mesh_peer *to = find(m, message->grant.node);
    uint32_t count = bounded(message->grant.count);
    if (to && !is_self(m, to)) {
        granted(m, from, to, count);
        return;
    }
    be_quiet(m); /* it is gone, or not known here yet */
    lr_message unused = {.kind = LR_MESSAGE_UNUSED, .unused = {message->grant.node, count}};
    send(m, from, &unused);
}

static void take_placed(lr_mesh *m, lr_mesh_peer *from, const lr_message *message)
{
    lr_mesh_peer *on = find(m, message->placed.node);
    lr_crossing *c = lr_map_find(&m->seeking, message->placed.task);
    lr_message done = {.kind = LR_MESSAGE_DONE, .done.task = message->placed.task};
    if (on && c) {
        settle(m, c->task.id, on);
        return;
    }
    send(m, from, &done);
    if (c) ask_broker(m, c); /* the node is gone, or not known yet */
}

static void take_unused(lr_mesh *m, lr_mesh_peer *from, const lr_message *message)
{
    lr_mesh_peer *to = find(m, message->unused.node);
    uint64_t count = message->unused.count;
    if (to && count <= 1u << 20) lr_broker_unused(&m->broker, &from->node, &to->node, (uint32_t)count);
}

/* What only a broker is sent. */
static bool to_broker(lr_mesh *m, lr_mesh_peer *peer, const lr_message *message)
{
    switch ((int)message->kind) {
    case LR_MESSAGE_IDLE: lr_broker_idle(&m->broker, &peer->node, bounded(message->idle.count)); return true;
    case LR_MESSAGE_SURPLUS: lr_broker_surplus(&m->broker, &peer->node, bounded(message->surplus.count)); return true;
    case LR_MESSAGE_FREE: take_free(m, peer, message); return true;
    case LR_MESSAGE_UNUSED: take_unused(m, peer, message); return true;
    case LR_MESSAGE_PLACE: take_place(m, peer, message); return true;
    case LR_MESSAGE_DONE: lr_broker_done(&m->broker, message->done.task); return true;
    default: return false;
    }
}

static void take_cancel(lr_mesh *m, lr_mesh_peer *peer, lr_id task)
{
    lr_crossing *c = lr_map_find(&peer->guests, task);
    for (lr_link *l = lr_list_first(&peer->watches); l && !c; l = lr_list_next(&peer->watches, l)) {
        lr_crossing *watch = LR_CONTAINER(l, lr_crossing, link);
        if (lr_id_equal(watch->task.id, task)) c = watch; /* one of ours, by a future that was lent */
    }
    if (c) m->hooks.stop(m->hooks.user, c);
}

bool lr_mesh_message(lr_mesh *m, lr_mesh_peer *peer, const lr_message *message)
{
    char text[256];
    bool known = true;
    switch ((int)message->kind) {
    case LR_MESSAGE_HUNGRY: peer->hungry = m->left = true; break;
    case LR_MESSAGE_GRANT: take_grant(m, peer, message); break;
    case LR_MESSAGE_PLACED: take_placed(m, peer, message); break;
    case LR_MESSAGE_NOWHERE: nowhere(m, message->nowhere.task, text_of(message->nowhere.why, text, sizeof text)); break;
    case LR_MESSAGE_WANT: take_want(m, peer, message->want.task); break;
    case LR_MESSAGE_CANCEL: take_cancel(m, peer, message->cancel.task); break;
    default: known = to_broker(m, peer, message);
    }
    work_off(m);
    return known;
}

/* ---- peers ------------------------------------------------------------------------------------------ */

static void peer_init(lr_mesh_peer *p, lr_id node, bool is_broker, void *runtime)
{
    *p = (lr_mesh_peer){.is_broker = is_broker, .runtime = runtime}; /* zeros else */
    p->node.place.id = node;
    lr_list_init(&p->watches);
}

/* Tasks that seek, after a node has come, or no more will: those bound to it go there, those bound to one that is not
 * there fail, the others ask (again, where they have asked a broker that is gone). */
static void seek_again(lr_mesh *m, bool ask)
{
    lr_crossing *c, *unbound;
    do {
        size_t position = 0;
        unbound = NULL;
        while (m->seeking.slots && (c = lr_map_next(&m->seeking, &position))) {
            if (c->peer) continue;
            bool bound = c->ask->affinity == LR_AFFINITY_NODE;
            lr_mesh_peer *p = bound ? find(m, c->ask->node) : NULL;
            if (p) settle(m, c->task.id, p);
            if (bound && !p && !m->broker.expects) unbound = c;
            if (!bound && ask) ask_broker(m, c);
        }
        if (unbound) no_such_node(m, unbound);
        ask = false; /* once is enough */
    } while (unbound);
}

lr_mesh_peer *lr_mesh_peer_up(lr_mesh *m, lr_id node, bool is_broker, const char *offers, void *runtime)
{
    lr_resources total;
    if (find(m, node) || !read_resources(m, offers, &total)) return NULL;
    bool had_broker = m->asked != NULL;
    lr_mesh_peer *p = m->allocator->allocate(m->allocator->user, sizeof *p);
    if (!p) return NULL;
    peer_init(p, node, is_broker, runtime);
    p->node.place.total = p->node.place.free = total;
    if (!lr_broker_node_up(&m->broker, &p->node)) {
        m->allocator->release(m->allocator->user, p, sizeof *p);
        return NULL;
    }
    if (!lr_map_add(&m->peers, node, p, m->allocator)) {
        lr_broker_node_down(&m->broker, &p->node);
        m->allocator->release(m->allocator->user, p, sizeof *p);
        return NULL;
    }
    if (is_broker) lr_list_append(&m->brokers, &p->broker_link);
    choose_broker(m);
    lr_message idle = {.kind = LR_MESSAGE_IDLE, .idle.count = m->idle_told};
    if (is_broker && m->idle_told > 0 && m->idle_told < UINT32_MAX) send(m, p, &idle);
    seek_again(m, !had_broker);
    m->left = true;
    work_off(m);
    return p;
}

static bool anybody_left(const lr_mesh *m) { return m->peers.count > 1 || m->broker.expects; }

/* Its node was lost. */
static void come_back(lr_mesh *m, lr_crossing *c, const char *why)
{
    char text[400];
    m->away_count--;
    m->stats.lost++;
    c->peer = NULL;
    if (m->ending) {
        fail(m, c, LR_ERR_CANCELLED, "the job has ended");
        return;
    }
    if (c->task.attempt > c->task.retries) {
        lr_text t = lr_text_of(text, sizeof text);
        lr_text_u64(&t, c->task.attempt);
        lr_text_string(&t, c->task.attempt == 1 ? " node was" : " nodes were");
        lr_text_string(&t, " lost while they ran it; the last one: ");
        lr_text_string(&t, why);
        fail(m, c, LR_ERR_NODE_DIED, text);
        return;
    }
    c->task.attempt++;
    if (c->ask) {
        seek(m, c);
        return;
    }
    c->kind = LR_CROSSING_LOST;
    lr_list_append(&m->lost, &c->link);
    m->lost_count++;
    m->left = true;
}

/* Nobody is left that could take them. */
static void settle_lost(lr_mesh *m)
{
    lr_link *l;
    if (anybody_left(m) || m->ending) return;
    while ((l = lr_list_pop(&m->lost))) {
        lr_crossing *c = LR_CONTAINER(l, lr_crossing, link);
        m->lost_count--;
        if (c->task.risky)
            fail(m, c, LR_ERR_NODE_DIED, "its node was lost, and no other is left to run it");
        else
            run_here(m, c);
    }
}

static void drop_guests(lr_mesh *m, lr_mesh_peer *p)
{
    lr_crossing *c;
    lr_link *l;
    while ((c = any(&p->guests))) {
        c->peer = NULL; /* its end is still to come, and goes nowhere */
        m->hooks.stop(m->hooks.user, c);
    }
    while ((l = lr_list_pop(&p->watches)))
        LR_CONTAINER(l, lr_crossing, link)->peer = NULL;
    while ((c = any(&p->loans)))
        forget(m, c);
}

void lr_mesh_peer_down(lr_mesh *m, lr_mesh_peer *p, const char *why)
{
    lr_crossing *c;
    lr_map_take(&m->peers, id_of(p));
    lr_broker_node_down(&m->broker, &p->node);
    if (p->is_broker) lr_link_remove(&p->broker_link);
    if (lr_link_in_list(&p->granted_link)) lr_link_remove(&p->granted_link);
    bool asked = m->asked == p;
    choose_broker(m);
    m->idle_told = UINT32_MAX; /* a grant to this node may have died with it */
    drop_guests(m, p);
    for (lr_link *l = lr_list_first(&m->settled), *next; l; l = next) {
        next = lr_list_next(&m->settled, l);
        c = LR_CONTAINER(l, lr_crossing, link);
        if (c->peer != p) continue;
        lr_link_remove(l);
        lr_map_take(&m->seeking, c->task.id);
        seek(m, c);
    }
    while ((c = any(&p->away)))
        come_back(m, c, why);
    while ((c = any(&p->borrows)))
        fail(m, c, LR_ERR_NODE_DIED, "the node that had the value is gone");
    if (asked && m->asked) seek_again(m, true);
    settle_lost(m);
    lr_map_free(&p->away, m->allocator);
    lr_map_free(&p->guests, m->allocator);
    lr_map_free(&p->loans, m->allocator);
    lr_map_free(&p->borrows, m->allocator);
    m->allocator->release(m->allocator->user, p, sizeof *p);
    work_off(m);
}

void lr_mesh_expect(lr_mesh *m, bool more)
{
    lr_broker_expect(&m->broker, more);
    if (!more) {
        seek_again(m, false);
        settle_lost(m);
    }
    work_off(m);
}

void lr_mesh_free(lr_mesh *m, const char *free)
{
    lr_resources now;
    if (!read_resources(m, free, &now) || lr_resources_equal(&now, &m->self.node.place.free)) return;
    m->self.node.place.free = now;
    lr_message message = {.kind = LR_MESSAGE_FREE, .free.resources = {free, strlen(free)}};
    each_broker(m, &message);
    lr_broker_node_changed(&m->broker);
    work_off(m);
}

/* ---- life ------------------------------------------------------------------------------------------- */

/* One of those that seek whose time is over, or NULL; then deadline_ns is that of the first of the others. */
static lr_crossing *late(lr_mesh *m)
{
    lr_crossing *c;
    size_t position = 0;
    m->deadline_ns = 0;
    while (m->seeking.slots && (c = lr_map_next(&m->seeking, &position))) {
        uint64_t deadline = c->task.deadline_ns;
        if (deadline == 0) continue;
        if (deadline <= m->now_ns) return c;
        if (!m->deadline_ns || deadline < m->deadline_ns) m->deadline_ns = deadline;
    }
    return NULL;
}

void lr_mesh_now(lr_mesh *m, uint64_t now_ns)
{
    lr_crossing *c;
    m->now_ns = now_ns;
    while (m->deadline_ns && m->deadline_ns <= now_ns && (c = late(m))) {
        m->deadline_ns = 1; /* look again */
        lr_map_take(&m->seeking, c->task.id);
        tell_done(m, c->task.id);
        fail(m, c, LR_ERR_DEADLINE, "no node had room for it in time");
    }
}

uint64_t lr_mesh_deadline(const lr_mesh *m)
{
    uint64_t quiet = is_quiet(m) ? m->quiet_until_ns : UINT64_MAX;
    return m->deadline_ns && m->deadline_ns < quiet ? m->deadline_ns : quiet;
}

bool lr_mesh_init(lr_mesh *m, lr_id self, bool is_broker, const char *offers, const lr_allocator *a,
                  const lr_mesh_hooks *hooks, uint64_t seed)
{
    const lr_broker_hooks broker = {on_grant, on_hungry, on_placed, on_nowhere, m};
    *m = (lr_mesh){.hooks = *hooks, .allocator = a};
    lr_resource_names_init(&m->names);
    lr_list_init(&m->settled);
    lr_list_init(&m->lost);
    lr_list_init(&m->brokers);
    lr_list_init(&m->granted);
    peer_init(&m->self, self, false, NULL);
    if (!read_resources(m, offers, &m->self.node.place.total)) return false;
    m->self.node.place.free = m->self.node.place.total;
    lr_broker_init(&m->broker, a, &m->names, &broker, seed);
    if (is_broker) lr_mesh_become_broker(m);
    return lr_broker_node_up(&m->broker, &m->self.node) && lr_map_add(&m->peers, self, &m->self, a);
}

void lr_mesh_become_broker(lr_mesh *m)
{
    m->self.is_broker = true;
    if (!lr_link_in_list(&m->self.broker_link)) lr_list_append(&m->brokers, &m->self.broker_link);
    choose_broker(m);
}

void lr_mesh_fini(lr_mesh *m)
{
    lr_mesh_peer *p;
    lr_crossing *c;
    lr_link *l;
    m->busy = m->ending = true; /* nothing goes out any more */
    do { /* those but this node itself */
        size_t position = 0;
        p = m->peers.slots ? lr_map_next(&m->peers, &position) : NULL;
        if (p && is_self(m, p)) p = lr_map_next(&m->peers, &position);
        if (p) lr_mesh_peer_down(m, p, "the job has ended");
    } while (p);
    while ((l = lr_list_pop(&m->settled)))
        LR_CONTAINER(l, lr_crossing, link)->peer = NULL; /* still among those that seek */
    while ((c = any(&m->seeking)))
        fail(m, c, LR_ERR_CANCELLED, "the job has ended");
    while ((l = lr_list_pop(&m->lost))) /* where the last peer was gone before */
        fail(m, LR_CONTAINER(l, lr_crossing, link), LR_ERR_CANCELLED, "the job has ended");
    lr_map_free(&m->peers, m->allocator);
    lr_map_free(&m->seeking, m->allocator);
    lr_broker_fini(&m->broker);
}
