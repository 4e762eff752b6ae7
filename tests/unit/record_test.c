#include "sched/record.h"
#include "tests/unit/test.h"

static const lr_id a = {1, 2}, b = {3, 4};
static char text[LR_RECORD_MAX];

static void rows_are_lines(void **state)
{
    (void)state;
    lr_resource_names names;
    lr_resource_names_init(&names);
    lr_resources offers = {{2 * LR_AMOUNT_ONE, LR_AMOUNT_ONE}};
    lr_record_node(text, sizeof text, 99, &offers, &names);
    assert_string_equal(text, "1 since=99 offers=cpu=2,gpu=1");
    lr_record_job(text, sizeof text, 99, "my script.lua");
    assert_string_equal(text, "1 since=99 name=my script.lua");
    lr_record_job(text, sizeof text, 99, NULL);
    assert_string_equal(text, "1 since=99 name=?");
    lr_record_history(text, sizeof text, 99, a, "ok");
    assert_string_equal(text, "1 job=00000000000000010000000000000002 ended=99 status=ok");
    lr_record_error(text, sizeof text, 99, a, b, LR_ERR_TIMEOUT, "f", "too\nlate");
    assert_string_equal(text, "1 task=00000000000000010000000000000002 "
                              "job=00000000000000030000000000000004 at=99 code=timeout function=f: "
                              "too late");
}

static void the_length_is_what_was_written(void **state)
{
    (void)state;
    assert_int_equal(lr_record_job(text, sizeof text, 1, "x"), strlen("1 since=1 name=x"));
    char tiny[10];
    assert_int_equal(lr_record_job(tiny, sizeof tiny, 1, "x"), 9);
    assert_string_equal(tiny, "1 since=1");
    assert_int_equal(lr_record_job(NULL, 0, 1, "x"), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(rows_are_lines),
                                              cmocka_unit_test(the_length_is_what_was_written)};
    return RUN_ALL(tests);
}
