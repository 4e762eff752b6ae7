/* bindings/handles.h - the userdata that stand for futures, remote functions and tensors in Lua:
 * made and tested here, for the codec and everybody else.
 *
 * Each is a small full userdata that holds one count of the object behind it.
 * Thread: the state's. Errors: out of memory raises, as in Lua. */
#ifndef BINDINGS_HANDLES_H
#define BINDINGS_HANDLES_H

#include "bindings/state.h"
#include "runtime/buffer.h"
#include "runtime/extra.h"
#include "luarun/kernel.h"

typedef struct lr_future_ud { /* bindings/future.c */
    const void *kind; /* &lr_kind_future: tells our userdata from others at once */
    struct lr_task *task;
    uint32_t index; /* which of the task's results, from 0; LR_RESULT_ALL: all of them */
} lr_future_ud;

typedef struct lr_remote_ud { /* bindings/remote.c */
    const void *kind;    /* &lr_kind_remote */
    lr_fn *fn;           /* NULL until first used, where it is made of a Lua function */
    int ref_function;    /* registry: the Lua function it was made of; LUA_NOREF: it came from elsewhere */
    int ref_upvalues;    /* registry: the upvalues as they were when fn was made */
    struct lr_options *options; /* runtime/options.h; NULL: all default */
    bool making;         /* its fn is being made: a function that refers to itself */
    struct lr_remote_ud *made_next; /* made while another one was being made (lr_state.made) */
} lr_remote_ud;

typedef struct lr_tensor_ud { /* bindings/tensor.c */
    const void *kind; /* &lr_kind_tensor */
    lr_buffer *buffer;
    lr_tensor view; /* data points into buffer; contiguous, row-major */
} lr_tensor_ud;

/* Push a new userdata. Each takes one more count of what it is given. */
void lr_push_future(lr_state *S, lua_State *L, struct lr_task *task, uint32_t index);
void lr_push_remote(lr_state *S, lua_State *L, lr_fn *fn, const struct lr_options *options);
void lr_push_tensor(lr_state *S, lua_State *L, lr_buffer *buffer, const lr_tensor *view);

extern const char lr_kind_future, lr_kind_remote, lr_kind_tensor;

/* The userdata at index, or NULL when it is something else. */
static inline void *lr_test_handle(lua_State *L, int index, const void *kind, size_t size_bytes)
{
    void *p = lua_touserdata(L, index);
    return p && lua_objlen(L, index) >= size_bytes && *(const void **)p == kind ? p : NULL;
}
static inline lr_future_ud *lr_test_future(lua_State *L, int index)
{
    return lr_test_handle(L, index, &lr_kind_future, sizeof(lr_future_ud));
}
static inline lr_remote_ud *lr_test_remote(lua_State *L, int index)
{
    return lr_test_handle(L, index, &lr_kind_remote, sizeof(lr_remote_ud));
}
static inline lr_tensor_ud *lr_test_tensor(lua_State *L, int index)
{
    return lr_test_handle(L, index, &lr_kind_tensor, sizeof(lr_tensor_ud));
}

/* The lr_fn of a remote function, made at its first use of the function and its upvalues, and again when an upvalue was
 * assigned since (bindings/remote.c). It stays the userdata's. NULL with a sentence pushed that names the
 * upvalue where it cannot be sent. */
lr_fn *lr_remote_fn(lr_state *S, lua_State *L, int index, lr_err *code);

#endif
