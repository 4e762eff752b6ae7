/* go_threads.c - how many playouts a second plain threads reach with the kernel library of the Go example: the
 * yardstick for bench/go_scaling.lua. It loads the same libgo.so, gives each thread a call record of its own
 * with the smallest lr_kernel_api that `playout` needs, and has nothing in common with the runtime.
 *
 *   go_threads LIBRARY THREADS SECONDS [SIZE] [BATCH]      prints  "<playouts> <seconds>"
 *
 * bench/go_scaling.lua builds it: cc -O2 -pthread -I bindings/include -o go_threads bench/go_threads.c -ldl
 */
#define _GNU_SOURCE
#include <luarun/kernel.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_THREADS = 256, MAX_ARGUMENTS = 5, TENSOR_BYTES = 4 * 4 * 362 };

/* One call: arguments in, the results that are of interest out. */
typedef struct record {
    lr_call call; /* first */
    const char *text[MAX_ARGUMENTS];
    size_t length[MAX_ARGUMENTS];
    double number[MAX_ARGUMENTS];
    int count;
    char position[1024];
    size_t position_length;
    int64_t integer; /* the last integer returned: playouts done */
    uint64_t random;
    void *state;
    float tensor[TENSOR_BYTES / 4];
} record;

typedef struct thread {
    pthread_t id;
    record *r;
    int (*playout)(lr_call *);
    int64_t playouts;
} thread;

static atomic_bool stop;

static int arg_count(lr_call *c) { return ((record *)c)->count; }
static int arg_is_nil(lr_call *c, int i)
{
    record *r = (record *)c;
    return i > r->count || (r->text[i - 1] == NULL && i == 2);
}
static int arg_number(lr_call *c, int i, double *out)
{
    *out = ((record *)c)->number[i - 1];
    return LR_OK;
}
static int arg_integer(lr_call *c, int i, int64_t *out)
{
    *out = (int64_t)((record *)c)->number[i - 1];
    return LR_OK;
}
static int arg_string(lr_call *c, int i, const char **bytes, size_t *length)
{
    record *r = (record *)c;
    *bytes = r->text[i - 1], *length = r->length[i - 1];
    return r->text[i - 1] ? LR_OK : LR_ERR;
}
static int return_number(lr_call *c, double v)
{
    (void)c, (void)v;
    return LR_OK;
}
static int return_integer(lr_call *c, int64_t v)
{
    ((record *)c)->integer = v;
    return LR_OK;
}
static int return_string(lr_call *c, const char *bytes, size_t length)
{
    record *r = (record *)c;
    if (length > sizeof r->position) return LR_ERR;
    memcpy(r->position, bytes, length);
    r->position_length = length;
    return LR_OK;
}
static int return_tensor(lr_call *c, int dtype, int rank, const int64_t *shape, lr_tensor *out)
{
    out->data = ((record *)c)->tensor;
    out->dtype = dtype, out->rank = rank, out->count = 1;
    for (int i = 0; i < rank; i++) out->shape[i] = shape[i], out->count *= shape[i];
    return LR_OK;
}
static int vfail(lr_call *c, const char *fmt, va_list ap)
{
    (void)c;
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    return LR_ERR;
}
static bool cancelled(lr_call *c)
{
    (void)c;
    return atomic_load_explicit(&stop, memory_order_relaxed);
}
static uint64_t random_bits(lr_call *c) { return ((record *)c)->random += 0x9e3779b97f4a7c15u; }
static void *worker_state(lr_call *c, size_t bytes, int (*init)(void *), void (*fini)(void *))
{
    record *r = (record *)c;
    (void)fini;
    if (!r->state) {
        r->state = calloc(1, bytes);
        if (r->state && init && init(r->state) != LR_OK) return NULL;
    }
    return r->state;
}

static const lr_kernel_api api = {
    .abi = LR_KERNEL_ABI, .bytes = sizeof(lr_kernel_api), .arg_count = arg_count, .arg_number = arg_number,
    .arg_integer = arg_integer, .arg_string = arg_string, .arg_is_nil = arg_is_nil,
    .return_number = return_number, .return_integer = return_integer, .return_string = return_string,
    .return_tensor = return_tensor, .vfail = vfail, .cancelled = cancelled, .random = random_bits,
    .worker_state = worker_state,
};

static int (*kernel_find(const lr_kernel_library *library, const char *name))(lr_call *)
{
    for (uint32_t i = 0; i < library->count; i++)
        if (strcmp(library->entries[i].name, name) == 0) return library->entries[i].fn;
    fprintf(stderr, "go_threads: the library has no kernel '%s'\n", name);
    exit(1);
}

static void *thread_main(void *argument)
{
    thread *t = argument;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        if (t->playout(&t->r->call) != LR_OK) exit(1);
        t->playouts += t->r->integer;
    }
    return NULL;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* An empty board, komi 7.5, `batch` playouts a call. */
static record *record_new(const lr_kernel_library *library, int index, int size, int batch)
{
    record *r = calloc(1, sizeof *r);
    if (!r) exit(1);
    r->call.api = &api;
    r->random = (uint64_t)index * 7919;
    r->count = 1, r->number[0] = size;
    if (kernel_find(library, "new")(&r->call) != LR_OK) exit(1);
    r->text[0] = r->position, r->length[0] = r->position_length;
    r->number[2] = 7.5, r->number[3] = batch, r->count = 4;
    return r;
}

int main(int argc, char **argv)
{
    int count = argc > 2 ? atoi(argv[2]) : 0, size = argc > 4 ? atoi(argv[4]) : 9;
    int batch = argc > 5 ? atoi(argv[5]) : 64;
    double seconds = argc > 3 ? atof(argv[3]) : 0;
    if (count < 1 || count > MAX_THREADS || !(seconds > 0)) {
        fprintf(stderr, "usage: go_threads LIBRARY THREADS SECONDS [SIZE] [BATCH]\n");
        return 1;
    }
    void *handle = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    const lr_kernel_library *library = handle ? dlsym(handle, "luarun_kernel_library") : NULL;
    if (!library) {
        fprintf(stderr, "go_threads: %s\n", dlerror());
        return 1;
    }
    static thread threads[MAX_THREADS];
    for (int i = 0; i < count; i++) {
        threads[i].r = record_new(library, i, size, batch);
        threads[i].playout = kernel_find(library, "playout");
    }
    double started = now();
    for (int i = 0; i < count; i++)
        if (pthread_create(&threads[i].id, NULL, thread_main, &threads[i]) != 0) return 1;
    struct timespec rest = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&rest, NULL);
    atomic_store(&stop, true);
    int64_t playouts = 0;
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i].id, NULL);
        playouts += threads[i].playouts;
    }
    printf("%lld %.6f\n", (long long)playouts, now() - started);
    return 0;
}
