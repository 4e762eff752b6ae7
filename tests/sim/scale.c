/* tests/sim/scale.c - what the same code costs in a large cluster: tasks a second of virtual time, delays, talk, memory.
 *
 * The HEREs with which links begin are not counted as talk. Prints one line of figures, which docs/scale.md is made
 * of (scale.lua). Owns: nothing. */
#include "tests/sim/sim.h"

/* Spans of time are counted to 3 per cent. */
void sim_span(uint32_t *counts, uint64_t ns)
{
    unsigned doublings = ns < 32 ? 0 : (unsigned)(63 - __builtin_clzll(ns)) - 5;
    counts[32 * doublings + (unsigned)(ns >> doublings)]++;
}

static double at_quantile(const uint32_t *counts, double q)
{
    uint64_t all = 0, so_far = 0;
    for (unsigned i = 0; i < SIM_SPANS; i++)
        all += counts[i];
    for (unsigned i = 0; i < SIM_SPANS; i++) {
        so_far += counts[i];
        unsigned doublings = i < 64 ? 0 : i / 32 - 1;
        if (all > 0 && (double)so_far >= q * (double)all) return (double)((uint64_t)(i - 32 * doublings) << doublings) / 1e6;
    }
    return 0;
}

/* Of the nodes that are no brokers the mean; of all the most. */
typedef struct per_node {
    double memory, most_memory, links, most_links, broker_messages, most_messages;
} per_node;

static per_node of_nodes(const sim *w)
{
    per_node p = {0};
    unsigned plain = 0;
    for (unsigned i = 0; i < w->node_count; i++) {
        const sim_node *n = w->nodes[i];
        double memory = (double)n->memory.peak, links = n->most_links, messages = (double)(n->said + n->heard);
        if (!n->is_broker) plain++, p.memory += memory, p.links += links;
        if (n->is_broker && messages > p.broker_messages) p.broker_messages = messages;
        if (!n->is_broker && messages > p.most_messages) p.most_messages = messages;
        if (memory > p.most_memory) p.most_memory = memory;
        if (!n->is_broker && links > p.most_links) p.most_links = links;
    }
    if (plain) p.memory /= plain, p.links /= plain;
    return p;
}

static void say_kinds(const sim_stats *s)
{
    for (unsigned k = 1; k < LR_MESSAGE_COUNT; k++)
        if (s->kinds[k]) printf("%s_per_task=%.4f ", lr_message_name((lr_message_kind)k), (double)s->kinds[k] / (double)s->bodies_done);
}

int sim_scale(sim_config config)
{
    char why[400] = "";
    unsigned nodes = config.nodes, workers = config.workers;
    config.big = true;
    sim *w = sim_new(&config);
    w->stats.delays = calloc(SIM_SPANS, sizeof *w->stats.delays);
    w->stats.hops = calloc(SIM_SPANS, sizeof *w->stats.hops);
    sim_run(w);
    const sim_stats *s = &w->stats;
    const per_node p = of_nodes(w);
    double span_s = (double)s->last_body_ns / 1e9, work_s = (double)s->work_ns / 1e9, done = (double)s->bodies_done;
    printf("nodes=%u workers=%u brokers=%u tasks=%llu span_s=%.4f tasks_per_s=%.0f busy=%.3f p50_ms=%.3f p99_ms=%.3f hop_p50_ms=%.3f "
           "hop_p99_ms=%.3f sent_per_task=%.4f messages_per_task=%.4f bytes_per_task=%.1f node_bytes=%.0f most_bytes=%.0f "
           "links=%.1f most_links=%.0f broker_messages_per_s=%.0f node_messages_per_s=%.0f events=%llu ",
           nodes, workers, w->brokers, (unsigned long long)s->bodies_done, span_s, done / span_s, work_s / (span_s * nodes * workers),
           at_quantile(s->delays, 0.5), at_quantile(s->delays, 0.99), at_quantile(s->hops, 0.5), at_quantile(s->hops, 0.99),
           (double)s->sent / done, (double)(s->messages - s->kinds[LR_MESSAGE_HERE]) / done, (double)s->bytes / done, p.memory,
           p.most_memory, p.links, p.most_links, p.broker_messages / span_s, p.most_messages / span_s, (unsigned long long)s->events);
    say_kinds(s);
    printf("\n");
    bool failed = w->failed;
    if (failed) printf("%s\n", w->why);
    sim_free(w, why, sizeof why);
    return failed;
}
