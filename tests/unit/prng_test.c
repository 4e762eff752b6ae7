#include "sched/prng.h"
#include "tests/unit/test.h"

/* The reference C code's first outputs for the state {1, 2, 3, 4}. */
static void follows_the_reference(void **state)
{
    (void)state;
    static const uint64_t expected[] = {11520u, 0u, 1509978240u, 1215971899390074240u,
                                        1216172134540287360u, 607988272756665600u};
    lr_prng p = {{1, 2, 3, 4}};
    for (size_t i = 0; i < LR_COUNT(expected); i++)
        assert_true(lr_prng_next(&p) == expected[i]);
}

static void seeds_give_streams(void **state)
{
    (void)state;
    lr_prng a, b, c;
    lr_prng_seed(&a, 1);
    lr_prng_seed(&b, 1);
    lr_prng_seed(&c, 2);
    bool differs = false;
    for (int i = 0; i < 100; i++) {
        uint64_t x = lr_prng_next(&a);
        assert_true(x == lr_prng_next(&b));
        differs |= x != lr_prng_next(&c);
    }
    assert_true(differs);
}

static void tasks_have_streams_of_their_own(void **state)
{
    (void)state;
    lr_id one = lr_id_child(lr_id_from_seed(1), 1), two = lr_id_child(lr_id_from_seed(1), 2);
    lr_prng a, b, c, d;
    lr_prng_seed_task(&a, 1, one);
    lr_prng_seed_task(&b, 1, one);
    lr_prng_seed_task(&c, 1, two);
    lr_prng_seed_task(&d, 2, one);
    uint64_t x = lr_prng_next(&a);
    assert_true(x == lr_prng_next(&b));
    assert_true(x != lr_prng_next(&c));
    assert_true(x != lr_prng_next(&d));
}

static void below_is_uniform(void **state)
{
    (void)state;
    lr_prng p;
    lr_prng_seed(&p, 5);
    int seen[7] = {0};
    for (int i = 0; i < 70000; i++)
        seen[lr_prng_below(&p, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_in_range(seen[i], 9600, 10400); /* four standard deviations */
    assert_true(lr_prng_below(&p, 1) == 0);
    for (int i = 0; i < 100; i++)
        assert_true(lr_prng_below(&p, UINT64_MAX) < UINT64_MAX);
    expect_assert_failure(lr_prng_below(&p, 0));
}

static void doubles_lie_in_the_unit_interval(void **state)
{
    (void)state;
    lr_prng p;
    lr_prng_seed(&p, 6);
    double sum = 0;
    for (int i = 0; i < 10000; i++) {
        double x = lr_prng_double(&p);
        assert_true(x >= 0 && x < 1);
        sum += x;
    }
    assert_true(sum > 4850 && sum < 5150);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_reference),
        cmocka_unit_test(seeds_give_streams),
        cmocka_unit_test(tasks_have_streams_of_their_own),
        cmocka_unit_test(below_is_uniform),
        cmocka_unit_test(doubles_lie_in_the_unit_interval),
    };
    return RUN_ALL(tests);
}
