#include "sched/broker.h"

#include "sched/fault.h"
#include "sched/text.h"

#define FIRST_NODES 8

typedef struct ask {
    lr_link from_link; /* in from->asks */
    lr_link link;      /* in broker->waiting, or in on->placed */
    lr_id task;
    lr_broker_node *from, *on;
    lr_place_ask what;
} ask;

/* Two nodes may ask for one task: the parent was started again elsewhere, and the first does not know yet. */
static lr_id key_of(const lr_broker_node *from, lr_id task)
{
    return (lr_id){task.hi ^ lr_mix64(from->place.id.hi), task.lo ^ lr_mix64(from->place.id.lo)};
}

static lr_broker_node *node_of(lr_place_node *place) { return LR_CONTAINER(place, lr_broker_node, place); }

void lr_broker_init(lr_broker *b, const lr_allocator *a, const lr_resource_names *names, const lr_broker_hooks *hooks,
                    uint64_t seed)
{
    *b = (lr_broker){.hooks = *hooks, .allocator = a, .names = names};
    lr_prng_seed(&b->chance, seed);
    lr_list_init(&b->idle);
    lr_list_init(&b->surplus);
    lr_list_init(&b->untold);
    lr_list_init(&b->waiting);
}

/* ---- who reaches whom ------------------------------------------------------------------------------- */

typedef struct unreached {
    lr_link link;
    lr_id node;
} unreached;

static unreached *find_unreached(const lr_broker_node *from, lr_id node)
{
    for (lr_link *l = lr_list_first(&from->unreached); l; l = lr_list_next(&from->unreached, l))
        if (lr_id_equal(LR_CONTAINER(l, unreached, link)->node, node)) return LR_CONTAINER(l, unreached, link);
    return NULL;
}

static bool reaches(const lr_broker_node *from, const lr_broker_node *to)
{
    return from->unreached_count == 0 || !find_unreached(from, to->place.id);
}

static void forget_unreached(lr_broker *b, lr_broker_node *from, unreached *u)
{
    lr_link_remove(&u->link);
    from->unreached_count--;
    b->allocator->release(b->allocator->user, u, sizeof *u);
}

static void forget_all_unreached(lr_broker *b, lr_broker_node *from)
{
    lr_link *l;
    while ((l = lr_list_first(&from->unreached)))
        forget_unreached(b, from, LR_CONTAINER(l, unreached, link));
}

/* ---- plain work ------------------------------------------------------------------------------------- */

static void keep_in(lr_list *list, lr_link *link, bool in)
{
    if (in && !lr_link_in_list(link)) lr_list_append(list, link);
    if (!in && lr_link_in_list(link)) lr_link_remove(link);
}

static void set_idle(lr_broker *b, lr_broker_node *node, uint32_t count)
{
    node->idle = count;
    keep_in(&b->idle, &node->idle_link, count > 0);
}

static void set_surplus(lr_broker *b, lr_broker_node *node, uint32_t count)
{
    node->surplus = count;
    keep_in(&b->surplus, &node->surplus_link, count > 0);
    keep_in(&b->untold, &node->untold_link, count == 0 && !node->told);
}

/* The first that is idle, not this one, and that this one reaches. */
static lr_broker_node *idle_beside(lr_broker *b, const lr_broker_node *node)
{
    for (lr_link *l = lr_list_first(&b->idle); l; l = lr_list_next(&b->idle, l)) {
        lr_broker_node *other = LR_CONTAINER(l, lr_broker_node, idle_link);
        if (other != node && reaches(node, other)) return other;
    }
    return NULL;
}

/* One task each in turn, as long as that goes: who has two workers idle must not get two before another got one. */
static uint32_t share(const lr_broker *b, const lr_broker_node *from, const lr_broker_node *to)
{
    uint32_t most = from->surplus < to->idle ? from->surplus : to->idle, others = 0;
    for (const lr_link *l = lr_list_first(&b->idle); l && others < 2; l = lr_list_next(&b->idle, l))
        others++;
    uint32_t half = (from->surplus + 1) / 2;
    return others > 1 && half < most ? half : most;
}

static void tell_hungry(lr_broker *b)
{
    for (lr_link *l = lr_list_first(&b->untold), *next; l; l = next) {
        lr_broker_node *node = LR_CONTAINER(l, lr_broker_node, untold_link);
        next = lr_list_next(&b->untold, l);
        if (!idle_beside(b, node)) continue;
        node->told = true;
        lr_link_remove(l);
        b->hooks.hungry(b->hooks.user, node);
    }
}

/* One with a surplus and one that is idle. False: there are no two such nodes. */
static bool find_pair(lr_broker *b, lr_broker_node **from, lr_broker_node **to)
{
    if (lr_list_empty(&b->idle)) return false;
    for (lr_link *l = lr_list_first(&b->surplus); l; l = lr_list_next(&b->surplus, l)) {
        *from = LR_CONTAINER(l, lr_broker_node, surplus_link);
        *to = idle_beside(b, *from);
        if (*to) return true; /* else it alone is idle: its surplus is old, the next one's is matched */
    }
    return false;
}

static void match(lr_broker *b)
{
    lr_broker_node *from, *to;
    while (find_pair(b, &from, &to)) {
        uint32_t count = share(b, from, to);
        set_surplus(b, from, from->surplus - count);
        uint32_t left = to->idle - count;
        set_idle(b, to, 0); /* to the end of the queue */
        set_idle(b, to, left);
        b->stats.grants++;
        b->stats.granted += count;
        b->hooks.grant(b->hooks.user, from, to, count);
    }
    if (!lr_list_empty(&b->idle)) tell_hungry(b);
}

void lr_broker_idle(lr_broker *b, lr_broker_node *node, uint32_t count)
{
    set_idle(b, node, count);
    match(b);
}

void lr_broker_surplus(lr_broker *b, lr_broker_node *node, uint32_t count)
{
    node->told = false;
    set_surplus(b, node, count);
    match(b);
}

void lr_broker_unused(lr_broker *b, lr_broker_node *from, lr_broker_node *to, uint32_t count)
{
    set_surplus(b, from, 0);
    set_idle(b, to, to->idle + count);
    match(b);
}

void lr_broker_reach(lr_broker *b, lr_broker_node *from, lr_id node, bool able)
{
    unreached *u = find_unreached(from, node);
    if (u) forget_unreached(b, from, u);
    if (able) {
        match(b);
        return;
    }
    if (from->unreached_count == LR_BROKER_UNREACHED_MAX)
        forget_unreached(b, from, LR_CONTAINER(lr_list_first(&from->unreached), unreached, link));
    u = b->allocator->allocate(b->allocator->user, sizeof *u);
    if (!u) return; /* it is told again when it fails again */
    *u = (unreached){.node = node};
    lr_list_append(&from->unreached, &u->link);
    from->unreached_count++;
}

/* ---- tasks that ask --------------------------------------------------------------------------------- */

static void give(ask *a, int sign)
{
    for (int i = 0; i < LR_RESOURCE_COUNT; i++)
        a->on->place.given.amount[i] += sign * a->what.need.amount[i];
}

static void forget(lr_broker *b, ask *a)
{
    if (a->on) give(a, -1);
    lr_link_remove(&a->from_link);
    if (lr_link_in_list(&a->link)) lr_link_remove(&a->link);
    lr_map_take(&b->asks, key_of(a->from, a->task));
    b->allocator->release(b->allocator->user, a, sizeof *a);
}

static bool could_somewhere(const lr_broker *b, const ask *a, lr_place_avoid *avoid)
{
    for (size_t i = 0; i < b->node_count; i++)
        if (lr_place_could(b->nodes[i], &a->what) && !(avoid && avoid(a, b->nodes[i]))) return true;
    return false;
}

/* What the asker does not reach; and itself where it asks for no node: it knows that it cannot. */
static bool avoids(const void *user, const lr_place_node *place)
{
    const ask *a = user;
    const lr_broker_node *node = (const lr_broker_node *)place; /* its first */
    if (node == a->from && a->what.affinity == LR_AFFINITY_NONE) return true;
    return !reaches(a->from, node);
}

static lr_place_node *best(lr_broker *b, const ask *a, lr_place_avoid *avoid)
{
    return lr_place_best(b->nodes, b->node_count, &a->what, &b->chance, avoid, a);
}

static void no_such_node(const ask *a, char *text, size_t text_bytes)
{
    lr_text t = lr_text_of(text, text_bytes);
    lr_text_string(&t, "node: ");
    lr_text_id(&t, a->what.node);
    lr_text_string(&t, " asked, there is no such node (lr.nodes() lists them)");
}

static void nowhere(lr_broker *b, ask *a)
{
    char text[256];
    int64_t offered;
    int which = lr_place_short(b->nodes, b->node_count, &a->what, &offered);
    lr_broker_node *from = a->from;
    lr_id task = a->task;
    if (a->what.affinity == LR_AFFINITY_NODE)
        no_such_node(a, text, sizeof text);
    else if (which < 0)
        lr_spec_explain_short(LR_RESOURCE_CPU, "cpu", LR_AMOUNT_ONE, 0, text, sizeof text); /* no node at all */
    else
        lr_spec_explain_short(which, lr_resource_name(b->names, which), a->what.need.amount[which], offered, text,
                              sizeof text);
    forget(b, a);
    b->stats.nowhere++;
    b->hooks.nowhere(b->hooks.user, from, task, text);
}

/* False: it must wait. */
static bool settle(lr_broker *b, ask *a)
{
    bool waits = b->expects && a->what.affinity == LR_AFFINITY_SPREAD; /* for those to spread it over */
    lr_place_node *place = waits ? NULL : best(b, a, avoids);
    if (!place && !waits && !could_somewhere(b, a, avoids)) place = best(b, a, NULL); /* the asker tries once more */
    if (!place) {
        if ((b->expects && !LR_FAULT(GIVEN_UP_EARLY)) || could_somewhere(b, a, NULL)) return false;
        nowhere(b, a);
        return true;
    }
    if (lr_link_in_list(&a->link)) lr_link_remove(&a->link);
    a->on = node_of(place);
    lr_list_append(&a->on->placed, &a->link);
    if (!LR_FAULT(DOUBLE_GRANT)) give(a, 1);
    if (a->what.affinity == LR_AFFINITY_SPREAD) place->spread++;
    b->stats.placed++;
    b->hooks.placed(b->hooks.user, a->from, a->task, a->on);
    return true;
}

/* Oldest first. A small one may pass a large one that waits; the node's own queue keeps room for what starves there. */
static void settle_waiting(lr_broker *b)
{
    for (lr_link *l = lr_list_first(&b->waiting), *next; l; l = next) {
        next = lr_list_next(&b->waiting, l);
        (void)settle(b, LR_CONTAINER(l, ask, link));
    }
}

void lr_broker_ask(lr_broker *b, lr_broker_node *from, lr_id task, const lr_place_ask *what)
{
    ask *a = lr_map_find(&b->asks, key_of(from, task));
    if (a) forget(b, a); /* asked again, for another attempt */
    b->stats.asked++;
    a = b->allocator->allocate(b->allocator->user, sizeof *a);
    if (a) *a = (ask){.task = task, .from = from, .what = *what};
    if (!a || !lr_map_add(&b->asks, key_of(from, task), a, b->allocator)) {
        if (a) b->allocator->release(b->allocator->user, a, sizeof *a);
        b->hooks.nowhere(b->hooks.user, from, task, "the scheduler that was asked for a node has no memory left");
        return;
    }
    lr_list_append(&from->asks, &a->from_link);
    if (!settle(b, a)) lr_list_append(&b->waiting, &a->link);
}

void lr_broker_done(lr_broker *b, const lr_broker_node *from, lr_id task)
{
    ask *a = lr_map_find(&b->asks, key_of(from, task));
    if (!a || LR_FAULT(ROOM_KEPT)) return;
    bool made_room = a->on != NULL;
    forget(b, a);
    if (made_room && !LR_FAULT(WAITS_FOR_EVER)) settle_waiting(b);
}

void lr_broker_node_changed(lr_broker *b)
{
    if (!LR_FAULT(WAITS_FOR_EVER)) settle_waiting(b);
}

void lr_broker_expect(lr_broker *b, bool more)
{
    b->expects = more;
    if (!more) settle_waiting(b);
}

/* ---- nodes ------------------------------------------------------------------------------------------ */

static bool make_room(lr_broker *b)
{
    if (b->node_count < b->node_capacity) return true;
    size_t capacity = b->node_capacity ? 2 * b->node_capacity : FIRST_NODES;
    lr_place_node **nodes = b->allocator->allocate(b->allocator->user, capacity * sizeof(lr_place_node *));
    if (!nodes) return false;
    if (b->node_count) memcpy((void *)nodes, (void *)b->nodes, b->node_count * sizeof(lr_place_node *));
    if (b->nodes)
        b->allocator->release(b->allocator->user, (void *)b->nodes, b->node_capacity * sizeof(lr_place_node *));
    b->nodes = nodes;
    b->node_capacity = capacity;
    return true;
}

bool lr_broker_node_up(lr_broker *b, lr_broker_node *node)
{
    if (!make_room(b)) return false;
    node->place.given = (lr_resources){0};
    node->place.waits_s = 0;
    node->place.spread = 0;
    node->idle = node->surplus = 0;
    node->told = false;
    node->unreached_count = 0;
    lr_list_init(&node->unreached);
    lr_list_init(&node->asks);
    lr_list_init(&node->placed);
    node->index = b->node_count;
    b->nodes[b->node_count++] = &node->place;
    lr_list_append(&b->untold, &node->untold_link);
    settle_waiting(b);
    if (!lr_list_empty(&b->idle)) tell_hungry(b);
    return true;
}

void lr_broker_node_down(lr_broker *b, lr_broker_node *node)
{
    lr_link *l;
    set_idle(b, node, 0);
    set_surplus(b, node, 0);
    keep_in(&b->untold, &node->untold_link, false);
    forget_all_unreached(b, node);
    while (!LR_FAULT(ASKS_STAY) && (l = lr_list_first(&node->asks)))
        forget(b, LR_CONTAINER(l, ask, from_link));
    while ((l = lr_list_first(&node->placed)))
        forget(b, LR_CONTAINER(l, ask, link));
    b->nodes[node->index] = b->nodes[--b->node_count];
    node_of(b->nodes[node->index])->index = node->index;
    settle_waiting(b);
}

void lr_broker_fini(lr_broker *b)
{
    size_t position = 0;
    ask *a;
    for (size_t i = 0; i < b->node_count; i++)
        forget_all_unreached(b, node_of(b->nodes[i]));
    while (b->asks.slots && (a = lr_map_next(&b->asks, &position)))
        b->allocator->release(b->allocator->user, a, sizeof *a);
    lr_map_free(&b->asks, b->allocator);
    if (b->nodes)
        b->allocator->release(b->allocator->user, (void *)b->nodes, b->node_capacity * sizeof(lr_place_node *));
    b->nodes = NULL;
}
