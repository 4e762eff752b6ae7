/* bench/peers/work.h - what the benchmark's C programs share: a clock, a unit of work, arguments, the answer.
 *
 * The protocol, the same for every peer in whatever language: PROGRAM WORKLOAD [key=value ...] measures one workload
 * once, after its own warm-up, and prints one flat JSON object as its last line. Seconds, and rates per second. Exit
 * status 77: this peer is not here; 78: it cannot do this workload. Both say why in one line on standard error. */
#ifndef BENCH_PEERS_WORK_H
#define BENCH_PEERS_WORK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BENCH_ABSENT = 77, BENCH_CANNOT = 78 };

/* Seconds of a steady clock. */
static inline double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The unit of work: a chain of integer multiplications and additions, each of which needs the one before. It touches
 * no memory, so that two threads on two processors do twice as much; never inlined, so that it is the same code
 * everywhere. */
__attribute__((noinline, unused)) static double bench_work(long iterations, double seed)
{
    uint64_t x = (uint64_t)(int64_t)seed;
    for (long i = 0; i < iterations; i++) x = x * 6364136223846793005u + 1442695040888963407u;
    return (double)(x >> 40);
}

/* The value of key=value among the arguments, or what is given. */
static inline double bench_number(int argc, char **argv, const char *key, double otherwise)
{
    size_t length = strlen(key);
    for (int i = 2; i < argc; i++)
        if (strncmp(argv[i], key, length) == 0 && argv[i][length] == '=') return strtod(argv[i] + length + 1, NULL);
    return otherwise;
}

static inline const char *bench_text(int argc, char **argv, const char *key, const char *otherwise)
{
    size_t length = strlen(key);
    for (int i = 2; i < argc; i++)
        if (strncmp(argv[i], key, length) == 0 && argv[i][length] == '=') return argv[i] + length + 1;
    return otherwise;
}

/* Tasks of fib(n), one for each call. */
static inline double bench_fib_calls(int n)
{
    double a = 1, b = 1;
    for (int i = 1; i < n; i++) {
        double c = a + b + 1;
        a = b, b = c;
    }
    return b;
}

static inline int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts, and gives the value below which so much (0 to 1) lies. */
static inline double bench_quantile(double *values, long count, double q)
{
    qsort(values, (size_t)count, sizeof *values, bench_compare);
    long at = (long)(q * (double)count);
    return values[at < count ? at : count - 1];
}

static inline int bench_cannot(const char *peer, const char *workload)
{
    fprintf(stderr, "%s: no workload '%s'\n", peer, workload);
    return BENCH_CANNOT;
}

static inline int bench_rate(const char *workload, double count, double seconds)
{
    printf("{\"workload\": \"%s\", \"count\": %.0f, \"seconds\": %.9g, \"rate\": %.9g}\n", workload, count, seconds,
           count / seconds);
    return 0;
}

static inline int bench_latency(const char *workload, double *seconds, long count)
{
    double p50 = bench_quantile(seconds, count, 0.5), p99 = bench_quantile(seconds, count, 0.99);
    printf("{\"workload\": \"%s\", \"count\": %ld, \"p50\": %.9g, \"p99\": %.9g}\n", workload, count, p50, p99);
    return 0;
}

/* A run of a task graph: tasks of so many iterations each, against what the threads do with no graph at all.
 * Efficiency: the part of the machine's time that was useful; granularity: the machine's time for each task (Task
 * Bench's measure). */
static inline double bench_efficiency(double tasks, long iterations, double seconds, double peak)
{
    return tasks * (double)iterations / seconds / peak;
}

enum { BENCH_METG_RUNS = 4 };

/* The smallest granularity at which the efficiency is at least a half, METG(50 %) of Slaughter et al., "Task Bench"
 * (SC '20): from long tasks to short ones, each half as long as the last, the best of four runs; between the last
 * that is above a half and the next the logarithms are taken for a straight line. run(iterations) gives the seconds
 * of a graph of so many tasks; peak: iterations a second of all threads together. */
static inline double bench_metg(double (*run)(long iterations), double tasks, double peak, int workers)
{
    double above = 1, granularity_above = 0, metg = 0;
    bool crosses = false;
    for (long iterations = 65536; iterations >= 8; iterations /= 2) {
        double seconds = run(iterations);
        for (int i = 1; i < BENCH_METG_RUNS; i++) {
            double again = run(iterations);
            if (again < seconds) seconds = again;
        }
        double efficiency = bench_efficiency(tasks, iterations, seconds, peak);
        double granularity = seconds * workers / tasks;
        if (efficiency >= 0.5) {
            above = efficiency, granularity_above = metg = granularity, crosses = true;
        } else if (crosses) {
            metg = granularity_above + (above - 0.5) / (above - efficiency) * (granularity - granularity_above);
            crosses = false;
        }
    }
    return metg;
}

/* The tasks of the step before whose results task `at` of step `step` needs, in a graph of that width; how many. The
 * patterns of Task Bench; `random` takes three that a hash of step and place chooses from the five nearest. */
enum { BENCH_WIDTH = 8, BENCH_NEEDS = 3 };
static inline int bench_needs(const char *pattern, int step, int at, int needs[BENCH_NEEDS])
{
    int count = 0, low = at - 1 < 0 ? 0 : at - 1, high = at + 1 >= BENCH_WIDTH ? BENCH_WIDTH - 1 : at + 1;
    if (step == 0 || strcmp(pattern, "trivial") == 0) return 0;
    if (strcmp(pattern, "stencil") == 0) {
        for (int i = low; i <= high; i++) needs[count++] = i;
    } else if (strcmp(pattern, "fft") == 0) {
        int distance = 1 << ((step - 1) % 3);
        needs[count++] = at;
        needs[count++] = at ^ distance;
    } else if (strcmp(pattern, "tree") == 0) {
        needs[count++] = at / 2;
    } else {
        uint32_t hash = (uint32_t)step * 2654435761u + (uint32_t)at * 40503u;
        for (int i = 0; i < BENCH_NEEDS; i++, hash = hash * 1664525u + 1013904223u) {
            int place = at - 2 + (int)((hash >> 16) % 5);
            place = place < 0 ? 0 : place >= BENCH_WIDTH ? BENCH_WIDTH - 1 : place;
            bool known = false;
            for (int j = 0; j < count; j++) known |= needs[j] == place;
            if (!known) needs[count++] = place;
        }
    }
    return count;
}

#endif
