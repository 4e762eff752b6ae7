#include "sched/list.h"
#include "tests/unit/test.h"

typedef struct item {
    int number;
    lr_link link;
} item;

static int number_of(lr_link *l) { return LR_CONTAINER(l, item, link)->number; }

static void order_is_kept(void **state)
{
    (void)state;
    item items[5] = {{0}};
    lr_list list;
    lr_list_init(&list);
    assert_true(lr_list_empty(&list));
    assert_null(lr_list_first(&list));
    assert_null(lr_list_pop(&list));
    for (int i = 0; i < 5; i++) {
        items[i].number = i;
        if (i < 4) lr_list_append(&list, &items[i].link);
    }
    lr_list_prepend(&list, &items[4].link);
    lr_link_remove(&items[1].link);
    assert_false(lr_link_in_list(&items[1].link));
    static const int expected[] = {4, 0, 2, 3};
    int n = 0;
    for (lr_link *l = lr_list_first(&list); l; l = lr_list_next(&list, l))
        assert_int_equal(number_of(l), expected[n++]);
    assert_int_equal(n, 4);
    for (n = 0; n < 4; n++)
        assert_int_equal(number_of(lr_list_pop(&list)), expected[n]);
    assert_true(lr_list_empty(&list));
}

static void mistakes_assert(void **state)
{
    (void)state;
    item a = {0};
    lr_list list;
    lr_list_init(&list);
    lr_list_append(&list, &a.link);
    expect_assert_failure(lr_list_append(&list, &a.link));
    lr_link_remove(&a.link);
    expect_assert_failure(lr_link_remove(&a.link));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(order_is_kept),
                                              cmocka_unit_test(mistakes_assert)};
    return RUN_ALL(tests);
}
