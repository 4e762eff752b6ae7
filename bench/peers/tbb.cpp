/* bench/peers/tbb.cpp - oneTBB's task_group: nested, flat, one at a time, kernels.
 *
 *   nested n= · flat n= · roundtrip n= · kernels n= iterations=
 *
 * Protocol and arguments: bench/peers/work.h. `flat` runs empty tasks: there is nothing to get. */
#include "work.h"

#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include <vector>

static long fib(int n)
{
    if (n < 2) return n;
    long a, b;
    tbb::task_group group;
    group.run([&a, n] { a = fib(n - 1); });
    group.run([&b, n] { b = fib(n - 2); });
    group.wait();
    return a + b;
}

static int nested(int n)
{
    fib(n - 6);
    double begun = bench_now();
    long result = fib(n);
    double seconds = bench_now() - begun;
    return result == 0 && n > 0 ? 1 : bench_rate("nested", bench_fib_calls(n), seconds);
}

static double flat_once(long n)
{
    double begun = bench_now();
    tbb::task_group group;
    for (long i = 0; i < n; i++) group.run([] {});
    group.wait();
    return bench_now() - begun;
}

static int flat(long n)
{
    flat_once(n);
    return bench_rate("flat", (double)n, flat_once(n));
}

static int roundtrip(long n)
{
    std::vector<double> seconds((size_t)n);
    for (long i = 0; i < n; i++) {
        volatile double sum = 0;
        double begun = bench_now();
        tbb::task_group group;
        group.run([&sum] { sum = 1.0 + 2.0; });
        group.wait();
        seconds[(size_t)i] = bench_now() - begun;
    }
    return bench_latency("roundtrip", seconds.data(), n);
}

static int kernels(long n, long iterations)
{
    std::vector<double> ends((size_t)n);
    double begun = bench_now();
    tbb::task_group group;
    for (long i = 0; i < n; i++) group.run([&ends, i, iterations] { ends[(size_t)i] = bench_work(iterations, 1); });
    group.wait();
    return bench_rate("kernels", (double)n, bench_now() - begun);
}

static int run(int argc, char **argv)
{
    const char *workload = argc > 1 ? argv[1] : "";
    if (strcmp(workload, "nested") == 0) return nested((int)bench_number(argc, argv, "n", 27));
    if (strcmp(workload, "flat") == 0) return flat((long)bench_number(argc, argv, "n", 1e6));
    if (strcmp(workload, "roundtrip") == 0) return roundtrip((long)bench_number(argc, argv, "n", 1e5));
    if (strcmp(workload, "kernels") == 0)
        return kernels((long)bench_number(argc, argv, "n", 1000), (long)bench_number(argc, argv, "iterations", 5e6));
    return bench_cannot("tbb", workload);
}

int main(int argc, char **argv)
{
    int workers = (int)bench_number(argc, argv, "workers", 2);
    tbb::global_control control(tbb::global_control::max_allowed_parallelism, (size_t)workers);
    tbb::task_arena arena(workers);
    return arena.execute([&] { return run(argc, argv); });
}
