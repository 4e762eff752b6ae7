/* bindings/kernels.c - lr.kernels: a library's kernels as a table of remote functions.
 *
 * Owns nothing that Lua's collector does not: libraries and kernels live as long as the process, and so
 * does the one lr_fn of each kernel, which knows its running time whoever calls it.
 * Thread: the state's. Blocks: while a library is loaded or compiled. */
#include "bindings/core.h"
#include "bindings/handles.h"
#include "bindings/kernels.h"
#include "bindings/options.h"
#include "runtime/kernels.h"

#include <stdio.h>
#include <stdlib.h>

#define FLAGS_MAX 32

/* The kernel's lr_fn, made by whoever needs it first. NULL: no memory. */
static lr_fn *fn_of(lr_kernel *k)
{
    lr_fn *fn = atomic_load_explicit(&k->fn, memory_order_acquire);
    if (fn) return fn;
    lr_fn *mine = lr_fn_new_kernel(k->name, k);
    if (!mine || atomic_compare_exchange_strong(&k->fn, &fn, mine)) return mine;
    lr_object_release(&mine->base); /* another thread was faster */
    return fn;
}

static void set_amount(lua_State *L, const char *name, double amount)
{
    if (amount == 0) return; /* not said: the default */
    lua_pushnumber(L, amount);
    lua_setfield(L, -2, name);
}

/* The options a kernel asks for by default; NULL: none. One count is the caller's. */
static lr_options *options_of(lr_state *S, lua_State *L, const lr_kernel_needs *needs)
{
    if (needs->cpu == 0 && needs->gpu == 0 && needs->memory_bytes == 0) return NULL;
    lua_createtable(L, 0, 3);
    set_amount(L, "cpu", needs->cpu);
    set_amount(L, "gpu", needs->gpu);
    set_amount(L, "memory", (double)needs->memory_bytes);
    lr_options *options = lr_options_from(S, L, lua_gettop(L), NULL);
    lua_pop(L, 1);
    return options;
}

static void push_kernel(lr_state *S, lua_State *L, lr_kernel *k)
{
    lr_fn *fn = fn_of(k);
    if (!fn) luaL_error(L, "not enough memory");
    lr_options *options = options_of(S, L, &k->entry->needs);
    lr_push_remote(S, L, fn, options);
    lr_options_release(options);
}

/* The set whose kernels the table at index 1 holds, or NULL. Found by what is in it, not by what made it: such a
 * table may have come from another state. */
static const lr_kernel_set *set_of(lua_State *L)
{
    const lr_kernel_set *set = NULL;
    if (!lua_istable(L, 1)) return NULL;
    for (lua_pushnil(L); !set && lua_next(L, 1); lua_pop(L, 1)) {
        const lr_remote_ud *r = lr_test_remote(L, -1);
        if (r && r->fn && r->fn->kind == LR_FN_KERNEL) set = r->fn->kernel->set;
    }
    lua_settop(L, 2);
    return set;
}

/* A kernel that is not there: says which are. */
static int unknown_kernel(lua_State *L)
{
    lua_settop(L, 2);
    const lr_kernel_set *set = set_of(L);
    luaL_Buffer b;
    if (!set || lua_type(L, 2) != LUA_TSTRING) return 0;
    luaL_buffinit(L, &b);
    for (uint32_t i = 0; i < set->count; i++) {
        if (i > 0) luaL_addstring(&b, ", ");
        luaL_addstring(&b, set->kernels[i].entry->name);
    }
    luaL_pushresult(&b);
    return luaL_error(L, "kernel library '%s' has no kernel '%s'; it has: %s", set->name,
                      lua_tostring(L, 2), lua_tostring(L, -1));
}

/* "kernel library 'go' (/x/libgo.so):", then a line for each kernel with signature and doc. */
static int kernels_tostring(lua_State *L)
{
    lua_settop(L, 2);
    const lr_kernel_set *set = set_of(L);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    lua_pushfstring(L, "kernel library '%s' (%s):", set ? set->name : "?", set ? set->path : "?");
    luaL_addvalue(&b);
    for (uint32_t i = 0; set && i < set->count; i++) {
        const lr_kernel_entry *e = set->kernels[i].entry;
        lua_pushfstring(L, "\n  %s%s%s%s", e->name, e->signature ? e->signature : "",
                        e->doc ? "\n      " : "", e->doc ? e->doc : "");
        luaL_addvalue(&b);
    }
    luaL_pushresult(&b);
    return 1;
}

/* Pushes the metatable of such tables, one a state. */
static void push_metatable(lr_state *S, lua_State *L)
{
    static const luaL_Reg meta[] = {
        {"__index", unknown_kernel}, {"__tostring", kernels_tostring}, {NULL, NULL}};
    static const char key[] = "luarun.kernels";
    lua_getfield(L, LUA_REGISTRYINDEX, key);
    if (lua_istable(L, -1)) return;
    lua_pop(L, 1);
    lua_newtable(L);
    lr_state_register(S, L, meta);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, key);
}

void lr_kernels_open(lr_state *S, lua_State *L)
{
    push_metatable(S, L);
    lua_setfield(L, -2, "kernels_meta");
}

static int push_set(lr_state *S, lua_State *L, const lr_kernel_set *set)
{
    lua_createtable(L, 0, (int)set->count);
    for (uint32_t i = 0; i < set->count; i++) {
        push_kernel(S, L, &set->kernels[i]);
        lua_setfield(L, -2, set->kernels[i].entry->name);
    }
    push_metatable(S, L);
    lua_setmetatable(L, -2);
    return 1;
}

/* Raises with a message that is malloc'ed; NULL: there was no memory for one. */
static int raise(lua_State *L, char *message)
{
    luaL_where(L, 1);
    lua_pushstring(L, message ? message : "not enough memory");
    free(message);
    lua_concat(L, 2);
    return lua_error(L);
}

/* Pushes a field of the table `package`, and returns it as a string, or NULL. */
static const char *push_package(lua_State *L, const char *field)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_getfield(L, -1, "package");
    lua_remove(L, -2);
    if (lua_istable(L, -1)) {
        lua_pushstring(L, field);
        lua_rawget(L, -2);
    } else {
        lua_pushnil(L);
    }
    lua_remove(L, -2);
    return lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
}

static int find(lr_state *S, lua_State *L, const char *name)
{
    const char *directories[2];
    lr_kernel_places places = {.directories = directories};
    const char *script = push_package(L, "luarun_scriptdir");
    if (script) {
        directories[0] = *script ? script : ".";
        directories[1] = lua_pushfstring(L, "%s/kernels", directories[0]);
        places.directory_count = 2;
    }
    places.cpath = push_package(L, "cpath");
    const lr_kernel_set *set = NULL;
    char *message = NULL;
    if (lr_kernels_find(name, &places, &set, &message)) return raise(L, message);
    return push_set(S, L, set);
}

/* The string field of the table at 1, pushed; raises when it is something else. */
static const char *string_field(lua_State *L, const char *name, size_t *length)
{
    lua_getfield(L, 1, name);
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "lr.kernels: field '%s': a string wanted, %s given", name,
                   lua_isnil(L, -1) ? "nil" : lua_pushfstring(L, "a %s", luaL_typename(L, -1)));
    return lua_tolstring(L, -1, length);
}

/* The strings of field `flags`, which the table keeps alive; returns how many. */
static size_t flags_field(lua_State *L, const char *flags[FLAGS_MAX])
{
    lua_getfield(L, 1, "flags");
    if (lua_isnil(L, -1)) return 0;
    if (!lua_istable(L, -1))
        luaL_error(L, "lr.kernels: field 'flags': a table of strings wanted, a %s given",
                   luaL_typename(L, -1));
    size_t count = lua_objlen(L, -1);
    if (count > FLAGS_MAX)
        luaL_error(L, "lr.kernels: field 'flags': at most %d, %d given", FLAGS_MAX, (int)count);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "lr.kernels: field 'flags': item %d: a string wanted, a %s given", (int)i + 1,
                       luaL_typename(L, -1));
        flags[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    return count;
}

static void check_fields(lua_State *L)
{
    static const char *const known[] = {"source", "name", "flags"};
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : luaL_typename(L, -2);
        bool found = false;
        for (size_t i = 0; i < LR_COUNT(known); i++)
            found = found || strcmp(key, known[i]) == 0;
        if (!found) luaL_error(L, "lr.kernels: unknown field '%s'; it knows source, name, flags", key);
    }
}

static int compile(lr_state *S, lua_State *L)
{
    const char *flags[FLAGS_MAX];
    check_fields(L);
    lr_kernel_source source = {.flags = flags};
    source.source = string_field(L, "source", &source.source_bytes);
    source.name = string_field(L, "name", NULL);
    source.flag_count = flags_field(L, flags);
    const lr_kernel_set *set = NULL;
    char *message = NULL;
    if (lr_kernels_compile(&source, &set, &message)) return raise(L, message);
    return push_set(S, L, set);
}

/* lr.kernels(name | {source=, name=, flags=}) */
int lr_kernels_lua(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    lua_settop(L, 1);
    if (lua_istable(L, 1)) return compile(S, L);
    if (lua_type(L, 1) == LUA_TSTRING) return find(S, L, lua_tostring(L, 1));
    return luaL_error(L, "lr.kernels: a name or a table {source=, name=} wanted, %s given",
                      lua_isnil(L, 1) ? "nil" : lua_pushfstring(L, "a %s", luaL_typename(L, 1)));
}
