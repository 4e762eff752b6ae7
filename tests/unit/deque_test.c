/* The work-stealing deque: order for the owner and for a thief, growth, and no item lost or doubled under theft. */
#include "runtime/deque.h"

#include "tests/unit/test.h"

#include <pthread.h>

static void *item(intptr_t n) { return (void *)n; } /* NOLINT: numbers stand for pointers */

static void owner_pops_newest(void **state)
{
    (void)state;
    lr_deque d;
    assert_true(lr_deque_init(&d));
    assert_null(lr_deque_pop(&d));
    for (intptr_t i = 1; i <= 3; i++)
        assert_true(lr_deque_push(&d, item(i)));
    assert_ptr_equal(lr_deque_pop(&d), item(3));
    assert_ptr_equal(lr_deque_pop(&d), item(2));
    assert_ptr_equal(lr_deque_pop(&d), item(1));
    assert_null(lr_deque_pop(&d));
    lr_deque_fini(&d);
}

static void thief_takes_oldest(void **state)
{
    (void)state;
    lr_deque d;
    bool contended = false;
    assert_true(lr_deque_init(&d));
    for (intptr_t i = 1; i <= 3; i++)
        assert_true(lr_deque_push(&d, item(i)));
    assert_int_equal(lr_deque_count(&d), 3);
    assert_ptr_equal(lr_deque_steal(&d, &contended), item(1));
    assert_ptr_equal(lr_deque_steal(&d, &contended), item(2));
    assert_ptr_equal(lr_deque_pop(&d), item(3));
    assert_null(lr_deque_steal(&d, &contended));
    assert_false(contended);
    lr_deque_fini(&d);
}

static void grows(void **state)
{
    (void)state;
    lr_deque d;
    bool contended = false;
    assert_true(lr_deque_init(&d));
    for (intptr_t i = 1; i <= 100; i++)
        assert_true(lr_deque_push(&d, item(i)));
    for (intptr_t i = 1; i <= 50; i++)
        assert_ptr_equal(lr_deque_steal(&d, &contended), item(i));
    for (intptr_t i = 101; i <= 100000; i++)
        assert_true(lr_deque_push(&d, item(i)));
    for (intptr_t i = 100000; i > 50; i--)
        assert_ptr_equal(lr_deque_pop(&d), item(i));
    assert_null(lr_deque_pop(&d));
    lr_deque_fini(&d);
}

#define ITEMS 200000
#define THIEVES 2

static lr_deque shared;
static _Atomic unsigned char taken[ITEMS + 1];
static _Atomic bool done;

static void take(void *p)
{
    if (p) atomic_fetch_add(&taken[(intptr_t)p], 1);
}

static void *thief(void *unused)
{
    (void)unused;
    bool contended;
    while (!atomic_load(&done))
        take(lr_deque_steal(&shared, &contended));
    return NULL;
}

static void nothing_lost_or_doubled(void **state)
{
    (void)state;
    pthread_t threads[THIEVES];
    assert_true(lr_deque_init(&shared));
    for (int i = 0; i < THIEVES; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, thief, NULL), 0);
    for (intptr_t i = 1; i <= ITEMS; i++) {
        assert_true(lr_deque_push(&shared, item(i)));
        if (i % 3 == 0) take(lr_deque_pop(&shared));
    }
    void *p;
    while ((p = lr_deque_pop(&shared)))
        take(p);
    atomic_store(&done, true);
    for (int i = 0; i < THIEVES; i++)
        pthread_join(threads[i], NULL);
    for (int i = 1; i <= ITEMS; i++)
        assert_int_equal(atomic_load(&taken[i]), 1);
    lr_deque_fini(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owner_pops_newest),
        cmocka_unit_test(thief_takes_oldest),
        cmocka_unit_test(grows),
        cmocka_unit_test(nothing_lost_or_doubled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
