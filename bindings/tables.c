#include "bindings/tables.h"

#include "runtime/here.h"
#include "runtime/statedir.h"
#include "runtime/tables.h"
#include "sched/id.h"
#include "sched/row.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define META "luarun.tables"

static lr_tables *check(lua_State *L)
{
    lr_tables **t = luaL_checkudata(L, 1, META);
    if (!*t) luaL_error(L, "the tables are closed");
    return *t;
}

static int refuse(lua_State *L, const char *text)
{
    lua_pushnil(L);
    lua_pushstring(L, text);
    return 2;
}

static lr_control_table check_table(lua_State *L, int index)
{
    const char *name = luaL_checkstring(L, index);
    for (int i = 0; i < LR_CONTROL_TABLE_COUNT; i++)
        if (strcmp(lr_control_table_name((lr_control_table)i), name) == 0) return (lr_control_table)i;
    luaL_error(L, "no table '%s'", name);
    return LR_CONTROL_TABLE_COUNT;
}

/* A key as rows have it: 32 hex digits are an id. *id lasts as long as the bytes are used. */
static lr_bytes check_key(lua_State *L, int index, lr_id *id)
{
    size_t size;
    const char *text = luaL_checklstring(L, index, &size);
    return lr_id_parse(text, id) ? lr_bytes_of_id(id) : lr_bytes_of(text, size);
}

static void push_key(lua_State *L, lr_bytes key)
{
    char text[LR_ID_TEXT];
    lr_id id;
    if (key.size_bytes != sizeof id) {
        lua_pushlstring(L, key.at, key.size_bytes);
        return;
    }
    memcpy(&id, key.at, sizeof id);
    lr_id_format(id, text);
    lua_pushstring(L, text);
}

/* Onto the list on the top. */
static void add_row(void *user, const lr_control_row *row)
{
    lua_State *L = user;
    lua_createtable(L, 0, 3);
    push_key(L, row->key);
    lua_setfield(L, -2, "key");
    lua_pushlstring(L, row->value.at, row->value.size_bytes);
    lua_setfield(L, -2, "value");
    lua_pushnumber(L, (double)row->version);
    lua_setfield(L, -2, "version");
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
}

static int tables_scan(lua_State *L)
{
    char text[LR_TABLES_TEXT];
    lr_tables *t = check(L);
    lr_control_table table = check_table(L, 2);
    lua_newtable(L);
    return lr_tables_scan(t, table, add_row, L, text) ? 1 : refuse(L, text);
}

static int tables_log(lua_State *L)
{
    char text[LR_TABLES_TEXT];
    lr_tables *t = check(L);
    lr_control_table table = check_table(L, 2);
    const char *key = luaL_checkstring(L, 3);
    lua_newtable(L);
    return lr_tables_log(t, table, key, add_row, L, text) ? 1 : refuse(L, text);
}

static int tables_put(lua_State *L)
{
    char text[LR_TABLES_TEXT];
    lr_id id;
    size_t size;
    lr_tables *t = check(L);
    lr_control_table table = check_table(L, 2);
    lr_bytes key = check_key(L, 3, &id);
    const char *value = luaL_checklstring(L, 4, &size);
    if (!lr_tables_put(t, table, key, lr_bytes_of(value, size), text)) return refuse(L, text);
    lua_pushboolean(L, 1);
    return 1;
}

static int tables_delete(lua_State *L)
{
    char text[LR_TABLES_TEXT];
    lr_id id;
    lr_tables *t = check(L);
    lr_control_table table = check_table(L, 2);
    if (!lr_tables_delete(t, table, check_key(L, 3, &id), text)) return refuse(L, text);
    lua_pushboolean(L, 1);
    return 1;
}

static int tables_publish(lua_State *L)
{
    char text[LR_TABLES_TEXT];
    size_t size;
    lr_tables *t = check(L);
    lr_control_table table = check_table(L, 2);
    const char *key = luaL_checklstring(L, 3, &size);
    if (!lr_tables_publish(t, table, lr_bytes_of(key, size), text)) return refuse(L, text);
    lua_pushboolean(L, 1);
    return 1;
}

/* "cpu=2,gpu=1" as a table. */
static void push_amounts(lua_State *L, char *text)
{
    lua_newtable(L);
    for (char *one; (one = strsep(&text, ","));) {
        char *equals = strchr(one, '=');
        if (!equals) continue;
        lua_pushlstring(L, one, (size_t)(equals - one));
        lua_pushnumber(L, strtod(equals + 1, NULL));
        lua_rawset(L, -3);
    }
}

/* Onto the list on the top. A node that has not renewed its row for a lease is late: it may be dead. */
static void add_node(void *user, const lr_control_row *row)
{
    lua_State *L = user;
    char text[LR_ROW_MAX];
    uint64_t now_ms = lr_here_wall_ms(), seen_ms = lr_row_number(row->value, "renewed", now_ms);
    if (lr_row_is_swept(row->value)) return;
    lua_createtable(L, 0, 6);
    push_key(L, row->key);
    lua_setfield(L, -2, "id");
    lua_pushstring(L, seen_ms + lr_row_number(row->value, "lease", 3000) < now_ms ? "late" : "up");
    lua_setfield(L, -2, "state");
    lr_row_field(row->value, "host", text, sizeof text);
    lua_pushstring(L, text);
    lua_setfield(L, -2, "host");
    lua_pushnumber(L, (double)lr_row_number(row->value, "pid", 0));
    lua_setfield(L, -2, "pid");
    lua_pushnumber(L, (double)lr_row_number(row->value, "workers", 0));
    lua_setfield(L, -2, "workers");
    lr_row_field(row->value, "offers", text, sizeof text);
    push_amounts(L, text);
    lua_setfield(L, -2, "resources");
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
}

unsigned lr_tables_add_nodes(lua_State *L, const char *url)
{
    char text[LR_TABLES_TEXT];
    size_t before = lua_objlen(L, -1);
    lr_tables *t = lr_tables_open(url, LR_TABLES_WAIT_NS, text);
    bool ok = t && lr_tables_scan(t, LR_CONTROL_TABLE_NODE, add_node, L, text);
    if (t) lr_tables_close(t);
    if (!ok) luaL_error(L, "nodes: %s", text);
    return (unsigned)(lua_objlen(L, -1) - before);
}

static int tables_shards(lua_State *L)
{
    lua_pushnumber(L, (double)lr_tables_shards(check(L)));
    return 1;
}

static int tables_info(lua_State *L)
{
    char text[LR_TABLES_TEXT];
    lr_tables *t = check(L);
    int shard = (int)luaL_checkinteger(L, 2);
    luaL_argcheck(L, shard >= 1 && shard <= (int)lr_tables_shards(t), 2, "no such shard");
    char *info = lr_tables_info(t, (uint32_t)(shard - 1), text);
    if (!info) return refuse(L, text);
    lua_pushstring(L, info);
    free(info);
    return 1;
}

static int tables_status(lua_State *L)
{
    char text[LR_TABLES_TEXT];
    lr_tables_status(check(L), text);
    lua_pushstring(L, text);
    return 1;
}

static int tables_close(lua_State *L)
{
    lr_tables **t = luaL_checkudata(L, 1, META);
    if (*t) lr_tables_close(*t);
    *t = NULL;
    return 0;
}

static int tables_open(lua_State *L)
{
    char text[LR_TABLES_TEXT];
    const char *url = luaL_checkstring(L, 1);
    lr_tables **t = lua_newuserdata(L, sizeof(lr_tables *));
    *t = NULL;
    luaL_getmetatable(L, META);
    lua_setmetatable(L, -2);
    *t = lr_tables_open(url, LR_TABLES_WAIT_NS, text);
    return *t ? 1 : refuse(L, text);
}

static int tables_state_url(lua_State *L)
{
    char url[LR_STATE_URL];
    if (!lr_state_url(luaL_checkstring(L, 1), url)) return 0;
    lua_pushstring(L, url);
    return 1;
}

static int tables_wall(lua_State *L)
{
    lua_pushnumber(L, (double)lr_here_wall_ms() / 1000);
    return 1;
}

static int tables_sleep(lua_State *L)
{
    double s = luaL_checknumber(L, 1);
    struct timespec t = {(time_t)s, (long)((s - (double)(time_t)s) * 1e9)};
    nanosleep(&t, NULL);
    return 0;
}

static int tables_is_terminal(lua_State *L)
{
    lua_pushboolean(L, isatty(STDOUT_FILENO));
    return 1;
}

static int open_module(lua_State *L)
{
    static const luaL_Reg methods[] = {{"scan", tables_scan},     {"log", tables_log},   {"put", tables_put},
                                       {"delete", tables_delete}, {"info", tables_info}, {"shards", tables_shards},
                                       {"status", tables_status}, {"close", tables_close}, {"publish", tables_publish},
                                       {NULL, NULL}};
    static const luaL_Reg functions[] = {{"open", tables_open}, {"state_url", tables_state_url}, {"wall", tables_wall},
                                         {"sleep", tables_sleep}, {"is_terminal", tables_is_terminal}, {NULL, NULL}};
    luaL_newmetatable(L, META);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, tables_close);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}

void lr_tables_preload(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, open_module);
    lua_setfield(L, -2, "luarun.tables");
    lua_pop(L, 2);
}
