/* bindings/reclaim.h - room in a full object store.
 *
 * What lies in the store is held by small userdata, which Lua's collectors do not hurry to collect. So they are
 * run when a store that is full would otherwise refuse: first this thread's, then those of all threads, each by itself
 * as soon as it comes by (runtime/reclaim.c). And a state that meets twice as much in the store as was left
 * after its last full collection collects again. Where this thread's garbage was not enough, objects are spilled to
 * disk (runtime/spill.h) before the other threads are asked: those may be busy.
 * Thread: the state's. */
#ifndef BINDINGS_RECLAIM_H
#define BINDINGS_RECLAIM_H

#include "bindings/state.h"
#include "runtime/buffer.h"

/* lr_buffer_new, after collections where there is no room otherwise. Runs finalizers: what the caller holds of Lua's
 * must be on the stack. Blocks: in a full store for the disk, and up to two seconds. */
lr_buffer *lr_buffer_make(lr_state *S, lua_State *L, uint64_t size_bytes, const char *site, char *message,
                          size_t message_bytes);
/* To be called as tensors come into the state: a full collection, when it is time for one. */
void lr_reclaim_in_time(lr_state *S, lua_State *L);
/* A full collection of the worker's state, if it has one (the script's thread: of the script's too): the runner's
 * collect. */
void lr_reclaim_worker(struct lr_worker *w);

#endif
