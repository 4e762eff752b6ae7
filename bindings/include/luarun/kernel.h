/* luarun/kernel.h - everything a C kernel needs, and its only dependency.
 *
 * A kernel library is a shared object that exports one table:
 *
 *     #include <luarun/kernel.h>
 *
 *     static int scale(lr_call *call)
 *     {
 *         lr_tensor x;
 *         double k;
 *         if (lr_arg_tensor(call, 1, LR_F64, 1, &x) || lr_arg_number(call, 2, &k)) return LR_ERR;
 *         lr_tensor y;
 *         if (lr_return_tensor(call, LR_F64, 1, x.shape, &y)) return LR_ERR;
 *         for (int64_t i = 0; i < x.count; i++)
 *             ((double *)y.data)[i] = k * ((const double *)x.data)[i];
 *         return LR_OK;
 *     }
 *
 *     LR_KERNELS({"scale", scale, "(x: f64[n], k: number) -> f64[n]", "k times x", {0}})
 *
 * Compile it with  cc -O2 -shared -fPIC -o libmine.so mine.c  and call it from Lua with
 * lr.kernels("mine").scale(t, 2).
 *
 * Rules:
 *  - A kernel returns LR_OK, or LR_ERR after an lr_ function failed or lr_fail was called.
 *  - Argument positions are 1-based. Every lr_arg_ function returns LR_OK or, having recorded an
 *    error that names position, wanted and given type, LR_ERR.
 *  - Results are returned in the order of the lr_return_ calls. There is no limit on their number.
 *  - A kernel runs on a worker thread with no Lua lock held, never two calls on one thread at once,
 *    possibly many calls on many threads. Nothing of an lr_call outlives the call.
 *  - A kernel never frees what it was given; argument memory is read-only and shared.
 *  - Sizes are elements where named count or shape, bytes where named bytes.
 */
#ifndef LUARUN_KERNEL_H
#define LUARUN_KERNEL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when the layout of anything in this file changes. A library built for another ABI is refused. */
#define LR_KERNEL_ABI 1u
#define LR_MAX_RANK 8

#define LR_OK 0
#define LR_ERR 1

typedef enum lr_dtype { LR_F32 = 0, LR_F64, LR_I8, LR_U8, LR_I32, LR_I64, LR_DTYPE_COUNT } lr_dtype;

/* A row-major view. data is read-only for arguments, writable for results until the kernel returns. */
typedef struct lr_tensor {
    void *data;
    int64_t count;              /* product of shape */
    int32_t rank;               /* 0..LR_MAX_RANK; 0 is one element */
    int32_t dtype;              /* an lr_dtype */
    int64_t shape[LR_MAX_RANK]; /* elements in each dimension, outermost first */
} lr_tensor;

typedef struct lr_call lr_call;

/* What the runtime offers a kernel. Never called directly: the inline functions below are the interface. */
typedef struct lr_kernel_api {
    uint32_t abi;
    uint32_t bytes; /* sizeof this struct in the runtime: it only grows at its end within one ABI */
    int (*arg_count)(lr_call *);
    int (*arg_number)(lr_call *, int, double *);
    int (*arg_integer)(lr_call *, int, int64_t *);
    int (*arg_string)(lr_call *, int, const char **, size_t *);
    int (*arg_bool)(lr_call *, int, bool *);
    int (*arg_is_nil)(lr_call *, int);
    int (*arg_tensor)(lr_call *, int, int, int, lr_tensor *);
    int (*return_nil)(lr_call *);
    int (*return_number)(lr_call *, double);
    int (*return_integer)(lr_call *, int64_t);
    int (*return_string)(lr_call *, const char *, size_t);
    int (*return_bool)(lr_call *, bool);
    int (*return_tensor)(lr_call *, int, int, const int64_t *, lr_tensor *);
    int (*vfail)(lr_call *, const char *, va_list);
    bool (*cancelled)(lr_call *);
    uint64_t (*random)(lr_call *);
    void *(*worker_state)(lr_call *, size_t, int (*)(void *), void (*)(void *));
    void (*progress)(lr_call *, double, double);
    void (*span_begin)(lr_call *, const char *);
    void (*span_end)(lr_call *);
} lr_kernel_api;

/* The first member of the runtime's call record. */
struct lr_call {
    const lr_kernel_api *api;
};

/* What a kernel asks of a node by default; options given in Lua replace it. */
typedef struct lr_kernel_needs {
    double cpu; /* 0 here means the default, 1 */
    double gpu;
    uint64_t memory_bytes;
} lr_kernel_needs;

typedef struct lr_kernel_entry {
    const char *name;      /* a Lua name; the key in the table that lr.kernels returns */
    int (*fn)(lr_call *);
    const char *signature; /* for people: "(board: i8[n,n], komi: number) -> number" */
    const char *doc;
    lr_kernel_needs needs;
} lr_kernel_entry;

typedef struct lr_kernel_library {
    uint32_t abi;
    uint32_t count;
    const lr_kernel_entry *entries;
} lr_kernel_library;

/* Exports the table. One use per shared object. (The pragmas: what a row leaves out is 0 on purpose.) */
#define LR_KERNELS(...)                                                                            \
    _Pragma("GCC diagnostic push")                                                                 \
    _Pragma("GCC diagnostic ignored \"-Wmissing-field-initializers\"")                             \
    static const lr_kernel_entry lr_kernel_entries_[] = {__VA_ARGS__};                             \
    _Pragma("GCC diagnostic pop")                                                                  \
    __attribute__((visibility("default"))) extern const lr_kernel_library luarun_kernel_library;   \
    const lr_kernel_library luarun_kernel_library = {                                              \
        LR_KERNEL_ABI, (uint32_t)(sizeof lr_kernel_entries_ / sizeof lr_kernel_entries_[0]),       \
        lr_kernel_entries_};

/* ---- arguments -------------------------------------------------------------------------------- */

static inline int lr_arg_count(lr_call *c) { return c->api->arg_count(c); }
/* True for a nil argument and for one that was not given. Never an error. */
static inline bool lr_arg_is_nil(lr_call *c, int i) { return c->api->arg_is_nil(c, i) != 0; }
static inline int lr_arg_number(lr_call *c, int i, double *out) { return c->api->arg_number(c, i, out); }
/* A number without a fraction, or an int64/uint64 cdata, that fits an int64_t. */
static inline int lr_arg_integer(lr_call *c, int i, int64_t *out) { return c->api->arg_integer(c, i, out); }
/* The bytes stay valid for the call; they are not 0-terminated. */
static inline int lr_arg_string(lr_call *c, int i, const char **bytes, size_t *length_bytes)
{
    return c->api->arg_string(c, i, bytes, length_bytes);
}
static inline int lr_arg_bool(lr_call *c, int i, bool *out) { return c->api->arg_bool(c, i, out); }
/* dtype: an lr_dtype, or -1 for any. rank: 0..LR_MAX_RANK, or -1 for any. The data is contiguous. */
static inline int lr_arg_tensor(lr_call *c, int i, int dtype, int rank, lr_tensor *out)
{
    return c->api->arg_tensor(c, i, dtype, rank, out);
}

/* ---- results ---------------------------------------------------------------------------------- */

static inline int lr_return_nil(lr_call *c) { return c->api->return_nil(c); }
static inline int lr_return_number(lr_call *c, double v) { return c->api->return_number(c, v); }
/* Arrives in Lua as a number when |v| <= 2^53, else as an int64_t cdata. */
static inline int lr_return_integer(lr_call *c, int64_t v) { return c->api->return_integer(c, v); }
static inline int lr_return_string(lr_call *c, const char *bytes, size_t length_bytes)
{
    return c->api->return_string(c, bytes, length_bytes);
}
static inline int lr_return_bool(lr_call *c, bool v) { return c->api->return_bool(c, v); }
/* Makes a tensor in the object store and gives its memory, uninitialised, to be filled before the
 * kernel returns. Nothing is copied afterwards. Errors: a negative or overflowing shape, no room. */
static inline int lr_return_tensor(lr_call *c, lr_dtype dtype, int rank, const int64_t *shape, lr_tensor *out)
{
    return c->api->return_tensor(c, (int)dtype, rank, shape, out);
}

/* ---- errors, cancelling, the rest -------------------------------------------------------------- */

/* Records the task's error (code kernel_error) and returns LR_ERR:  return lr_fail(call, "no %s", x); */
__attribute__((format(printf, 2, 3))) static inline int lr_fail(lr_call *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int rc = c->api->vfail(c, fmt, ap);
    va_end(ap);
    return rc;
}
/* True once the task was cancelled or ran out of time: return soon, with anything. A few nanoseconds. */
static inline bool lr_cancelled(lr_call *c) { return c->api->cancelled(c); }
/* 64 uniformly distributed bits of the task's own stream: the same in every run of the same job,
 * whatever the number of workers. Seed a generator of your own with it where many are needed. */
static inline uint64_t lr_random(lr_call *c) { return c->api->random(c); }
/* This worker's own memory for this kernel library: zeroed and given to init once for each worker thread, kept
 * until the worker ends (then given to fini). init returns LR_OK or LR_ERR; either function may be
 * NULL. Returns NULL, with the error recorded, when init failed or there is no memory. All kernels of
 * one library that pass the same init share one state. */
static inline void *lr_worker_state(lr_call *c, size_t bytes, int (*init)(void *), void (*fini)(void *))
{
    return c->api->worker_state(c, bytes, init, fini);
}
/* How far the call is; shown by tostring(future) and the commands. */
static inline void lr_progress(lr_call *c, double done, double total) { c->api->progress(c, done, total); }
/* Names a stretch of the call for the timeline. name must be a literal. Spans nest. */
static inline void lr_span_begin(lr_call *c, const char *name) { c->api->span_begin(c, name); }
static inline void lr_span_end(lr_call *c) { c->api->span_end(c); }

#ifdef __cplusplus
}
#endif
#endif
