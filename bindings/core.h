/* bindings/core.h - the parts of the C module "luarun.core": each opens itself into the core table.
 *
 * lr_X_open makes the metatable of X and registers its functions in the table on the top of L. The Lua side
 * (lua/luarun/init.lua) adds what is better written there. */
#ifndef BINDINGS_CORE_H
#define BINDINGS_CORE_H

#include "bindings/state.h"

void lr_error_open(lr_state *S, lua_State *L);     /* error.c */
void lr_future_open(lr_state *S, lua_State *L);    /* future.c */
void lr_remote_open(lr_state *S, lua_State *L);    /* remote.c */
void lr_collector_open(lr_state *S, lua_State *L); /* collector.c */
int lr_tensor_open(lr_state *S);                   /* tensor.c */
void lr_task_api_open(lr_state *S, lua_State *L);  /* task_api.c */
void lr_inspect_open(lr_state *S, lua_State *L);   /* inspect.c */
void lr_core_register(lr_state *S, lua_State *L);  /* session.c */

/* Makes a metatable of C functions for our userdata: registry reference by *ref; left on the top. Its __index is
 * a table `methods`, left below it. */
void lr_metatable_new(lr_state *S, lua_State *L, const luaL_Reg *meta, const luaL_Reg *methods,
    int *ref);

/* The type of what stands at index, for refusals; "nothing" where nothing does. */
static inline const char *lr_given(lua_State *L, int index)
{
    return lua_type(L, index) == LUA_TNONE ? "nothing" : luaL_typename(L, index);
}

int lr_tensor_new(lua_State *L);   /* lr.tensor */
int lr_kernels_lua(lua_State *L);  /* lr.kernels */

#endif
