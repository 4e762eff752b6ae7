#include "sched/map.h"
#include "sched/prng.h"
#include "tests/unit/test.h"

static lr_id key(uint64_t n) { return lr_id_child(lr_id_from_seed(1), n); }

static void full_is_an_answer(void **state)
{
    (void)state;
    lr_map_slot slots[8];
    lr_map map;
    int value;
    lr_map_init(&map, slots, 8);
    for (uint64_t i = 0; i < lr_map_limit(8); i++)
        assert_true(lr_map_put(&map, key(i), &value));
    assert_int_equal(map.count, 7);
    assert_false(lr_map_put(&map, key(100), &value));
    assert_true(lr_map_put(&map, key(3), &map)); /* one that is there can be set */
    assert_ptr_equal(lr_map_get(&map, key(3)), &map);
    assert_null(lr_map_get(&map, key(100)));
    assert_ptr_equal(lr_map_remove(&map, key(3)), &map);
    assert_null(lr_map_remove(&map, key(3)));
    assert_true(lr_map_put(&map, key(100), &value));
}

static void agrees_with_an_array(void **state)
{
    (void)state;
    enum { KEYS = 100 };
    lr_map_slot slots[128];
    int values[KEYS];
    bool in[KEYS] = {false};
    size_t count = 0;
    lr_map map;
    lr_map_init(&map, slots, 128);
    lr_prng p;
    lr_prng_seed(&p, 9);
    for (int step = 0; step < 50000; step++) {
        uint64_t k = lr_prng_below(&p, KEYS);
        assert_ptr_equal(lr_map_get(&map, key(k)), in[k] ? &values[k] : NULL);
        if (lr_prng_below(&p, 2)) {
            assert_true(lr_map_put(&map, key(k), &values[k]));
            count += !in[k];
            in[k] = true;
        } else {
            assert_ptr_equal(lr_map_remove(&map, key(k)), in[k] ? &values[k] : NULL);
            count -= in[k];
            in[k] = false;
        }
        assert_int_equal(map.count, count);
    }
}

static void moves_to_more_room_and_is_walked(void **state)
{
    (void)state;
    lr_map_slot small[16], large[64];
    int values[14], seen[14] = {0};
    lr_map map;
    lr_map_init(&map, small, 16);
    for (uint64_t i = 0; i < 14; i++)
        assert_true(lr_map_put(&map, key(i), &values[i]));
    assert_ptr_equal(lr_map_move(&map, large, 64), small);
    size_t at = 0;
    for (int *v; (v = lr_map_next(&map, &at));)
        seen[v - values]++;
    for (int i = 0; i < 14; i++) {
        assert_int_equal(seen[i], 1);
        assert_ptr_equal(lr_map_get(&map, key((uint64_t)i)), &values[i]);
    }
}

static void mistakes_assert(void **state)
{
    (void)state;
    lr_map_slot slots[16];
    lr_map map;
    expect_assert_failure(lr_map_init(&map, slots, 12));
    lr_map_init(&map, slots, 16);
    expect_assert_failure(lr_map_get(&map, LR_ID_NIL));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_is_an_answer),
        cmocka_unit_test(agrees_with_an_array),
        cmocka_unit_test(moves_to_more_room_and_is_walked),
        cmocka_unit_test(mistakes_assert),
    };
    return RUN_ALL(tests);
}
