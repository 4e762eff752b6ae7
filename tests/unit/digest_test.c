/* sched/digest.c: equal values have equal digests, however their tables are laid out; others have others, or none. */
#include "sched/digest.h"

#include "runtime/value.h"
#include "tests/unit/test.h"

static void u32(lr_builder *b, uint32_t v) { lr_builder_bytes(b, &v, sizeof v); }

static void word(lr_builder *b, const char *s) { lr_builder_string(b, s, strlen(s)); }

static uint64_t digest_of(lr_builder *b)
{
    uint64_t digest = lr_digest(lr_reader_of(b->data, b->size_bytes));
    lr_builder_reset(b);
    return digest;
}

/* { [1] = 10, [2] = 20, a = last }, with so many of the first two in the array part, in one order or the other. */
static uint64_t table(unsigned in_array, bool turned, double last)
{
    lr_builder b;
    lr_builder_init(&b);
    lr_builder_header(&b, 1);
    lr_builder_u8(&b, LR_TAG_TABLE);
    u32(&b, in_array);
    u32(&b, 3 - in_array);
    for (unsigned i = 0; i < in_array; i++)
        lr_builder_number(&b, 10 * (i + 1));
    for (unsigned step = in_array; step < 3; step++) {
        unsigned i = turned ? 2 + in_array - step : step;
        if (i < 2) {
            lr_builder_number(&b, i + 1);
            lr_builder_number(&b, 10 * (i + 1));
        } else {
            word(&b, "a");
            lr_builder_number(&b, last);
        }
    }
    uint64_t digest = digest_of(&b);
    lr_builder_fini(&b);
    return digest;
}

static void test_tables_in_any_order(void **state)
{
    (void)state;
    uint64_t first = table(2, false, 1000.5);
    assert_int_not_equal(first, 0);
    for (unsigned in_array = 0; in_array <= 2; in_array++)
        for (int turned = 0; turned < 2; turned++) {
            assert_true(table(in_array, turned, 1000.5) == first);
            assert_false(table(in_array, turned, 1000.25) == first);
        }
}

static void test_plain_values_differ(void **state)
{
    (void)state;
    uint64_t seen[8];
    lr_builder b;
    lr_builder_init(&b);
    for (unsigned i = 0; i < LR_COUNT(seen); i++) {
        lr_builder_header(&b, i == 7 ? 2 : 1);
        if (i < 4) lr_builder_number(&b, (double[]){0, 1, -1, 0.5}[i]);
        if (i == 4) word(&b, "");
        if (i == 5) word(&b, "1");
        if (i >= 6) lr_builder_u8(&b, LR_TAG_TRUE);
        if (i == 7) lr_builder_u8(&b, LR_TAG_NIL);
        seen[i] = digest_of(&b);
        assert_int_not_equal(seen[i], 0);
        for (unsigned k = 0; k < i; k++)
            assert_false(seen[k] == seen[i]);
    }
    lr_builder_fini(&b);
}

static void test_none(void **state)
{
    (void)state;
    lr_builder b;
    lr_builder_init(&b);
    lr_builder_header(&b, 1);
    b.data[0] |= LR_VALUE_SHARED;
    lr_builder_u8(&b, LR_TAG_TRUE);
    assert_true(digest_of(&b) == 0);
    lr_builder_header(&b, 1); /* too deep */
    for (unsigned i = 0; i <= LR_DIGEST_DEPTH; i++) {
        lr_builder_u8(&b, LR_TAG_TABLE);
        u32(&b, 1);
        u32(&b, 0);
    }
    lr_builder_u8(&b, LR_TAG_TRUE);
    assert_true(digest_of(&b) == 0);
    lr_builder_header(&b, 1);
    word(&b, "cut short");
    for (size_t size = 0; size < b.size_bytes; size++)
        assert_true(lr_digest(lr_reader_of(b.data, size)) == 0);
    lr_builder_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_in_any_order),
        cmocka_unit_test(test_plain_values_differ),
        cmocka_unit_test(test_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
