#include "bindings/state.h"

#include "bindings/codec.h"
#include "bindings/core.h"
#include "bindings/kernels.h"
#include "bindings/short.h"
#include "bindings/worker_state.h"

#include <stdlib.h>

void lr_state_register(lr_state *S, lua_State *L, const luaL_Reg *functions)
{
    for (; functions->name; functions++) {
        lua_pushlightuserdata(L, S);
        lua_pushcclosure(L, functions->func, 1);
        lua_setfield(L, -2, functions->name);
    }
}

lr_state *lr_state_new(lua_State *L, struct lr_worker *worker, bool is_script)
{
    lr_state *S = calloc(1, sizeof *S);
    if (!S) luaL_error(L, "not enough memory");
    S->worker = worker;
    S->is_script = is_script;
    /* the main thread: what runs now may be a coroutine of it */
    lua_pushthread(L);
    S->L = L;
    lua_pop(L, 1);
    lr_builder_init(&S->builder);
    lua_newtable(L);
    S->ref_functions = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L); /* the core */
    lr_error_open(S, L);
    lr_future_open(S, L);
    lr_remote_open(S, L);
    lr_collector_open(S, L);
    lr_tensor_open(S);
    lr_kernels_open(S, L);
    lr_task_api_open(S, L);
    lr_inspect_open(S, L);
    if (!lr_codec_open(S)) luaL_error(L, "not enough memory");
    lr_short_open(S, L);
    lr_core_register(S, L);
    return S;
}

void lr_state_free(lr_state *S)
{
    if (!S) return;
    lr_codec_close(S);
    lr_builder_fini(&S->builder);
    lr_slots_free(S);
    free(S->serials);
    free(S);
}
