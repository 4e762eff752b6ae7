#include "sched/text.h"
#include "tests/unit/test.h"

static void builds_a_sentence(void **state)
{
    (void)state;
    char text[128];
    lr_text t = lr_text_of(text, sizeof text);
    assert_string_equal(text, "");
    lr_text_string(&t, "n=");
    lr_text_u64(&t, 0);
    lr_text_string(&t, " m=");
    lr_text_u64(&t, UINT64_MAX);
    lr_text_string(&t, " ");
    lr_text_id(&t, (lr_id){1, 2});
    assert_string_equal(text, "n=0 m=18446744073709551615 00000000000000010000000000000002");
    assert_int_equal(t.needed_bytes, strlen(text));
}

static void lines_hold_no_control_characters(void **state)
{
    (void)state;
    char text[32];
    lr_text t = lr_text_of(text, sizeof text);
    lr_text_line(&t, "a\nb\tc\x7f\x1b[0m\xc3\xa4", 64);
    assert_string_equal(text, "a b c  [0m\xc3\xa4");
}

static void is_cut_and_goes_on_counting(void **state)
{
    (void)state;
    char text[4] = {'x', 'x', 'x', 'x'};
    lr_text t = lr_text_of(text, 3);
    lr_text_string(&t, "hello");
    assert_string_equal(text, "he");
    assert_int_equal(text[3], 'x');
    assert_int_equal(t.needed_bytes, 5);
    t = lr_text_of(NULL, 0);
    lr_text_string(&t, "hello");
    assert_int_equal(t.needed_bytes, 5);
}

static void seconds_are_short_and_exact(void **state)
{
    (void)state;
    static const struct {
        uint64_t ns;
        const char *text;
    } rows[] = {{0, "0"}, {100000000u, "0.1"}, {12000000000u, "12"}, {25000u, "0.000025"},
                {1, "0.000000001"}, {1500000000u, "1.5"}, {1010000000u, "1.01"}};
    for (size_t i = 0; i < LR_COUNT(rows); i++) {
        char text[32];
        lr_text t = lr_text_of(text, sizeof text);
        lr_text_seconds(&t, rows[i].ns);
        assert_string_equal(text, rows[i].text);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(builds_a_sentence),
        cmocka_unit_test(lines_hold_no_control_characters),
        cmocka_unit_test(is_cut_and_goes_on_counting),
        cmocka_unit_test(seconds_are_short_and_exact),
    };
    return RUN_ALL(tests);
}
