/* bindings/run.h - running Lua tasks: a lua_State a thread, a coroutine a task.
 *
 * The pool's runner. A slot is a coroutine with what it waits for; slots are kept and used again. A
 * task that waits yields to the runner, which parks its slot; where Lua cannot yield, or in the
 * script's thread, the wait happens on the stack (lr_pool_block).
 * Owns: the slots, the functions made of each lr_fn. Thread: the state's. */
#ifndef BINDINGS_RUN_H
#define BINDINGS_RUN_H

#include "bindings/state.h"
#include "runtime/pool.h"
#include "sched/prng.h"

typedef enum lr_wait_kind {
    LR_WAIT_NONE = 0,
    LR_WAIT_GET,    /* resumed with the values, or with the error mark and an error */
    LR_WAIT_TRUE,   /* resumed with true, false at the timeout, or nil and an error */
    LR_WAIT_VALUE   /* resumed with a value kept in the registry: a submit that had to wait */
} lr_wait_kind;

typedef struct lr_slot {
    lr_park park; /* first: a park of a coroutine is its slot */
    lua_State *co; /* while no task is in it: only the function of the last one, at index 1 */
    int ref_co;
    uint64_t fn_serial; /* whose function that is; 0: none */
    lr_task *task; /* one count */
    lr_wait_kind wait;
    lr_task *got;  /* LR_WAIT_GET: one count */
    lr_task *got_first; /* what is waited for: got, or an object of its result (runtime/far.h); one count */
    uint32_t got_index;
    int ref_value; /* LR_WAIT_VALUE */
    lr_watch single;
    lr_watch *watches; /* of a list */
    lr_task **watched; /* one count each */
    size_t watch_count;
    struct lr_collector *collector; /* LR_WAIT_TRUE on a collector */
    lr_prng random;
    bool seeded;
    struct lr_slot *next_free;
} lr_slot;

extern const lr_runner lr_lua_runner;

/* Marks an error among what a wait is resumed with; a light userdata. */
extern const char lr_error_mark;

/* True where the running function may yield to the runner: a task of a worker, in its own coroutine. */
bool lr_may_park(lr_state *S, lua_State *L);

/* Waits for `count` ends among tasks; true in time, false at the deadline; raises when the running
 * task is cancelled. In a parkable
 * task it does not return here: call it as `return lr_wait_tasks(...)` and have the Lua side look at the results. */
int lr_wait_tasks(lr_state *S, lua_State *L, lr_task **tasks, size_t task_count, size_t count, uint64_t deadline_ns);
/* The same for one task and its values: `return lr_wait_get(...)`. */
int lr_wait_get(lr_state *S, lua_State *L, lr_task *t, uint32_t index, uint64_t deadline_ns);
int lr_wait_sleep(lr_state *S, lua_State *L, uint64_t deadline_ns);
int lr_wait_yield(lr_state *S, lua_State *L);
/* Lets other tasks run, then returns the value on the top. */
int lr_wait_value(lr_state *S, lua_State *L);

/* After a submit found too many pending: lets the queue shrink, then returns the count values on the top. */
int lr_wait_room(lr_state *S, lua_State *L, int count);

/* Pushes the values of an ended task and returns how many; raises its error. index: LR_RESULT_ALL or one. */
int lr_take(lr_state *S, lua_State *L, lr_task *t, uint32_t index);
/* The same without raising: -1 with the error pushed. */
int lr_take_soft(lr_state *S, lua_State *L, lr_task *t, uint32_t index);

/* Raises `cancelled` when the running task was cancelled. Cheap. */
void lr_check_cancelled(lr_state *S, lua_State *L);
/* The running task's stream, seeded from job and task. NULL in the script. */
lr_prng *lr_task_random(lr_state *S);

#endif
