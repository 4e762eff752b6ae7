/* tests/sim/world.c - virtual time, the heap of events, the links: what comes to whom and when.
 *
 * Owns: events, links, messages under way. Knows nothing of what nodes do with them. Nothing here depends on anything but
 * the seed. */
#include "tests/sim/sim.h"

#include <stdarg.h>

#define LOOK_EVERY 97 /* events between two looks of the checkers at the whole */

uint64_t sim_below(sim *w, uint64_t bound) { return lr_prng_below(&w->chance, bound); }
bool sim_chance(sim *w, unsigned percent) { return sim_below(w, 100) < percent; }

void sim_mix(sim *w, const sim_node *n, unsigned what, lr_id id, uint64_t more)
{
    uint64_t x = (n ? n->number + 1 : 0) ^ ((uint64_t)what << 32) ^ lr_mix64(id.lo ^ more);
    w->hash = lr_mix64(w->hash ^ lr_mix64(x ^ w->now_ns));
}

void sim_violation(sim *w, const char *format, ...)
{
    if (w->failed) return; /* the first one counts */
    va_list args;
    w->failed = true;
    int n = snprintf(w->why, sizeof w->why, "at %llu ns: ", (unsigned long long)w->now_ns);
    va_start(args, format);
    vsnprintf(w->why + n, sizeof w->why - (size_t)n, format, args);
    va_end(args);
}

void sim_say(sim *w, const char *format, ...)
{
    va_list args;
    if (!w->config.says) return;
    printf("%12.3f us  ", (double)w->now_ns / 1e3);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

/* ---- events ----------------------------------------------------------------------------------------- */

static bool before(const sim_event *a, const sim_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->seq < b->seq;
}

static void push(sim *w, sim_event e)
{
    if (w->heap_count == w->heap_capacity) {
        w->heap_capacity = w->heap_capacity ? 2 * w->heap_capacity : 256;
        w->heap = realloc(w->heap, w->heap_capacity * sizeof *w->heap);
    }
    size_t i = w->heap_count++;
    for (; i > 0 && before(&e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = e;
}

static sim_event pop(sim *w)
{
    sim_event first = w->heap[0], last = w->heap[--w->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->heap_count) break;
        if (child + 1 < w->heap_count && before(&w->heap[child + 1], &w->heap[child])) child++;
        if (!before(&w->heap[child], &last)) break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return first;
}

void sim_at(sim *w, uint64_t at_ns, sim_event_kind kind, sim_node *node, void *what, unsigned side)
{
    push(w, (sim_event){at_ns > w->now_ns ? at_ns : w->now_ns, w->seq++, kind, side, node, what});
}

/* ---- links ------------------------------------------------------------------------------------------ */

void sim_link_release(sim_link *l)
{
    if (--l->refs > 0) return;
    lr_link_remove(&l->link);
    free(l);
}

static lr_id key_of(const sim_node *a, const sim_node *b)
{
    uint64_t x = a->number + 1, y = b->number + 1;
    return x < y ? (lr_id){x, y} : (lr_id){y, x};
}

sim_link *sim_link_between(sim *w, const sim_node *a, const sim_node *b) { return lr_map_find(&w->linked, key_of(a, b)); }

/* That side has been told, or is dead. With both only what was on its way still knows it. */
void sim_link_over(sim *w, sim_link *l, unsigned side)
{
    l->over[side] = true;
    l->peer[side] = NULL;
    if (l->over[!side]) lr_map_take(&w->linked, key_of(l->end[0], l->end[1]));
}

static void side_over(sim *w, sim_link *l, unsigned side, uint64_t at_ns)
{
    uint64_t span = at_ns - w->now_ns;
    l->cut_at_ns[side] = w->now_ns + sim_below(w, span + 1);
    l->refs++;
    sim_at(w, at_ns, EVENT_DOWN, l->end[side], l, side);
}

/* It ends: what is on its way may still come, in part; each side is told in its own time. */
void sim_link_break(sim *w, sim_link *l, uint64_t soon_ns)
{
    if (l->cut) return;
    l->cut = true;
    for (unsigned side = 0; side < 2; side++)
        if (!l->end[side]->dead && !l->over[side]) side_over(w, l, side, w->now_ns + 1 + sim_below(w, soon_ns));
}

static void say_here(sim_link *l, sim_node *n)
{
    lr_message m = {.kind = LR_MESSAGE_HERE};
    m.here.broker = n->is_broker;
    m.here.offers = (lr_bytes){n->offers, strlen(n->offers)};
    sim_link_send(l, n, &m);
}

sim_link *sim_link_open(sim *w, sim_node *a, sim_node *b)
{
    sim_link *l = calloc(1, sizeof *l);
    *l = (sim_link){.end = {a, b}, .refs = 2};
    l->delay_ns = sim_chance(w, 80) ? 5 * US + sim_below(w, 30 * US) : 100 * US + sim_below(w, 3 * MS);
    l->jitter_ns = sim_chance(w, 50) ? 0 : l->delay_ns * 3;
    lr_list_append(&w->links, &l->link);
    LR_ASSERT(lr_map_add(&w->linked, key_of(a, b), l, &w->allocator));
    say_here(l, a);
    say_here(l, b);
    return l;
}

static void say_message(sim *w, const sim_node *from, const sim_node *to, const lr_message *m)
{
    unsigned long long what = 0;
    switch ((int)m->kind) {
    case LR_MESSAGE_IDLE: what = m->idle.count; break;
    case LR_MESSAGE_SURPLUS: what = m->surplus.count; break;
    case LR_MESSAGE_GRANT: what = m->grant.count; break;
    case LR_MESSAGE_UNUSED: what = m->unused.count; break;
    case LR_MESSAGE_PLACE: what = m->place.task.lo; break;
    case LR_MESSAGE_PLACED: what = m->placed.task.lo; break;
    case LR_MESSAGE_NOWHERE: what = m->nowhere.task.lo; break;
    case LR_MESSAGE_DONE: what = m->done.task.lo; break;
    case LR_MESSAGE_TASK: what = m->task.task.lo; break;
    case LR_MESSAGE_RESULT: what = m->result.task.lo; break;
    case LR_MESSAGE_WANT: what = m->want.task.lo; break;
    case LR_MESSAGE_CANCEL: what = m->cancel.task.lo; break;
    default: break;
    }
    const char *state = m->kind == LR_MESSAGE_RESULT ? lr_task_state_name((lr_task_state)m->result.state) : "";
    sim_say(w, "node %u -> %u  %s %llx %s", from->number, to->number, lr_message_name(m->kind), what, state);
}

void sim_link_send(sim_link *l, sim_node *from, const lr_message *m)
{
    sim *w = from->world;
    unsigned side = l->end[0] == from ? 1 : 0;
    size_t size = lr_message_size(m);
    w->stats.messages++;
    w->stats.bytes += size;
    sim_mix(w, from, 0x100u + m->kind, l->end[side]->id, size);
    if (w->config.says) say_message(w, from, l->end[side], m);
    if (l->cut || l->end[side]->dead) return;
    sim_message *copy = malloc(sizeof *copy + size);
    *copy = (sim_message){.link = l, .side = side, .kind = (uint16_t)m->kind, .size_bytes = size};
    lr_message_encode(m, copy->bytes);
    uint64_t at = w->now_ns + l->delay_ns + (l->jitter_ns ? sim_below(w, l->jitter_ns) : 0);
    if (at <= l->last_ns[side]) at = l->last_ns[side] + 1; /* in order */
    l->last_ns[side] = at;
    l->flying++;
    l->refs++;
    sim_at(w, at, EVENT_ARRIVE, l->end[side], copy, side);
}

static void into_inbox(sim_node *n, sim_message *m)
{
    *n->inbox_end = m;
    n->inbox_end = &m->next;
    sim_node_ring(n);
}

static void arrive(sim *w, sim_message *m)
{
    sim_link *l = m->link;
    sim_node *n = l->end[m->side];
    l->flying--;
    if (n->dead || l->over[m->side] || (l->cut_at_ns[m->side] && w->now_ns > l->cut_at_ns[m->side])) {
        free(m);
        sim_link_release(l);
        return;
    }
    into_inbox(n, m);
}

/* That a link is over comes behind what came before. */
static void down(sim_link *l, unsigned side)
{
    sim_node *n = l->end[side];
    if (n->dead || l->over[side]) {
        sim_link_release(l);
        return;
    }
    sim_message *m = calloc(1, sizeof *m);
    *m = (sim_message){.link = l, .side = side, .kind = LR_MESSAGE_NONE};
    into_inbox(n, m);
}

/* ---- life ------------------------------------------------------------------------------------------- */

static void *take_memory(void *user, size_t size_bytes)
{
    sim_memory *memory = user;
    sim *w = memory->world;
    if (++w->stats.allocations == w->config.fail_at) return NULL;
    void *at = malloc(size_bytes);
    memset(at, 0xa5, size_bytes);
    memory->bytes += size_bytes;
    if (memory->bytes > memory->peak) memory->peak = memory->bytes;
    return at;
}

static void give_memory(void *user, void *at, size_t size_bytes)
{
    sim_memory *memory = user;
    memory->bytes -= size_bytes;
    memset(at, 0x5a, size_bytes); /* what is read later is seen */
    free(at);
}

static void *take_plain(void *user, size_t size_bytes)
{
    (void)user;
    return malloc(size_bytes);
}

static void give_plain(void *user, void *at, size_t size_bytes)
{
    (void)user;
    (void)size_bytes;
    free(at);
}

sim *sim_new(const sim_config *config)
{
    sim *w = calloc(1, sizeof *w);
    w->config = *config;
    w->now_ns = 1;
    lr_prng_seed(&w->chance, config->seed ^ 0x51b0u);
    lr_list_init(&w->links);
    w->allocator = (lr_allocator){take_plain, give_plain, NULL};
    return w;
}

/* The memory of a node's sched parts: counted, and the n-th allocation of the world may fail. */
lr_allocator sim_allocator(sim_memory *memory) { return (lr_allocator){take_memory, give_memory, memory}; }

static void handle(sim *w, const sim_event *e)
{
    switch (e->kind) {
    case EVENT_TURN:
        if (!e->node->dead && e->node->turn_at_ns == e->at_ns && e->node->ringing) sim_node_turn(e->node);
        break;
    case EVENT_ARRIVE: arrive(w, e->what); break;
    case EVENT_DOWN: down(e->what, e->side); break;
    case EVENT_BODY:
        if (!e->node->dead) sim_program_step(e->what);
        break;
    case EVENT_FAULT: sim_fault(w); break;
    case EVENT_JOIN: sim_join(w); break;
    case EVENT_OPEN: sim_reopen(w, e->what); break;
    case EVENT_LOOK: break;
    }
}

/* What stops a node defers all that happens to it; what travels is not stopped. */
static bool deferred(sim *w, sim_event *e)
{
    if (!e->node || e->node->dead || e->node->paused_until_ns <= e->at_ns) return false;
    if (e->kind != EVENT_TURN && e->kind != EVENT_BODY) return false;
    if (e->kind == EVENT_TURN && e->node->turn_at_ns == e->at_ns) e->node->turn_at_ns = e->node->paused_until_ns;
    e->at_ns = e->node->paused_until_ns;
    e->seq = w->seq++;
    push(w, *e);
    return true;
}

void sim_run(sim *w)
{
    sim_faults_plan(w);
    while (w->heap_count > 0 && !w->failed) {
        sim_event e = pop(w);
        w->now_ns = e.at_ns;
        w->stats.events++;
        if (deferred(w, &e)) continue;
        handle(w, &e);
        if (w->root->ended && !w->root_ended) w->root_ended = true, w->stats.done_ns = w->now_ns;
        if (!w->safe && (w->faults_left == 0 || w->root_ended)) sim_faults_over(w);
        if (w->stats.events % LOOK_EVERY == 0 && !w->config.big) {
            check_resources(w);
            check_reachable(w);
            check_unwanted(w);
        }
        check_progress(w);
    }
    if (w->failed) return;
    check_resolves(w);
    check_reachable(w);
    check_unwanted(w);
    for (unsigned i = 0; i < w->node_count; i++)
        if (!w->nodes[i]->dead) check_freed_node(w->nodes[i]);
}

static void drop_events(sim *w)
{
    while (w->heap_count > 0) {
        sim_event e = pop(w);
        if (e.kind == EVENT_ARRIVE) {
            sim_message *m = e.what;
            sim_link_release(m->link);
            free(m);
        } else if (e.kind == EVENT_DOWN) {
            sim_link_release(e.what);
        }
    }
}

void sim_free(sim *w, char *why, size_t why_bytes)
{
    for (unsigned i = 0; i < w->node_count; i++)
        if (!w->nodes[i]->dead) sim_node_kill(w->nodes[i]);
    drop_events(w);
    lr_link *l;
    while ((l = lr_list_pop(&w->links)))
        free(LR_CONTAINER(l, sim_link, link));
    for (unsigned i = 0; i < w->node_count; i++)
        sim_node_free(w->nodes[i]);
    check_value_free(&w->computed);
    lr_map_free(&w->linked, &w->allocator);
    snprintf(why, why_bytes, "%s", w->why);
    free((void *)w->nodes);
    free(w->heap);
    free(w->stats.delays);
    free(w);
}
