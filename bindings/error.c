/* The error value's metatable. Its words are made in Lua (lua/luarun/errors.lua); making and moving error
 * values is the codec's. */
#include "bindings/core.h"
#include "sched/error.h"

/* codes(): a table code -> { meaning =, advice = }. */
static int codes(lua_State *L)
{
    lua_newtable(L);
    for (int i = 1; i < LR_ERR_COUNT; i++) {
        lua_newtable(L);
        lua_pushstring(L, lr_err_meaning((lr_err)i));
        lua_setfield(L, -2, "meaning");
        lua_pushstring(L, lr_err_advice((lr_err)i));
        lua_setfield(L, -2, "advice");
        lua_setfield(L, -2, lr_err_code((lr_err)i));
    }
    return 1;
}

void lr_error_open(lr_state *S, lua_State *L)
{
    static const luaL_Reg functions[] = {{"error_codes", codes}, {NULL, NULL}};
    lr_state_register(S, L, functions);
    lua_newtable(L);
    S->mt_error = lua_topointer(L, -1);
    lua_pushvalue(L, -1);
    S->ref_mt_error = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_setfield(L, -2, "error_meta");
}
