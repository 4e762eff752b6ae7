/* bench/peers/threads.c - plain threads: what the machine gives to a program without any scheduler.
 *
 *   calibrate seconds=S    iterations of the unit of work a second, on one thread and on `workers` at once
 *   kernels n= iterations= the kernels taken from one counter by `workers` threads
 *   futex n= pause= apart= a round trip between two threads that sleep on a futex each, with a pause between two;
 * apart=1: on
 *                          two processors (left alone, Linux may keep both on one, where nothing has to be woken up)
 *   memcpy bytes= n=       copies of so many bytes, both sides touched before
 *
 * Protocol and arguments: bench/peers/work.h. */
#define _GNU_SOURCE
#include "work.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_THREADS = 256 };

/* ---- calibrate ---- */

static atomic_bool stop;

static void *work_until_stopped(void *sum)
{
    double x = 1;
    long done = 0;
    for (; !atomic_load_explicit(&stop, memory_order_relaxed); done += 1000) x = bench_work(1000, x);
    *(double *)sum = (double)done + (x == 0.5);
    return NULL;
}

static double iterations_per_second(int threads, double seconds)
{
    pthread_t ids[MAX_THREADS];
    double done[MAX_THREADS], sum = 0;
    atomic_store(&stop, false);
    double begun = bench_now();
    for (int i = 0; i < threads; i++) pthread_create(&ids[i], NULL, work_until_stopped, &done[i]);
    usleep((useconds_t)(seconds * 1e6));
    atomic_store(&stop, true);
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL), sum += done[i];
    return sum / (bench_now() - begun);
}

static int calibrate(int workers, double seconds)
{
    double one = iterations_per_second(1, seconds), all = iterations_per_second(workers, seconds);
    printf("{\"workload\": \"calibrate\", \"one\": %.9g, \"all\": %.9g}\n", one, all);
    return 0;
}

/* ---- kernels ---- */

static atomic_long next_kernel;
static long kernels_count, kernel_iterations;

static void *kernels_run(void *sum)
{
    double x = 1;
    while (atomic_fetch_add(&next_kernel, 1) < kernels_count) x = bench_work(kernel_iterations, x);
    *(double *)sum = x;
    return NULL;
}

static int kernels(int workers, long n, long iterations)
{
    pthread_t ids[MAX_THREADS];
    double ends[MAX_THREADS];
    kernels_count = n, kernel_iterations = iterations;
    double begun = bench_now();
    for (int i = 0; i < workers; i++) pthread_create(&ids[i], NULL, kernels_run, &ends[i]);
    for (int i = 0; i < workers; i++) pthread_join(ids[i], NULL);
    return bench_rate("kernels", (double)n, bench_now() - begun);
}

/* ---- futex ---- */

static _Atomic uint32_t ball; /* odd: the other side's turn */

static void futex_wait(uint32_t seen) { syscall(SYS_futex, &ball, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0); }
static void futex_wake(void) { syscall(SYS_futex, &ball, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }

static void pin(int processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0) perror("threads: pin");
}

static bool apart;

static void *futex_other(void *last)
{
    if (apart) pin(1);
    for (uint32_t turn = 1; turn < *(uint32_t *)last; turn += 2) {
        for (uint32_t seen; (seen = atomic_load(&ball)) != turn;) futex_wait(seen);
        atomic_store(&ball, turn + 1);
        futex_wake();
    }
    return NULL;
}

static int futex(long n, double pause)
{
    double *seconds = malloc((size_t)n * sizeof *seconds);
    pthread_t other;
    uint32_t last = (uint32_t)n * 2;
    if (seconds == NULL) return 1;
    if (apart) pin(0);
    pthread_create(&other, NULL, futex_other, &last);
    for (long i = 0; i < n; i++) {
        uint32_t turn = (uint32_t)i * 2;
        usleep((useconds_t)(pause * 1e6));
        double begun = bench_now();
        atomic_store(&ball, turn + 1);
        futex_wake();
        for (uint32_t seen; (seen = atomic_load(&ball)) != turn + 2;) futex_wait(seen);
        seconds[i] = bench_now() - begun;
    }
    pthread_join(other, NULL);
    int status = bench_latency("futex", seconds, n);
    free(seconds);
    return status;
}

/* ---- memcpy ---- */

static int copies(long n, size_t bytes)
{
    char *from = malloc(bytes), *to = malloc(bytes);
    double *seconds = malloc((size_t)n * sizeof *seconds);
    if (from == NULL || to == NULL || seconds == NULL) return 1;
    memset(from, 1, bytes), memset(to, 2, bytes);
    for (long i = 0; i < n; i++) {
        double begun = bench_now();
        memcpy(to, from, bytes);
        __asm__ volatile("" : : "r"(to) : "memory");
        seconds[i] = bench_now() - begun;
    }
    return bench_latency("memcpy", seconds, n);
}

int main(int argc, char **argv)
{
    const char *workload = argc > 1 ? argv[1] : "";
    int workers = (int)bench_number(argc, argv, "workers", 2);
    long n = (long)bench_number(argc, argv, "n", 1000);
    if (workers < 1 || workers > MAX_THREADS || n < 1) return bench_cannot("threads", "that size");
    if (strcmp(workload, "calibrate") == 0) return calibrate(workers, bench_number(argc, argv, "seconds", 0.3));
    if (strcmp(workload, "kernels") == 0)
        return kernels(workers, n, (long)bench_number(argc, argv, "iterations", 5e6));
    apart = bench_number(argc, argv, "apart", 0) > 0;
    if (strcmp(workload, "futex") == 0) return futex(n, bench_number(argc, argv, "pause", 0));
    if (strcmp(workload, "memcpy") == 0) return copies(n, (size_t)bench_number(argc, argv, "bytes", 1e8));
    return bench_cannot("threads", workload);
}
