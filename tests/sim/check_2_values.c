/* tests/sim/check_2_values.c - invariant 2: a value once seen never changes; the first end of a task stands.
 *
 * What a body makes of its id and its call is the same in every attempt, on every node; and every future, wherever it is
 * looked at, shows what some body made. Attempts are numbered: none is sent twice. */
#include "tests/sim/sim.h"

/* Numbers as the map's pointers: not 0. */
static void *held(uint64_t number) { return (void *)(uintptr_t)(number | 1); }

void check_value_computed(sim_task *t, const sim_value *v)
{
    sim *w = t->home->world;
    if (w->config.may_fail || w->config.big) return; /* there, errors may come in any place; or it is too much to keep */
    if (v->poisoned) {
        w->stats.poisoned++;
        if (w->strict && t == w->root) /* others may be of a run that nobody wants any more */
            sim_violation(w, "5: task %016llx on node %u saw a value that was lost", (unsigned long long)t->id.lo, t->home->number);
        return;
    }
    const void *was = lr_map_find(&w->computed, t->id);
    if (was && was != held(v->number))
        sim_violation(w, "2: task %016llx made another value on node %u, attempt %u", (unsigned long long)t->id.lo,
                      t->home->number, t->attempt);
    was = w->config.expected ? lr_map_find(w->config.expected, t->id) : NULL;
    if (was && was != held(v->number))
        sim_violation(w, "2: task %016llx made another value on node %u than on one node without faults",
                      (unsigned long long)t->id.lo, t->home->number);
    LR_ASSERT(lr_map_add(&w->computed, t->id, held(v->number), &lr_process_allocator));
}

void check_value_seen(const sim_task *t)
{
    sim *w = t->home->world;
    if (t->value.state != LR_TASK_READY || t->value.poisoned || w->config.may_fail || w->config.big) return;
    if (lr_map_find(&w->computed, t->id) != held(t->value.number))
        sim_violation(w, "2: the future of task %016llx shows on node %u what that task did not return",
                      (unsigned long long)t->id.lo, t->home->number);
}

void check_attempt(sim_task *t, uint32_t attempt)
{
    if (attempt <= t->sent_attempt)
        sim_violation(t->home->world, "2: task %016llx is sent as attempt %u after attempt %u", (unsigned long long)t->id.lo,
                      attempt, t->sent_attempt);
}

lr_map check_value_take(sim *w)
{
    lr_map computed = w->computed;
    w->computed = (lr_map){0};
    return computed;
}
