/* bindings/codec_internal.h - what the three files of the codec share: nobody else includes it.
 *
 * codec.c: identity maps, the index of modules, classes, errors; codec_encode.c; codec_decode.c. */
#ifndef BINDINGS_CODEC_INTERNAL_H
#define BINDINGS_CODEC_INTERNAL_H

#include "bindings/codec.h"
#include "bindings/handles.h"
#include "bindings/options.h"
#include "bindings/raw_table.h"

typedef struct lr_idmap_entry {
    const void *key;
    uint32_t number;
    uint32_t generation; /* the map's: the entry is in use */
} lr_idmap_entry;

/* Addresses to the numbers 0, 1, ... in the order in which they were added. Emptied in no time. */
typedef struct lr_idmap {
    lr_idmap_entry *entries;
    size_t capacity;
    uint32_t count, generation;
} lr_idmap;

void lr_idmap_reset(lr_idmap *m);
/* 0: added; 1: it was there; -1: no memory. */
int lr_idmap_add(lr_idmap *m, const void *key, uint32_t *number);
/* False: it is not there. */
bool lr_idmap_find(const lr_idmap *m, const void *key, uint32_t *number);

struct lr_codec {
    lr_idmap tables, cells; /* of the message that is being encoded */
    int ref_index;          /* value -> "module\0field" */
    uint64_t loaded_print;  /* fingerprint of the loaded modules when the index was made */
    bool index_checked;     /* against the fingerprint, in this message */
    bool has_classes;       /* ref_class_names is not empty */
    bool knows_tables;      /* lr_raw_is_known */
    int ref_class_names, ref_class_by_name; /* lr.class */
    int ref_class_fns;      /* metatable -> the remote function userdata that carries it */
    int ref_encode, ref_decode; /* C functions, called protected: kept so as not to make them each time */
    lua_State *spare;       /* a coroutine for decoding; NULL: in use, or not yet made */
    int ref_spare;
    unsigned classes_deep;  /* classes being decoded inside each other */
    unsigned nesting;       /* messages being encoded inside each other */
};

typedef struct lr_module_name {
    const char *module, *field;
    size_t module_bytes, field_bytes, size_bytes;
} lr_module_name;

/* What carries the registered class of that metatable; made at its first use. NULL with a sentence pushed. */
lr_fn *lr_codec_class_fn(lr_state *S, lua_State *L, int metatable, lr_err *code);

/* What 64-bit integers need the FFI for, as a Lua function, pushed: "kind" (a value: 1 int64_t, 2 uint64_t, 0 and the
 * value as text) or "make" (unsigned, eight bytes: the value). */
void lr_codec_push_integer(lua_State *L, const char *name);

void lr_encode_open(lr_state *S);
void lr_decode_open(lr_state *S);

/* True when the value belongs to a loaded module (or is one). The strings live as long as the index. */
bool lr_codec_module_of(lr_state *S, lua_State *L, int value, lr_module_name *out);

#endif
