/* What a task asks of itself: lr.task, lr.cancelled, lr.sleep, print, its random stream. */
#include "bindings/codec.h"
#include "bindings/core.h"
#include "bindings/output.h"
#include "bindings/run.h"
#include "bindings/session.h"
#include "runtime/cluster.h"
#include "runtime/modules.h"

#include <stdio.h>

/* task(): nil in the script; else a table. */
static int api_task(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    if (!S->current) return 0;
    lr_task *t = S->current->task;
    char id[LR_ID_TEXT];
    lua_createtable(L, 0, 5);
    lr_id_format(t->id, id);
    lua_pushstring(L, id);
    lua_setfield(L, -2, "id");
    lua_pushstring(L, lr_task_name(t));
    lua_setfield(L, -2, "name");
    lua_pushinteger(L, t->attempt);
    lua_setfield(L, -2, "attempt");
    lr_id_format(lr_session_node(), id);
    lua_pushstring(L, id);
    lua_setfield(L, -2, "node");
    lr_id_format(lr_session_job(), id);
    lua_pushstring(L, id);
    lua_setfield(L, -2, "job");
    return 1;
}

static int api_cancelled(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    lua_pushboolean(L, S->current && lr_pool_cancelled(S->worker->pool, S->current->task));
    return 1;
}

static int api_checkpoint(lua_State *L)
{
    lr_check_cancelled(lr_state_of(L), L);
    return 0;
}

/* sleep(seconds), as core.await */
static int api_sleep(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    if (lua_type(L, 1) != LUA_TNUMBER)
        return luaL_error(L, "sleep: seconds (a number) wanted, %s given",
                          lr_given(L, 1));
    lr_check_cancelled(S, L);
    lr_session_worker(S, L);
    return lr_wait_sleep(S, L, lr_clock_deadline(lua_tonumber(L, 1)));
}

static int api_yield(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    lr_check_cancelled(S, L);
    return lr_wait_yield(S, L);
}

static int api_now(lua_State *L)
{
    lua_pushnumber(L, (double)lr_clock_ns() / 1e9);
    return 1;
}

/* progress(done, total) */
static int api_progress(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    double done = luaL_checknumber(L, 1), total = luaL_checknumber(L, 2);
    lr_check_cancelled(S, L);
    double part = total > 0 ? done / total : 0;
    if (!(part >= 0)) part = 0;
    if (part > 1) part = 1;
    if (S->current) atomic_store_explicit(&S->current->task->progress, (uint16_t)(part * 65535), memory_order_relaxed);
    return 0;
}

/* random(): uniform in [0, 1) from the task's stream; random(m, n): whole numbers, as math.random. */
static int api_random(lua_State *L)
{
    lr_prng *r = lr_task_random(lr_state_of(L));
    if (!r) return luaL_error(L, "no task runs here");
    int count = lua_gettop(L);
    if (count == 0) {
        lua_pushnumber(L, lr_prng_double(r));
        return 1;
    }
    double low = count == 1 ? 1 : luaL_checknumber(L, 1), high = luaL_checknumber(L, count == 1 ? 1 : 2);
    if (!(low <= high)) return luaL_argerror(L, count == 1 ? 1 : 2, "interval is empty");
    double range = high - low + 1;
    lua_pushnumber(L, range < 9e15 ? low + (double)lr_prng_below(r, (uint64_t)range)
                                   : low + (double)(uint64_t)(lr_prng_double(r) * range));
    return 1;
}

/* randomseed(x): a stream of the task's own choice, for the rest of the task. */
static int api_randomseed(lua_State *L)
{
    lr_prng *r = lr_task_random(lr_state_of(L));
    if (!r) return luaL_error(L, "no task runs here");
    double x = luaL_checknumber(L, 1);
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    lr_prng_seed(r, bits);
    return 0;
}

/* print_line(text): one whole line at the script's terminal, marked with the task. */
static int api_print_line(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    size_t length;
    const char *text = luaL_checklstring(L, 1, &length);
    char mark[LR_ID_TEXT + 220] = "", id[LR_ID_TEXT];
    if (S->current) {
        lr_id_format(S->current->task->id, id);
        char node[LR_ID_TEXT];
        lr_id_format(lr_session_node(), node);
        snprintf(mark, sizeof mark, "[%.200s %.8s%s%.*s] ", lr_task_name(S->current->task), id,
                 lr_cluster_is_open() ? " on " : "", lr_cluster_is_open() ? 8 : 0, node);
    }
    if (lr_cluster_serves()) {
        lua_pushfstring(L, "%s", mark);
        lua_pushvalue(L, 1);
        lua_concat(L, 2);
        text = lua_tolstring(L, -1, &length);
        lr_cluster_print(text, length);
        return 0;
    }
    lr_output_line(mark, text, length);
    return 0;
}

/* fetch_module(name): source and path from the driver, where this process serves one; else nil and why not. */
static int api_fetch_module(lua_State *L)
{
    char why[160];
    lr_module_source source;
    const char *name = luaL_checkstring(L, 1);
    lua_pushnil(L);
    if (!lr_cluster_serves()) {
        lua_pushliteral(L, "");
    } else if (!lr_cluster_fetch_module(name, &source, why)) {
        lua_pushfstring(L, "\n\tno answer from the driver: %s", why);
    } else if (!source.path[0]) {
        lua_pushfstring(L, "\n\tnot with the driver either, which looked in %s", source.text);
    } else {
        lua_pushlstring(L, source.text, source.text_bytes);
        lua_pushstring(L, source.path);
    }
    return 2;
}

void lr_task_api_open(lr_state *S, lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"task", api_task},         {"cancelled", api_cancelled}, {"checkpoint", api_checkpoint},
        {"sleep", api_sleep},       {"yield", api_yield},         {"now", api_now},
        {"progress", api_progress}, {"random", api_random},       {"randomseed", api_randomseed},
        {"print_line", api_print_line}, {"fetch_module", api_fetch_module}, {NULL, NULL}};
    lr_state_register(S, L, functions);
}
