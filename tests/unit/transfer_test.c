/* tests/unit/transfer_test.c - objects that come in chunks: in any order, twice, damaged, misplaced. */
#include "test.h"

#include "runtime/transfer.h"

#define SIZE (LR_CHUNK_BYTES * 5 / 2)

static uint8_t source[SIZE], target[SIZE];

static void put_chunk(void *to, uint64_t offset, const void *bytes, uint64_t size_bytes)
{
    memcpy((uint8_t *)to + offset, bytes, size_bytes);
}

static lr_transfer_got give(lr_transfer *t, uint64_t offset)
{
    uint64_t size = SIZE - offset < LR_CHUNK_BYTES ? SIZE - offset : LR_CHUNK_BYTES;
    uint64_t check = lr_transfer_check(source + offset, size);
    return lr_transfer_take(t, offset, check, source + offset, size, put_chunk, target);
}

static int start(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        source[i] = (uint8_t)(i * 31 + i / LR_CHUNK_BYTES);
    memset(target, 0, SIZE);
    return 0;
}

static void test_any_order(void **state)
{
    (void)state;
    lr_transfer t;
    assert_true(lr_transfer_init(&t, SIZE));
    assert_int_equal(lr_transfer_missing(&t, 0), 0);
    assert_int_equal(lr_transfer_missing(&t, SIZE), SIZE); /* not the last chunk, which ends there */
    assert_int_equal(give(&t, 2 * LR_CHUNK_BYTES), LR_TRANSFER_TAKEN);
    assert_int_equal(give(&t, 0), LR_TRANSFER_TAKEN);
    assert_int_equal(lr_transfer_missing(&t, 0), LR_CHUNK_BYTES);
    assert_int_equal(lr_transfer_missing(&t, 2 * LR_CHUNK_BYTES), SIZE);
    assert_int_equal(lr_transfer_missing(&t, 1), LR_CHUNK_BYTES);
    assert_int_equal(give(&t, 0), LR_TRANSFER_KNOWN);
    assert_int_equal(give(&t, LR_CHUNK_BYTES), LR_TRANSFER_WHOLE);
    assert_int_equal(lr_transfer_missing(&t, 0), SIZE);
    assert_memory_equal(source, target, SIZE);
    lr_transfer_fini(&t);
}

static void test_damaged_is_refused(void **state)
{
    (void)state;
    lr_transfer t;
    assert_true(lr_transfer_init(&t, SIZE));
    uint64_t check = lr_transfer_check(source, LR_CHUNK_BYTES);
    for (unsigned i = 0; i < LR_TRANSFER_REFUSALS; i++) {
        source[i * 1000] ^= 1;
        assert_int_equal(lr_transfer_take(&t, 0, check, source, LR_CHUNK_BYTES, put_chunk, target), LR_TRANSFER_REFUSED);
        assert_int_equal(target[0], 0);
        source[i * 1000] ^= 1;
    }
    assert_int_equal(give(&t, 0), LR_TRANSFER_TAKEN);
    assert_int_equal(lr_transfer_take(&t, LR_CHUNK_BYTES, check, source + LR_CHUNK_BYTES, LR_CHUNK_BYTES, put_chunk, target),
                     LR_TRANSFER_HOPELESS);
    lr_transfer_fini(&t);
}

static void test_misplaced_is_hopeless(void **state)
{
    (void)state;
    static const uint64_t wrong[][2] = {
        {1, LR_CHUNK_BYTES}, {3 * LR_CHUNK_BYTES, 1}, {UINT64_MAX / LR_CHUNK_BYTES * LR_CHUNK_BYTES, LR_CHUNK_BYTES},
        {0, LR_CHUNK_BYTES - 1}, {0, 0}, {2 * LR_CHUNK_BYTES, LR_CHUNK_BYTES}, {2 * LR_CHUNK_BYTES, 1}, {UINT64_MAX, 1},
    };
    lr_transfer t;
    assert_true(lr_transfer_init(&t, SIZE));
    for (size_t i = 0; i < LR_COUNT(wrong); i++) {
        uint64_t check = lr_transfer_check(source, wrong[i][1]);
        assert_int_equal(lr_transfer_take(&t, wrong[i][0], check, source, wrong[i][1], put_chunk, target), LR_TRANSFER_HOPELESS);
    }
    assert_int_equal(t.received_bytes, 0);
    lr_transfer_fini(&t);
}

static void test_one_byte(void **state)
{
    (void)state;
    lr_transfer t;
    assert_true(lr_transfer_init(&t, 1));
    assert_int_equal(lr_transfer_take(&t, 0, lr_transfer_check(source, 1), source, 1, put_chunk, target), LR_TRANSFER_WHOLE);
    lr_transfer_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_any_order, start),
        cmocka_unit_test_setup(test_damaged_is_refused, start),
        cmocka_unit_test_setup(test_misplaced_is_hopeless, start),
        cmocka_unit_test_setup(test_one_byte, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
