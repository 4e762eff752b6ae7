#include "sched/ready.h"

#define MIXED LR_READY_SHAPES /* index of the shape of any need */

static lr_spec *spec_of(const lr_heap_link *link)
{
    return link ? LR_CONTAINER(link, lr_spec, ready_link) : NULL;
}

static bool larger_priority(const lr_heap_link *a, const lr_heap_link *b)
{
    return spec_of(a)->priority > spec_of(b)->priority;
}

bool lr_ready_before(const lr_spec *a, const lr_spec *b)
{
    if (a->priority > b->priority) return true;
    if (a->priority < b->priority) return false;
    return a->seq < b->seq;
}

void lr_ready_init(lr_ready *ready)
{
    memset(ready, 0, sizeof *ready);
    ready->next_seq = 1;
    for (int i = 0; i <= MIXED; i++)
        lr_heap_init(&ready->shape[i].heap, larger_priority);
    ready->shape[MIXED].mixed = true;
}

static uint64_t hash_of(const lr_resources *r)
{
    uint64_t h = 0;
    for (int i = 0; i < LR_RESOURCE_COUNT; i++)
        h = lr_mix64(h ^ (uint64_t)r->amount[i]) + (uint64_t)i;
    return h;
}

/* The shape of a need: the one that has it, else an empty one, else the mixed one. */
static lr_shape *shape_for(lr_ready *ready, const lr_resources *hold)
{
    uint64_t hash = hash_of(hold);
    for (int i = 0; i < ready->used_count; i++) {
        lr_shape *s = &ready->shape[ready->used[i]];
        if (!s->mixed && s->hash == hash && lr_resources_equal(&s->hold, hold)) return s;
    }
    for (int i = 0; i < MIXED; i++) {
        lr_shape *s = &ready->shape[i];
        if (s->heap.count > 0) continue;
        s->hash = hash;
        s->hold = *hold;
        return s;
    }
    return &ready->shape[MIXED];
}

void lr_ready_add(lr_ready *ready, lr_spec *spec)
{
    spec->seq = ready->next_seq++;
    lr_ready_add_again(ready, spec);
}

void lr_ready_add_again(lr_ready *ready, lr_spec *spec)
{
    LR_ASSERT(spec->place == LR_PLACE_OUT);
    lr_shape *s = shape_for(ready, &spec->hold);
    if (s->heap.count == 0) ready->used[ready->used_count++] = (uint16_t)(s - ready->shape);
    spec->shape = s;
    spec->claims = 0;
    spec->blocked_since_ns = 0;
    lr_heap_insert_at(&s->heap, &spec->ready_link, spec->seq);
    spec->place = LR_PLACE_READY;
    ready->count++;
}

static void forget_shape(lr_ready *ready, const lr_shape *s)
{
    for (int i = 0; i < ready->used_count; i++)
        if (ready->used[i] == s - ready->shape) {
            ready->used[i] = ready->used[--ready->used_count];
            return;
        }
}

void lr_ready_remove(lr_ready *ready, lr_spec *spec)
{
    LR_ASSERT(spec->place == LR_PLACE_READY);
    lr_heap_remove(&spec->shape->heap, &spec->ready_link);
    if (spec->shape->heap.count == 0) forget_shape(ready, spec->shape);
    spec->shape = NULL;
    spec->place = LR_PLACE_OUT;
    ready->count--;
}

/* A head that does not fit: starts its clock, and claims what it is short of when it has stood too long. */
static void note_blocked(lr_spec *spec, const lr_resources *available, uint64_t now_ns)
{
    if (spec->blocked_since_ns == 0) spec->blocked_since_ns = now_ns;
    if (now_ns - spec->blocked_since_ns < LR_READY_PATIENCE_NS) return;
    for (int i = 0; i < LR_RESOURCE_COUNT; i++)
        if (spec->hold.amount[i] > 0 && spec->hold.amount[i] > available->amount[i])
            spec->claims |= (uint16_t)(1u << i);
}

/* True where spec, starting now, would leave less of a claimed resource than the claimant needs. */
static bool violates(const lr_spec *spec, const lr_spec *claimant, const lr_resources *available)
{
    for (int i = 0; i < LR_RESOURCE_COUNT; i++) {
        if (!(claimant->claims >> i & 1) || spec->hold.amount[i] == 0) continue;
        if (available->amount[i] - spec->hold.amount[i] < claimant->hold.amount[i]) return true;
    }
    return false;
}

static bool may_start(const lr_spec *spec, const lr_resources *available,
                      lr_spec *const *claimants, int claimant_count)
{
    for (int i = 0; i < claimant_count; i++)
        if (claimants[i] != spec && lr_ready_before(claimants[i], spec) &&
            violates(spec, claimants[i], available))
            return false;
    return true;
}

lr_spec *lr_ready_take(lr_ready *ready, const lr_resources *available, uint64_t now_ns)
{
    lr_spec *fitting[MIXED + 1], *claimants[MIXED + 1], *best = NULL;
    int fitting_count = 0, claimant_count = 0;
    for (int i = 0; i < ready->used_count; i++) {
        lr_spec *head = spec_of(lr_heap_first(&ready->shape[ready->used[i]].heap));
        if (lr_resources_fit(available, &head->hold))
            fitting[fitting_count++] = head;
        else
            note_blocked(head, available, now_ns);
        if (head->claims) claimants[claimant_count++] = head;
    }
    for (int i = 0; i < fitting_count; i++)
        if ((!best || lr_ready_before(fitting[i], best)) &&
            may_start(fitting[i], available, claimants, claimant_count))
            best = fitting[i];
    if (best) lr_ready_remove(ready, best);
    return best;
}
