#include "sched/prng.h"
#include "sched/ready.h"
#include "tests/unit/test.h"

#include <time.h>

static lr_ready ready;
static lr_resources available;

static int setup(void **state)
{
    (void)state;
    lr_ready_init(&ready);
    memset(&available, 0, sizeof available);
    return 0;
}

static lr_resources need(int cpu, int gpu)
{
    return (lr_resources){{cpu * (int64_t)LR_AMOUNT_ONE, gpu * (int64_t)LR_AMOUNT_ONE}};
}

static void add(lr_spec *spec, lr_resources hold, double priority)
{
    lr_spec_init(spec, lr_id_from_seed(1), lr_id_from_seed(2), "f");
    spec->hold = hold;
    spec->priority = priority;
    lr_ready_add(&ready, spec);
}

/* Takes and holds. */
static lr_spec *start(uint64_t now_ns)
{
    lr_spec *s = lr_ready_take(&ready, &available, now_ns);
    if (s) lr_resources_take(&available, &s->hold);
    return s;
}

static void end(const lr_spec *spec)
{
    lr_resources total = need(1000, 1000);
    lr_resources_give(&available, &spec->hold, &total);
}

static void order_is_priority_then_submission(void **state)
{
    (void)state;
    static const double priority[] = {0, 5, -1, 5, 0.5};
    static const int expected[] = {1, 3, 4, 0, 2};
    lr_spec s[5];
    for (int i = 0; i < 5; i++)
        add(&s[i], need(1 + i % 2, 0), priority[i]);
    available = need(100, 0);
    for (int i = 0; i < 5; i++)
        assert_ptr_equal(start(1), &s[expected[i]]);
    assert_null(start(1));
    assert_int_equal(ready.count, 0);
    assert_int_equal(ready.used_count, 0);
}

static void smaller_ones_overtake(void **state)
{
    (void)state;
    lr_spec big, small;
    add(&big, need(4, 0), 0);
    add(&small, need(1, 0), 0);
    available = need(3, 0);
    assert_ptr_equal(start(1), &small);
    assert_null(start(1));
    assert_int_equal(big.place, LR_PLACE_READY);
}

static void but_not_for_ever(void **state)
{
    (void)state;
    lr_spec big, small[4], other;
    available = need(2, 5);
    add(&big, need(4, 0), 0);
    for (int i = 0; i < 4; i++)
        add(&small[i], need(1, 0), 0);
    assert_ptr_equal(start(1000), &small[0]);
    assert_ptr_equal(start(1000 + LR_READY_PATIENCE_NS - 1), &small[1]);
    end(&small[0]);
    assert_null(start(1000 + LR_READY_PATIENCE_NS)); /* from now on cpu is kept for big */
    add(&other, need(0, 1), 0);
    assert_ptr_equal(start(1000 + LR_READY_PATIENCE_NS), &other); /* what it is not short of is free */
    end(&small[1]);
    available.amount[LR_RESOURCE_CPU] += 3 * LR_AMOUNT_ONE;
    assert_ptr_equal(start(1000 + LR_READY_PATIENCE_NS), &big); /* 5 free: big, and one beside it */
    assert_ptr_equal(start(1000 + LR_READY_PATIENCE_NS), &small[2]);
}

static void what_a_claim_leaves_over_is_free(void **state)
{
    (void)state;
    lr_spec both, small[2];
    available = need(3, 0);
    add(&both, need(2, 1), 0);
    both.blocked_since_ns = 1;
    assert_null(start(1 + LR_READY_PATIENCE_NS)); /* short of gpu: claims gpu only */
    add(&small[0], need(2, 0), 0);
    assert_ptr_equal(start(1 + LR_READY_PATIENCE_NS), &small[0]);
    available.amount[LR_RESOURCE_GPU] = 2 * LR_AMOUNT_ONE; /* now short of cpu: claims both */
    lr_spec gpu[2];
    add(&gpu[0], need(0, 1), 0);
    add(&gpu[1], need(0, 1), 0);
    add(&small[1], need(1, 0), 0);
    assert_ptr_equal(start(1 + LR_READY_PATIENCE_NS), &gpu[0]); /* leaves the one that is claimed */
    assert_null(start(1 + LR_READY_PATIENCE_NS));
    end(&small[0]);
    assert_ptr_equal(start(1 + LR_READY_PATIENCE_NS), &both);
    assert_ptr_equal(start(1 + LR_READY_PATIENCE_NS), &small[1]);
}

/* Resources that come free in turn must not let others take each in turn for ever. */
static void claims_gather(void **state)
{
    (void)state;
    lr_spec both, cpu, gpu;
    available = need(0, 1);
    add(&both, need(1, 1), 0);
    both.blocked_since_ns = 1;
    assert_null(start(1 + LR_READY_PATIENCE_NS));
    available = need(1, 0);
    add(&cpu, need(1, 0), 0);
    add(&gpu, need(0, 1), 0);
    assert_null(start(1 + LR_READY_PATIENCE_NS));
    available = need(0, 1);
    assert_null(start(1 + LR_READY_PATIENCE_NS));
    available = need(1, 1);
    assert_ptr_equal(start(1 + LR_READY_PATIENCE_NS), &both);
}

static void larger_priority_goes_before_a_claim(void **state)
{
    (void)state;
    lr_spec big, urgent;
    available = need(1, 0);
    add(&big, need(2, 0), 0);
    big.blocked_since_ns = 1;
    add(&urgent, need(1, 0), 1);
    assert_ptr_equal(start(1 + LR_READY_PATIENCE_NS), &urgent);
}

static void any_can_be_taken_out(void **state)
{
    (void)state;
    lr_spec s[10];
    for (int i = 0; i < 10; i++)
        add(&s[i], need(1 + i % 3, 0), i % 2);
    for (int i = 0; i < 10; i += 2)
        lr_ready_remove(&ready, &s[i]);
    expect_assert_failure(lr_ready_remove(&ready, &s[0]));
    available = need(100, 0);
    for (int i = 1; i < 10; i += 2)
        assert_ptr_equal(start(1), &s[i]);
    assert_null(start(1));
}

static void more_shapes_than_queues(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    static lr_spec s[COUNT];
    for (int i = 0; i < COUNT; i++)
        add(&s[i], need(1, 1 + i), i % 7);
    available = need(100000, 1000000);
    lr_spec *last = NULL;
    for (int i = 0; i < COUNT; i++) {
        lr_spec *next = start(1);
        assert_non_null(next);
        if (last) assert_true(lr_ready_before(last, next));
        last = next;
    }
    assert_null(start(1));
}

static void a_hundred_thousand_are_quick(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    lr_spec *s = calloc(COUNT, sizeof *s);
    lr_prng p;
    lr_prng_seed(&p, 1);
    struct timespec from, to;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (int i = 0; i < COUNT; i++)
        add(&s[i], need(1 + i % 4, i % 2), (double)lr_prng_below(&p, 10));
    available = need(1, 0); /* nearly nothing fits, so that heads are compared again and again */
    for (int i = 0; i < COUNT; i++) {
        lr_spec *next = lr_ready_take(&ready, &available, 1);
        if (!next) available = need(4, 1);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    double seconds = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
    print_message("100,000 queued and taken: %.0f ns each\n", seconds * 1e9 / COUNT);
    assert_true(seconds < 5);
    free(s);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(order_is_priority_then_submission, setup),
        cmocka_unit_test_setup(smaller_ones_overtake, setup),
        cmocka_unit_test_setup(but_not_for_ever, setup),
        cmocka_unit_test_setup(what_a_claim_leaves_over_is_free, setup),
        cmocka_unit_test_setup(claims_gather, setup),
        cmocka_unit_test_setup(larger_priority_goes_before_a_claim, setup),
        cmocka_unit_test_setup(any_can_be_taken_out, setup),
        cmocka_unit_test_setup(more_shapes_than_queues, setup),
        cmocka_unit_test_setup(a_hundred_thousand_are_quick, setup),
    };
    return RUN_ALL(tests);
}
