/* What the script sees of its node: lr.nodes, lr.tasks, lr.objects, lr.errors, and the futures that its state holds. */
#include "bindings/core.h"
#include "bindings/handles.h"
#include "bindings/objects.h"
#include "bindings/session.h"
#include "bindings/tables.h"
#include "runtime/children.h"
#include "runtime/failures.h"
#include "runtime/here.h"
#include "runtime/store.h"
#include "runtime/task_list.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define LIMIT_DEFAULT 1000
#define LIMIT_MAX 1000000
#define FUTURES_MAX 10000

/* ---- options ----------------------------------------------------------------------------------------------- */

typedef struct asked {
    size_t limit;
    int state;        /* negative: any */
    const char *name; /* NULL: any; the table's */
} asked;

/* Raises at the caller. */
static void read_state(lua_State *L, const char *what, asked *a)
{
    const char *word = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    a->state = (int)lr_task_state_from_name(word);
    if (a->state == LR_TASK_STATE_COUNT)
        luaL_error(L, "%s: state: one of waiting, queued, running, ready, failed, cancelled wanted", what);
}

static void read_limit(lua_State *L, const char *what, asked *a)
{
    double limit = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    if (!(limit >= 0 && limit <= LIMIT_MAX)) luaL_error(L, "%s: limit: a number up to %d wanted", what, LIMIT_MAX);
    a->limit = (size_t)limit;
}

/* The options at index 1; filters: whether state and name are among them. */
static asked read_options(lua_State *L, const char *what, bool filters)
{
    asked a = {.limit = LIMIT_DEFAULT, .state = -1};
    if (lua_isnoneornil(L, 1)) return a;
    if (!lua_istable(L, 1)) luaL_error(L, "%s: a table of options wanted, %s given", what, luaL_typename(L, 1));
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        if (strcmp(key, "limit") == 0) read_limit(L, what, &a);
        else if (filters && strcmp(key, "state") == 0) read_state(L, what, &a);
        else if (filters && strcmp(key, "name") == 0) a.name = luaL_checkstring(L, -1);
        else luaL_error(L, "%s: unknown option '%s'", what, key);
    }
    return a;
}

/* ---- fields --------------------------------------------------------------------------------------------------- */

static void set_number(lua_State *L, const char *name, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

static void set_text(lua_State *L, const char *name, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

static void set_id(lua_State *L, const char *name, lr_id id)
{
    char text[LR_ID_TEXT];
    lr_id_format(id, text);
    set_text(L, name, text);
}

/* The list on the top has count rows of so many. */
static int finish_list(lua_State *L, size_t count, double total)
{
    set_number(L, "n", (double)count);
    set_number(L, "total", total);
    return 1;
}

/* ---- tasks ------------------------------------------------------------------------------------------------------ */

static void push_task(lua_State *L, const lr_task_row *row, uint64_t now_ticks)
{
    lua_createtable(L, 0, 8);
    set_id(L, "id", row->id);
    set_text(L, "name", row->name);
    set_text(L, "state", lr_task_state_name(row->state));
    uint64_t age = now_ticks > row->submitted_ticks ? now_ticks - row->submitted_ticks : 0;
    set_number(L, "age", (double)lr_clock_ticks_ns(age) / 1e9);
    set_number(L, "attempt", row->attempt);
    set_number(L, "children", row->children);
    if (row->progress) set_number(L, "progress", row->progress / 65535.0);
}

/* tasks{state=, name=, limit=}: the newest first. */
static int core_tasks(lua_State *L)
{
    asked a = read_options(L, "tasks", true);
    const lr_task_query query = {.state = a.state, .name = a.name, .limit = a.limit};
    size_t count = 0;
    uint64_t total = 0;
    lr_task_row *rows = lr_task_list(&query, &count, &total);
    if (!rows) return luaL_error(L, "not enough memory");
    uint64_t now = lr_clock_ticks();
    lua_createtable(L, (int)count, 2);
    for (size_t i = 0; i < count; i++) {
        push_task(L, &rows[i], now);
        lua_rawseti(L, -2, (int)i + 1);
    }
    free(rows);
    return finish_list(L, count, (double)total);
}

/* ---- errors ----------------------------------------------------------------------------------------------------- */

/* errors{limit=}: the newest first; those of the last LR_FAILURES_KEPT failures. */
static int core_errors(lua_State *L)
{
    asked a = read_options(L, "errors", false);
    lr_failure *rows = malloc(LR_FAILURES_KEPT * sizeof *rows);
    if (!rows) return luaL_error(L, "not enough memory");
    uint64_t total, now = lr_clock_ns();
    size_t count = lr_failures_list(rows, a.limit, &total);
    lua_createtable(L, (int)count, 2);
    for (size_t i = 0; i < count; i++) {
        lua_createtable(L, 0, 6);
        set_id(L, "task", rows[i].task);
        set_number(L, "age", (double)(now - rows[i].at_ns) / 1e9);
        set_text(L, "code", lr_err_code(rows[i].code));
        set_text(L, "function_name", rows[i].function_name);
        set_text(L, "message", rows[i].message);
        set_number(L, "attempts", rows[i].attempts);
        lua_rawseti(L, -2, (int)i + 1);
    }
    free(rows);
    return finish_list(L, count, (double)total);
}

/* ---- objects ---------------------------------------------------------------------------------------------------- */

/* objects{limit=}: the large ones, largest first; the small ones are counted in `total` and `bytes` only. */
static int core_objects(lua_State *L)
{
    asked a = read_options(L, "objects", false);
    size_t count = lr_push_objects(L, a.limit);
    struct lr_store_stats stats;
    lr_store_stats(&stats);
    set_number(L, "bytes", (double)stats.used_bytes);
    set_number(L, "capacity", (double)stats.capacity_bytes);
    return finish_list(L, count, (double)stats.count);
}

/* ---- nodes ------------------------------------------------------------------------------------------------------ */

static void push_node(lua_State *L, const char *host, int pid)
{
    lua_createtable(L, 0, 6);
    set_text(L, "state", "up");
    set_text(L, "host", host);
    set_number(L, "pid", pid);
    set_number(L, "workers", lr_session_config()->workers);
}

/* nodes(): this process first, then the node processes of --procs, or the nodes of the cluster it has joined. */
static int core_nodes(lua_State *L)
{
    read_options(L, "nodes", false);
    lr_here here;
    int pids[LR_CHILDREN_MAX];
    unsigned others = lr_children_pids(pids);
    lr_here_find(&here);
    lua_newtable(L);
    push_node(L, here.host, (int)getpid());
    set_id(L, "id", lr_session_node());
    lua_getfield(L, lua_upvalueindex(2), "resources");
    if (lua_pcall(L, 0, 1, 0) == 0) lua_setfield(L, -2, "resources");
    else lua_pop(L, 1);
    lua_rawseti(L, -2, 1);
    for (unsigned i = 0; i < others; i++) {
        push_node(L, here.host, pids[i]);
        lua_rawseti(L, -2, (int)i + 2);
    }
    if (lr_session_config()->joins) others += lr_tables_add_nodes(L, lr_session_config()->cluster);
    return finish_list(L, others + 1, others + 1);
}

/* joined(): the URL of the public cluster that this process has joined; else nil. */
static int core_joined(lua_State *L)
{
    if (!lr_session_config()->joins) return 0;
    lua_pushstring(L, lr_session_config()->cluster);
    return 1;
}

/* ---- futures of this state ---------------------------------------------------------------------------------- */

/* track_futures(): from now on futures_held knows those that come into being, which costs each a little. */
static int track_futures(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    if (S->tracks_futures) return 0;
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    set_text(L, "__mode", "v"); /* as keys they would stay until after their finalizers */
    lua_setmetatable(L, -2);
    S->ref_futures = luaL_ref(L, LUA_REGISTRYINDEX);
    S->tracks_futures = true;
    return 0;
}

void lr_track_future(lr_state *S, lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, S->ref_futures);
    lua_pushvalue(L, -2);
    S->futures_made = S->futures_made % INT_MAX + 1;
    lua_rawseti(L, -2, (int)S->futures_made);
    lua_pop(L, 1);
}

/* futures_held(): a list of those that live, in no order. */
static int futures_held(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    int count = 0;
    lua_newtable(L);
    if (!S->tracks_futures) return 1;
    int list = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, S->ref_futures);
    for (lua_pushnil(L); count < FUTURES_MAX && lua_next(L, list + 1); lua_pop(L, 1)) {
        const lr_future_ud *f = lr_test_future(L, -1);
        if (!f || !f->task) continue; /* none yet */
        lua_pushvalue(L, -1);
        lua_rawseti(L, list, ++count);
    }
    lua_settop(L, list);
    return 1;
}

void lr_inspect_open(lr_state *S, lua_State *L)
{
    static const luaL_Reg functions[] = {{"tasks", core_tasks}, {"errors", core_errors}, {"objects", core_objects},
                                         {"joined", core_joined},
                                         {"track_futures", track_futures}, {"futures_held", futures_held},
                                         {NULL, NULL}};
    lr_state_register(S, L, functions);
    lua_pushlightuserdata(L, S);
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, core_nodes, 2);
    lua_setfield(L, -2, "nodes");
}
