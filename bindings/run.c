#include "bindings/run.h"

#include "bindings/codec.h"
#include "bindings/collector.h"
#include "bindings/handles.h"
#include "bindings/plain.h"
#include "bindings/reclaim.h"
#include "bindings/session.h"
#include "bindings/worker_state.h"
#include "runtime/extra.h"
#include "runtime/far.h"

#include <stdlib.h>

#define FREE_SLOTS_MAX 1024
#define CAUSES_MAX 8

const char lr_error_mark = 0;

/* ---- slots ---------------------------------------------------------------------------------------- */

static lr_slot *slot_take(lr_state *S)
{
    lr_slot *s = S->free_slots;
    if (s) {
        S->free_slots = s->next_free;
        S->free_slot_count--;
        return s;
    }
    s = calloc(1, sizeof *s);
    LR_ASSERT(s);
    s->co = lua_newthread(S->L);
    s->ref_co = luaL_ref(S->L, LUA_REGISTRYINDEX);
    return s;
}

static void slot_drop(lr_state *S, lr_slot *s)
{
    luaL_unref(S->L, LUA_REGISTRYINDEX, s->ref_co);
    free(s);
}

static void slot_give(lr_state *S, lr_slot *s, bool usable)
{
    s->task = NULL;
    s->seeded = false;
    s->wait = LR_WAIT_NONE;
    if (!usable || S->free_slot_count >= FREE_SLOTS_MAX) {
        slot_drop(S, s);
        return;
    }
    lua_settop(s->co, 1);
    s->next_free = S->free_slots;
    S->free_slots = s;
    S->free_slot_count++;
}

void lr_slots_free(lr_state *S)
{
    while (S->free_slots) {
        lr_slot *s = S->free_slots;
        S->free_slots = s->next_free;
        free(s);
    }
    S->free_slot_count = 0;
}

/* ---- functions ------------------------------------------------------------------------------------ */

/* require(module)[field], on co. False with a sentence pushed. */
static bool push_module_function(lua_State *co, const lr_fn *fn)
{
    lua_getglobal(co, "require");
    lua_pushstring(co, fn->module);
    if (lua_pcall(co, 1, 1, 0) != 0) return false;
    if (!lua_istable(co, -1)) {
        lua_pushfstring(co, "module '%s' is a %s, not a table of functions", fn->module, luaL_typename(co, -1));
        return false;
    }
    lua_getfield(co, -1, fn->field);
    if (!lua_isfunction(co, -1)) {
        lua_pushfstring(co, "module '%s' has no function '%s'", fn->module, fn->field);
        return false;
    }
    lua_remove(co, -2);
    return true;
}

static bool make_function(lr_state *S, lua_State *co, lr_fn *fn)
{
    if (fn->kind == LR_FN_MODULE) return push_module_function(co, fn);
    if (lr_value_is_empty(&fn->body)) { /* it was refused after something else had taken hold of it */
        lua_pushfstring(co, "'%s' could not be sent when it was first used", fn->name);
        return false;
    }
    lr_fn *outer = S->decoding_fn;
    S->decoding_fn = fn;
    int count = lr_decode(S, co, &fn->body);
    S->decoding_fn = outer;
    return count == 1;
}

static bool remember_serial(lr_state *S, const lr_fn *fn)
{
    if (fn->slot >= S->serial_capacity) {
        uint32_t capacity = S->serial_capacity ? S->serial_capacity : 64;
        while (capacity <= fn->slot)
            capacity *= 2;
        uint64_t *serials = realloc(S->serials, capacity * sizeof *serials);
        if (!serials) return false;
        memset(serials + S->serial_capacity, 0, (capacity - S->serial_capacity) * sizeof *serials);
        S->serials = serials;
        S->serial_capacity = capacity;
    }
    S->serials[fn->slot] = fn->serial;
    return true;
}

/* Pushes fn's function, made once for each state. False with a sentence pushed. */
bool lr_push_function(lr_state *S, lua_State *co, lr_fn *fn)
{
    lua_rawgeti(co, LUA_REGISTRYINDEX, S->ref_functions);
    if (fn->slot < S->serial_capacity && S->serials[fn->slot] == fn->serial) {
        lua_rawgeti(co, -1, (int)fn->slot + 1);
        lua_remove(co, -2);
        return true;
    }
    if (!make_function(S, co, fn)) return false;
    lua_pushvalue(co, -1);
    lua_rawseti(co, -3, (int)fn->slot + 1);
    lua_remove(co, -2);
    return remember_serial(S, fn);
}

/* ---- ends ----------------------------------------------------------------------------------------- */

static void body_over(lr_state *S, lr_slot *s, bool usable)
{
    lr_task *t = s->task;
    slot_give(S, s, usable);
    lr_pool_body_done(S->worker, t);
    lr_task_release(t);
}

/* Replaces the error on the top by its innermost cause when the chain is CAUSES_MAX long: errors that pass through
 * thousands of nested tasks stay small. */
static void bound_causes(lua_State *L)
{
    int top = lua_gettop(L);
    lua_pushvalue(L, top);
    for (int depth = 0; lua_istable(L, -1); depth++) {
        lua_getfield(L, -1, "cause");
        if (!lua_istable(L, -1)) {
            lua_pop(L, 1);
            if (depth >= CAUSES_MAX) lua_replace(L, top);
            break;
        }
        lua_remove(L, -2);
    }
    lua_settop(L, top);
}

/* Pushes on L the error value for what a task raised, which is on the top of co. */
static void push_error(lr_state *S, lua_State *L, lua_State *co, const lr_task *t, lr_err code, bool with_value)
{
    lua_pushvalue(co, -1);
    lua_xmove(co, L, 1);
    int raised = lua_gettop(L);
    bool is_error = lua_istable(L, raised) && lua_getmetatable(L, raised);
    if (is_error) {
        is_error = lua_topointer(L, -1) == S->mt_error;
        lua_pop(L, 1);
    }
    lr_error_push(S, L, code, "");
    int error = lua_gettop(L);
    if (is_error) {
        lua_getfield(L, raised, "message");
        lua_setfield(L, error, "message");
        lua_getfield(L, raised, "code");
        lua_setfield(L, error, "code");
        lua_pushvalue(L, raised);
        bound_causes(L);
        lua_setfield(L, error, "cause");
    } else {
        lua_getglobal(L, "tostring");
        lua_pushvalue(L, raised);
        if (lua_pcall(L, 1, 1, 0) != 0 || !lua_isstring(L, -1)) {
            lua_pop(L, 1);
            lua_pushfstring(L, "(an error value of type %s)", luaL_typename(L, raised));
        }
        lua_setfield(L, error, "message");
        if (with_value && lua_type(L, raised) != LUA_TSTRING) {
            lua_pushvalue(L, raised);
            lua_setfield(L, error, "value");
        }
    }
    luaL_traceback(L, co, NULL, 0);
    lua_setfield(L, error, "traceback");
    char id[LR_ID_TEXT];
    lr_id_format(t->id, id);
    lua_pushstring(L, id);
    lua_setfield(L, error, "task");
    lua_pushstring(L, lr_task_name(t));
    lua_setfield(L, error, "function_name");
    lua_pushinteger(L, t->attempt);
    lua_setfield(L, error, "attempts");
    lua_replace(L, raised);
    lua_settop(L, raised);
}

static bool encode_error(lr_state *S, lr_slot *s, lr_err code, lr_value *out)
{
    /* a thread of its own: tostring of what was raised is the user's code and may wait, others fail meanwhile */
    lua_State *L = lua_newthread(S->L);
    int ref = luaL_ref(S->L, LUA_REGISTRYINDEX);
    lr_err why;
    bool done = false;
    for (int with_value = 1; with_value >= 0 && !done; with_value--) {
        lua_settop(L, 0);
        push_error(S, L, s->co, s->task, code, with_value);
        done = lr_encode(S, L, 1, 1, LR_ROOT_RESULT, 0, &why) && lr_builder_finish(&S->builder, out);
    }
    luaL_unref(S->L, LUA_REGISTRYINDEX, ref);
    return done;
}

/* Another attempt, where its options allow one. */
static bool retried(lr_state *S, lr_slot *s)
{
    lr_task *t = s->task;
    const lr_options *o = t->extra ? t->extra->options : NULL;
    if (!o || t->attempt > o->retry_on_error || !lr_task_wants_result(t)) return false;
    t->attempt++;
    slot_give(S, s, false);
    lr_pool_retry(S->worker, t);
    return true;
}

/* The top of co is what was raised. */
static void fail(lr_state *S, lr_slot *s, lr_err code)
{
    lr_task *t = s->task;
    if (code == LR_ERR_ERROR && retried(S, s)) return;
    lr_value error;
    if (lr_task_wants_result(t)) {
        if (encode_error(S, s, code, &error))
            lr_pool_end(t, LR_TASK_FAILED, &error);
        else
            lr_pool_fail(t, LR_ERR_OUT_OF_MEMORY, "no memory for the error", NULL);
    }
    body_over(S, s, false);
}

static void succeed(lr_state *S, lr_slot *s)
{
    lr_task *t = s->task;
    lua_State *co = s->co;
    lr_value result;
    lr_err code;
    int count = lua_gettop(co) - 1; /* above the function */
    if (!lr_task_wants_result(t)) {
        body_over(S, s, true);
        return;
    }
    if (lr_plain_encode(co, 2, count, &result)) {
        lr_pool_end(t, LR_TASK_READY, &result);
    } else {
        if (!lr_encode(S, co, 2, count, LR_ROOT_RESULT, LR_ENCODE_SEAL, &code)) {
            fail(S, s, code);
            return;
        }
        if (lr_builder_finish(&S->builder, &result))
            lr_pool_end(t, LR_TASK_READY, &result);
        else
            lr_pool_fail(t, LR_ERR_OUT_OF_MEMORY, "no memory for the result", NULL);
    }
    body_over(S, s, true);
}

/* Runs the coroutine with count arguments on its stack, until its end or its next wait. */
static void go(lr_state *S, lr_slot *s, int count)
{
    lr_worker *w = S->worker;
    lr_fn *fn = s->task->fn;
    bool timed = lr_pool_times(w, fn);
    uint64_t ticks = timed ? lr_clock_ticks() : 0;
    int status = lua_resume(s->co, count);
    if (timed) lr_pool_note_time(fn, lr_clock_ticks() - ticks);
    if (status == 0) {
        succeed(S, s);
    } else if (status != LUA_YIELD) {
        fail(S, s, LR_ERR_ERROR);
    } else if (s->wait == LR_WAIT_NONE) {
        lua_pushliteral(s->co, "attempt to yield from a task outside any coroutine of its own (use lr.yield)");
        fail(S, s, LR_ERR_ERROR);
    } else {
        if (!atomic_load_explicit(&fn->parks, memory_order_relaxed)) atomic_store(&fn->parks, true);
        if (s->wait == LR_WAIT_VALUE || s->park.reason == LR_PARK_AGAIN) {
            lr_pool_yield(w, &s->park);
            return;
        }
        lr_pool_park(w, &s->park);
        if (lr_park_armed(&s->park)) lr_pool_deliver(&s->park);
    }
}

/* Puts in the place of each future among the arguments its value. They are on the stack of co from first on. */
static bool take_inputs(lr_state *S, lua_State *co, int first, const lr_extra *extra)
{
    for (uint32_t i = 0; i < extra->input_count; i++) {
        const lr_input *in = &extra->inputs[i];
        int before = lua_gettop(co);
        int count = lr_take_soft(S, co, in->input, in->index == LR_RESULT_ALL ? 0 : in->index);
        if (count < 0) return false;
        lua_settop(co, before + 1); /* the first value, nil for none */
        lua_replace(co, first + (int)in->argument - 1);
    }
    return true;
}

/* Pushes fn's function behind a copy that stays for the next task in this slot. */
static bool push_function_of(lr_state *S, lr_slot *s, lr_fn *fn)
{
    if (s->fn_serial != fn->serial) {
        lua_settop(s->co, 0);
        s->fn_serial = 0;
        if (!lr_push_function(S, s->co, fn)) return false;
        s->fn_serial = fn->serial;
    }
    lua_pushvalue(s->co, 1);
    return true;
}

static void begin(lr_state *S, lr_slot *s, lr_task *t)
{
    if (!push_function_of(S, s, t->fn)) {
        fail(S, s, LR_ERR_ERROR);
        return;
    }
    int count = t->args.plain ? lr_plain_decode(s->co, &t->args) : lr_decode(S, s->co, &t->args);
    if (count < 0 || (lr_task_has(t, LR_TASK_INPUTS) && !take_inputs(S, s->co, 3, t->extra))) {
        fail(S, s, LR_ERR_ERROR);
        return;
    }
    go(S, s, count);
}

/* The task is the current one from its first value's decoding to its last one's encoding: modules that are required
 * meanwhile and the tostring of what it raised may submit tasks, which are its children. */
static void run(lr_worker *w, lr_task *t)
{
    lr_state *S = lr_worker_state_of(w);
    lr_slot *outer = S->current, *s = slot_take(S);
    s->task = t;
    S->current = s;
    begin(S, s, t);
    S->current = outer;
}

/* ---- resuming ------------------------------------------------------------------------------------- */

static void forget_watches(lr_slot *s)
{
    for (size_t i = 0; i < s->watch_count; i++) {
        lr_task_unwatch(s->watched[i], &s->watches[i].waiter);
        lr_task_release(s->watched[i]);
    }
    free(s->watches);
    free((void *)s->watched);
    s->watches = NULL;
    s->watched = NULL;
    s->watch_count = 0;
}

/* Only the script is told so: the tasks are what is stuck. */
static void push_stuck(lr_state *S, lua_State *L)
{
    char text[300];
    lr_pool_counts c = lr_pool_count(S->worker->pool);
    snprintf(text, sizeof text,
             "deadlock: nothing runs and nothing can start: %llu parked and %llu pending tasks wait for each "
             "other or for resources that others of them hold",
             (unsigned long long)(c.started - c.finished), (unsigned long long)(c.submitted - c.started));
    lr_error_push(S, L, LR_ERR_ERROR, text);
}

static void push_reason(lr_state *S, lua_State *L, lr_park_reason reason)
{
    if (reason == LR_PARK_CANCELLED)
        lr_error_push(S, L, LR_ERR_CANCELLED, "the task was cancelled");
    else if (reason == LR_PARK_STUCK)
        push_stuck(S, L);
    else if (reason == LR_PARK_INTERRUPTED)
        lr_error_push(S, L, LR_ERR_ERROR, "interrupted: ^C ended the wait; the tasks go on");
    else
        lr_error_push(S, L, LR_ERR_TIMEOUT, "the result was not there in time");
}

/* What to wait for before the values of t can be taken: t itself, or what of it lies on another node; one count. NULL:
 * nothing. */
static lr_task *comes_first(lr_task *t)
{
    lr_task *arrival = t;
    if (lr_task_ended(t) && !lr_task_has(t, LR_TASK_FAR)) return NULL;
    if (lr_task_state_of(t) == LR_TASK_READY && lr_far_look(t, &arrival) != LR_FAR_COMING) {
        if (arrival) lr_task_release(arrival);
        return NULL;
    }
    if (lr_task_state_of(t) > LR_TASK_READY) return NULL;
    if (arrival == t) lr_task_retain(t);
    return arrival;
}

/* Parks s until first has ended, a count of which is taken over. */
static void watch_got(lr_slot *s, lr_task *first)
{
    s->wait = LR_WAIT_GET;
    s->got_first = first;
    if (first == s->got) lr_far_will_get(first);
    lr_park_watch(&s->park, &s->single, first);
}

/* Its values lie on another node: it waits on for those. */
static bool waits_on(lr_state *S, lr_slot *s)
{
    lr_task *first = comes_first(s->got);
    if (!first) return false;
    lr_task_release(s->got_first);
    lr_park_init(&s->park, S->worker, s->task, 1, s->park.deadline_ns);
    watch_got(s, first);
    lr_pool_park(S->worker, &s->park);
    if (lr_park_armed(&s->park)) lr_pool_deliver(&s->park);
    return true;
}

static int push_got(lr_state *S, lr_slot *s, lr_park_reason reason)
{
    lua_State *co = s->co;
    lr_task *t = s->got;
    int count = -1;
    if (reason == LR_PARK_READY) {
        int before = lua_gettop(co);
        count = lr_take_soft(S, co, t, s->got_index);
        if (count < 0) {
            lua_pushlightuserdata(co, (void *)&lr_error_mark);
            lua_insert(co, before + 1);
        }
    } else {
        lr_task_unwatch(s->got_first, &s->single.waiter);
        lua_pushlightuserdata(co, (void *)&lr_error_mark);
        push_reason(S, co, reason);
    }
    s->got = NULL;
    lr_task_release(s->got_first);
    lr_task_release(t);
    return count < 0 ? 2 : count;
}

static int push_true(lr_state *S, lr_slot *s, lr_park_reason reason)
{
    forget_watches(s);
    if (s->collector) lr_collector_unpark(s->collector);
    s->collector = NULL;
    if (reason == LR_PARK_CANCELLED) {
        lua_pushnil(s->co);
        push_reason(S, s->co, reason);
        return 2;
    }
    lua_pushboolean(s->co, reason != LR_PARK_TIMEOUT);
    return 1;
}

static void resume(lr_worker *w, lr_park *p)
{
    lr_state *S = w->state;
    lr_slot *s = (lr_slot *)p;
    lr_park_reason reason = (lr_park_reason)atomic_load_explicit(&p->reason, memory_order_relaxed);
    lr_wait_kind wait = s->wait;
    lr_slot *outer = S->current;
    int count = 1;
    s->wait = LR_WAIT_NONE;
    if (wait == LR_WAIT_GET && reason == LR_PARK_READY && waits_on(S, s)) return;
    S->current = s;
    if (wait == LR_WAIT_GET) {
        count = push_got(S, s, reason);
    } else if (wait == LR_WAIT_TRUE) {
        count = push_true(S, s, reason);
    } else {
        lua_rawgeti(s->co, LUA_REGISTRYINDEX, s->ref_value);
        luaL_unref(s->co, LUA_REGISTRYINDEX, s->ref_value);
    }
    go(S, s, count);
    S->current = outer;
}

static void close_state(lr_worker *w)
{
    lr_worker_state_close(w);
}

const lr_runner lr_lua_runner = {run, resume, lr_reclaim_worker, close_state};

/* ---- waiting -------------------------------------------------------------------------------------- */

bool lr_may_park(lr_state *S, lua_State *L)
{
    return S->current && S->current->co == L && S->worker->has_loop && lua_isyieldable(L);
}

static int take_values(lr_state *S, lua_State *L, lr_task *t, uint32_t index)
{
    bool ready = lr_task_state_of(t) == LR_TASK_READY;
    if (ready && t->result.plain && index == LR_RESULT_ALL) return lr_plain_decode(L, &t->result);
    int before = lua_gettop(L);
    int count = lr_decode(S, L, &t->result);
    if (!ready) {
        lr_task_set(t, LR_TASK_SEEN);
        if (count == 0) { /* freed, or an end for which there was no memory */
            lr_error_push(S, L, LR_ERR_OUT_OF_MEMORY, "the error was lost for want of memory");
        }
        return -1;
    }
    if (count < 0) { /* a sentence is on the top: this state cannot take the value in */
        lr_error_push(S, L, LR_ERR_ERROR, lua_tostring(L, -1));
        lua_replace(L, before + 1);
        lua_settop(L, before + 1);
        return -1;
    }
    if (index == LR_RESULT_ALL) return count;
    lua_settop(L, before + (count > (int)index ? count : (int)index + 1));
    lua_pushvalue(L, before + 1 + (int)index);
    lua_replace(L, before + 1);
    lua_settop(L, before + 1);
    return 1;
}

int lr_take_soft(lr_state *S, lua_State *L, lr_task *t, uint32_t index)
{
    lr_task *lost = NULL;
    if (lr_task_has(t, LR_TASK_FAR) && lr_task_state_of(t) == LR_TASK_READY && lr_far_look(t, &lost) == LR_FAR_LOST) {
        int count = take_values(S, L, lost, index);
        lr_task_release(lost);
        return count;
    }
    if (lost) lr_task_release(lost);
    return take_values(S, L, t, index);
}

int lr_take(lr_state *S, lua_State *L, lr_task *t, uint32_t index)
{
    int count = lr_take_soft(S, L, t, index);
    if (count < 0) return lua_error(L);
    return count;
}

void lr_check_cancelled(lr_state *S, lua_State *L)
{
    if (!S->current || !S->worker) return;
    lr_pool *p = S->worker->pool;
    if (atomic_load_explicit(&p->cancel_epoch, memory_order_relaxed) == 0) return;
    if (!lr_pool_cancelled(p, S->current->task)) return;
    push_reason(S, L, LR_PARK_CANCELLED);
    lua_error(L);
}

/* Before anything is armed for a wait on the stack. */
static void check_stack(lr_state *S, lua_State *L)
{
    if (lr_pool_may_block(S->worker)) return;
    lr_error_push(S, L, LR_ERR_OUT_OF_MEMORY,
                  "too many waits inside each other where Lua cannot yield (in a coroutine, "
                  "a table.sort comparator, a string.gsub callback): no stack is left");
    lua_error(L);
}

/* Waits on the stack; other tasks of this state run meanwhile, on another one. */
static lr_park_reason block(lr_state *S, lr_park *p, bool yields)
{
    lr_slot *current = S->current;
    lr_fn *encoding = S->encoding_fn, *decoding = S->decoding_fn;
    lr_park_reason reason = LR_PARK_READY;
    S->current = NULL;
    S->encoding_fn = S->decoding_fn = NULL;
    if (yields)
        lr_pool_block_yield(S->worker, p);
    else if (!lr_park_armed(p))
        reason = lr_pool_block(S->worker, p);
    S->current = current;
    S->encoding_fn = encoding;
    S->decoding_fn = decoding;
    return reason;
}

static lr_task *current_task(lr_state *S)
{
    return S->current ? S->current->task : NULL;
}

static int finish_blocked(lr_state *S, lua_State *L, lr_park_reason reason)
{
    if (reason == LR_PARK_CANCELLED || reason == LR_PARK_STUCK || reason == LR_PARK_INTERRUPTED) {
        push_reason(S, L, reason);
        return lua_error(L);
    }
    lua_pushboolean(L, reason != LR_PARK_TIMEOUT);
    return 1;
}

int lr_wait_get(lr_state *S, lua_State *L, lr_task *t, uint32_t index, uint64_t deadline_ns)
{
    lr_slot *s = lr_may_park(S, L) ? S->current : NULL;
    if (s && deadline_ns == LR_NEVER && !lr_task_has(s->task, LR_TASK_MACHINE) &&
        lr_pool_run_own(S->worker, s->task, t))
        return lr_take(S, L, t, index);
    if (!s && deadline_ns == LR_NEVER && lr_pool_run_here(S->worker, t)) return lr_take(S, L, t, index);
    if (!s) check_stack(S, L);
    lr_task *first = comes_first(t);
    if (!first) return lr_take(S, L, t, index);
    if (s) {
        lr_park_init(&s->park, S->worker, s->task, 1, deadline_ns);
        lr_task_retain(t);
        s->got = t;
        s->got_index = index;
        watch_got(s, first);
        return lua_yield(L, 0);
    }
    for (; first; first = comes_first(t)) {
        lr_park p;
        lr_watch watch;
        lr_park_init(&p, S->worker, current_task(S), 1, deadline_ns);
        lr_park_watch(&p, &watch, first);
        if (first == t) lr_far_will_get(t);
        lr_park_reason reason = block(S, &p, false);
        if (reason != LR_PARK_READY) lr_task_unwatch(first, &watch.waiter);
        lr_task_release(first);
        if (reason == LR_PARK_READY) continue;
        push_reason(S, L, reason);
        return lua_error(L);
    }
    return lr_take(S, L, t, index);
}

static bool watch_all(lr_slot *s, lr_park *p, lr_task **tasks, size_t task_count)
{
    s->watches = malloc((task_count + 1) * sizeof *s->watches);
    s->watched = (lr_task **)malloc((task_count + 1) * sizeof *s->watched);
    if (!s->watches || !s->watched) {
        free(s->watches);
        free((void *)s->watched);
        return false;
    }
    s->watch_count = task_count;
    for (size_t i = 0; i < task_count; i++) {
        lr_task_retain(tasks[i]);
        s->watched[i] = tasks[i];
        lr_park_watch(p, &s->watches[i], tasks[i]);
    }
    return true;
}

int lr_wait_tasks(lr_state *S, lua_State *L, lr_task **tasks, size_t task_count, size_t count, uint64_t deadline_ns)
{
    bool parks = lr_may_park(S, L);
    lr_slot own, *s = parks ? S->current : &own;
    if (!parks) check_stack(S, L);
    lr_park_init(&s->park, S->worker, current_task(S), (int64_t)count, deadline_ns);
    if (!watch_all(s, &s->park, tasks, task_count)) return luaL_error(L, "not enough memory");
    if (parks) {
        s->wait = LR_WAIT_TRUE;
        return lua_yield(L, 0);
    }
    lr_park_reason reason = block(S, &s->park, false);
    forget_watches(s);
    return finish_blocked(S, L, reason);
}

int lr_wait_sleep(lr_state *S, lua_State *L, uint64_t deadline_ns)
{
    if (lr_may_park(S, L)) {
        lr_slot *s = S->current;
        lr_park_init(&s->park, S->worker, s->task, 1, deadline_ns);
        s->wait = LR_WAIT_TRUE;
        return lua_yield(L, 0);
    }
    lr_park p;
    check_stack(S, L);
    lr_park_init(&p, S->worker, current_task(S), 1, deadline_ns);
    lr_park_reason reason = block(S, &p, false);
    return finish_blocked(S, L, reason == LR_PARK_TIMEOUT ? LR_PARK_READY : reason);
}

static void yield_on_stack(lr_state *S, lua_State *L)
{
    lr_park p;
    check_stack(S, L);
    lr_park_init(&p, S->worker, current_task(S), 1, LR_NEVER);
    block(S, &p, true);
}

int lr_wait_yield(lr_state *S, lua_State *L)
{
    if (lr_may_park(S, L)) {
        lr_slot *s = S->current;
        lr_park_init(&s->park, S->worker, s->task, 1, LR_NEVER);
        atomic_store(&s->park.reason, LR_PARK_AGAIN);
        s->wait = LR_WAIT_TRUE;
        return lua_yield(L, 0);
    }
    if (S->worker && S->worker->has_loop) yield_on_stack(S, L);
    lua_pushboolean(L, true);
    return 1;
}

int lr_wait_value(lr_state *S, lua_State *L)
{
    if (!lr_may_park(S, L)) return 1;
    lr_slot *s = S->current;
    lr_park_init(&s->park, S->worker, s->task, 1, LR_NEVER);
    s->ref_value = luaL_ref(L, LUA_REGISTRYINDEX);
    s->wait = LR_WAIT_VALUE;
    return lua_yield(L, 0);
}

#define ROOM_NS 100000 /* how often a thread that waits for room looks again */

int lr_wait_room(lr_state *S, lua_State *L, int count)
{
    lr_worker *w = S->worker;
    if (lr_may_park(S, L)) return count == 1 ? lr_wait_value(S, L) : count;
    if (w->has_loop) {
        yield_on_stack(S, L);
        return count;
    }
    while (lr_pool_is_full(w)) {
        lr_bed_sleep(&w->bed, lr_clock_ns() + ROOM_NS);
        if (atomic_load(&w->look_at_parked)) lr_pool_look_at_parked(w);
        if (!lr_pool_take_interrupt(w->pool)) continue;
        push_reason(S, L, LR_PARK_INTERRUPTED);
        return lua_error(L);
    }
    return count;
}

int lr_wait_collector(lr_state *S, lua_State *L, struct lr_collector *c, uint64_t deadline_ns)
{
    bool parks = lr_may_park(S, L);
    lr_park own, *p = parks ? &S->current->park : &own;
    if (!parks) check_stack(S, L);
    lr_park_init(p, S->worker, current_task(S), 1, deadline_ns);
    lr_collector_park(c, p);
    if (parks) {
        S->current->wait = LR_WAIT_TRUE;
        S->current->collector = c;
        return lua_yield(L, 0);
    }
    lr_park_reason reason = block(S, p, false);
    lr_collector_unpark(c);
    return finish_blocked(S, L, reason);
}

lr_prng *lr_task_random(lr_state *S)
{
    lr_slot *s = S->current;
    if (!s) return NULL;
    if (!s->seeded) {
        lr_prng_seed(&s->random, s->task->id.hi ^ lr_mix64(s->task->id.lo));
        s->seeded = true;
    }
    return &s->random;
}
