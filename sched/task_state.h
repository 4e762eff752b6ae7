/* sched/task_state.h - the states of a task and the legal steps between them.
 *
 * The list is sched/task_state.def; the names are those that f:state() gives. Whoever changes a state names
 * the old one and asserts the step (lr_task_state_move), so that a lost or doubled event is found
 * where it happens.
 * Owns: nothing; constants only. Thread: any. Blocks: never. */
#ifndef SCHED_TASK_STATE_H
#define SCHED_TASK_STATE_H

#include "sched/base.h"

typedef enum lr_task_state {
#define LR_TASK_STATE(id, name, meaning) LR_TASK_##id,
#include "sched/task_state.def"
    LR_TASK_STATE_COUNT
} lr_task_state;

/* "waiting queued running ready failed cancelled". Never NULL. */
const char *lr_task_state_name(lr_task_state state);
/* One sentence: what it means. */
const char *lr_task_state_meaning(lr_task_state state);
/* The state with that name; LR_TASK_STATE_COUNT where there is none. */
lr_task_state lr_task_state_from_name(const char *name);
/* True where the step is in the table. No state steps to itself. */
bool lr_task_state_may(lr_task_state from, lr_task_state to);
/* When the step is taken, in words; NULL where it is not legal. */
const char *lr_task_state_when(lr_task_state from, lr_task_state to);
/* True for ready, failed and cancelled. */
bool lr_task_state_ended(lr_task_state state);
/* *state goes from one to another; asserts that it was there and that it may. */
void lr_task_state_move(lr_task_state *state, lr_task_state from, lr_task_state to);

#endif
