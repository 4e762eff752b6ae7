/* Futures in Lua: their userdata and methods, and what works on lists of them. */
#include "bindings/codec.h"
#include "bindings/core.h"
#include "bindings/handles.h"
#include "bindings/plain.h"
#include "bindings/run.h"
#include "bindings/session.h"
#include "runtime/far.h"

#include <stdlib.h>

const char lr_kind_future;

void lr_metatable_new(lr_state *S, lua_State *L, const luaL_Reg *meta, const luaL_Reg *methods,
    int *ref)
{
    lua_newtable(L);
    lr_state_register(S, L, methods);
    lua_newtable(L);
    lr_state_register(S, L, meta);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "luarun");
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -1);
    *ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

void lr_push_future(lr_state *S, lua_State *L, struct lr_task *task, uint32_t index)
{
    lr_future_ud *f = lua_newuserdata(L, sizeof *f);
    f->kind = &lr_kind_future;
    f->task = task;
    f->index = index;
    lr_task_retain(task);
    lua_rawgeti(L, LUA_REGISTRYINDEX, S->ref_mt_future);
    lua_setmetatable(L, -2);
    if (S->tracks_futures) lr_track_future(S, L);
}

/* Raises at the caller: in workers get is wrapped in a Lua function (lua/luarun/init.lua). */
static int refuse(lr_state *S, lua_State *L, const char *wanted, const char *given)
{
    luaL_where(L, S->is_script ? 1 : 2);
    lua_pushfstring(L, "%s%s wanted, %s given", lua_tostring(L, -1), wanted, given);
    return lua_error(L);
}

static lr_future_ud *check(lua_State *L, int index)
{
    lr_future_ud *f = lr_test_future(L, index);
    if (!f) luaL_error(L, "a future wanted, %s given", lr_given(L, index));
    return f;
}

/* nil: no limit; numbers: seconds; anything else raises. */
static void check_timeout(lr_state *S, lua_State *L, int index)
{
    if (lua_isnoneornil(L, index)) return;
    bool is_number = lua_type(L, index) == LUA_TNUMBER;
    if (is_number && lua_tonumber(L, index) == lua_tonumber(L, index)) return;
    refuse(S, L, "timeout: seconds (a number) or nil", is_number ? "nan" : luaL_typename(L, index));
}

static uint64_t deadline_of(lua_State *L, int index)
{
    return lua_isnoneornil(L, index) ? LR_NEVER : lr_clock_deadline(lua_tonumber(L, index));
}

/* get(f[, timeout]): the values, or (in a task that had to wait) the error mark and an error: see `finish` in
 * lua/luarun/init.lua. */
static int future_get(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    lr_future_ud *f = lr_test_future(L, 1);
    if (!f) return refuse(S, L, "a future", lua_isnoneornil(L, 1) ? "nothing" : lr_given(L, 1));
    check_timeout(S, L, 2);
    lr_check_cancelled(S, L);
    lr_task *t = f->task;
    uint32_t index = f->index;
    if (lr_task_ended(t) && !lr_task_has(t, LR_TASK_FAR)) return lr_take(S, L, t, index);
    lr_session_worker(S, L);
    return lr_wait_get(S, L, t, index, deadline_of(L, 2));
}

/* get_one(f[, timeout]), in a task: the value, where it is a single plain one that is there or that this worker can
 * make at once; else the error mark, and get does the rest. Most results are such, and need no look at a list of
 * values. */
static int future_get_one(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    lr_future_ud *f = lr_test_future(L, 1);
    if (!f) return refuse(S, L, "a future", lua_isnoneornil(L, 1) ? "nothing" : lr_given(L, 1));
    lr_check_cancelled(S, L);
    lr_task *t = f->task;
    bool there = lr_task_ended(t) || (lua_isnoneornil(L, 2) && lr_may_park(S, L) &&
                                      lr_pool_run_own(S->worker, S->current->task, t));
    if (there && lr_task_state_of(t) == LR_TASK_READY && t->result.plain && f->index == LR_RESULT_ALL &&
        lr_plain_count(&t->result) == 1)
        return lr_plain_decode(L, &t->result);
    lua_pushlightuserdata(L, (void *)&lr_error_mark);
    return 1;
}

/* take(f): the values of an ended future; raises its error. nil, when it has not ended, is the caller's mistake. */
static int future_take(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    lr_future_ud *f = check(L, 1);
    if (!lr_task_ended(f->task)) return luaL_error(L, "the future is not ready");
    if (!lr_task_has(f->task, LR_TASK_FAR)) return lr_take(S, L, f->task, f->index);
    lr_session_worker(S, L);
    return lr_wait_get(S, L, f->task, f->index, LR_NEVER);
}

static int future_is_ready(lua_State *L)
{
    lua_pushboolean(L, lr_task_ended(check(L, 1)->task));
    return 1;
}

static int future_state(lua_State *L)
{
    lr_task *t = check(L, 1)->task;
    lr_task_state state = lr_task_state_of(t);
    if (state == LR_TASK_FAILED) lr_task_set(t, LR_TASK_SEEN);
    lua_pushstring(L, lr_task_state_name(state));
    return 1;
}

static int future_id(lua_State *L)
{
    lr_future_ud *f = check(L, 1);
    char text[LR_ID_TEXT];
    lr_id_format(f->index == LR_RESULT_ALL || f->index == 0 ? f->task->id
                                                                     : lr_id_child(f->task->id, ~(uint64_t)f->index),
                 text);
    lua_pushstring(L, text);
    return 1;
}

static int future_cancel(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    lr_future_ud *f = check(L, 1);
    lr_check_cancelled(S, L);
    if (!lr_task_ended(f->task)) {
        lr_session_worker(S, L);
        lr_pool_cancel(lr_session_pool(), f->task, LR_ERR_CANCELLED, "the task was cancelled");
    }
    /* it is given up, also where it failed by itself just before the cancel */
    if (lr_task_state_of(f->task) == LR_TASK_FAILED) lr_task_set(f->task, LR_TASK_SEEN);
    return 0;
}

static int future_gc(lua_State *L)
{
    lr_future_ud *f = lua_touserdata(L, 1);
    if (f->task) lr_task_release(f->task);
    f->task = NULL;
    return 0;
}

static int future_tostring(lua_State *L)
{
    lr_task *t = check(L, 1)->task;
    char id[LR_ID_TEXT], node[LR_ID_TEXT];
    lr_id_format(t->id, id);
    lr_id_format(lr_session_node(), node);
    double age_s = (double)lr_clock_ticks_ns(lr_clock_ticks() - t->submitted_ticks) / 1e9;
    const char *name = lr_task_name(t);
    char text[200];
    int length = snprintf(text, sizeof text, "future %.8s: %.80s, %s, node %.8s, %.3f s", id, name,
                          lr_task_state_name(lr_task_state_of(t)), node, age_s);
    unsigned progress = atomic_load_explicit(&t->progress, memory_order_relaxed);
    if (progress && length > 0 && (size_t)length < sizeof text - 8)
        snprintf(text + length, sizeof text - (size_t)length, ", %u %%", (progress * 100 + 32767) / 65535);
    lua_pushstring(L, text);
    return 1;
}

/* put(value) */
static int core_put(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    lr_err code;
    lr_value value;
    lr_check_cancelled(S, L);
    if (lua_gettop(L) == 0) return luaL_error(L, "put: a value wanted, nothing given");
    if (!lr_encode(S, L, 1, 1, LR_ROOT_VALUE, 0, &code)) {
        lr_error_push(S, L, code, lua_tostring(L, -1));
        return lua_error(L);
    }
    lr_task *t = NULL;
    if (lr_builder_finish(&S->builder, &value)) t = lr_task_new_value(lr_session_next_id(S), &value);
    if (!t) return luaL_error(L, "not enough memory");
    lr_push_future(S, L, t, 0);
    lr_task_release(t);
    return 1;
}

/* free(f): the value goes now; a later get is an error. */
static int core_free(lua_State *L)
{
    lr_future_ud *f = check(L, 1);
    if (!lr_task_ended(f->task))
        return luaL_error(L, "free: %s has not ended; cancel it first", lr_task_name(f->task));
    lr_task *t = lr_task_new_freed(f->task->id, f->task->fn);
    if (!t) return luaL_error(L, "not enough memory");
    lr_task_set(f->task, LR_TASK_SEEN);
    lr_task_release(f->task);
    f->task = t;
    return 0;
}

/* ---- lists ---------------------------------------------------------------------------------------- */

static lr_task *list_task_at(lua_State *L, int list, size_t i, int level)
{
    lua_rawgeti(L, list, (int)i);
    lr_future_ud *f = lr_test_future(L, -1);
    if (!f) {
        const char *given = luaL_typename(L, -1);
        luaL_where(L, level);
        lua_pushfstring(L, "%slist[%d]: a future wanted, %s given", lua_tostring(L, -1), (int)i, given);
        lua_error(L);
    }
    lua_pop(L, 1);
    return f->task;
}

/* lua/luarun checks lists for its own callers. */
static lr_task *list_task(lua_State *L, int list, size_t i) { return list_task_at(L, list, i, 2); }

/* check_list(list[, level]): raises, at that level of callers (2), unless all are futures; returns how many. */
static int check_list(lua_State *L)
{
    if (!lua_istable(L, 1)) {
        luaL_where(L, 2);
        lua_pushfstring(L, "%sa list of futures wanted, %s given", lua_tostring(L, -1), luaL_typename(L, 1));
        return lua_error(L);
    }
    size_t count = lua_objlen(L, 1);
    for (size_t i = 1; i <= count; i++)
        list_task_at(L, 1, i, (int)luaL_optinteger(L, 2, 2));
    lua_pushinteger(L, (lua_Integer)count);
    return 1;
}

/* forgive(list): failures among them, now or later, need not be reported. */
static int forgive(lua_State *L)
{
    size_t count = lua_objlen(L, 1);
    for (size_t i = 1; i <= count; i++)
        lr_task_set(list_task(L, 1, i), LR_TASK_SEEN);
    return 0;
}

/* bring(list): all values are needed here: those that lie on other nodes come at once. */
static int bring(lua_State *L)
{
    size_t count = lr_far_is_open() ? lua_objlen(L, 1) : 0;
    for (size_t i = 1; i <= count; i++)
        lr_far_will_get(list_task(L, 1, i));
    return 0;
}

/* await(list, count, timeout): waits for count ends of the list. true, or false at the timeout; in a task: see
 * core.check. */
static int await(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    lr_check_cancelled(S, L);
    uint64_t deadline = deadline_of(L, 3);
    size_t count = lua_objlen(L, 1), wanted = (size_t)lua_tointeger(L, 2);
    lr_session_worker(S, L);
    lr_task **tasks = lua_newuserdata(L, (count + 1) * sizeof *tasks);
    size_t pending = 0;
    for (size_t i = 1; i <= count && wanted > 0; i++) {
        lr_task *t = list_task(L, 1, i);
        if (lr_task_ended(t))
            wanted--;
        else
            tasks[pending++] = t;
    }
    if (wanted == 0) {
        lua_pushboolean(L, true);
        return 1;
    }
    return lr_wait_tasks(S, L, tasks, pending, wanted, deadline);
}

/* check(ok, err): what await was resumed with: raises err where ok is nil. */
static int check_result(lua_State *L)
{
    if (lua_isnil(L, 1) && lua_gettop(L) >= 2) {
        lua_settop(L, 2);
        return lua_error(L);
    }
    lua_settop(L, 1);
    return 1;
}

static int is_future(lua_State *L)
{
    lua_pushboolean(L, lr_test_future(L, 1) != NULL);
    return 1;
}

void lr_future_open(lr_state *S, lua_State *L)
{
    static const luaL_Reg meta[] = {{"__gc", future_gc}, {"__tostring", future_tostring}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"is_ready", future_is_ready}, {"state", future_state}, {"id", future_id},
                                       {"cancel", future_cancel}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"get", future_get}, {"get_one", future_get_one}, {"take", future_take}, {"put", core_put},
        {"free", core_free},
        {"check_list", check_list}, {"forgive", forgive}, {"bring", bring}, {"await", await}, {"check", check_result},
        {"is_future", is_future}, {NULL, NULL}};
    lr_state_register(S, L, functions);
    lua_pushlightuserdata(L, (void *)&lr_error_mark);
    lua_setfield(L, -2, "error_mark");
    lr_metatable_new(S, L, meta, methods, &S->ref_mt_future);
    lua_pop(L, 1);
    lua_setfield(L, -2, "future_methods");
}
