#include "runtime/frame.h"
#include "sched/prng.h"
#include "tests/unit/test.h"

/* A frame of two records: 3 bytes of kind 7, none of kind 65535. */
static size_t sample(uint8_t *at)
{
    size_t n = LR_FRAME_HEAD;
    n += lr_record_write(at + n, 7, "abc", 3);
    n += lr_record_write(at + n, 65535, NULL, 0);
    lr_frame_write_head(at, (uint32_t)(n - LR_FRAME_HEAD), 2);
    return n;
}

/* Reads a whole frame; the number of records, or -1. */
static int count_records(const uint8_t *bytes, size_t size_bytes)
{
    lr_frame_reader reader;
    lr_record record;
    size_t frame_bytes;
    lr_ending end = lr_frame_read(&reader, bytes, size_bytes, &frame_bytes);
    if (end != LR_ENDING_OK) return -1;
    int count = 0;
    while (lr_frame_next(&reader, &record, &end)) {
        assert_true(record.bytes >= bytes && record.bytes + record.size_bytes <= bytes + size_bytes);
        count++;
    }
    return end == LR_ENDING_OK ? count : -1;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    uint8_t bytes[64];
    size_t n = sample(bytes), frame_bytes;
    assert_int_equal(n, 8 + 16 + 8);
    lr_frame_reader reader;
    lr_record record;
    lr_ending end = lr_frame_read(&reader, bytes, sizeof bytes, &frame_bytes);
    assert_int_equal(end, LR_ENDING_OK);
    assert_int_equal(frame_bytes, n);
    assert_true(lr_frame_next(&reader, &record, &end));
    assert_int_equal(record.kind, 7);
    assert_int_equal(record.size_bytes, 3);
    assert_memory_equal(record.bytes, "abc", 3);
    assert_true(lr_frame_next(&reader, &record, &end));
    assert_int_equal(record.kind, 65535);
    assert_int_equal(record.size_bytes, 0);
    assert_false(lr_frame_next(&reader, &record, &end));
    assert_int_equal(end, LR_ENDING_OK);
}

static void a_scan_finds_the_ends_at_any_cut(void **state)
{
    (void)state;
    uint8_t bytes[128];
    size_t one = sample(bytes), two = one + sample(bytes + one);
    for (size_t cut = 0; cut <= two; cut++) {
        lr_frame_scan scan;
        lr_ending end = lr_frame_scan_bytes(bytes, cut, 1000, &scan);
        assert_int_equal(end, LR_ENDING_OK);
        assert_int_equal(scan.whole_bytes, cut < one ? 0 : cut < two ? one : two);
        assert_int_equal(scan.frames, cut / one);
        assert_int_equal(scan.next_bytes, cut % one < LR_FRAME_HEAD ? 0 : one);
    }
}

static void truncated_frames_are_garbage(void **state)
{
    (void)state;
    uint8_t bytes[64];
    size_t n = sample(bytes);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(count_records(bytes, cut), -1);
    assert_int_equal(count_records(bytes, n), 2);
}

static void sizes_and_counts_that_lie_are_garbage(void **state)
{
    (void)state;
    uint8_t bytes[64];
    size_t n = sample(bytes);
    lr_frame_scan scan;
    bytes[4] = 3; /* one record more than there are */
    assert_int_equal(count_records(bytes, n), -1);
    bytes[4] = 1;
    assert_int_equal(count_records(bytes, n), -1);
    bytes[4] = 0;
    assert_int_equal(lr_frame_scan_bytes(bytes, n, 1000, &scan), LR_ENDING_GARBAGE);
    sample(bytes);
    bytes[8] = 200; /* a record larger than its frame */
    assert_int_equal(count_records(bytes, n), -1);
    memset(bytes + 8, 0xff, 4);
    assert_int_equal(count_records(bytes, n), -1);
    sample(bytes);
    bytes[14] = 1; /* what must be zero */
    assert_int_equal(count_records(bytes, n), -1);
    sample(bytes);
    bytes[20] = 1;
    assert_int_equal(count_records(bytes, n), -1);
}

static void a_frame_above_the_limit_is_refused_by_its_head(void **state)
{
    (void)state;
    uint8_t head[LR_FRAME_HEAD];
    lr_frame_scan scan;
    lr_frame_write_head(head, 4096, 1);
    assert_int_equal(lr_frame_scan_bytes(head, sizeof head, 4096, &scan), LR_ENDING_OK);
    assert_int_equal(scan.next_bytes, 4104);
    lr_frame_write_head(head, 4104, 1);
    assert_int_equal(lr_frame_scan_bytes(head, sizeof head, 4096, &scan), LR_ENDING_TOO_LARGE);
    lr_frame_write_head(head, 0xfffffff8u, 1);
    assert_int_equal(lr_frame_scan_bytes(head, sizeof head, 4096, &scan), LR_ENDING_TOO_LARGE);
}

static void random_bytes_never_lead_outside(void **state)
{
    (void)state;
    lr_prng prng;
    lr_prng_seed(&prng, 1);
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[64];
        size_t n = sample(bytes);
        for (int i = 0; i < 3; i++)
            bytes[lr_prng_next(&prng) % n] = (uint8_t)(lr_prng_next(&prng) % 3 ? lr_prng_next(&prng) % 20 : 255);
        count_records(bytes, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_scan_finds_the_ends_at_any_cut),
        cmocka_unit_test(truncated_frames_are_garbage),
        cmocka_unit_test(sizes_and_counts_that_lie_are_garbage),
        cmocka_unit_test(a_frame_above_the_limit_is_refused_by_its_head),
        cmocka_unit_test(random_bytes_never_lead_outside),
    };
    return RUN_ALL(tests);
}
