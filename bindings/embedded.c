#include "bindings/embedded.h"

#include <lauxlib.h>
#include <lua.h>

/* A loader of package.preload: upvalue 1 is the row, argument 1 the module's name. */
static int load_embedded(lua_State *L)
{
    const struct lr_embedded *e = lua_touserdata(L, lua_upvalueindex(1));
    if (luaL_loadbuffer(L, (const char *)e->bytes, e->size, e->chunk) != 0) return lua_error(L);
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

void lr_embedded_preload(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    for (const struct lr_embedded *e = lr_embedded_modules; e->module; e++) {
        lua_pushlightuserdata(L, (void *)e);
        lua_pushcclosure(L, load_embedded, 1);
        lua_setfield(L, -2, e->module);
    }
    lua_pop(L, 2);
}
