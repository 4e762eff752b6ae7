/* tests/unit/node_sim_test.c - the node machine against a seeded world, with checkers.
 *
 * The world plays the runtime in virtual time: it submits, begins, parks, resumes, finishes and cancels at random,
 * obeys TIMER, and lets events cross actions as threads would. It keeps books of its own and compares after
 * every step. A failure prints the seed; `node_sim_test SEED` runs that one again. */
#include "sched/node.h"
#include "sched/prng.h"
#include "tests/unit/test.h"

#define SLOTS 300
#define STEPS 20000
#define SEEDS 12

typedef enum phase { FREE, QUEUED, POOLED, BEGUN, PARKED } phase;

typedef struct slot {
    lr_spec *spec; /* allocated anew for each task, so that a sanitizer sees late touches */
    phase phase;
    bool failed_told, timeout_told, cancelled, over;
    uint64_t began_ns;
    uint64_t first_since_ns; /* since when it has been the first of the queue and did not fit */
    uint32_t number;
} slot;

typedef struct world {
    uint64_t seed, now_ns, timer_ns, hash, job_count;
    lr_prng random;
    lr_resource_names names;
    lr_resources total, available; /* the world's own books */
    lr_node node;
    lr_action items[64];
    uint8_t bytes[LR_ACTION_BYTES_MIN];
    lr_actions out;
    slot slots[SLOTS];
    slot *first;   /* of the queue, if it has not fitted */
    bool left;     /* the last step said more, and the world did something else first */
    bool had_left; /* so it was before this event */
    uint32_t submitted, released, starts, deadlines, timeouts;
} world;

#define CHECK(w, e)                                                                                \
    do {                                                                                           \
        if (!(e)) fail_msg("seed %llu, now %llu: %s", (unsigned long long)(w)->seed,               \
                           (unsigned long long)(w)->now_ns, #e);                                   \
    } while (0)

static uint64_t below(world *w, uint64_t bound) { return lr_prng_below(&w->random, bound); }
static bool chance(world *w, uint64_t one_in) { return below(w, one_in) == 0; }

static void mix_hash(world *w, uint64_t x) { w->hash = lr_mix64(w->hash ^ x) + 0x9e37u; }

static lr_resources hold_of(const lr_spec *s)
{
    lr_resources hold = s->need;
    if (hold.amount[0] > 0 && hold.amount[0] < LR_AMOUNT_ONE) hold.amount[0] = LR_AMOUNT_ONE;
    return hold;
}

static bool fits(const lr_resources *available, const lr_resources *hold)
{
    for (int i = 0; i < LR_RESOURCE_COUNT; i++)
        if (hold->amount[i] > 0 && hold->amount[i] > available->amount[i]) return false;
    return true;
}

/* --- books --- */

static void book(world *w, const lr_spec *s, int sign, bool cpu, bool rest)
{
    lr_resources hold = hold_of(s);
    for (int i = 0; i < LR_RESOURCE_COUNT; i++)
        if (i == LR_RESOURCE_CPU ? cpu : rest) w->available.amount[i] += sign * hold.amount[i];
}

static slot *slot_of(lr_spec *spec) { return spec->runtime; }

static bool comes_before(const lr_spec *a, const lr_spec *b)
{
    return a->priority > b->priority ||
           (a->priority >= b->priority && slot_of((lr_spec *)(uintptr_t)a)->number <
                                              slot_of((lr_spec *)(uintptr_t)b)->number);
}

/* --- checkers, one for each action --- */

/* Where nobody can have a claim yet, who comes first and fits is started first. */
static void check_order(world *w, const slot *s)
{
    if (w->had_left || lr_node_queued(&w->node) >= LR_READY_SHAPES) return;
    bool passed_over = false;
    for (int i = 0; i < SLOTS; i++) {
        slot *t = &w->slots[i];
        if (t == s || t->phase != QUEUED) continue;
        if (w->now_ns - t->spec->queued_at_ns >= LR_READY_PATIENCE_NS) return;
        lr_resources hold = hold_of(t->spec);
        passed_over |= comes_before(t->spec, s->spec) && fits(&w->available, &hold);
    }
    CHECK(w, !passed_over);
}

/* Nothing is promised twice, and nothing is taken for ever from under the first of the queue. */
static void check_start(world *w, slot *s)
{
    CHECK(w, s->phase == QUEUED && !s->over);
    lr_resources hold = hold_of(s->spec);
    CHECK(w, fits(&w->available, &hold));
    check_order(w, s);
    slot *first = w->first;
    if (first && first != s && first->phase == QUEUED && comes_before(first->spec, s->spec) &&
        w->now_ns - first->first_since_ns >= LR_READY_PATIENCE_NS) {
        lr_resources wanted = hold_of(first->spec);
        for (int i = 0; i < LR_RESOURCE_COUNT; i++)
            if (wanted.amount[i] > w->available.amount[i]) CHECK(w, hold.amount[i] == 0);
    }
    s->phase = POOLED;
    w->starts++;
    book(w, s->spec, -1, true, true);
}

static void check_fail(world *w, slot *s, lr_err err)
{
    CHECK(w, !s->failed_told && !s->over);
    s->failed_told = true;
    if (err == LR_ERR_INFEASIBLE) {
        lr_resources hold = hold_of(s->spec);
        bool bound_elsewhere = s->spec->affinity == LR_AFFINITY_NODE &&
                               !lr_id_equal(s->spec->node, w->node.id);
        CHECK(w, s->phase == QUEUED);
        CHECK(w, !fits(&w->total, &hold) || s->spec->unknown_resource || bound_elsewhere);
        return;
    }
    CHECK(w, err == LR_ERR_DEADLINE);
    uint64_t due = s->spec->deadline_ns > s->spec->queued_at_ns ? s->spec->deadline_ns
                                                                : s->spec->queued_at_ns;
    CHECK(w, due == w->now_ns); /* exact */
    CHECK(w, s->phase == QUEUED || s->phase == POOLED || s->phase == BEGUN);
    w->deadlines++;
}

static void check_timeout(world *w, slot *s)
{
    CHECK(w, (s->phase == BEGUN || s->phase == PARKED) && !s->timeout_told);
    CHECK(w, w->now_ns == s->began_ns + s->spec->timeout_ns);
    s->timeout_told = true;
    w->timeouts++;
}

static void check_release(world *w, slot *s)
{
    bool never_started = s->phase == QUEUED;
    CHECK(w, s->over || (never_started && (s->failed_told || s->cancelled)));
    CHECK(w, lr_task_state_ended(s->spec->state));
    if (never_started)
        CHECK(w, s->spec->state == (s->failed_told ? LR_TASK_FAILED : LR_TASK_CANCELLED));
    if (w->first == s) w->first = NULL;
    free(s->spec);
    *s = (slot){0};
    w->released++;
}

static void check_action(world *w, const lr_action *a)
{
    mix_hash(w, (uint64_t)a->kind);
    if (a->spec) mix_hash(w, slot_of(a->spec)->number);
    switch (a->kind) {
    case LR_ACTION_TASK_START: check_start(w, slot_of(a->spec)); return;
    case LR_ACTION_TASK_FAIL: check_fail(w, slot_of(a->spec), a->err); return;
    case LR_ACTION_TASK_TIMEOUT: check_timeout(w, slot_of(a->spec)); return;
    case LR_ACTION_TASK_RELEASE: check_release(w, slot_of(a->spec)); return;
    case LR_ACTION_TIMER:
        CHECK(w, a->at_ns > 0);
        w->timer_ns = a->at_ns;
        mix_hash(w, a->at_ns);
        return;
    case LR_ACTION_CONTROL: mix_hash(w, a->request.token + (uint64_t)a->request.op); return;
    case LR_ACTION_COUNT: break;
    }
    fail_msg("no such action");
}

/* --- checkers of the whole state, when nothing is owed --- */

/* What should stand first, and whether it fits; what is late. */
static void check_queue(world *w)
{
    slot *first = NULL;
    for (int i = 0; i < SLOTS; i++) {
        slot *s = &w->slots[i];
        if (s->phase != QUEUED) continue;
        CHECK(w, s->spec->deadline_ns == 0 || s->spec->deadline_ns > w->now_ns);
        CHECK(w, !s->cancelled && !s->failed_told); /* else it would have been released */
        if (!first || comes_before(s->spec, first->spec)) first = s;
    }
    if (!first) {
        w->first = NULL;
        return;
    }
    lr_resources hold = hold_of(first->spec);
    CHECK(w, !fits(&w->available, &hold)); /* else it would have been started */
    if (w->first != first) first->first_since_ns = w->now_ns;
    w->first = first;
}

static void check_books(world *w)
{
    CHECK(w, lr_resources_equal(&w->available, lr_node_available(&w->node)));
    for (int i = 0; i < LR_RESOURCE_COUNT; i++) {
        CHECK(w, i == LR_RESOURCE_CPU || w->available.amount[i] >= 0);
        CHECK(w, w->available.amount[i] <= w->total.amount[i]);
    }
    const lr_node_stats *stats = lr_node_stats_of(&w->node);
    CHECK(w, stats->submitted == w->submitted && stats->released == w->released);
    CHECK(w, stats->started == w->starts && stats->deadlines == w->deadlines);
}

static void feed(world *w, lr_event e)
{
    w->had_left = w->left;
    for (w->left = true; w->left;) {
        lr_node_step(&w->node, w->now_ns, &e, &w->out);
        for (uint32_t i = 0; i < w->out.count; i++)
            check_action(w, &w->items[i]);
        w->left = w->out.more;
        if (w->left && chance(w, 2)) return; /* other events may come before the TICK */
        e = (lr_event){.kind = LR_EVENT_TICK};
    }
    check_books(w);
    check_queue(w);
}

/* --- what happens in the world --- */

static void pass_time(world *w, uint64_t span_ns)
{
    uint64_t until = w->now_ns + span_ns;
    while (w->left)
        feed(w, (lr_event){.kind = LR_EVENT_TICK});
    while (w->timer_ns != 0 && w->timer_ns <= until) {
        if (w->timer_ns > w->now_ns) w->now_ns = w->timer_ns;
        w->timer_ns = 0;
        feed(w, (lr_event){.kind = LR_EVENT_TICK});
        if (w->left) return; /* time stands still until the rest is told */
    }
    w->now_ns = until;
}

static void random_need(world *w, lr_spec *s)
{
    static const int64_t cpus[] = {0, 2500, 10000, 10000, 10000, 20000, 30000, 90000};
    s->need.amount[LR_RESOURCE_CPU] = cpus[below(w, LR_COUNT(cpus) - !chance(w, 20))];
    if (chance(w, 4)) s->need.amount[LR_RESOURCE_GPU] = (int64_t)below(w, 4) * 5000;
    if (chance(w, 40)) s->need.amount[LR_RESOURCE_GPU] = 50000;
    if (chance(w, 3)) s->need.amount[LR_RESOURCE_MEMORY] = (int64_t)below(w, 500); /* many shapes */
    if (chance(w, 10)) s->need.amount[LR_RESOURCE_NAMED] = 10000;
    if (chance(w, 100)) s->unknown_resource = "no_such", s->unknown_amount = 1;
}

static void submit(world *w)
{
    slot *s = &w->slots[below(w, SLOTS)];
    if (s->phase != FREE) return;
    lr_spec *spec = malloc(sizeof *spec);
    *s = (slot){.spec = spec, .phase = QUEUED, .number = ++w->submitted};
    lr_id job = lr_id_from_seed(below(w, 3));
    lr_spec_init(spec, lr_id_child(job, s->number), job, "f");
    spec->runtime = s;
    random_need(w, spec);
    if (chance(w, 3)) spec->priority = (double)below(w, 5) - 2;
    if (chance(w, 3)) spec->deadline_ns = w->now_ns + below(w, 300000000);
    if (spec->deadline_ns && chance(w, 2)) /* many at the same time */
        spec->deadline_ns = (spec->deadline_ns / 50000000 + 1) * 50000000;
    if (chance(w, 3)) spec->timeout_ns = 1 + below(w, 200000000);
    if (chance(w, 20)) {
        spec->affinity = LR_AFFINITY_NODE;
        spec->node = chance(w, 4) ? lr_id_from_seed(12345) : w->node.id;
    }
    feed(w, (lr_event){.kind = LR_EVENT_TASK_SUBMIT, .spec = spec});
}

static void begin(world *w, slot *s)
{
    s->phase = BEGUN;
    s->began_ns = w->now_ns;
    feed(w, (lr_event){.kind = LR_EVENT_TASK_STARTED, .spec = s->spec, .at_ns = w->now_ns});
}

static void finish(world *w, slot *s, lr_err err)
{
    book(w, s->spec, 1, s->phase != PARKED, true);
    s->over = true;
    feed(w, (lr_event){.kind = LR_EVENT_TASK_FINISHED, .spec = s->spec, .err = err});
}

/* A task in the pool: dead ones are thrown away, others begin. */
static void advance_pooled(world *w, slot *s)
{
    if (s->failed_told || s->cancelled)
        finish(w, s, s->cancelled ? LR_ERR_CANCELLED : LR_ERR_DEADLINE);
    else
        begin(w, s);
}

static void advance_begun(world *w, slot *s)
{
    if (s->timeout_told || s->cancelled || !chance(w, 3)) {
        lr_err err = chance(w, 5) ? LR_ERR_ERROR : LR_ERR_NONE;
        finish(w, s, s->timeout_told ? LR_ERR_TIMEOUT : s->cancelled ? LR_ERR_CANCELLED : err);
        return;
    }
    s->phase = PARKED;
    book(w, s->spec, 1, true, false);
    feed(w, (lr_event){.kind = LR_EVENT_TASK_PARKED, .spec = s->spec});
}

static void advance_parked(world *w, slot *s)
{
    if (s->cancelled && chance(w, 2)) {
        finish(w, s, LR_ERR_CANCELLED);
        return;
    }
    s->phase = BEGUN;
    book(w, s->spec, -1, true, false);
    feed(w, (lr_event){.kind = LR_EVENT_TASK_RESUMED, .spec = s->spec});
}

static void advance(world *w, slot *s)
{
    if (s->over) return; /* its release is still owed */
    if (s->phase == POOLED) advance_pooled(w, s);
    else if (s->phase == BEGUN) advance_begun(w, s);
    else if (s->phase == PARKED) advance_parked(w, s);
}

/* A slot that something can happen to, from a random place on; or any. */
static slot *active(world *w)
{
    uint64_t from = below(w, SLOTS);
    for (uint64_t i = 0; i < SLOTS; i++) {
        slot *s = &w->slots[(from + i) % SLOTS];
        if (s->phase > QUEUED && !s->over) return s;
    }
    return &w->slots[from];
}

static void cancel(world *w, slot *s)
{
    if (s->phase == FREE) return;
    s->cancelled = true;
    feed(w, (lr_event){.kind = LR_EVENT_TASK_CANCEL, .spec = s->spec});
}

static void job_end(world *w)
{
    lr_id job = lr_id_from_seed(below(w, 3));
    for (int i = 0; i < SLOTS; i++)
        if (w->slots[i].phase != FREE && lr_id_equal(w->slots[i].spec->job, job))
            w->slots[i].cancelled = true;
    feed(w, (lr_event){.kind = LR_EVENT_JOB_END, .job = {job, NULL, "ok"}});
}

static void control_reply(world *w)
{
    lr_control_reply reply = {.token = (1 + below(w, 4)) << 56,
                              .status = (lr_control_status)below(w, LR_CONTROL_STATUS_COUNT)};
    feed(w, (lr_event){.kind = LR_EVENT_CONTROL_REPLY, .reply = &reply});
}

/* A timer that fires before its time: it is spent all the same. */
static void tick_early(world *w)
{
    w->timer_ns = 0;
    feed(w, (lr_event){.kind = LR_EVENT_TICK});
}

static void live(world *w)
{
    uint64_t busy = below(w, 2) ? 3 : 1; /* some seeds overload the node, some do not */
    for (int i = 0; i < STEPS; i++) {
        if (chance(w, 2)) pass_time(w, below(w, 4000000));
        for (uint64_t n = below(w, busy + 1); n > 0; n--)
            submit(w);
        slot *s = &w->slots[below(w, SLOTS)];
        uint64_t what = below(w, 100);
        if (what < 2) cancel(w, s);
        else if (what < 96) advance(w, active(w));
        else if (what < 98) control_reply(w);
        else if (what < 99) tick_early(w);
        else if (chance(w, 4)) job_end(w);
    }
}

/* Progress: when nothing new comes, all that is there ends, in bounded time. */
static void drain(world *w)
{
    for (int round = 0; w->released < w->submitted; round++) {
        CHECK(w, round < 2000);
        pass_time(w, 1000000);
        for (int i = 0; i < SLOTS; i++)
            advance(w, &w->slots[i]);
    }
    CHECK(w, lr_resources_equal(&w->available, &w->total));
    CHECK(w, lr_node_queued(&w->node) == 0 && lr_node_in_pool(&w->node) == 0);
    CHECK(w, lr_node_parked(&w->node) == 0);
}

static uint64_t run(uint64_t seed)
{
    world *w = calloc(1, sizeof *w);
    w->seed = seed;
    w->now_ns = 1;
    lr_prng_seed(&w->random, seed);
    lr_resource_names_init(&w->names);
    assert_int_equal(lr_resource_intern(&w->names, "tpu"), LR_RESOURCE_NAMED);
    w->total.amount[LR_RESOURCE_CPU] = (int64_t)(1 + below(w, 6)) * LR_AMOUNT_ONE;
    w->total.amount[LR_RESOURCE_GPU] = 20000;
    w->total.amount[LR_RESOURCE_MEMORY] = 1000;
    w->total.amount[LR_RESOURCE_NAMED] = 10000;
    w->available = w->total;
    lr_node_init(&w->node, &w->names);
    uint32_t capacity = LR_ACTIONS_MIN + (uint32_t)(seed % 3) * 20;
    lr_actions_init(&w->out, w->items, capacity, w->bytes, sizeof w->bytes);
    feed(w, (lr_event){.kind = LR_EVENT_START, .start = {lr_id_from_seed(seed), &w->total}});
    live(w);
    drain(w);
    uint64_t hash = w->hash;
    print_message("seed %llu: %u tasks, %u started, %u deadlines, %u timeouts, hash %016llx\n",
                  (unsigned long long)seed, w->submitted, w->starts, w->deadlines, w->timeouts,
                  (unsigned long long)hash);
    free(w);
    return hash;
}

static uint64_t only_seed;

static void every_seed_holds_and_repeats(void **state)
{
    (void)state;
    uint64_t last = 0;
    uint64_t from = only_seed ? only_seed : 1, to = only_seed ? only_seed : SEEDS;
    for (uint64_t seed = from; seed <= to; seed++) {
        uint64_t hash = run(seed);
        assert_true(hash == run(seed));
        assert_true(hash != last);
        last = hash;
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) only_seed = strtoull(argv[1], NULL, 10);
    static const struct CMUnitTest tests[] = {cmocka_unit_test(every_seed_holds_and_repeats)};
    return RUN_ALL(tests);
}
