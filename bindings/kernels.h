/* bindings/kernels.h - what a state needs so that tables of kernels made elsewhere work in it.
 * Thread: the state's. */
#ifndef BINDINGS_KERNELS_H
#define BINDINGS_KERNELS_H

#include "bindings/state.h"

/* Sets the field kernels_meta of the core table on the top of L: the metatable of what lr.kernels
 * returns. By that name (module "luarun.core", field "kernels_meta") such tables travel. */
void lr_kernels_open(lr_state *S, lua_State *L);

#endif
