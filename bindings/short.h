/* bindings/short.h - the short way of a call and of a get, for compiled Lua code: C functions that LuaJIT's FFI calls.
 *
 * A C function of Lua's API ends a trace, and 150 to 350 instructions are spent around each call of it; an FFI call
 * is a machine call. What goes the short way is what most tasks are: a remote function with default options and no
 * upvalues, one to four numbers, a single number that is there. For everything else each function says no, having
 * changed nothing, and the long way (remote.c, future.c) does it all again, with its errors. lua/luarun/short.lua is
 * the other half. Never touches a lua_State: an FFI call may not. Thread: the state's. */
#ifndef BINDINGS_SHORT_H
#define BINDINGS_SHORT_H

#include "bindings/state.h"

/* Adds to the core table on the top: short_call, short_get, short_ended, short_state (addresses, as light userdata)
 * and short_stock(list, count), which puts so many empty futures into a list. */
void lr_short_open(lr_state *S, lua_State *L);

#endif
