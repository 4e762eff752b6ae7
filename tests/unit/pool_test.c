/* The pool without Lua: kernels as tasks, dependencies, waiting, cancelling, stopping; run under the thread
 * sanitizer too. */
#include "runtime/pool.h"

#include "runtime/extra.h"
#include "runtime/nodeloop.h"
#include "tests/unit/test.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

static _Atomic uint64_t runs;
static _Atomic bool gate;

static int add_one(lr_call *call)
{
    double v = 0;
    if (lr_arg_count(call) > 0 && lr_arg_number(call, 1, &v)) return LR_ERR;
    atomic_fetch_add(&runs, 1);
    return lr_return_number(call, v + 1);
}

static int failing(lr_call *call) { return lr_fail(call, "no luck"); }

static int until_cancelled(lr_call *call)
{
    atomic_store(&gate, true);
    while (!lr_cancelled(call))
        lr_cpu_pause();
    return lr_return_nil(call);
}

/* Ends only when so many run at once. */
static _Atomic int met;

static bool everybody_met(int how_many)
{
    atomic_fetch_add(&met, 1);
    uint64_t deadline = lr_clock_ns() + 20 * LR_NS_PER_S;
    while (atomic_load(&met) < how_many && lr_clock_ns() < deadline)
        sched_yield();
    return atomic_load(&met) >= how_many;
}

static int meet(lr_call *call)
{
    return everybody_met(3) ? lr_return_number(call, 1) : lr_fail(call, "nobody came");
}

static lr_task *submit(int k, double n);

static int parent_of_two(lr_call *call);

/* Bodies of the one kind run together, of the other alone. */
static _Atomic int together, alone, trespasses;

static void pause_shortly(void)
{
    for (int i = 0; i < 200; i++)
        lr_cpu_pause();
}

static int among_others(lr_call *call)
{
    atomic_fetch_add(&together, 1);
    if (atomic_load(&alone)) atomic_fetch_add(&trespasses, 1);
    pause_shortly();
    if (atomic_load(&alone)) atomic_fetch_add(&trespasses, 1);
    atomic_fetch_sub(&together, 1);
    return lr_return_nil(call);
}

static int all_alone(lr_call *call)
{
    if (atomic_fetch_add(&alone, 1) || atomic_load(&together)) atomic_fetch_add(&trespasses, 1);
    pause_shortly();
    if (atomic_load(&together)) atomic_fetch_add(&trespasses, 1);
    atomic_fetch_sub(&alone, 1);
    return lr_return_nil(call);
}

enum { ADD_ONE, FAILING, UNTIL_CANCELLED, MEET, PARENT_OF_TWO, AMONG_OTHERS, ALL_ALONE, FUNCTIONS };

static const lr_kernel_entry entries[FUNCTIONS] = {
    [ADD_ONE] = {"add_one", add_one, "", "", {0}},
    [FAILING] = {"failing", failing, "", "", {0}},
    [UNTIL_CANCELLED] = {"until_cancelled", until_cancelled, "", "", {0}},
    [MEET] = {"meet", meet, "", "", {0}},
    [PARENT_OF_TWO] = {"parent_of_two", parent_of_two, "", "", {0}},
    [AMONG_OTHERS] = {"among_others", among_others, "", "", {0}},
    [ALL_ALONE] = {"all_alone", all_alone, "", "", {0}},
};
static lr_kernel kernels[FUNCTIONS];
static lr_fn *fns[FUNCTIONS];
static lr_kernel_set set = {.name = (char *)"test", .count = FUNCTIONS, .kernels = kernels};

#define WORKERS 3

static void no_run(struct lr_worker *w, lr_task *t) { (void)w, (void)t, abort(); }
static void no_resume(struct lr_worker *w, lr_park *p) { (void)w, (void)p, abort(); }
static void no_close(struct lr_worker *w) { (void)w; }
static const lr_runner runner = {no_run, no_resume, no_close, no_close};

static lr_pool pool;
static lr_resource_names names;
static _Atomic uint64_t next_id;

static int start(void **state)
{
    (void)state;
    char message[200];
    memset((void *)&pool, 0, sizeof pool);
    pool.max_pending = 1000000;
    lr_resource_names_init(&names);
    lr_nodeloop_config config = {.node = lr_id_from_seed(1), .job = lr_id_from_seed(2), .job_name = "t",
        .names = &names};
    config.capacity.amount[LR_RESOURCE_CPU] = WORKERS * LR_AMOUNT_ONE;
    lr_nodeloop_init(&pool, &config);
    return lr_pool_start(&pool, WORKERS, &runner, message, sizeof message) ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    if (!lr_pool_stop(&pool, lr_clock_ns() + 10 * LR_NS_PER_S)) return -1;
    lr_nodeloop_stop();
    lr_pool_fini(&pool);
    return 0;
}

/* A task of kernel k with these futures, or the number n, as arguments. */
static lr_task *make(int k, lr_task *const *inputs, uint32_t count, double n, lr_options *options)
{
    lr_builder b;
    lr_value args;
    lr_builder_init(&b);
    lr_builder_header(&b, count ? count : 1);
    if (!count) lr_builder_number(&b, n);
    for (uint32_t i = 0; i < count; i++) {
        lr_builder_u8(&b, LR_TAG_FUTURE);
        lr_builder_varint(&b, lr_builder_ref(&b, &inputs[i]->base));
        lr_builder_varint(&b, 0);
    }
    assert_true(lr_builder_finish(&b, &args));
    lr_builder_fini(&b);
    lr_task *t = lr_task_new(fns[k], NULL, lr_id_child(lr_id_from_seed(3), atomic_fetch_add(&next_id, 1)), &args, 1);
    assert_non_null(t);
    if (!count && !options) return t;
    t->extra = lr_extra_new(options, count);
    for (uint32_t i = 0; i < count; i++) {
        t->extra->inputs[i].input = inputs[i];
        t->extra->inputs[i].argument = i + 1;
    }
    uint32_t flags = 0;
    if (count) flags |= LR_TASK_INPUTS;
    if (options && !options->plain) {
        t->extra->spec = malloc(sizeof *t->extra->spec);
        lr_spec_init(t->extra->spec, t->id, lr_id_from_seed(2), "t");
        t->extra->spec->priority = options->priority;
        t->extra->spec->need = options->need;
        t->extra->spec->runtime = t;
        flags |= LR_TASK_MACHINE;
    }
    atomic_fetch_or(&t->word, flags);
    return t;
}

static lr_task *submit(int k, double n)
{
    lr_task *t = make(k, NULL, 0, n, NULL);
    lr_task_retain(t);
    lr_pool_submit(lr_self, t);
    return t;
}

static lr_park_reason wait_for(lr_task *t, double seconds)
{
    lr_park p;
    lr_watch w;
    lr_park_init(&p, lr_self, NULL, 1, lr_clock_deadline(seconds));
    lr_park_watch(&p, &w, t);
    if (lr_park_armed(&p)) return LR_PARK_READY;
    lr_park_reason reason = lr_pool_block(lr_self, &p);
    lr_task_unwatch(t, &w.waiter);
    return reason;
}

static double number_of(lr_task *t)
{
    lr_reader r = lr_value_reader(&t->result);
    assert_int_equal(lr_read_header(&r), 1);
    uint8_t tag = lr_read_u8(&r);
    if (tag & LR_TAG_SMALL) return tag & 0x7f;
    assert_int_equal(tag, LR_TAG_NUMBER);
    return lr_read_f64(&r);
}

static void one_task(void **state)
{
    (void)state;
    lr_task *t = submit(0, 41);
    assert_int_equal(wait_for(t, 20), LR_PARK_READY);
    assert_int_equal(lr_task_state_of(t), LR_TASK_READY);
    assert_true(number_of(t) == 42);
    lr_task_release(t);
}

static void many_tasks(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    lr_task **tasks = (lr_task **)calloc(COUNT, sizeof *tasks);
    uint64_t before = atomic_load(&runs);
    for (int i = 0; i < COUNT; i++)
        tasks[i] = submit(0, i);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(wait_for(tasks[i], 20), LR_PARK_READY);
        assert_true(number_of(tasks[i]) == i + 1);
        lr_task_release(tasks[i]);
    }
    assert_int_equal(atomic_load(&runs) - before, COUNT);
    free((void *)tasks);
}

/* t(i) waits for t(i-1): a chain that must be worked off without recursion. */
static void a_chain(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    lr_task *t = submit(0, 0);
    for (int i = 1; i < COUNT; i++) {
        lr_task *next = make(0, &t, 1, 0, NULL);
        lr_task_retain(next);
        lr_pool_submit(lr_self, next);
        lr_task_release(t);
        t = next;
    }
    assert_int_equal(wait_for(t, 60), LR_PARK_READY);
    assert_true(number_of(t) == COUNT);
    lr_task_release(t);
}

static void failing_input(void **state)
{
    (void)state;
    lr_task *t = submit(1, 0);
    enum { COUNT = 5000 };
    for (int i = 0; i < COUNT; i++) {
        lr_task *next = make(0, &t, 1, 0, NULL);
        lr_task_retain(next);
        lr_pool_submit(lr_self, next);
        lr_task_release(t);
        t = next;
    }
    assert_int_equal(wait_for(t, 60), LR_PARK_READY);
    assert_int_equal(lr_task_state_of(t), LR_TASK_FAILED);
    lr_task_set(t, LR_TASK_SEEN);
    lr_task_release(t);
}

static void timeouts_are_kept(void **state)
{
    (void)state;
    atomic_store(&gate, false);
    lr_task *t = submit(2, 0);
    uint64_t start_ns = lr_clock_ns();
    assert_int_equal(wait_for(t, 0.02), LR_PARK_TIMEOUT);
    assert_true(lr_clock_ns() - start_ns >= 20000000);
    lr_pool_cancel(&pool, t, LR_ERR_CANCELLED, "enough");
    assert_int_equal(lr_task_state_of(t), LR_TASK_CANCELLED);
    lr_task_release(t);
    assert_true(lr_pool_drain(&pool, lr_clock_ns() + 20 * LR_NS_PER_S));
}

static void cancelled_before_it_runs(void **state)
{
    (void)state;
    lr_task *blockers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        atomic_store(&gate, false);
        blockers[i] = submit(2, 0);
        while (!atomic_load(&gate))
            lr_cpu_pause();
    }
    uint64_t before = atomic_load(&runs);
    lr_task *t = submit(0, 0);
    lr_pool_cancel(&pool, t, LR_ERR_CANCELLED, "enough");
    for (int i = 0; i < WORKERS; i++) {
        lr_pool_cancel(&pool, blockers[i], LR_ERR_CANCELLED, "enough");
        lr_task_release(blockers[i]);
    }
    assert_true(lr_pool_drain(&pool, lr_clock_ns() + 20 * LR_NS_PER_S));
    assert_int_equal(atomic_load(&runs), before);
    lr_task_release(t);
}

static void by_the_machine(void **state)
{
    (void)state;
    lr_options *o = lr_options_new();
    o->priority = 5;
    lr_options_finish(o);
    assert_false(o->plain);
    enum { COUNT = 2000 };
    lr_task *tasks[COUNT];
    for (int i = 0; i < COUNT; i++) {
        tasks[i] = make(0, NULL, 0, i, o);
        lr_task_retain(tasks[i]);
        lr_pool_submit(lr_self, tasks[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(wait_for(tasks[i], 20), LR_PARK_READY);
        assert_true(number_of(tasks[i]) == i + 1);
        lr_task_release(tasks[i]);
    }
    lr_options_release(o);
}

static int parent_of_two(lr_call *call)
{
    lr_task_release(submit(MEET, 0));
    lr_task_release(submit(MEET, 0));
    return meet(call);
}

static bool drained(void) { return lr_pool_drain(&pool, lr_clock_ns() + 30 * LR_NS_PER_S); }

/* A push finds somebody who looks for work and so wakes nobody, and that one takes something else. A worker that sleeps
 * must take it nevertheless: the pusher is busy. */
static void every_push_is_taken_up(void **state)
{
    (void)state;
    for (int i = 0; i < 2000; i++) {
        atomic_store(&met, 0);
        lr_task *t = submit(PARENT_OF_TWO, 0);
        assert_int_equal(wait_for(t, 30), LR_PARK_READY);
        assert_int_equal(lr_task_state_of(t), LR_TASK_READY);
        lr_task_release(t);
        assert_true(drained());
    }
}

/* Tasks that want all cpus keep all others out, and each other, and leave nobody standing aside. */
static void cpus_for_one_alone(void **state)
{
    (void)state;
    lr_options *o = lr_options_new();
    o->cpu = WORKERS;
    o->need.amount[LR_RESOURCE_CPU] = WORKERS * LR_AMOUNT_ONE;
    lr_options_finish(o);
    for (int i = 0; i < 3000; i++) {
        lr_task *t = i % 10 == 0 ? make(ALL_ALONE, NULL, 0, 0, o) : make(AMONG_OTHERS, NULL, 0, 0, NULL);
        lr_task_retain(t);
        lr_pool_submit(lr_self, t);
        if (i % 50 == 0) lr_pool_cancel(&pool, t, LR_ERR_CANCELLED, "enough");
        lr_task_release(t);
    }
    assert_true(drained());
    assert_int_equal(atomic_load(&trespasses), 0);
    pthread_mutex_lock(&pool.hold.lock);
    assert_int_equal(pool.hold.granted, 0);
    assert_null(pool.hold.first);
    pthread_mutex_unlock(&pool.hold.lock);
    lr_options_release(o);
}

/* Cancels from a thread that is no worker, while the tasks run, end, and free their dependents. */
#define RACED 400
static lr_task *raced[RACED];
static _Atomic int published;

static void *cancel_some(void *unused)
{
    for (int i = 0; i < RACED; i++) {
        while (atomic_load(&published) <= i)
            sched_yield();
        if (i % 3 == 0) lr_pool_cancel(&pool, raced[i], LR_ERR_CANCELLED, "raced");
    }
    return unused;
}

static void cancels_race_with_ends(void **state)
{
    (void)state;
    for (int round = 0; round < 25; round++) {
        pthread_t thread;
        atomic_store(&published, 0);
        assert_int_equal(pthread_create(&thread, NULL, cancel_some, NULL), 0);
        for (int i = 0; i < RACED; i++) {
            raced[i] = i % 5 == 4 ? make(ADD_ONE, &raced[i - 1], 1, 0, NULL) : make(ADD_ONE, NULL, 0, i, NULL);
            lr_task_retain(raced[i]);
            lr_task_retain(raced[i]);
            lr_pool_submit(lr_self, raced[i]);
            atomic_fetch_add(&published, 1);
        }
        for (int i = 0; i < RACED; i++) {
            assert_int_equal(wait_for(raced[i], 30), LR_PARK_READY);
            lr_task_state end = lr_task_state_of(raced[i]);
            bool may_fail = i % 3 == 0 || (i % 5 == 4 && (i - 1) % 3 == 0);
            assert_true(end == LR_TASK_READY || may_fail);
            if (end == LR_TASK_READY && i % 5 != 4) assert_true(number_of(raced[i]) == i + 1);
            lr_task_set(raced[i], LR_TASK_SEEN);
        }
        pthread_join(thread, NULL);
        for (int i = 0; i < RACED; i++) {
            lr_task_release(raced[i]);
            lr_task_release(raced[i]);
        }
        assert_true(drained());
    }
}

/* A wait's time runs out as its task ends: one of the two wins, and nothing of the other is left. */
static void timeouts_race_with_ends(void **state)
{
    (void)state;
    int in_time = 0;
    enum { COUNT = 4000 };
    for (int i = 0; i < COUNT; i++) {
        lr_task *t = submit(ADD_ONE, i);
        if (wait_for(t, 1e-6 * (i % 40)) == LR_PARK_READY) in_time++;
        assert_int_equal(wait_for(t, 30), LR_PARK_READY);
        assert_true(number_of(t) == i + 1);
        lr_task_release(t);
    }
    assert_in_range(in_time, 0, COUNT);
}

static void counts_agree(void **state)
{
    (void)state;
    assert_true(lr_pool_drain(&pool, lr_clock_ns() + 20 * LR_NS_PER_S));
    lr_pool_counts c = lr_pool_count(&pool);
    assert_int_equal(c.submitted, c.started);
    assert_int_equal(c.submitted, c.finished);
}

/* The pool ends while tasks are queued, wait for others, and run. */
static void ends_with_work_queued(void **state)
{
    for (int i = 0; i < 30; i++) {
        assert_int_equal(start(state), 0);
        for (int k = 0; k < 100; k++) {
            lr_task *t = submit(k % 10 == 0 ? UNTIL_CANCELLED : ADD_ONE, k), *next = make(ADD_ONE, &t, 1, 0, NULL);
            lr_pool_submit(lr_self, next);
            lr_task_release(t);
        }
        lr_pool_cancel_all(&pool);
        assert_int_equal(stop(state), 0);
    }
}

int main(void)
{
    for (int i = 0; i < FUNCTIONS; i++) {
        kernels[i] = (lr_kernel){.entry = &entries[i], .set = &set, .name = (char *)entries[i].name,
            .site = (char *)"test"};
        fns[i] = lr_fn_new_kernel(entries[i].name, &kernels[i]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_task),          cmocka_unit_test(many_tasks),
        cmocka_unit_test(a_chain),           cmocka_unit_test(failing_input),
        cmocka_unit_test(timeouts_are_kept), cmocka_unit_test(cancelled_before_it_runs),
        cmocka_unit_test(by_the_machine),    cmocka_unit_test(every_push_is_taken_up),
        cmocka_unit_test(cpus_for_one_alone), cmocka_unit_test(cancels_race_with_ends),
        cmocka_unit_test(timeouts_race_with_ends), cmocka_unit_test(counts_agree),
    };
    const struct CMUnitTest lives[] = {cmocka_unit_test(ends_with_work_queued)};
    int failed = cmocka_run_group_tests(tests, start, stop);
    return failed + cmocka_run_group_tests(lives, NULL, NULL);
}
