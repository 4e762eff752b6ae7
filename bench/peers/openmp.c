/* bench/peers/openmp.c - gcc's OpenMP tasks: nested, flat, one at a time, kernels, and graphs by `depend`.
 *
 *   nested n= · flat n= · roundtrip n= · kernels n= iterations= · graph pattern= steps= peak=
 *
 * Protocol and arguments: bench/peers/work.h. libgomp runs a task inline once 64 for each thread are waiting; its
 * figure for `flat` says therefore little. */
#include "work.h"

#include <omp.h>

/* ---- nested ---- */

static long fib(int n)
{
    long a, b;
    if (n < 2) return n;
#pragma omp task shared(a)
    a = fib(n - 1);
#pragma omp task shared(b)
    b = fib(n - 2);
#pragma omp taskwait
    return a + b;
}

static int nested(int n)
{
    long result = 0;
    double seconds = 0;
#pragma omp parallel
#pragma omp single
    {
        fib(n - 6);
        double begun = bench_now();
        result = fib(n);
        seconds = bench_now() - begun;
    }
    if (result == 0 && n > 0) return 1;
    return bench_rate("nested", bench_fib_calls(n), seconds);
}

/* ---- flat, one at a time ---- */

static double flat_once(double *results, long n)
{
    double begun = bench_now(), sum = 0;
#pragma omp parallel
#pragma omp single
    for (long i = 0; i < n; i++) {
#pragma omp task
        results[i] = (double)i + 1;
    }
    for (long i = 0; i < n; i++) sum += results[i];
    return sum == 0 ? 0 : bench_now() - begun;
}

static int flat(long n)
{
    double *results = malloc((size_t)n * sizeof *results);
    if (results == NULL) return 1;
    flat_once(results, n / 10 + 1);
    double seconds = flat_once(results, n);
    free(results);
    return bench_rate("flat", (double)n, seconds);
}

static int roundtrip(long n)
{
    double *seconds = malloc((size_t)n * sizeof *seconds);
    if (seconds == NULL) return 1;
#pragma omp parallel
#pragma omp single
    for (long i = 0; i < n; i++) {
        volatile double a = 1, b = 2, sum = 0;
        (void)sum;
        double begun = bench_now();
#pragma omp task shared(sum) firstprivate(a, b)
        sum = a + b;
#pragma omp taskwait
        seconds[i] = bench_now() - begun;
    }
    int status = bench_latency("roundtrip", seconds, n);
    free(seconds);
    return status;
}

static int kernels(long n, long iterations)
{
    double begun = bench_now();
    double *ends = malloc((size_t)n * sizeof *ends);
    if (ends == NULL) return 1;
#pragma omp parallel
#pragma omp single
    for (long i = 0; i < n; i++) {
#pragma omp task
        ends[i] = bench_work(iterations, 1);
    }
    free(ends);
    return bench_rate("kernels", (double)n, bench_now() - begun);
}

/* ---- graphs: two rows of cells, read from one and written to the other ---- */

static const char *pattern;
static int steps;
static double cells[2][BENCH_WIDTH * 8]; /* a cache line each */

static void graph_task(int step, int at, long iterations)
{
    int needs[BENCH_NEEDS] = {at, at, at};
    int count = bench_needs(pattern, step, at, needs);
    double(*from)[BENCH_WIDTH * 8] = &cells[step & 1], (*to)[BENCH_WIDTH * 8] = &cells[(step & 1) ^ 1];
    double *out = &(*to)[at * 8], *a = &(*from)[needs[0] * 8], *b = &(*from)[needs[1] * 8], *c = &(*from)[needs[2] * 8];
    if (count == 0) {
#pragma omp task depend(out : *out)
        *out = bench_work(iterations, 1);
    } else if (count == 1) {
#pragma omp task depend(in : *a) depend(out : *out)
        *out = bench_work(iterations, *a);
    } else if (count == 2) {
#pragma omp task depend(in : *a, *b) depend(out : *out)
        *out = bench_work(iterations, *a + *b);
    } else {
#pragma omp task depend(in : *a, *b, *c) depend(out : *out)
        *out = bench_work(iterations, *a + *b + *c);
    }
}

static double graph_run(long iterations)
{
    double begun = bench_now();
#pragma omp parallel
#pragma omp single
    for (int step = 0; step < steps; step++)
        for (int at = 0; at < BENCH_WIDTH; at++) graph_task(step, at, iterations);
    return bench_now() - begun;
}

static int graph(int argc, char **argv, int workers)
{
    pattern = bench_text(argc, argv, "pattern", "stencil");
    steps = (int)bench_number(argc, argv, "steps", 1000);
    double peak = bench_number(argc, argv, "peak", 1e9);
    double metg = bench_metg(graph_run, (double)steps * BENCH_WIDTH, peak, workers);
    printf("{\"workload\": \"graph\", \"pattern\": \"%s\", \"metg\": %.9g}\n", pattern, metg);
    return 0;
}

int main(int argc, char **argv)
{
    const char *workload = argc > 1 ? argv[1] : "";
    int workers = (int)bench_number(argc, argv, "workers", 2);
    omp_set_num_threads(workers);
    if (strcmp(workload, "nested") == 0) return nested((int)bench_number(argc, argv, "n", 27));
    if (strcmp(workload, "flat") == 0) return flat((long)bench_number(argc, argv, "n", 1e6));
    if (strcmp(workload, "roundtrip") == 0) return roundtrip((long)bench_number(argc, argv, "n", 1e5));
    if (strcmp(workload, "kernels") == 0)
        return kernels((long)bench_number(argc, argv, "n", 1000), (long)bench_number(argc, argv, "iterations", 5e6));
    if (strcmp(workload, "graph") == 0) return graph(argc, argv, workers);
    return bench_cannot("openmp", workload);
}
