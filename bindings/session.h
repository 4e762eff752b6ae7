/* bindings/session.h - the one job of this process: its configuration, pool, node thread and script.
 *
 * Configured by the program (bindings/main.c) or by lr.init; started by the first call that needs it,
 * so that a script without tasks starts no thread; finished once.
 * Owns: the pool, the node thread, the store. Thread: the script's. */
#ifndef BINDINGS_SESSION_H
#define BINDINGS_SESSION_H

#include "bindings/state.h"
#include "runtime/config.h"
#include "runtime/pool.h"

/* Stores a copy. False where the session has started already. */
bool lr_session_configure(const lr_config *config);
const lr_config *lr_session_config(void);

/* The C module "luarun.core" (lua_CFunction). */
int luaopen_luarun_core(lua_State *L);

/* This state's worker; starts the session where it has not started. Raises where it cannot. */
lr_worker *lr_session_worker(lr_state *S, lua_State *L);
lr_pool *lr_session_pool(void);     /* NULL before the start */
bool lr_session_started(void);
/* The script's state; NULL before luarun was required. */
lr_state *lr_session_script(void);

/* The next id among the children of the running task, or of the script. */
lr_id lr_session_next_id(lr_state *S);
lr_id lr_session_job(void);
lr_id lr_session_node(void);

/* Ends the job. drain: waits first for every task that was submitted (with a word on standard error when it takes
 * longer than a second). Then stops the workers; a running task gets 0.2 s to
 * notice. Nothing happens where the session never started. False: what was
 * left would have waited for ever and was given up. */
bool lr_session_finish(lua_State *L, bool drain);
/* Frees what is left and reports failed tasks nobody looked at. Called after the script's lua_close. */
void lr_session_close(void);
/* A node that serves: connects, works for whoever drives, and returns when that is gone: the exit status. */
int lr_session_serve(lua_State *L);
/* As finish without drain, then ends the process. For os.exit and for errors of the script. */
_Noreturn void lr_session_exit(int status);

#endif
