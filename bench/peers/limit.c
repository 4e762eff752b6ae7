/* bench/peers/limit.c - the limit: a bare pool that runs Lua functions and has nothing else. Tasks of 64 bytes with
 * one number in and one out, a deque and a lua_State for each thread, a waiting thread runs what it finds; no
 * values, futures or errors.
 *
 *   nested n=     fib, a task for every call, both children tasks
 *   flat n=       empty Lua functions, submitted from C by the first thread
 *   roundtrip n=  a task handed to a thread that spins, and back
 *
 * Protocol and arguments: bench/peers/work.h. Uses runtime/deque.h and LuaJIT. */
#define _GNU_SOURCE
#include "runtime/deque.h"

#include "work.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>

enum { MAX_THREADS = 64 };

typedef struct task {
    _Alignas(64) double argument;
    double result;
    struct task *next; /* in a list of free ones */
    atomic_bool done;
} task;

typedef struct thread {
    _Alignas(64) lr_deque deque;
    lua_State *L;
    int function; /* in the registry */
    task *free;
    atomic_long ran;
    pthread_t id;
} thread;

static thread threads[MAX_THREADS];
static int thread_count;
static atomic_bool stop;
static _Atomic(task *) handed; /* roundtrip: to the thread that spins */
static _Thread_local thread *self;

static const char program[] = "local spawn, get = ...\n"
                              "return function(n)\n"
                              "  if n < 2 then return n end\n"
                              "  local a, b = spawn(n - 1), spawn(n - 2)\n"
                              "  return get(b) + get(a)\n"
                              "end\n";
static const char empty[] = "return function() end\n";

static task *task_new(double argument)
{
    task *t = self->free;
    if (t != NULL) self->free = t->next;
    else if ((t = aligned_alloc(64, sizeof *t)) == NULL) abort();
    t->argument = argument;
    atomic_store_explicit(&t->done, false, memory_order_relaxed);
    return t;
}

static void task_free(task *t) { t->next = self->free, self->free = t; }

static void task_run(task *t)
{
    lua_State *L = self->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, self->function);
    lua_pushnumber(L, t->argument);
    if (lua_pcall(L, 1, 1, 0) != 0) abort();
    t->result = lua_tonumber(L, -1);
    lua_pop(L, 1);
    atomic_store_explicit(&self->ran, self->ran + 1, memory_order_relaxed);
    atomic_store_explicit(&t->done, true, memory_order_release);
}

static task *task_find(void)
{
    task *t = lr_deque_pop(&self->deque);
    bool contended;
    for (int i = 0; t == NULL && i < thread_count; i++)
        if (&threads[i] != self) t = lr_deque_steal(&threads[i].deque, &contended);
    return t;
}

static int spawn(lua_State *L)
{
    task *t = task_new(lua_tonumber(L, 1));
    if (!lr_deque_push(&self->deque, t)) abort();
    lua_pushlightuserdata(L, t);
    return 1;
}

static int get(lua_State *L)
{
    task *t = lua_touserdata(L, 1);
    while (!atomic_load_explicit(&t->done, memory_order_acquire)) {
        task *other = task_find();
        if (other != NULL) task_run(other);
    }
    lua_pushnumber(L, t->result);
    task_free(t);
    return 1;
}

static void thread_init(thread *t, const char *text)
{
    t->L = luaL_newstate();
    if (t->L == NULL || !lr_deque_init(&t->deque)) abort();
    luaL_openlibs(t->L);
    if (luaL_loadstring(t->L, text) != 0) abort();
    lua_pushcfunction(t->L, spawn);
    lua_pushcfunction(t->L, get);
    lua_call(t->L, 2, 1);
    t->function = luaL_ref(t->L, LUA_REGISTRYINDEX);
}

static void *thread_main(void *me)
{
    self = me;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        task *t = atomic_exchange_explicit(&handed, NULL, memory_order_acquire);
        if (t == NULL) t = task_find();
        if (t != NULL) task_run(t);
    }
    return NULL;
}

static void start(int count, const char *text)
{
    thread_count = count;
    for (int i = 0; i < count; i++) thread_init(&threads[i], text);
    self = &threads[0];
    for (int i = 1; i < count; i++) pthread_create(&threads[i].id, NULL, thread_main, &threads[i]);
}

static int finish(int status)
{
    atomic_store(&stop, true);
    for (int i = 1; i < thread_count; i++) pthread_join(threads[i].id, NULL);
    return status;
}

static double fib_run(double n)
{
    task *t = task_new(n);
    double begun = bench_now();
    task_run(t);
    double seconds = bench_now() - begun;
    task_free(t);
    return seconds;
}

static int nested(int workers, int n)
{
    start(workers, program);
    fib_run(n - 6);
    return finish(bench_rate("nested", bench_fib_calls(n), fib_run(n)));
}

static double flat_run(task *tasks, long n)
{
    long before = 0, ran = 0;
    for (int i = 0; i < thread_count; i++) before += threads[i].ran;
    double begun = bench_now();
    for (long i = 0; i < n; i++)
        if (!lr_deque_push(&self->deque, &tasks[i])) abort();
    while (ran < n) {
        task *t = task_find();
        if (t != NULL) task_run(t);
        ran = -before;
        for (int i = 0; i < thread_count; i++) ran += atomic_load_explicit(&threads[i].ran, memory_order_relaxed);
    }
    return bench_now() - begun;
}

static int flat(int workers, long n)
{
    start(workers, empty);
    task *tasks = aligned_alloc(64, (size_t)n * sizeof *tasks);
    if (tasks == NULL) abort();
    memset(tasks, 0, (size_t)n * sizeof *tasks);
    flat_run(tasks, n);
    int status = finish(bench_rate("flat", (double)n, flat_run(tasks, n)));
    free(tasks);
    return status;
}

static int roundtrip(long n)
{
    start(2, empty);
    double *seconds = malloc((size_t)n * sizeof *seconds);
    task *t = task_new(0);
    if (seconds == NULL) abort();
    for (long i = 0; i < n; i++) {
        atomic_store_explicit(&t->done, false, memory_order_relaxed);
        double begun = bench_now();
        atomic_store_explicit(&handed, t, memory_order_release);
        while (!atomic_load_explicit(&t->done, memory_order_acquire)) {}
        seconds[i] = bench_now() - begun;
    }
    int status = finish(bench_latency("roundtrip", seconds, n));
    free(seconds);
    return status;
}

int main(int argc, char **argv)
{
    const char *workload = argc > 1 ? argv[1] : "";
    int workers = (int)bench_number(argc, argv, "workers", 2);
    if (workers < 1 || workers > MAX_THREADS) return bench_cannot("limit", "so many workers");
    if (strcmp(workload, "nested") == 0) return nested(workers, (int)bench_number(argc, argv, "n", 27));
    if (strcmp(workload, "flat") == 0) return flat(workers, (long)bench_number(argc, argv, "n", 1e6));
    if (strcmp(workload, "roundtrip") == 0) return roundtrip((long)bench_number(argc, argv, "n", 1e5));
    return bench_cannot("limit", workload);
}
