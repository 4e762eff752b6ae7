#include "sched/heap.h"
#include "sched/prng.h"
#include "tests/unit/test.h"

typedef struct item {
    int key;
    bool in;
    lr_heap_link link;
} item;

static item *item_of(const lr_heap_link *l) { return LR_CONTAINER(l, item, link); }
static bool before(const lr_heap_link *a, const lr_heap_link *b)
{
    return item_of(a)->key < item_of(b)->key;
}

static void equals_come_in_order(void **state)
{
    (void)state;
    item items[100] = {{0}};
    lr_heap heap;
    lr_heap_init(&heap, before);
    assert_null(lr_heap_pop(&heap));
    for (int i = 0; i < 100; i++) {
        items[i].key = i % 3;
        lr_heap_insert(&heap, &items[i].link);
    }
    for (int key = 0, n = 0; key < 3; key++)
        for (int i = key; i < 100; i += 3, n++)
            assert_ptr_equal(item_of(lr_heap_pop(&heap)), &items[i]);
    assert_int_equal(heap.count, 0);
}

static void given_sequence_numbers_count(void **state)
{
    (void)state;
    item a = {0}, b = {0};
    lr_heap heap;
    lr_heap_init(&heap, before);
    lr_heap_insert_at(&heap, &a.link, 9);
    lr_heap_insert_at(&heap, &b.link, 4);
    assert_ptr_equal(lr_heap_first(&heap), &b.link);
    expect_assert_failure(lr_heap_insert(&heap, &a.link));
    lr_heap_remove(&heap, &a.link);
    assert_false(lr_heap_link_in_heap(&a.link));
    expect_assert_failure(lr_heap_remove(&heap, &a.link));
    assert_int_equal(heap.count, 1);
}

static item *least(item *items, int count)
{
    item *best = NULL;
    for (int i = 0; i < count; i++)
        if (items[i].in && (!best || items[i].key < best->key ||
                            (items[i].key == best->key && items[i].link.seq < best->link.seq)))
            best = &items[i];
    return best;
}

static void agrees_with_a_search(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    static item items[COUNT];
    lr_prng p;
    lr_prng_seed(&p, 3);
    lr_heap heap;
    lr_heap_init(&heap, before);
    for (int step = 0; step < 40000; step++) {
        item *it = &items[lr_prng_below(&p, COUNT)];
        if (!it->in) {
            it->key = (int)lr_prng_below(&p, 50);
            lr_heap_insert(&heap, &it->link);
            it->in = true;
        } else if (lr_prng_below(&p, 2)) {
            lr_heap_remove(&heap, &it->link);
            it->in = false;
        } else {
            item *expected = least(items, COUNT);
            assert_ptr_equal(item_of(lr_heap_pop(&heap)), expected);
            expected->in = false;
        }
    }
}

static void sorted_input_needs_no_deep_stack(void **state)
{
    (void)state;
    enum { COUNT = 200000 };
    item *items = calloc(COUNT, sizeof *items);
    lr_heap heap;
    lr_heap_init(&heap, before);
    for (int i = 0; i < COUNT; i++) {
        items[i].key = COUNT - i; /* each becomes the parent of the one before */
        lr_heap_insert(&heap, &items[i].link);
    }
    for (int i = COUNT; i-- > 0;)
        assert_ptr_equal(item_of(lr_heap_pop(&heap)), &items[i]);
    free(items);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_come_in_order),
        cmocka_unit_test(given_sequence_numbers_count),
        cmocka_unit_test(agrees_with_a_search),
        cmocka_unit_test(sorted_input_needs_no_deep_stack),
    };
    return RUN_ALL(tests);
}
