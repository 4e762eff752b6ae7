/* runtime/fn.h - what a task runs: a remote function, and the code it is made of.
 *
 * An lr_code is content: immutable bytes named by their hash (a dumped Lua function). An lr_fn is a
 * remote function: a body (a message whose one value is
 * a function, or a module and a name, or a kernel), a name for people, and what is known of its running time. Both
 * are objects: counted, shared by all threads, freed with the last reference.
 * Thread: any. Blocks: never. */
#ifndef RUNTIME_FN_H
#define RUNTIME_FN_H

#include "runtime/value.h"

struct lr_kernel; /* runtime/kernels.h: one entry of a loaded library */

typedef struct lr_code {
    lr_object base;
    lr_id hash;
    struct lr_code *next; /* in the table of codes (fn.c) */
    size_t size_bytes;
    uint8_t *bytes;
} lr_code;

/* Interned by content: the same bytes give the same code (one more count). NULL: no memory. */
lr_code *lr_code_new(const void *bytes, size_t size_bytes);

typedef enum lr_fn_kind { LR_FN_LUA, LR_FN_MODULE, LR_FN_KERNEL } lr_fn_kind;

typedef struct lr_fn {
    lr_object base;
    uint8_t kind; /* an lr_fn_kind */
    _Atomic bool parks;       /* a task of it was once parked: never run it on the stack of a waiting thread */
    uint32_t slot;            /* small number, unique while it lives (index of each state's cache) */
    uint64_t serial;          /* never reused: tells a cached entry of a former owner of the slot */
    char *name;               /* for people: "fib", "go.playout" */
    lr_value body;            /* LR_FN_LUA: a message with one FUNCTION value (or a class's metatable) */
    char *module, *field;     /* LR_FN_MODULE */
    struct lr_kernel *kernel; /* LR_FN_KERNEL: not owned; kernel libraries stay loaded */
    _Atomic uint64_t mean_ns; /* moving average of the running time; 0: not yet known */
    _Atomic uint64_t count;   /* finished tasks */
} lr_fn;

/* name is copied. *body is moved from. NULL: no memory (body is cleared). */
lr_fn *lr_fn_new_lua(const char *name, lr_value *body);
lr_fn *lr_fn_new_module(const char *name, const char *module, const char *field);
lr_fn *lr_fn_new_kernel(const char *name, struct lr_kernel *kernel);

#endif
