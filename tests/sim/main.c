/* tests/sim/main.c - runs seeds of the simulator: each alone, then twice in its world; says which fail and how to run them again.
 *
 *   sim [--seeds N] [--from N]   so many seeds (1,000), from that one on
 *   sim --seed N [--says]        one, and what happens in it
 *   sim --oom [--seeds N]        so many seeds, each once for every allocation, which fails
 *   sim --nodes N --tasks M      for scale: what it costs (--workers: of each node, 4; --brokers: 3)
 *   sim --nodes N --shards M     for scale: what agents ask of the control store
 *   sim --fault NAME             with a planted fault (only in the build that has them): status 0 if it is found
 *   sim --faults                 their names
 *
 * Owns: nothing that outlives a seed. */
#include "tests/sim/sim.h"

#include "sched/fault.h"

#include <setjmp.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

typedef struct outcome {
    bool failed, poisoned, excused;
    uint64_t hash, number, allocations;
    char why[400];
    sim_stats stats;
} outcome;

static jmp_buf assertion;
static char assertion_text[300];
static sim_config running;

_Noreturn void lr_assert_failed(const char *expression, const char *file, int line)
{
    snprintf(assertion_text, sizeof assertion_text, "%s:%d: assertion %s", file, line, expression);
    longjmp(assertion, 1); /* the world is left as it lies */
}

static void crashed(int signal)
{
    char text[200];
    int n = snprintf(text, sizeof text, "seed %llu: signal %d\n  again: ./dev sim --seed %llu%s\n0 passed, 1 failed\n",
                     (unsigned long long)running.seed, signal, (unsigned long long)running.seed, running.fail_at ? " --oom" : "");
    if (write(1, text, (size_t)n) < 0) _exit(3);
    _exit(2);
}

static outcome run(sim_config config, lr_map *computed)
{
    outcome o = {0};
    sim *volatile w = NULL;
    running = config;
    if (setjmp(assertion)) {
        o.failed = true;
        snprintf(o.why, sizeof o.why, "%s", assertion_text);
        return o;
    }
    w = sim_new(&config);
    sim_run(w);
    sim *world = w;
    o.hash = world->hash;
    o.number = world->root ? world->root->value.number : 0;
    o.poisoned = !world->root || world->root->value.poisoned;
    o.excused = world->excused;
    o.stats = world->stats;
    o.stats.delays = o.stats.hops = NULL;
    if (computed) *computed = check_value_take(world);
    if (world->failed) {
        o.failed = true;
        memcpy(o.why, world->why, sizeof o.why);
        return o; /* left as it lies */
    }
    sim_free(world, o.why, sizeof o.why);
    o.failed = o.why[0] != 0;
    return o;
}

static sim_config config_of(uint64_t seed)
{
    sim_config c = {.seed = seed};
    c.tasks = 10 + (unsigned)(lr_mix64(seed) % 90);
    if (seed % 8 == 0) c.tasks *= 6;
    c.public = seed % 4 == 3;
    return c;
}

/* Alone, then twice in its world. */
static outcome run_thrice(sim_config config, uint64_t *poisoned, lr_map *expected)
{
    sim_config alone = config;
    alone.alone = true;
    alone.says = false;
    outcome plain = run(alone, expected);
    if (plain.failed) return plain;
    config.expected = expected;
    outcome first = run(config, NULL);
    if (first.failed || config.says) return first;
    outcome second = run(config, NULL);
    if (second.failed) return second;
    if (first.hash != second.hash) {
        first.failed = true;
        snprintf(first.why, sizeof first.why, "the same seed did something else the second time");
    }
    *poisoned += first.poisoned;
    if (!first.failed && first.poisoned && !first.excused && !config.may_fail) {
        first.failed = true;
        snprintf(first.why, sizeof first.why, "5: the script saw a value that was lost with its node, and not made again");
    }
    if (!first.failed && !first.poisoned && first.number != plain.number) {
        first.failed = true;
        snprintf(first.why, sizeof first.why, "2: the script saw another result than on one node without faults");
    }
    return first;
}

static outcome run_seed(sim_config config, uint64_t *poisoned)
{
    lr_map expected = {0};
    outcome o = run_thrice(config, poisoned, &expected);
    lr_map_free(&expected, &lr_process_allocator);
    return o;
}

static int sum(uint64_t passed, uint64_t failed)
{
    printf("%llu passed, %llu failed\n", (unsigned long long)passed, (unsigned long long)failed);
    return failed > 0;
}

static int run_seeds(uint64_t from, uint64_t count, bool says)
{
    uint64_t failed = 0, poisoned = 0;
    sim_stats all = {0};
    for (uint64_t seed = from; seed < from + count && failed < 20; seed++) {
        sim_config config = config_of(seed);
        config.says = says;
        outcome o = run_seed(config, &poisoned);
        all.events += o.stats.events, all.messages += o.stats.messages, all.bodies += o.stats.bodies;
        all.sent += o.stats.sent, all.deaths += o.stats.deaths, all.partitions += o.stats.partitions;
        all.joins += o.stats.joins, all.faults += o.stats.faults;
        all.store_ops += o.stats.store_ops, all.swept += o.stats.swept;
        all.bodies_done += o.stats.bodies_done, all.poisoned += o.stats.poisoned;
        if (!o.failed) continue;
        failed++;
        printf("seed %llu: %s\n  again: ./dev sim --seed %llu\n", (unsigned long long)seed, o.why, (unsigned long long)seed);
    }
    printf("%llu events, %llu messages, %llu tasks begun, %llu sent to others; %llu faults, %llu links cut, %llu nodes came\n",
           (unsigned long long)all.events, (unsigned long long)all.messages, (unsigned long long)all.bodies,
           (unsigned long long)all.sent, (unsigned long long)all.faults, (unsigned long long)all.partitions,
           (unsigned long long)all.joins);
    printf("%llu operations of the control store, %llu rows swept\n", (unsigned long long)all.store_ops,
           (unsigned long long)all.swept);
    printf("in %llu of the seeds the script saw a value that was lost with its node\n", (unsigned long long)poisoned);
    printf("%llu of %llu values of tasks were not compared: they came of something lost or cancelled\n",
           (unsigned long long)all.poisoned, (unsigned long long)all.bodies_done);
    return sum(count - failed, failed);
}

/* Each allocation of the world fails once. */
static int run_oom(uint64_t from, uint64_t count)
{
    uint64_t failed = 0, passed = 0;
    for (uint64_t seed = from; seed < from + count && failed < 20; seed++) {
        sim_config config = config_of(seed);
        config.may_fail = true;
        config.tasks = config.tasks / 4 + 5;
        uint64_t allocations = run(config, NULL).stats.allocations;
        for (uint64_t n = 1; n <= allocations && failed < 20; n++) {
            config.fail_at = n;
            outcome o = run(config, NULL);
            passed += !o.failed;
            failed += o.failed;
            if (o.failed)
                printf("seed %llu, allocation %llu: %s\n  again: ./dev sim --oom --seed %llu --nth %llu\n",
                       (unsigned long long)seed, (unsigned long long)n, o.why, (unsigned long long)seed, (unsigned long long)n);
        }
    }
    return sum(passed, failed);
}

/* The planted fault must be found within so many seeds. */
static int find_fault(const char *name, uint64_t count)
{
    if (!lr_fault_plant(name)) {
        printf("there is no fault %s in this build\n", name);
        return 2;
    }
    for (uint64_t seed = 1; seed <= count; seed++) {
        uint64_t poisoned = 0;
        outcome o = run_seed(config_of(seed), &poisoned);
        if (!o.failed) continue;
        printf("found: %s by seed %llu: %s\n", name, (unsigned long long)seed, o.why);
        return 0;
    }
    printf("not found: %s within %llu seeds\n", name, (unsigned long long)count);
    return 1;
}

static const char *const usage = "usage: sim [--seeds N] [--from N] | --seed N [--says] | --oom [--seeds N] | --nodes N --tasks M "
                                 "[--workers N] [--brokers N] | --fault NAME [--seeds N] | --faults\n";

int main(int argc, char **argv)
{
    uint64_t seeds = 0, from = 1, nth = 0, nodes = 0, tasks = 0, workers = 4, brokers = 0, shards = 0;
    bool one = false, says = false, oom = false;
    const char *fault = NULL;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        uint64_t value = i + 1 < argc ? strtoull(argv[i + 1], NULL, 10) : 0;
        if (!strcmp(a, "--seeds")) seeds = value, i++;
        else if (!strcmp(a, "--from")) from = value, i++;
        else if (!strcmp(a, "--seed")) from = value, one = true, i++;
        else if (!strcmp(a, "--nth")) nth = value, i++;
        else if (!strcmp(a, "--nodes")) nodes = value, i++;
        else if (!strcmp(a, "--tasks")) tasks = value, i++;
        else if (!strcmp(a, "--shards")) shards = value, i++;
        else if (!strcmp(a, "--workers")) workers = value, i++;
        else if (!strcmp(a, "--brokers")) brokers = value, i++;
        else if (!strcmp(a, "--fault") && i + 1 < argc) fault = argv[++i];
        else if (!strcmp(a, "--says")) says = true;
        else if (!strcmp(a, "--oom")) oom = true;
        else if (!strcmp(a, "--faults")) return lr_fault_list();
        else return fputs(usage, stderr), 2;
    }
    setvbuf(stdout, NULL, says ? _IOFBF : _IOLBF, 1 << 16);
    (void)signal(SIGSEGV, crashed);
    (void)signal(SIGABRT, crashed);
    if (fault) return find_fault(fault, seeds ? seeds : 5000);
    if (nodes && shards) return sim_store_scale((unsigned)nodes, (unsigned)shards, from);
    if (nodes) {
        sim_config config = {.seed = from, .nodes = (unsigned)nodes, .tasks = (unsigned)(tasks ? tasks : 10000)};
        config.workers = (unsigned)workers;
        config.brokers = (unsigned)brokers;
        return sim_scale(config);
    }
    if (oom && nth) {
        sim_config config = config_of(from);
        config.may_fail = true;
        config.tasks = config.tasks / 4 + 5;
        config.fail_at = nth;
        config.says = says;
        outcome o = run(config, NULL);
        if (o.failed) printf("seed %llu, allocation %llu: %s\n", (unsigned long long)from, (unsigned long long)nth, o.why);
        return sum(!o.failed, o.failed);
    }
    if (oom) return run_oom(from, one ? 1 : seeds ? seeds : 3);
    return run_seeds(from, one ? 1 : seeds ? seeds : 1000, says);
}
