#include "sched/task_state.h"

static const struct {
    const char *name, *meaning;
} states[LR_TASK_STATE_COUNT] = {
#define LR_TASK_STATE(id, name, meaning) [LR_TASK_##id] = {name, meaning},
#include "sched/task_state.def"
};

static const char *const moves[LR_TASK_STATE_COUNT][LR_TASK_STATE_COUNT] = {
#define LR_TASK_MOVE(from, to, when) [LR_TASK_##from][LR_TASK_##to] = when,
#include "sched/task_state.def"
};

const char *lr_task_state_name(lr_task_state state)
{
    LR_ASSERT(state < LR_TASK_STATE_COUNT);
    return states[state].name;
}

const char *lr_task_state_meaning(lr_task_state state)
{
    LR_ASSERT(state < LR_TASK_STATE_COUNT);
    return states[state].meaning;
}

lr_task_state lr_task_state_from_name(const char *name)
{
    for (int i = 0; i < LR_TASK_STATE_COUNT; i++)
        if (strcmp(states[i].name, name) == 0) return (lr_task_state)i;
    return LR_TASK_STATE_COUNT;
}

const char *lr_task_state_when(lr_task_state from, lr_task_state to)
{
    LR_ASSERT(from < LR_TASK_STATE_COUNT && to < LR_TASK_STATE_COUNT);
    return moves[from][to];
}

bool lr_task_state_may(lr_task_state from, lr_task_state to)
{
    return lr_task_state_when(from, to) != NULL;
}

bool lr_task_state_ended(lr_task_state state)
{
    return state == LR_TASK_READY || state == LR_TASK_FAILED || state == LR_TASK_CANCELLED;
}

void lr_task_state_move(lr_task_state *state, lr_task_state from, lr_task_state to)
{
    LR_ASSERT(*state == from);
    LR_ASSERT(lr_task_state_may(from, to));
    *state = to;
}
