/* tests/sim/scale.c - what the same code costs in a large cluster: tasks a second of virtual time, delays, talk, memory.
 *
 * The HERE of each node to each other, once, is not counted as talk. Prints one line of figures, which docs/scale.md is made
 * of (scale.lua). Owns: nothing. */
#include "tests/sim/sim.h"

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double at_quantile(const sim_stats *s, double q)
{
    if (s->delay_count == 0) return 0;
    size_t i = (size_t)(q * (double)(s->delay_count - 1));
    return (double)s->delays[i] / 1e6;
}

int sim_scale(unsigned nodes, unsigned tasks, unsigned workers, uint64_t seed)
{
    char why[400] = "";
    sim_config config = {.seed = seed, .nodes = nodes, .tasks = tasks, .workers = workers, .big = true};
    sim *w = sim_new(&config);
    w->stats.delays = calloc(tasks, sizeof *w->stats.delays);
    sim_run(w);
    sim_stats *s = &w->stats;
    qsort(s->delays, s->delay_count, sizeof *s->delays, by_size);
    size_t peak = 0;
    double work_s = 0;
    for (unsigned i = 0; i < w->node_count; i++)
        if (w->nodes[i]->memory.peak > peak) peak = w->nodes[i]->memory.peak;
    double span_s = (double)s->last_body_ns / 1e9;
    work_s = (double)s->work_ns / 1e9;
    printf("nodes=%u workers=%u tasks=%llu span_s=%.4f tasks_per_s=%.0f busy=%.3f p50_ms=%.3f p99_ms=%.3f "
           "messages_per_task=%.2f bytes_per_task=%.0f peak_bytes_per_node=%zu events=%llu\n",
           nodes, workers, (unsigned long long)s->bodies_done, span_s, (double)s->bodies_done / span_s,
           work_s / (span_s * nodes * workers), at_quantile(s, 0.5), at_quantile(s, 0.99),
           (double)(s->messages - (uint64_t)nodes * (nodes - 1)) / (double)s->bodies_done, (double)s->bytes / (double)s->bodies_done, peak,
           (unsigned long long)s->events);
    bool failed = w->failed;
    if (failed) printf("%s\n", w->why);
    sim_free(w, why, sizeof why);
    return failed;
}
