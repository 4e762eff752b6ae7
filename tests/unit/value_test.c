/* sched/value.c: varints, the reader's bounds, skipping: every tag, every truncation, no trust in counts. */
#include "sched/value.h"

#include "tests/unit/test.h"

static lr_reader reader(const void *bytes, size_t size_bytes) { return lr_reader_of(bytes, size_bytes); }

static void test_varint_round_trip(void **state)
{
    (void)state;
    uint64_t values[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, (uint64_t)1 << 63, UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        uint8_t bytes[LR_VARINT_MAX];
        size_t n = (size_t)(lr_write_varint(bytes, values[i]) - bytes);
        lr_reader r = reader(bytes, n);
        assert_true(lr_read_varint(&r) == values[i]);
        assert_true(r.ok && r.p == r.end);
        for (size_t shorter = 0; shorter < n; shorter++) {
            r = reader(bytes, shorter);
            assert_true(lr_read_varint(&r) == 0);
            assert_false(r.ok);
        }
    }
}

static void test_varint_too_long(void **state)
{
    (void)state;
    uint8_t bytes[12];
    memset(bytes, 0x80, sizeof bytes);
    lr_reader r = reader(bytes, sizeof bytes);
    assert_true(lr_read_varint(&r) == 0);
    assert_false(r.ok);
    memset(bytes, 0xff, 9); /* the tenth byte has one bit of room */
    bytes[9] = 2;
    r = reader(bytes, 10);
    lr_read_varint(&r);
    assert_false(r.ok);
    bytes[9] = 1;
    r = reader(bytes, 10);
    assert_true(lr_read_varint(&r) == UINT64_MAX);
    assert_true(r.ok);
}

static void test_reads_stay_inside(void **state)
{
    (void)state;
    uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    lr_reader r = reader(bytes, 7);
    assert_true(lr_read_u64(&r) == 0);
    assert_false(r.ok);
    assert_true(lr_read_u8(&r) == 0); /* once wrong, it stays so */
    r = reader(bytes, 8);
    assert_true(lr_read_u32(&r) == 0x04030201);
    assert_null(lr_read_bytes(&r, 5));
    r = reader(bytes, 8);
    assert_null(lr_read_bytes(&r, UINT64_MAX));
    r = reader(bytes, 0);
    assert_true(lr_read_u8(&r) == 0 && !r.ok);
    r = reader(bytes, 8);
    assert_non_null(lr_read_bytes(&r, 8));
    assert_non_null(lr_read_bytes(&r, 0));
    assert_true(r.ok);
}

static void test_header(void **state)
{
    (void)state;
    uint8_t bytes[] = {LR_VALUE_VERSION, 2, LR_TAG_NIL, LR_TAG_NIL};
    lr_reader r = reader(bytes, sizeof bytes);
    assert_true(lr_read_header(&r) == 2 && r.ok);
    bytes[0] |= LR_VALUE_SHARED;
    r = reader(bytes, sizeof bytes);
    assert_true(lr_read_header(&r) == 2 && r.ok);
    r = reader(bytes, 3); /* two values cannot be in one byte */
    assert_true(lr_read_header(&r) == 0 && !r.ok);
    bytes[0] = LR_VALUE_VERSION + 1;
    r = reader(bytes, sizeof bytes);
    assert_true(lr_read_header(&r) == 0 && !r.ok);
    r = reader(bytes, 0);
    assert_true(lr_read_header(&r) == 0 && !r.ok);
}

#define U32(n) (n) & 0xff, ((n) >> 8) & 0xff, ((n) >> 16) & 0xff, ((n) >> 24) & 0xff
#define EIGHT 1, 2, 3, 4, 5, 6, 7, 8

/* One whole value of every tag. */
static const struct {
    uint8_t size_bytes, bytes[60];
} whole[] = {
    {1, {LR_TAG_NIL}},
    {1, {LR_TAG_FALSE}},
    {1, {LR_TAG_TRUE}},
    {1, {LR_TAG_SMALL | 5}},
    {9, {LR_TAG_NUMBER, EIGHT}},
    {9, {LR_TAG_INT64, EIGHT}},
    {9, {LR_TAG_UINT64, EIGHT}},
    {2, {LR_TAG_STRING, 0}},
    {5, {LR_TAG_STRING, 3, 'a', 'b', 'c'}},
    {9, {LR_TAG_TABLE, U32(0), U32(0)}},
    {11, {LR_TAG_TABLE, U32(2), U32(0), LR_TAG_NIL, LR_TAG_TRUE}},
    {12, {LR_TAG_TABLE, U32(1), U32(1), LR_TAG_NIL, LR_TAG_TRUE, LR_TAG_SMALL}},
    {16, {LR_TAG_OBJECT, LR_TAG_MODULE, LR_TAG_STRING, 1, 'm', LR_TAG_STRING, 0, LR_TAG_TABLE, U32(0), U32(0)}},
    {14, {LR_TAG_OBJECT, LR_TAG_CLASS, 1, LR_TAG_STRING, 0, LR_TAG_TABLE, U32(0), U32(0)}},
    {12, {LR_TAG_OBJECT, LR_TAG_BACK, 0, LR_TAG_TABLE, U32(0), U32(0)}},
    {2, {LR_TAG_BACK, 3}},
    {5, {LR_TAG_CLASS, 1, LR_TAG_STRING, 1, 'n'}},
    {3, {LR_TAG_FUNCTION, 0, 0}},
    {6, {LR_TAG_FUNCTION, 0, 2, LR_TAG_CELL, 0, LR_TAG_NIL}},
    {7, {LR_TAG_MODULE, LR_TAG_STRING, 1, 'm', LR_TAG_STRING, 1, 'f'}},
    {3, {LR_TAG_FUTURE, 0, 1}},
    {3, {LR_TAG_REMOTE, 0, LR_TAG_NIL}},
    {7, {LR_TAG_TENSOR, 0, 2, 3, 4, 0, 0}},
    {3, {LR_TAG_BLOB, 0, 9}},
    {26, {LR_TAG_ERROR, 1, 1, 'm', 0, 1, 'f', EIGHT, EIGHT, 1, LR_TAG_NIL, LR_TAG_NIL}},
};

static void test_skip_every_tag(void **state)
{
    (void)state;
    bool seen[LR_TAG_COUNT] = {false};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        const uint8_t *bytes = whole[i].bytes;
        if (bytes[0] < LR_TAG_COUNT) seen[bytes[0]] = true;
    }
    seen[LR_TAG_CELL] = true; /* stands only among upvalues */
    for (int tag = 0; tag < LR_TAG_COUNT; tag++)
        assert_true(seen[tag]);
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        lr_reader r = reader(whole[i].bytes, sizeof whole[i].bytes);
        if (!lr_skip_value(&r)) fail_msg("row %zu is not whole", i);
        assert_int_equal(r.p - whole[i].bytes, whole[i].size_bytes);
        for (size_t n = 0; n < whole[i].size_bytes; n++) { /* no truncation is taken for whole */
            r = reader(whole[i].bytes, n);
            if (lr_skip_value(&r)) fail_msg("row %zu cut to %zu bytes is taken for whole", i, n);
            assert_false(r.ok);
        }
    }
}

static void test_skip_trusts_no_count(void **state)
{
    (void)state;
    uint8_t table[] = {LR_TAG_TABLE, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, LR_TAG_NIL};
    lr_reader r = reader(table, sizeof table);
    assert_false(lr_skip_value(&r));
    uint8_t string[] = {LR_TAG_STRING, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 'x'};
    r = reader(string, sizeof string);
    assert_false(lr_skip_value(&r));
    for (unsigned tag = LR_TAG_COUNT; tag < LR_TAG_SMALL; tag++) {
        uint8_t unknown[] = {(uint8_t)tag, 0, 0, 0};
        r = reader(unknown, sizeof unknown);
        assert_false(lr_skip_value(&r));
    }
}

static void test_skip_needs_no_recursion(void **state)
{
    (void)state;
    enum { DEPTH = 1000000 };
    uint8_t *bytes = malloc(9 * DEPTH + 1), *p = bytes;
    const uint8_t one[9] = {LR_TAG_TABLE, U32(1), U32(0)};
    for (int i = 0; i < DEPTH; i++, p += 9)
        memcpy(p, one, 9);
    *p++ = LR_TAG_NIL;
    lr_reader r = reader(bytes, (size_t)(p - bytes));
    assert_true(lr_skip_value(&r));
    assert_ptr_equal(r.p, p);
    free(bytes);
}

static void test_tag_names(void **state)
{
    (void)state;
    for (unsigned tag = 0; tag < 256; tag++)
        assert_non_null(lr_tag_name((uint8_t)tag));
    assert_string_equal(lr_tag_name(LR_TAG_STRING), "string");
    assert_string_equal(lr_tag_name(LR_TAG_ERROR), "error");
    assert_string_equal(lr_tag_name(LR_TAG_SMALL | 3), "number");
    assert_string_equal(lr_tag_name(LR_TAG_COUNT), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_varint_round_trip),
        cmocka_unit_test(test_varint_too_long),
        cmocka_unit_test(test_reads_stay_inside),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_skip_every_tag),
        cmocka_unit_test(test_skip_trusts_no_count),
        cmocka_unit_test(test_skip_needs_no_recursion),
        cmocka_unit_test(test_tag_names),
    };
    return RUN_ALL(tests);
}
