#include "sched/local.h"

#include "sched/fault.h"

void lr_local_init(lr_local *local, const lr_resources *total)
{
    for (int i = 0; i < LR_RESOURCE_COUNT; i++)
        LR_ASSERT(total->amount[i] >= 0);
    local->total = local->available = *total;
    local->in_pool = local->parked = 0;
    lr_ready_init(&local->ready);
}

/* What a spec holds while it runs: its need, with a worker's whole slot for a part of a cpu. */
static lr_resources hold_of(const lr_spec *spec)
{
    lr_resources hold = spec->need;
    int64_t *cpu = &hold.amount[LR_RESOURCE_CPU];
    if (*cpu > 0 && *cpu < LR_AMOUNT_ONE) *cpu = LR_AMOUNT_ONE;
    return hold;
}

static lr_err infeasible(lr_spec *spec, lr_detail_kind kind, int resource, int64_t asked,
                         int64_t offered)
{
    spec->detail = (lr_detail){kind, resource, asked, offered};
    return LR_ERR_INFEASIBLE;
}

lr_err lr_local_feasible(const lr_local *local, lr_id self, lr_spec *spec)
{
    const int64_t *total = local->total.amount, *need = spec->need.amount;
    if (spec->affinity == LR_AFFINITY_NODE && !lr_id_equal(spec->node, self))
        return infeasible(spec, LR_DETAIL_UNKNOWN_NODE, 0, 0, 0);
    if (spec->unknown_resource && spec->unknown_amount > 0)
        return infeasible(spec, LR_DETAIL_UNKNOWN_RESOURCE, -1, spec->unknown_amount, 0);
    if (total[LR_RESOURCE_CPU] == 0) { /* no worker: not even a task of 0 cpus */
        int64_t cpu = need[LR_RESOURCE_CPU];
        return infeasible(spec, LR_DETAIL_RESOURCE, LR_RESOURCE_CPU, cpu ? cpu : LR_AMOUNT_ONE, 0);
    }
    lr_resources hold = hold_of(spec);
    int i = lr_resources_short(&local->total, &hold);
    if (i >= 0) return infeasible(spec, LR_DETAIL_RESOURCE, i, need[i], total[i]);
    return LR_ERR_NONE;
}

void lr_local_queue(lr_local *local, lr_spec *spec)
{
    for (int i = 0; i < LR_RESOURCE_COUNT; i++)
        LR_ASSERT(spec->need.amount[i] >= 0);
    LR_ASSERT(!__builtin_isnan(spec->priority));
    spec->hold = hold_of(spec);
    lr_ready_add(&local->ready, spec);
}

void lr_local_drop(lr_local *local, lr_spec *spec)
{
    lr_ready_remove(&local->ready, spec);
    spec->place = LR_PLACE_OVER;
}

lr_spec *lr_local_start(lr_local *local, uint64_t now_ns)
{
    lr_spec *spec = lr_ready_take(&local->ready, &local->available, now_ns);
    if (!spec) return NULL;
    if (LR_FAULT(HELD_TWICE)) local->available = local->total;
    lr_resources_take(&local->available, &spec->hold);
    spec->place = LR_PLACE_POOL;
    local->in_pool++;
    return spec;
}

static lr_resources only_cpu(const lr_spec *spec)
{
    lr_resources cpu = {{0}};
    cpu.amount[LR_RESOURCE_CPU] = spec->hold.amount[LR_RESOURCE_CPU];
    return cpu;
}

void lr_local_park(lr_local *local, lr_spec *spec)
{
    LR_ASSERT(spec->place == LR_PLACE_POOL);
    lr_resources cpu = only_cpu(spec);
    lr_resources_give(&local->available, &cpu, &local->total);
    spec->place = LR_PLACE_PARKED;
    local->in_pool--;
    local->parked++;
}

void lr_local_resume(lr_local *local, lr_spec *spec)
{
    LR_ASSERT(spec->place == LR_PLACE_PARKED);
    lr_resources cpu = only_cpu(spec);
    lr_resources_take(&local->available, &cpu);
    spec->place = LR_PLACE_POOL;
    local->parked--;
    local->in_pool++;
}

void lr_local_return(lr_local *local, lr_spec *spec)
{
    LR_ASSERT(spec->place == LR_PLACE_POOL);
    lr_resources_give(&local->available, &spec->hold, &local->total);
    local->in_pool--;
    spec->place = LR_PLACE_OUT;
    lr_ready_add_again(&local->ready, spec);
}

void lr_local_finish(lr_local *local, lr_spec *spec)
{
    LR_ASSERT(spec->place == LR_PLACE_POOL || spec->place == LR_PLACE_PARKED);
    lr_resources rest = spec->hold;
    if (spec->place == LR_PLACE_PARKED) {
        rest.amount[LR_RESOURCE_CPU] = 0; /* given back when it parked */
        local->parked--;
    } else {
        local->in_pool--;
    }
    lr_resources_give(&local->available, &rest, &local->total);
    spec->place = LR_PLACE_OVER;
}

void lr_local_explain(const lr_local *local, lr_spec *spec)
{
    LR_ASSERT(spec->place == LR_PLACE_READY);
    int i = lr_resources_short(&local->available, &spec->hold);
    spec->detail = i < 0 ? (lr_detail){LR_DETAIL_LATE_TURN, 0, 0, 0}
                         : (lr_detail){LR_DETAIL_LATE_RESOURCE, i, spec->need.amount[i],
                                       local->available.amount[i]};
}
