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
    struct lr_fn *newer, *older; /* among all that live */
} lr_fn;

/* name is copied. *body is moved from. NULL: no memory (body is cleared). */
lr_fn *lr_fn_new_lua(const char *name, lr_value *body);
lr_fn *lr_fn_new_module(const char *name, const char *module, const char *field);
lr_fn *lr_fn_new_kernel(const char *name, struct lr_kernel *kernel);

/* Shows every one that lives; none is made or freed meanwhile. */
void lr_fn_each(void (*look)(void *user, const lr_fn *fn), void *user);

/* A function that was not whole yet (lr_fn_new_lua with an empty body), and that nobody has run, becomes this one.
 * Texts are copied; *body is moved from; what is not of its kind is ignored. False: no memory. */
bool lr_fn_become(lr_fn *fn, lr_fn_kind kind, const char *name, const char *module, const char *field,
                  struct lr_kernel *kernel, lr_value *body);
static inline bool lr_fn_is_whole(const lr_fn *fn) { return fn->kind != LR_FN_LUA || !lr_value_is_empty(&fn->body); }

/* ---- the counts that tasks hold ------------------------------------------------------------------------
 *
 * Every task holds a count of its function, and functions are few: all threads would change the same counter for
 * every task. So each thread keeps counts in hand of the last few functions, and takes or returns many at once. */

#define LR_CREDIT_SLOTS 8

typedef struct lr_credit {
    lr_fn *fn;
    uint32_t count; /* of fn, this thread's to give away; fn may be gone when 0 */
} lr_credit;

extern _Thread_local lr_credit lr_credits[LR_CREDIT_SLOTS];
#define LR_CREDIT_MAX 2048u

void lr_fn_borrow_more(lr_fn *fn);
void lr_fn_repay_more(lr_fn *fn);
/* Returns what this thread has in hand: called as it ends. */
void lr_fn_thread_end(void);

/* As retain and release, for the counts that tasks hold. */
static inline void lr_fn_borrow(lr_fn *fn)
{
    lr_credit *c = &lr_credits[fn->slot % LR_CREDIT_SLOTS];
    if (__builtin_expect(c->fn == fn && c->count > 0, 1))
        c->count--;
    else
        lr_fn_borrow_more(fn);
}

static inline void lr_fn_repay(lr_fn *fn)
{
    lr_credit *c = &lr_credits[fn->slot % LR_CREDIT_SLOTS];
    if (__builtin_expect(c->fn == fn && c->count < LR_CREDIT_MAX, 1))
        c->count++;
    else
        lr_fn_repay_more(fn);
}

#endif
