/* bindings/codec.h - Lua values to messages and back (the format is sched/value.h's).
 *
 * Keeps sharing and cycles within a message, shared upvalues too; names the place of what it cannot
 * send; never trusts a message. Strings above LR_BLOB_BYTES go into the object store and are
 * referred to. Writable tensors are copied into the store (value semantics), sealed ones referred to.
 * Both ways run under a pcall where a value holds more than itself, so that out of memory is a refusal and leaves
 * the state as it was. One codec a state. Thread: the state's. Blocks: never (but a module may be loaded). */
#ifndef BINDINGS_CODEC_H
#define BINDINGS_CODEC_H

#include "bindings/state.h"

#define LR_BLOB_BYTES (64u * 1024u)

bool lr_codec_open(lr_state *S); /* false: no memory */
void lr_codec_close(lr_state *S);

/* What the values at the root of a message are called in refusals: "argument 2", "result 1",
 * "upvalue 'env'", "value". */
typedef enum lr_root { LR_ROOT_ARGUMENT, LR_ROOT_RESULT, LR_ROOT_UPVALUE, LR_ROOT_VALUE } lr_root;

typedef enum lr_encode_flags {
    LR_ENCODE_CODE = 2, /* what a function or class holds on to: C functions of modules travel by name */
    LR_ENCODE_SEAL = 1 /* results: a writable tensor is sealed and sent without a copy */
} lr_encode_flags;

/* Appends header and the count values at L's indices first.. to S->builder (which must be empty).
 * On refusal: false, the builder is reset and a sentence is pushed on L:
 *   argument 2: t.env.reset: a C function (io.write) cannot be sent; pass its name or a module
 *   function instead
 * *code is then LR_ERR_NOT_SERIALIZABLE or LR_ERR_OUT_OF_MEMORY. Otherwise L's stack is as before. */
bool lr_encode(lr_state *S, lua_State *L, int first, int count, lr_root root, unsigned flags, lr_err *code);

/* Pushes the message's values on L and returns how many, or -1 with a sentence pushed instead, when the
 * message is malformed, a module cannot be loaded, ... The message stays the caller's. L may be a coroutine that
 * has yielded. Short strings and numbers at the root are pushed unprotected: out of memory raises. */
int lr_decode(lr_state *S, lua_State *L, const lr_value *message);

/* Encodes the value at index into fn's body, in a message of its own while another may be half
 * made. False with a sentence
 * pushed. */
bool lr_encode_body(lr_state *S, lua_State *L, int index, lr_fn *fn, lr_err *code);

/* Pushes an error value (a table with the metatable of errors). message NULL: what the code means. */
void lr_error_push(lr_state *S, lua_State *L, lr_err code, const char *message);

/* lr.class(name, mt): objects with metatable mt travel; on arrival the metatable is the shipped copy, or the receiver's
 * own registration of that name. Argument errors raise. */
int lr_codec_class(lua_State *L);

/* codec_roundtrip(value): the value as it would arrive elsewhere. For bench/codec.lua. */
int lr_codec_roundtrip(lua_State *L);

#endif
