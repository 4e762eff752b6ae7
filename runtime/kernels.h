/* runtime/kernels.h - kernel libraries: found, compiled, opened, checked, kept; and the call.
 *
 * A library is opened once a process, whoever asks and how often, and stays open: an lr_kernel is
 * valid for ever. What is wrong with a library is said in a sentence, before any of its code but its
 * constructors runs. Three files: kernels.c (libraries), kernel_compile.c (from source),
 * kernel_call.c (the call and the workers' states).
 * Owns: every set and kernel; the caller never frees them. Messages are malloc'ed sentences that
 * the caller frees; NULL when there was no memory even for that.
 * Thread: any. Blocks: for files, the dynamic linker and, in lr_kernels_compile, the compiler. */
#ifndef RUNTIME_KERNELS_H
#define RUNTIME_KERNELS_H

#include "luarun/kernel.h"
#include "runtime/value.h"

struct lr_fn;

typedef struct lr_kernel {
    const lr_kernel_entry *entry;
    const struct lr_kernel_set *set;
    char *name;                /* "go.playout" */
    char *site;                /* "tensor from kernel go.playout": of the buffers it makes */
    _Atomic(struct lr_fn *) fn; /* its remote function, once somebody made it (one count held) */
} lr_kernel;

typedef struct lr_kernel_set {
    char *name; /* "go" */
    char *path; /* as opened; of a library made from source, where it was cached */
    lr_id source; /* hash of source, flags and compiler; LR_ID_NIL: not compiled here */
    char *text;   /* the source; NULL: not compiled here, or no memory to keep it */
    char **flags;
    size_t flag_count;
    uint32_t count;
    lr_kernel *kernels; /* in the library's order */
    void *handle;
    struct lr_kernel_set *next;
} lr_kernel_set;

/* Where lr_kernels_find looks for lib<name>.so, in this order; each may be empty. After them come the
 * directories of the environment's LUARUN_KERNELS (separated by colons), then those of the examples'
 * kernels: kernels/ beside the program (a build tree), and where they are installed. */
typedef struct lr_kernel_places {
    const char *const *directories;
    size_t directory_count;
    const char *cpath; /* templates as in package.cpath: "./?.so;/usr/lib/x/?.so" */
} lr_kernel_places;

typedef struct lr_kernel_source {
    const char *name; /* letters, digits and _ */
    const char *source;
    size_t source_bytes;
    const char *const *flags; /* more arguments for the compiler: "-march=native", "-lm" */
    size_t flag_count;
} lr_kernel_source;

/* Opens the library at path. name: what its kernels are called by before the dot; NULL: from the file's
 * name. A library that is open already keeps the name it has. Errors: VERSION_MISMATCH for another
 * ABI, KERNEL_ERROR for everything else. */
lr_err lr_kernels_load(const char *path, const char *name, const lr_kernel_set **out, char **message);
/* Opens lib<name>.so from the first place that has it; a name with a slash is a path. Not found:
 * KERNEL_ERROR with every place tried. */
lr_err lr_kernels_find(const char *name, const lr_kernel_places *places, const lr_kernel_set **out,
                       char **message);
/* Compiles (with $CC or cc) what is not yet in the cache and opens it. The cache is
 * $XDG_CACHE_HOME/luarun/kernels or ~/.cache/luarun/kernels, mode 0700; where neither can be
 * written to, nothing is kept. Errors: KERNEL_ERROR with the compiler's first lines. */
lr_err lr_kernels_compile(const lr_kernel_source *source, const lr_kernel_set **out, char **message);
/* The kernel of that name, or NULL. */
lr_kernel *lr_kernels_get(const lr_kernel_set *set, const char *name);

/* For runtime/kernel_compile.c: the open library that was made from that source, or NULL. */
const lr_kernel_set *lr_kernels_of_source(lr_id source);
/* As lr_kernels_load; the library is then found by lr_kernels_of_source, and knows what it was made of. */
lr_err lr_kernels_load_source(const char *path, const lr_kernel_source *source, lr_id hash,
                              const lr_kernel_set **out, char **message);
/* The cache's directory, made where it was not there; malloc'ed. NULL: there can be none. */
char *lr_kernels_cache(void);

/* ---- the call ----------------------------------------------------------------------------------- */

/* The states that kernels made on one worker thread (lr_worker_state). */
typedef struct lr_kernel_workers lr_kernel_workers;
lr_kernel_workers *lr_kernel_workers_new(void); /* NULL: no memory */
/* Ends every state with its fini, the youngest first. On the thread that made them. NULL is welcome. */
void lr_kernel_workers_free(lr_kernel_workers *w);

/* What a call needs from its surroundings. All pointers are the caller's and outlive the call. */
typedef struct lr_kernel_context {
    lr_builder *builder;        /* the worker's, empty before and after: results are made in it */
    lr_kernel_workers *workers; /* the worker's */
    lr_id task;                 /* with the job's seed: names the random stream */
    uint64_t seed;
    /* The message an ended task among the arguments resulted in (not owned); NULL: it has none. */
    const lr_value *(*resolve)(void *self, lr_object *task);
    /* Cancelled: a bit of mask is set in *word, or cancelled(self) says so. Either may be NULL. */
    const _Atomic uint32_t *cancel_word;
    uint32_t cancel_mask;
    bool (*cancelled)(void *self);
    /* Asked when the object store is full, with 0, 1, ... until it helped: frees what it can; true: worth another
     * try. NULL: no. */
    bool (*reclaim)(void *self, unsigned attempt);
    _Atomic uint16_t *progress; /* written in 1/65535 of the whole; NULL: nobody looks */
    /* Stretches of the call, properly nested, name a literal. NULL: nobody looks. */
    void (*span_begin)(void *self, const char *name);
    void (*span_end)(void *self);
    void *self; /* handed to all of these */
} lr_kernel_context;

typedef struct lr_kernel_fault {
    lr_err code; /* KERNEL_ERROR, OUT_OF_MEMORY or CANCELLED */
    char message[1024]; /* "go.playout: argument 2: a number wanted, a string given" */
} lr_kernel_fault;

/* Calls k with the values of args (which stays the caller's) and makes *result (empty before) of what it
 * returned, its buffers sealed. On an error *result stays empty and *fault says why; on success
 * *fault is not touched. Never raises anything, whatever the kernel asks for or returns.
 * Thread: the one that owns ctx's builder and workers; no lock may be held. Blocks: as long as the
 * kernel runs. */
lr_err lr_kernel_run(const lr_kernel *k, const lr_kernel_context *ctx, const lr_value *args,
                     lr_value *result, lr_kernel_fault *fault);

#endif
