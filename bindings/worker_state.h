/* bindings/worker_state.h - the lua_State in which a thread runs tasks.
 *
 * Made at the first Lua task of a thread: the standard libraries, the script's package.path and
 * package.cpath, "luarun", and a strict table of globals (lua/luarun/worker.lua). The script's thread
 * has one too, apart from the script's own state, for the short tasks it runs itself.
 * Thread: the worker's. */
#ifndef BINDINGS_WORKER_STATE_H
#define BINDINGS_WORKER_STATE_H

#include "bindings/state.h"
#include "runtime/pool.h"

lr_state *lr_worker_state_of(lr_worker *w);
void lr_worker_state_close(lr_worker *w);
/* Notes the script's package paths for the states to be made. */
void lr_worker_state_paths(lua_State *script);

/* The same, given: package.path, package.cpath, the script's directory; each may be NULL. */
void lr_worker_state_paths_given(const char *const given[3]);
/* As noted: pointers that last. */
const char *const *lr_worker_state_paths_noted(void);

/* bindings/run.c */
bool lr_push_function(lr_state *S, lua_State *co, lr_fn *fn);
void lr_slots_free(lr_state *S);

#endif
