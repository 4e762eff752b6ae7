#include "bindings/worker_state.h"

#include "bindings/embedded.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const path_names[] = {"path", "cpath", "luarun_scriptdir"};
static char *paths[LR_COUNT(path_names)];

void lr_worker_state_paths(lua_State *script)
{
    lua_getglobal(script, "package");
    for (size_t i = 0; i < LR_COUNT(paths); i++) {
        free(paths[i]);
        paths[i] = NULL;
        if (!lua_istable(script, -1)) continue;
        lua_getfield(script, -1, path_names[i]);
        const char *text = lua_tostring(script, -1);
        if (text) paths[i] = strdup(text);
        lua_pop(script, 1);
    }
    lua_pop(script, 1);
}

void lr_worker_state_paths_given(const char *const given[3])
{
    for (size_t i = 0; i < LR_COUNT(paths); i++) {
        free(paths[i]);
        paths[i] = given[i] ? strdup(given[i]) : NULL;
    }
}

const char *const *lr_worker_state_paths_noted(void) { return (const char *const *)paths; }

static void set_paths(lua_State *L)
{
    lua_getglobal(L, "package");
    for (size_t i = 0; i < LR_COUNT(paths); i++) {
        lua_pushstring(L, paths[i]);
        lua_setfield(L, -2, path_names[i]);
    }
    lua_pop(L, 1);
}

/* Protected: everything that may raise. Upvalue-free; argument 1: the worker. */
static int open_state(lua_State *L)
{
    lr_worker *w = lua_touserdata(L, 1);
    luaL_openlibs(L);
    set_paths(L);
    lr_embedded_preload(L);
    w->state = lr_state_new(L, w, false);
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "luarun.core");
    lua_getglobal(L, "require");
    lua_pushliteral(L, "luarun.worker");
    lua_call(L, 1, 0);
    return 0;
}

lr_state *lr_worker_state_of(lr_worker *w)
{
    if (w->state) return w->state;
    lua_State *L = luaL_newstate();
    LR_ASSERT(L);
    lua_pushcfunction(L, open_state);
    lua_pushlightuserdata(L, w);
    if (lua_pcall(L, 1, 0, 0) != 0) {
        /* the program's own files are broken: nothing can run */
        fprintf(stderr, "luarun: a worker could not be set up: %s\n", lua_tostring(L, -1));
        abort();
    }
    return w->state;
}

void lr_worker_state_close(lr_worker *w)
{
    lr_state *S = w->state;
    if (!S) return;
    lua_close(S->L);
    lr_state_free(S);
    w->state = NULL;
}
