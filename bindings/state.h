/* bindings/state.h - what luarun keeps for each lua_State: the script's, and one a worker thread.
 *
 * Every C function of luarun is a closure whose first upvalue is the lr_state (as light userdata), so
 * that it costs nothing to find. A state belongs to one thread.
 * Owns: its lua_State when it made it (workers), the builder, the caches. */
#ifndef BINDINGS_STATE_H
#define BINDINGS_STATE_H

#include "runtime/fn.h"
#include "runtime/value.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

typedef struct lr_codec lr_codec; /* bindings/codec.c: identity map, module index, classes */
struct lr_worker;                 /* runtime/pool.h */
struct lr_slot;                   /* bindings/run.c: a coroutine and the task in it */

typedef struct lr_state {
    lua_State *L;             /* the main thread of this lua_State */
    struct lr_worker *worker; /* whose thread this is */
    struct lr_slot *current;  /* the task that runs now; NULL in the script */
    bool is_script;
    bool tracks_futures;  /* the console: futures of this state are found by their ids (bindings/inspect.c) */
    int ref_futures;      /* registry: a table whose weak values they are, by number */
    uint32_t futures_made;
    int ref_mt_future, ref_mt_remote, ref_mt_tensor, ref_mt_error; /* the metatables, in the registry */
    const void *mt_error; /* lua_topointer of the errors' */
    int ref_functions; /* registry: a table, lr_fn slot -> function (workers) */
    uint64_t *serials; /* which lr_fn (by serial) the function in each slot is of */
    uint32_t serial_capacity;
    struct lr_slot *free_slots; /* coroutines to use again */
    unsigned free_slot_count;
    lr_builder builder;
    lr_codec *codec;
    lr_fn *encoding_fn, *decoding_fn; /* whose body is being made or read: what refers to itself says `self` */
    struct lr_remote_ud *made; /* remote functions made since the outermost that is being made, last first */
    unsigned makes;            /* being made inside each other */
    uint64_t store_limit_bytes; /* in the object store: then a full collection (bindings/reclaim.c) */
} lr_state;

/* Makes the lr_state of L: metatables, codec, the table "luarun.core" (left on the top). The state is freed
 * by lr_state_free, after lua_close. Raises Lua's out of memory. */
lr_state *lr_state_new(lua_State *L, struct lr_worker *worker, bool is_script);
void lr_state_free(lr_state *S);

/* The state of a luarun C function (its first upvalue). */
static inline lr_state *lr_state_of(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* Notes the future on the top; for a state that tracks them. */
void lr_track_future(lr_state *S, lua_State *L);

/* Sets the functions in the list as fields of the table on the top, each with the state as upvalue. */
void lr_state_register(lr_state *S, lua_State *L, const luaL_Reg *functions);

#endif
