/* tests/sim/world.c - virtual time and the heap of events.
 *
 * Owns: events. Knows nothing of what nodes do with them. Nothing here depends on anything but
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

#define BRANCHES 4 /* of the heap: fewer steps, each in one place of memory */

static void push(sim *w, sim_event e)
{
    if (w->heap_count == w->heap_capacity) {
        w->heap_capacity = w->heap_capacity ? 2 * w->heap_capacity : 256;
        w->heap = realloc(w->heap, w->heap_capacity * sizeof *w->heap);
    }
    size_t i = w->heap_count++;
    for (; i > 0 && before(&e, &w->heap[(i - 1) / BRANCHES]); i = (i - 1) / BRANCHES)
        w->heap[i] = w->heap[(i - 1) / BRANCHES];
    w->heap[i] = e;
}

static sim_event pop(sim *w)
{
    sim_event first = w->heap[0], last = w->heap[--w->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = BRANCHES * i + 1, end = child + BRANCHES;
        if (child >= w->heap_count) break;
        if (end > w->heap_count) end = w->heap_count;
        for (size_t k = child + 1; k < end; k++)
            if (before(&w->heap[k], &w->heap[child])) child = k;
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

sim *sim_new(const sim_config *config)
{
    sim *w = calloc(1, sizeof *w);
    w->config = *config;
    w->now_ns = 1;
    lr_prng_seed(&w->chance, config->seed ^ 0x51b0u);
    lr_list_init(&w->links);
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
    case EVENT_ARRIVE: sim_link_arrive(w, e->what); break;
    case EVENT_DOWN: sim_link_down(e->what, e->side); break;
    case EVENT_SHAKE:
        sim_link_shake(w, e->what, e->side);
        sim_link_release(e->what);
        break;
    case EVENT_BODY:
        if (!e->node->dead) sim_program_step(e->what);
        break;
    case EVENT_FAULT: sim_fault(w); break;
    case EVENT_JOIN: sim_join(w); break;
    case EVENT_LOOK: break;
    case EVENT_STORE:
    case EVENT_LINE:
    case EVENT_PARTY:
    case EVENT_PUBLIC: sim_public_event(w, e); break;
    }
}

/* What stops a node defers all that happens to it; what travels is not stopped. */
static bool deferred(sim *w, sim_event *e)
{
    if (!e->node || e->node->dead || e->node->paused_until_ns <= e->at_ns) return false;
    if (e->kind != EVENT_TURN && e->kind != EVENT_BODY && e->kind != EVENT_SHAKE) return false;
    if (e->kind == EVENT_TURN && e->node->turn_at_ns == e->at_ns) e->node->turn_at_ns = e->node->paused_until_ns;
    e->at_ns = e->node->paused_until_ns;
    e->seq = w->seq++;
    push(w, *e);
    return true;
}

void check_end(sim *w)
{
    check_resolves(w);
    check_idle_known(w);
    check_reachable(w);
    check_unwanted(w);
    for (unsigned i = 0; i < w->node_count; i++)
        if (!w->nodes[i]->dead) check_freed_node(w->nodes[i]);
}

void sim_run(sim *w)
{
    sim_faults_plan(w);
    while (w->heap_count > 0 && !w->failed && !w->over) {
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
    if (!w->failed && !w->over) check_end(w);
}

static void drop_events(sim *w)
{
    while (w->heap_count > 0) {
        sim_event e = pop(w);
        if (e.kind == EVENT_ARRIVE) {
            sim_message *m = e.what;
            sim_link_release(m->link);
            free(m);
        } else if (e.kind == EVENT_DOWN || e.kind == EVENT_SHAKE) {
            sim_link_release(e.what);
        } else {
            sim_public_drop(&e);
        }
    }
}

void sim_free(sim *w, char *why, size_t why_bytes)
{
    for (unsigned i = 0; i < w->node_count; i++)
        if (!w->nodes[i]->dead) sim_node_kill(w->nodes[i]);
    drop_events(w);
    sim_public_free(w);
    lr_link *l;
    while ((l = lr_list_pop(&w->links)))
        free(LR_CONTAINER(l, sim_link, link));
    for (unsigned i = 0; i < w->node_count; i++)
        sim_node_free(w->nodes[i]);
    lr_map_free(&w->computed, &lr_process_allocator);
    lr_map_free(&w->linked, &lr_process_allocator);
    snprintf(why, why_bytes, "%s", w->why);
    free((void *)w->nodes);
    free(w->heap);
    free(w->stats.delays);
    free(w->stats.hops);
    free(w);
}
