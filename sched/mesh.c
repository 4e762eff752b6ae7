#include "sched/mesh.h"

#include "sched/fault.h"

#define QUIET_FIRST_NS 100000u
#define QUIET_MOST_NS 1000000u
#define PAUSE_FIRST_NS 100000u
#define PAUSE_MOST_NS 100000000u
#define TRIES_MOST 4        /* connections that failed, for a task that is bound to a node */
#define TRIES_MOST_FREE 16  /* for another one, each time to another node */

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

static lr_bytes address_of(const lr_mesh *m, const lr_mesh_peer *p)
{
    const char *text = is_self(m, p) ? "" : m->hooks.address(m->hooks.user, p);
    return (lr_bytes){text, strlen(text)};
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
    if (c) *c = (lr_crossing){.kind = kind, .task = *task, .peer = peer, .serial = ++m->serial};
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

/* By this node's own broker. */
static void granted(lr_mesh *m, lr_mesh_peer *to, uint32_t count)
{
    to->granted += count;
    if (!lr_link_in_list(&to->granted_link)) lr_list_append(&m->granted, &to->granted_link);
    m->left = true;
}

static void on_grant(void *user, lr_broker_node *from, lr_broker_node *to, uint32_t count)
{
    lr_mesh *m = user;
    lr_mesh_peer *source = peer_of(from), *target = peer_of(to);
    if (is_self(m, source)) {
        granted(m, target, count);
        return;
    }
    lr_message grant = {.kind = LR_MESSAGE_GRANT, .grant = {id_of(target), count, address_of(m, target)}};
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
    lr_message placed = {.kind = LR_MESSAGE_PLACED, .placed = {task, on->place.id, address_of(m, peer_of(on))}};
    send(m, p, &placed);
}

static const char nobody_left[] = "its node was lost, and no other is left to run it";

static void fail(lr_mesh *m, lr_crossing *c, lr_err code, const char *why)
{
    m->stats.failed++;
    m->hooks.fail(m->hooks.user, c, code, why);
    release(m, c);
}

static void ask_broker(lr_mesh *m, lr_mesh_peer *broker, lr_crossing *c)
{
    c->broker = id_of(broker);
    if (is_self(m, broker)) {
        lr_broker_ask(&m->broker, &m->self.node, c->task.id, c->ask); /* c may be gone */
        return;
    }
    char need[512];
    size_t size = lr_resources_format(&c->ask->need, &m->names, need, sizeof need);
    bool bound = c->ask->affinity == LR_AFFINITY_NODE;
    lr_message place = {.kind = LR_MESSAGE_PLACE};
    place.place.task = c->task.id;
    place.place.need = (lr_bytes){need, size < sizeof need ? size : sizeof need - 1};
    place.place.affinity = c->ask->affinity;
    place.place.near = bound ? c->ask->node : c->ask->near;
    place.place.near_bytes = c->ask->near_bytes;
    place.place.risky = c->ask->risky;
    send(m, broker, &place);
}

/* The broker behind one in the list, which is a ring here; NULL: there is none. */
static lr_mesh_peer *broker_behind(lr_mesh *m, lr_mesh_peer *p)
{
    lr_link *l = lr_link_in_list(&p->broker_link) ? lr_list_next(&m->brokers, &p->broker_link) : NULL;
    if (!l) l = lr_list_first(&m->brokers);
    return l ? LR_CONTAINER(l, lr_mesh_peer, broker_link) : NULL;
}

static uint32_t broker_count(lr_mesh *m)
{
    uint32_t count = 0;
    for (lr_link *l = lr_list_first(&m->brokers); l; l = lr_list_next(&m->brokers, l))
        count++;
    return count;
}

/* A broker may know less than others: it has come just now, or a link of its was cut. All are asked before a task
 * fails; the driver, which knows every node, is one of them. */
static void nowhere(lr_mesh *m, lr_mesh_peer *from, lr_id task, const char *why)
{
    lr_crossing *c = lr_map_find(&m->seeking, task);
    if (!c || !lr_id_equal(c->broker, id_of(from))) return;
    lr_mesh_peer *next = broker_behind(m, from);
    c->broker = LR_ID_NIL;
    if (!LR_FAULT(FIRST_NO_STANDS) && ++c->count < broker_count(m) && next && !is_self(m, next)) {
        ask_broker(m, next, c);
        return;
    }
    lr_map_take(&m->seeking, task);
    if (c->ask->risky)
        fail(m, c, LR_ERR_NODE_DIED, nobody_left);
    else
        fail(m, c, LR_ERR_INFEASIBLE, why);
}

static void on_nowhere(void *user, lr_broker_node *from, lr_id task, const char *why)
{
    lr_mesh *m = user;
    lr_mesh_peer *p = peer_of(from);
    if (is_self(m, p)) {
        nowhere(m, p, task, why);
        return;
    }
    lr_message message = {.kind = LR_MESSAGE_NOWHERE, .nowhere = {task, {why, strlen(why)}}};
    send(m, p, &message);
}

/* The room that was kept for it is free. Where a younger one of its id has asked the same broker since, that has been
 * understood already, and DONE would mean the younger. */
static void tell_done(lr_mesh *m, lr_crossing *c)
{
    lr_message done = {.kind = LR_MESSAGE_DONE, .done.task = c->task.id};
    lr_mesh_peer *broker = lr_id_is_nil(c->broker) ? NULL : find(m, c->broker);
    const lr_crossing *younger = lr_map_find(&m->seeking, c->task.id);
    if (younger && younger != c && lr_id_equal(younger->broker, c->broker)) broker = NULL;
    c->broker = LR_ID_NIL;
    if (broker && is_self(m, broker))
        lr_broker_done(&m->broker, &m->self.node, c->task.id);
    else if (broker && !LR_FAULT(DONE_LOST))
        send(m, broker, &done);
}

static void ask_later(lr_mesh *m, lr_crossing *c)
{
    lr_list_append(&m->paused, &c->link);
}

/* For its own node, where it is bound to one, or of a broker. */
static void ask(lr_mesh *m, lr_crossing *c)
{
    bool bound = c->ask->affinity == LR_AFFINITY_NODE;
    lr_mesh_peer *p = bound ? find(m, c->ask->node) : NULL;
    lr_way *w = bound ? lr_ways_find(&m->ways, c->ask->node) : NULL;
    if (LR_FAULT(WRONG_NODE) && p) p = lr_map_next(&m->peers, &(size_t){0});
    if (p)
        settle(m, c->task.id, p);
    else if (w)
        lr_list_append(&w->waiting, &c->link);
    else if (m->asked)
        ask_broker(m, m->asked, c);
    else
        ask_later(m, c); /* until a broker has come */
}

/* Of two with one id the older: it is of a run that is not wanted any more. */
static void let_go(lr_mesh *m, lr_crossing *c)
{
    tell_done(m, c);
    forget(m, c);
}

/* c, which asks and is in no map: it is asked for when this call is over. */
static void seek(lr_mesh *m, lr_crossing *c)
{
    lr_crossing *other = lr_map_find(&m->seeking, c->task.id);
    c->kind = LR_CROSSING_SEEKING;
    c->peer = NULL;
    c->count = 0;
    if (other && other->serial > c->serial) {
        let_go(m, c);
        return;
    }
    if (other) {
        lr_map_take(&m->seeking, c->task.id);
        let_go(m, other);
    }
    if (!lr_map_add(&m->seeking, c->task.id, c, m->allocator)) {
        fail(m, c, LR_ERR_OUT_OF_MEMORY, "no memory to look for a node that could run it");
        return;
    }
    lr_list_append(&m->unasked, &c->link);
    m->left = true;
}

/* One of those that seek, from the start. */
static void seek_again(lr_mesh *m, lr_crossing *c)
{
    tell_done(m, c);
    if (lr_link_in_list(&c->link)) lr_link_remove(&c->link);
    c->peer = NULL;
    c->count = 0;
    lr_list_append(&m->unasked, &c->link);
    m->left = true;
}

/* A node was named that is gone, or not known here yet: it is asked again after a pause, or when a node has come. */
static void pause(lr_mesh *m, lr_crossing *c)
{
    tell_done(m, c);
    c->count = 0;
    ask_later(m, c);
    if (m->ask_again_ns) return;
    m->pause_ns = m->pause_ns ? 2 * m->pause_ns : PAUSE_FIRST_NS;
    if (m->pause_ns > PAUSE_MOST_NS) m->pause_ns = PAUSE_MOST_NS;
    m->ask_again_ns = m->now_ns + m->pause_ns;
}

static void end_pause(lr_mesh *m)
{
    lr_link *l;
    m->ask_again_ns = 0;
    while ((l = lr_list_pop(&m->paused))) {
        lr_list_append(&m->unasked, l);
        m->left = true;
    }
}

/* ---- sending tasks ---------------------------------------------------------------------------------- */

static bool is_script(const lr_mesh *m) { return m->self.node.place.spared; }

/* Has come back to this node's queue from one that was lost. What the script's process has taken back is its own. */
static bool is_suspect(const lr_mesh *m, const lr_mesh_task *task)
{
    return task->risky && task->attempt > 1 && !is_script(m);
}

static void run_here(lr_mesh *m, lr_crossing *c)
{
    m->stats.run_again++;
    m->hooks.run_here(m->hooks.user, c);
    release(m, c);
}

static void wait_or_run_here(lr_mesh *m, lr_crossing *c)
{
    if (!c->ask) {
        run_here(m, c);
        return;
    }
    c->peer = NULL;
    if (!lr_map_add(&m->seeking, c->task.id, c, m->allocator)) {
        tell_done(m, c);
        fail(m, c, LR_ERR_OUT_OF_MEMORY, "no memory to look for a node that could run it");
        return;
    }
    pause(m, c);
}

/* Somebody else who could run a task, now or soon. */
static bool anybody_left(const lr_mesh *m)
{
    const lr_mesh_peer *p;
    size_t position = 0;
    while (m->peers.slots && (p = lr_map_next(&m->peers, &position)))
        if (!is_self(m, p) && p->node.place.total.amount[LR_RESOURCE_CPU] > 0) return true;
    return m->broker.expects;
}

/* c is in no map and no list. */
static void send_away(lr_mesh *m, lr_mesh_peer *to, lr_crossing *c)
{
    if (is_self(m, to)) {
        tell_done(m, c); /* its own scheduler counts from here on */
        run_here(m, c);
        return;
    }
    if (lr_map_find(&to->away, c->task.id)) { /* an older one, which the peer is being told to stop */
        wait_or_run_here(m, c);
        return;
    }
    c->kind = LR_CROSSING_AWAY;
    c->peer = to;
    if (!lr_map_add(&to->away, c->task.id, c, m->allocator)) {
        tell_done(m, c);
        run_here(m, c);
        return;
    }
    if (m->hooks.send_task(m->hooks.user, to, c)) {
        m->away_count++;
        m->stats.sent++;
        return;
    }
    lr_map_take(&to->away, c->task.id);
    tell_done(m, c);
    forget(m, c);
}

/* A broker knows who is left; an ordinary node does not, and asks one, as for a task that needs a cpu. So does whoever
 * has lost a risky one: a grant says nothing of the tasks that it is for. */
static void lose(lr_mesh *m, lr_crossing *c)
{
    if (!c->ask && m->asked && (c->task.risky || !m->self.is_broker)) {
        c->ask = m->allocator->allocate(m->allocator->user, sizeof *c->ask);
        if (c->ask) *c->ask = (lr_place_ask){.need.amount[LR_RESOURCE_CPU] = LR_AMOUNT_ONE};
    }
    if (c->ask) {
        c->ask->risky = c->task.risky;
        tell_done(m, c);
        seek(m, c);
        return;
    }
    c->kind = LR_CROSSING_LOST;
    lr_list_append(&m->lost, &c->link);
    m->lost_count++;
    m->left = true;
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
    if (c && is_suspect(m, task) && to->node.place.spared)
        lose(m, c);
    else if (c)
        send_away(m, to, c);
    else
        m->hooks.run_here(m->hooks.user, &none);
}

static void not_used(lr_mesh *m, lr_mesh_peer *broker, lr_mesh_peer *to, uint32_t count)
{
    lr_message unused = {.kind = LR_MESSAGE_UNUSED, .unused = {id_of(to), count}};
    if (is_self(m, broker))
        lr_broker_unused(&m->broker, &m->self.node, &to->node, count);
    else
        send(m, broker, &unused);
}

static bool is_quiet(const lr_mesh *m) { return m->now_ns < m->quiet_until_ns; }

static void be_quiet(lr_mesh *m)
{
    m->quiet_ns = m->quiet_ns ? 2 * m->quiet_ns : QUIET_FIRST_NS;
    if (m->quiet_ns > QUIET_MOST_NS) m->quiet_ns = QUIET_MOST_NS;
    m->quiet_until_ns = LR_FAULT(NEVER_QUIET) ? 0 : m->now_ns + m->quiet_ns;
}

/* What that broker has granted. What is not used goes back to it, for it has taken it off the node's idle workers:
 * another one would count them twice, and this one would never again know of them. */
static void give(lr_mesh *m, lr_mesh_peer *broker, lr_mesh_peer *to, uint32_t count)
{
    uint64_t before = m->stats.sent;
    give_lost(m, to, count);
    uint64_t sent = m->stats.sent - before;
    if (sent < count) m->hooks.take_left(m->hooks.user, to, (size_t)(count - sent));
    sent = m->stats.sent - before;
    if (sent > 0) m->quiet_ns = 0;
    if (sent == 0) be_quiet(m);
    if (sent < count) not_used(m, broker, to, (uint32_t)(count - sent));
}

/* The broker that this node asks, where work is wanted for it. Not the others: who is idle has told them all, and two
 * brokers that gave to the same idle node at once would have tasks wait there while another one sleeps. */
static lr_mesh_peer *hungry_broker(lr_mesh *m)
{
    if (LR_FAULT(HUNGER_LOST)) return NULL;
    return m->asked && m->asked->hungry ? m->asked : NULL;
}

/* What was granted to it may have been lost on the way. */
static void ask_whether_idle(lr_mesh *m, lr_mesh_peer *p)
{
    const lr_message again = {.kind = LR_MESSAGE_AGAIN, .again.count = 1};
    if (!LR_FAULT(GRANT_DIES)) send(m, p, &again);
}

/* ---- nodes that are not connected ------------------------------------------------------------------- */

static void tell_reach(lr_mesh *m, lr_way *w, bool able)
{
    lr_message reach = {.kind = LR_MESSAGE_REACH, .reach = {w->node, able}};
    if (w->told != able) return; /* as they know */
    w->told = !able;
    each_broker(m, &reach);
    lr_broker_reach(&m->broker, &m->self.node, w->node, able);
}

/* A link is gone, and tasks with it: its other end may live, and may not have heard of them. */
static void tell_lost(lr_mesh *m, const lr_mesh_peer *p)
{
    lr_message reach = {.kind = LR_MESSAGE_REACH, .reach = {id_of(p), 2}};
    if (p->away.count > 0) each_broker(m, &reach);
}

/* What was granted goes back. */
static void give_back(lr_mesh *m, lr_id broker, lr_id to, uint32_t count)
{
    lr_mesh_peer *b = find(m, broker);
    lr_message unused = {.kind = LR_MESSAGE_UNUSED, .unused = {to, count}};
    be_quiet(m);
    if (b && count > 0 && !LR_FAULT(GRANT_KEPT)) send(m, b, &unused);
}

static void unreachable(lr_mesh *m, lr_crossing *c, const lr_way *w, const char *why)
{
    char text[400];
    lr_text t = lr_text_of(text, sizeof text);
    lr_text_string(&t, "node ");
    lr_text_id(&t, w->node);
    lr_text_string(&t, " was to run it, and this node (");
    lr_text_id(&t, id_of(&m->self));
    lr_text_string(&t, ") cannot connect to it at ");
    lr_text_string(&t, w->address);
    lr_text_string(&t, ", tried ");
    lr_text_u64(&t, c->tries);
    lr_text_string(&t, " times: ");
    lr_text_string(&t, why);
    lr_map_take(&m->seeking, c->task.id);
    tell_done(m, c);
    fail(m, c, LR_ERR_UNREACHABLE, text);
}

/* Those that were placed there: to be asked for again, or to wait for the next try, or too often tried. */
static void way_is_closed(lr_mesh *m, lr_way *w, const char *why)
{
    lr_list waiting;
    lr_link *l;
    lr_list_init(&waiting);
    while ((l = lr_list_pop(&w->waiting)))
        lr_list_append(&waiting, l);
    while ((l = lr_list_pop(&waiting))) {
        lr_crossing *c = LR_CONTAINER(l, lr_crossing, link);
        bool bound = c->ask->affinity == LR_AFFINITY_NODE;
        if (++c->tries >= (bound ? TRIES_MOST : TRIES_MOST_FREE) && !LR_FAULT(TRIED_FOR_EVER))
            unreachable(m, c, w, why);
        else if (bound)
            lr_list_append(&w->waiting, l);
        else if (!LR_FAULT(WAY_FORGETS))
            seek_again(m, c);
    }
}

static void way_failed(lr_mesh *m, lr_way *w, const char *why)
{
    uint32_t granted = w->granted;
    bool wanted = granted > 0 || !lr_list_empty(&w->waiting);
    lr_way_failed(&m->ways, w, m->now_ns);
    w->granted = 0;
    if (wanted) tell_reach(m, w, false); /* first: else it is named again at once */
    if (granted > 0) give_back(m, w->granted_by, w->node, granted);
    way_is_closed(m, w, why);
}

static void try_way(lr_mesh *m, lr_way *w)
{
    lr_way_try(&m->ways, w, m->now_ns);
    const char *why = m->hooks.reach(m->hooks.user, w->node, w->address);
    if (why) way_failed(m, w, why);
}

/* Its try has taken too long, or its pause is over. */
static void way_due(lr_mesh *m, lr_way *w)
{
    if (w->trying) {
        way_failed(m, w, "no answer in time");
    } else if (!lr_list_empty(&w->waiting) || (w->kept && w->tries < LR_WAY_KEPT_TRIES)) {
        try_way(m, w);
    } else {
        tell_reach(m, w, true);
        lr_ways_drop(&m->ways, w);
    }
}

/* A way to a node that is not connected: there already, or new and being tried. NULL: no memory. */
static lr_way *way_to(lr_mesh *m, lr_id node, const char *address, size_t address_bytes)
{
    lr_way *w = lr_ways_find(&m->ways, node);
    if (w) return w;
    w = lr_ways_add(&m->ways, node, address, address_bytes, m->now_ns);
    if (w) try_way(m, w);
    return w;
}

void lr_mesh_reach(lr_mesh *m, lr_id node, const char *address, bool broker)
{
    lr_way *w = find(m, node) ? NULL : way_to(m, node, address, strlen(address));
    if (w) w->kept |= broker;
    work_off(m);
}

void lr_mesh_unreached(lr_mesh *m, lr_id node, const char *why)
{
    lr_way *w = lr_ways_find(&m->ways, node);
    if (w && w->trying) way_failed(m, w, why);
    work_off(m);
}

/* The link is there: what has waited for it goes. */
static void way_is_open(lr_mesh *m, lr_mesh_peer *p)
{
    lr_way *w = lr_ways_find(&m->ways, id_of(p));
    lr_link *l;
    if (!w) return;
    while ((l = lr_list_pop(&w->waiting))) {
        LR_CONTAINER(l, lr_crossing, link)->peer = p;
        lr_list_append(&m->settled, l);
    }
    lr_mesh_peer *broker = w->granted > 0 ? find(m, w->granted_by) : NULL;
    uint32_t granted = w->granted;
    tell_reach(m, w, true);
    lr_ways_drop(&m->ways, w);
    if (broker) give(m, broker, p, granted);
}

/* A broker's link was lost: it is made again, should that live. */
static void keep_way(lr_mesh *m, const lr_mesh_peer *p)
{
    lr_bytes address = address_of(m, p);
    if (!p->is_broker || address.size_bytes == 0 || m->ending) return;
    lr_way *w = lr_ways_add(&m->ways, id_of(p), address.at, address.size_bytes, m->now_ns + LR_WAY_PAUSE_NS / 2);
    if (w) w->kept = true;
}

/* ---- what is left ----------------------------------------------------------------------------------- */

/* Tells it of what is left. */
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
        while ((l = lr_list_pop(&m->unasked)))
            ask(m, LR_CONTAINER(l, lr_crossing, link));
        while ((l = lr_list_pop(&m->settled))) {
            lr_crossing *c = LR_CONTAINER(l, lr_crossing, link);
            lr_map_take(&m->seeking, c->task.id);
            send_away(m, c->peer, c);
        }
        while ((l = lr_list_pop(&m->granted))) {
            lr_mesh_peer *p = LR_CONTAINER(l, lr_mesh_peer, granted_link);
            uint32_t count = p->granted;
            p->granted = 0;
            give(m, &m->self, p, count);
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
    c->ask->risky = is_suspect(m, task);
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
    tell_done(m, c);
    forget(m, c);
    work_off(m);
}

/* ---- ends ------------------------------------------------------------------------------------------- */

lr_crossing *lr_mesh_result(lr_mesh *m, lr_mesh_peer *peer, lr_id task, uint32_t attempt)
{
    (void)m;
    if (LR_FAULT(OTHER_RESULT) && attempt > 0 && peer->away.slots) return lr_map_next(&peer->away, &(size_t){0});
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
        tell_done(m, c);
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

/* c, the first of its task's in the map, goes out of it: the next one is the first. */
static void take_first(lr_map *map, lr_crossing *c)
{
    if (!c->next) {
        lr_map_take(map, c->task.id);
        return;
    }
    bool put = lr_map_put(map, c->task.id, c->next);
    LR_ASSERT(put); /* it is in: there is room */
}

static void take_watch(lr_mesh_peer *p, lr_crossing *c)
{
    lr_crossing *head = lr_map_find(&p->watches, c->task.id);
    for (lr_crossing *x = head; x; x = x->next)
        if (x->next == c) x->next = c->next;
    if (head == c) take_first(&p->watches, c); /* else in the chain, or in none: there was no memory */
}

/* The peer waits, or is going to, for another record of this id, that is no stand-in (one may wait for the peer). */
static bool another_is_wanted(const lr_mesh_peer *p, lr_id task)
{
    for (const lr_crossing *x = lr_map_find(&p->watches, task); x; x = x->next)
        if (x->own) return true;
    for (const lr_crossing *x = lr_map_find(&p->loans, task); x; x = x->next)
        if (x->own) return true;
    return false;
}

void lr_mesh_ended(lr_mesh *m, lr_crossing *c, bool ready)
{
    lr_mesh_peer *p = c->peer;
    if (p && c->kind == LR_CROSSING_GUEST) lr_map_take(&p->guests, c->task.id);
    bool tell = p && !(LR_FAULT(END_NOT_TOLD) && c->kind == LR_CROSSING_GUEST);
    if (p && c->kind == LR_CROSSING_WATCH) {
        take_watch(p, c);
        tell = ready || !another_is_wanted(p, c->task.id);
    }
    if (tell) m->hooks.send_end(m->hooks.user, p, c);
    m->guest_count--;
    forget(m, c);
}

/* ---- futures in values ------------------------------------------------------------------------------ */

bool lr_mesh_lend(lr_mesh *m, lr_mesh_peer *peer, lr_id task, bool own, void *runtime)
{
    lr_crossing *last = lr_map_find(&peer->loans, task);
    while (last && last->next)
        last = last->next;
    if (last && (last->task.runtime == runtime || LR_FAULT(FIRST_ANSWERS))) {
        last->count++;
        return false;
    }
    lr_mesh_task record = {.id = task, .runtime = runtime};
    lr_crossing *c = crossing_new(m, LR_CROSSING_LOAN, peer, &record);
    if (!c) return false; /* its WANT is answered by a failure */
    c->count = 1;
    c->own = own;
    if (last) {
        last->next = c;
        return true;
    }
    if (lr_map_add(&peer->loans, task, c, m->allocator)) return true;
    release(m, c);
    return false;
}

/* WANTs come in the order in which records were lent: what this one is for. *over: the loan is the caller's to free. */
static lr_crossing *wanted(lr_mesh_peer *p, lr_id task, bool *over)
{
    lr_crossing *loan = lr_map_find(&p->loans, task);
    *over = loan && --loan->count == 0 && !LR_FAULT(LOAN_STAYS);
    if (*over) take_first(&p->loans, loan);
    return loan;
}

static void refuse_want(lr_mesh *m, lr_mesh_peer *peer, lr_id task)
{
    const lr_crossing none = {.kind = LR_CROSSING_WATCH, .task.id = task, .peer = peer};
    m->hooks.send_end(m->hooks.user, peer, &none);
}

static void take_want(lr_mesh *m, lr_mesh_peer *peer, lr_id task)
{
    if (LR_FAULT(BORROW_LOST)) return;
    bool over;
    lr_crossing *loan = wanted(peer, task, &over);
    lr_mesh_task record = {.id = task, .runtime = loan ? loan->task.runtime : NULL};
    lr_crossing *c = crossing_new(m, LR_CROSSING_WATCH, peer, &record);
    if (c) c->own = loan && loan->own, c->next = lr_map_find(&peer->watches, task);
    if (c && lr_map_add(&peer->watches, task, c, m->allocator)) {
        m->guest_count++;
        m->hooks.watch(m->hooks.user, c); /* takes what it needs of runtime; c may be gone */
    } else {
        if (c) release(m, c);
        refuse_want(m, peer, task);
    }
    if (over) forget(m, loan);
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
    ask.risky = message->place.risky != 0;
    if (message->place.affinity == LR_AFFINITY_SPREAD) ask.affinity = LR_AFFINITY_SPREAD;
    if (message->place.affinity == LR_AFFINITY_NODE) ask.affinity = LR_AFFINITY_NODE, ask.node = message->place.near;
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
    lr_bytes address = message->grant.address;
    uint32_t count = bounded(message->grant.count);
    if (to && !is_self(m, to)) {
        give(m, from, to, count);
        return;
    }
    lr_way *w = to ? NULL : way_to(m, message->grant.node, address.at, address.size_bytes);
    if (!w || !w->trying || (w->granted > 0 && !lr_id_equal(w->granted_by, id_of(from)))) {
        if (w && !w->trying) w->told = false, tell_reach(m, w, false); /* it may be a new broker */
        give_back(m, id_of(from), message->grant.node, count);
        return;
    }
    w->granted += count;
    w->granted_by = id_of(from);
}

/* Where it shall go there is no link yet. */
static void wait_for_way(lr_mesh *m, lr_crossing *c, lr_id node, lr_bytes address)
{
    lr_way *w = way_to(m, node, address.at, address.size_bytes);
    if (!w) {
        lr_map_take(&m->seeking, c->task.id);
        tell_done(m, c);
        fail(m, c, LR_ERR_OUT_OF_MEMORY, "no memory to connect to the node that was to run it");
        return;
    }
    if (lr_link_in_list(&c->link)) lr_link_remove(&c->link);
    lr_list_append(&w->waiting, &c->link);
}

static void take_placed(lr_mesh *m, lr_mesh_peer *from, const lr_message *message)
{
    lr_mesh_peer *on = find(m, message->placed.node);
    lr_crossing *c = lr_map_find(&m->seeking, message->placed.task);
    lr_message done = {.kind = LR_MESSAGE_DONE, .done.task = message->placed.task};
    if (c && !lr_id_equal(c->broker, id_of(from))) c = NULL; /* another is asked for it by now */
    if (on && c)
        settle(m, c->task.id, on);
    else if (c)
        wait_for_way(m, c, message->placed.node, message->placed.address);
    else
        send(m, from, &done);
}

static void take_unused(lr_mesh *m, lr_mesh_peer *from, const lr_message *message)
{
    lr_mesh_peer *to = find(m, message->unused.node);
    uint64_t count = message->unused.count;
    if (to && count <= 1u << 20) lr_broker_unused(&m->broker, &from->node, &to->node, (uint32_t)count);
}

static void take_reach(lr_mesh *m, lr_mesh_peer *from, const lr_message *message)
{
    bool able = message->reach.able != 0, lost = message->reach.able == 2;
    lr_mesh_peer *to = lost ? find(m, message->reach.node) : NULL;
    lr_broker_reach(&m->broker, &from->node, message->reach.node, able);
    if (to && !is_self(m, to)) ask_whether_idle(m, to);
    if (to && is_self(m, to)) m->idle_told = UINT32_MAX;
}

/* What only a broker is sent. */
static bool to_broker(lr_mesh *m, lr_mesh_peer *peer, const lr_message *message)
{
    switch ((int)message->kind) {
    case LR_MESSAGE_IDLE: lr_broker_idle(&m->broker, &peer->node, bounded(message->idle.count)); return true;
    case LR_MESSAGE_SURPLUS: lr_broker_surplus(&m->broker, &peer->node, bounded(message->surplus.count)); return true;
    case LR_MESSAGE_FREE: take_free(m, peer, message); return true;
    case LR_MESSAGE_UNUSED: take_unused(m, peer, message); return true;
    case LR_MESSAGE_REACH: take_reach(m, peer, message); return true;
    case LR_MESSAGE_PLACE: take_place(m, peer, message); return true;
    case LR_MESSAGE_DONE: lr_broker_done(&m->broker, &peer->node, message->done.task); return true;
    default: return false;
    }
}

static void take_cancel(lr_mesh *m, lr_mesh_peer *peer, lr_id task)
{
    lr_crossing *c = lr_map_find(&peer->guests, task);
    if (!c) c = lr_map_find(&peer->watches, task); /* one of ours, by a future that was lent */
    if (c && !LR_FAULT(CANCEL_LOST)) m->hooks.stop(m->hooks.user, c);
}

bool lr_mesh_message(lr_mesh *m, lr_mesh_peer *peer, const lr_message *message)
{
    char text[256];
    bool known = true;
    switch ((int)message->kind) {
    case LR_MESSAGE_HUNGRY: peer->hungry = m->left = true; break;
    case LR_MESSAGE_AGAIN: m->idle_told = UINT32_MAX; break;
    case LR_MESSAGE_GRANT: take_grant(m, peer, message); break;
    case LR_MESSAGE_PLACED: take_placed(m, peer, message); break;
    case LR_MESSAGE_NOWHERE:
        nowhere(m, peer, message->nowhere.task, text_of(message->nowhere.why, text, sizeof text));
        break;
    case LR_MESSAGE_WANT: take_want(m, peer, message->want.task); break;
    case LR_MESSAGE_CANCEL: take_cancel(m, peer, message->cancel.task); break;
    default: known = to_broker(m, peer, message);
    }
    work_off(m);
    return known;
}

/* ---- peers ------------------------------------------------------------------------------------------ */

static void peer_init(lr_mesh_peer *p, lr_id node, lr_mesh_role role, void *runtime)
{
    *p = (lr_mesh_peer){.is_broker = role != LR_MESH_PLAIN, .runtime = runtime}; /* zeros else */
    p->node.place.id = node;
    p->node.place.spared = role == LR_MESH_SCRIPT;
}

lr_mesh_peer *lr_mesh_peer_up(lr_mesh *m, lr_id node, lr_mesh_role role, const char *offers, void *runtime)
{
    lr_resources total;
    if (find(m, node) || !read_resources(m, offers, &total)) return NULL;
    lr_mesh_peer *p = m->allocator->allocate(m->allocator->user, sizeof *p);
    if (!p) return NULL;
    peer_init(p, node, role, runtime);
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
    if (p->is_broker) lr_list_append(&m->brokers, &p->broker_link);
    choose_broker(m);
    lr_message idle = {.kind = LR_MESSAGE_IDLE, .idle.count = m->idle_told};
    if (p->is_broker && m->idle_told > 0 && m->idle_told < UINT32_MAX) send(m, p, &idle);
    m->pause_ns = 0;
    end_pause(m);
    m->left = true;
    way_is_open(m, p);
    work_off(m);
    return p;
}

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
        tell_done(m, c);
        fail(m, c, LR_ERR_NODE_DIED, text);
        return;
    }
    c->task.attempt += !LR_FAULT(SAME_ATTEMPT);
    if (LR_FAULT(NOT_TRIED_AGAIN) && !c->ask)
        release(m, c);
    else
        lose(m, c);
}

/* Nobody is left that could take them. */
static void settle_lost(lr_mesh *m)
{
    lr_link *l;
    if (anybody_left(m) || m->ending) return;
    while ((l = lr_list_pop(&m->lost))) {
        lr_crossing *c = LR_CONTAINER(l, lr_crossing, link);
        m->lost_count--;
        run_here(m, c);
    }
}

static void drop_guests(lr_mesh *m, lr_mesh_peer *p)
{
    lr_crossing *c;
    while ((c = any(&p->guests))) {
        c->peer = NULL; /* its end is still to come, and goes nowhere */
        if (!LR_FAULT(GUEST_GOES_ON)) m->hooks.stop(m->hooks.user, c);
    }
    while ((c = any(&p->watches)))
        for (; c; c = c->next)
            c->peer = NULL;
    while ((c = any(&p->loans)))
        for (lr_crossing *next; c; c = next) {
            next = c->next;
            forget(m, c);
        }
}

/* Those for which a broker was asked that is gone. */
static void ask_others(lr_mesh *m, lr_id broker)
{
    lr_crossing *c;
    size_t position = 0;
    while (m->seeking.slots && (c = lr_map_next(&m->seeking, &position)))
        if (!c->peer && lr_id_equal(c->broker, broker) && !LR_FAULT(NOT_ASKED_AGAIN)) seek_again(m, c);
}

/* Grants may have died with that node, and nodes to which it had no link yet wait for what was granted. */
static void ask_who_is_idle(lr_mesh *m)
{
    for (size_t i = 0; i < m->broker.node_count && m->self.is_broker; i++) {
        lr_mesh_peer *p = peer_of(LR_CONTAINER(m->broker.nodes[i], lr_broker_node, place));
        if (!is_self(m, p)) ask_whether_idle(m, p);
    }
}

void lr_mesh_peer_down(lr_mesh *m, lr_mesh_peer *p, const char *why)
{
    lr_crossing *c;
    lr_map_take(&m->peers, id_of(p));
    lr_broker_node_down(&m->broker, &p->node);
    if (p->is_broker) lr_link_remove(&p->broker_link);
    if (lr_link_in_list(&p->granted_link)) lr_link_remove(&p->granted_link);
    choose_broker(m);
    m->idle_told = UINT32_MAX; /* a grant to this node may have died with it */
    ask_who_is_idle(m);
    tell_lost(m, p);
    drop_guests(m, p);
    for (lr_link *l = lr_list_first(&m->settled), *next; l; l = next) {
        next = lr_list_next(&m->settled, l);
        c = LR_CONTAINER(l, lr_crossing, link);
        if (c->peer == p) seek_again(m, c);
    }
    while ((c = any(&p->away)))
        come_back(m, c, why);
    while (!LR_FAULT(BORROW_STAYS) && (c = any(&p->borrows)))
        fail(m, c, LR_ERR_NODE_DIED, "the node that had the value is gone");
    ask_others(m, id_of(p));
    settle_lost(m);
    keep_way(m, p);
    if (!LR_FAULT(MAP_STAYS)) lr_map_free(&p->away, m->allocator);
    lr_map_free(&p->guests, m->allocator);
    lr_map_free(&p->loans, m->allocator);
    lr_map_free(&p->borrows, m->allocator);
    lr_map_free(&p->watches, m->allocator);
    m->allocator->release(m->allocator->user, p, sizeof *p);
    work_off(m);
}

void lr_mesh_expect(lr_mesh *m, bool more)
{
    lr_broker_expect(&m->broker, more);
    if (!more) {
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
        if (deadline <= m->now_ns && !LR_FAULT(ALWAYS_IN_TIME)) return c;
        if (!m->deadline_ns || deadline < m->deadline_ns) m->deadline_ns = deadline;
    }
    return NULL;
}

void lr_mesh_now(lr_mesh *m, uint64_t now_ns)
{
    lr_crossing *c;
    m->now_ns = now_ns;
    if (m->ask_again_ns && m->ask_again_ns <= now_ns) end_pause(m);
    for (lr_way *w; (w = lr_ways_due(&m->ways, now_ns));)
        way_due(m, w);
    while (m->deadline_ns && m->deadline_ns <= now_ns && (c = late(m))) {
        m->deadline_ns = 1; /* look again */
        lr_map_take(&m->seeking, c->task.id);
        tell_done(m, c);
        fail(m, c, LR_ERR_DEADLINE, "no node had room for it in time");
    }
}

uint64_t lr_mesh_deadline(const lr_mesh *m)
{
    uint64_t first = is_quiet(m) ? m->quiet_until_ns : UINT64_MAX;
    uint64_t way_ns = lr_ways_deadline(&m->ways);
    if (way_ns < first) first = way_ns;
    if (m->deadline_ns && m->deadline_ns < first) first = m->deadline_ns;
    return m->ask_again_ns && m->ask_again_ns < first ? m->ask_again_ns : first;
}

bool lr_mesh_init(lr_mesh *m, lr_id self, lr_mesh_role role, const char *offers, const lr_allocator *a,
                  const lr_mesh_hooks *hooks, uint64_t seed)
{
    const lr_broker_hooks broker = {on_grant, on_hungry, on_placed, on_nowhere, m};
    *m = (lr_mesh){.hooks = *hooks, .allocator = a};
    lr_resource_names_init(&m->names);
    lr_ways_init(&m->ways, a);
    lr_list_init(&m->unasked);
    lr_list_init(&m->paused);
    lr_list_init(&m->settled);
    lr_list_init(&m->lost);
    lr_list_init(&m->brokers);
    lr_list_init(&m->granted);
    peer_init(&m->self, self, role, NULL);
    if (!read_resources(m, offers, &m->self.node.place.total)) return false;
    m->self.node.place.free = m->self.node.place.total;
    lr_broker_init(&m->broker, a, &m->names, &broker, seed);
    if (m->self.is_broker) lr_mesh_become_broker(m);
    return lr_broker_node_up(&m->broker, &m->self.node) && lr_map_add(&m->peers, self, &m->self, a);
}

void lr_mesh_become_broker(lr_mesh *m)
{
    m->self.is_broker = true;
    if (!lr_link_in_list(&m->self.broker_link)) lr_list_append(&m->brokers, &m->self.broker_link);
    choose_broker(m);
}

lr_mesh_role lr_mesh_role_of(const lr_mesh *m)
{
    return is_script(m) ? LR_MESH_SCRIPT : m->self.is_broker ? LR_MESH_BROKER : LR_MESH_PLAIN;
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
    lr_ways_fini(&m->ways);
    lr_map_free(&m->peers, m->allocator);
    lr_map_free(&m->seeking, m->allocator);
    lr_broker_fini(&m->broker);
}
