#include "sched/error.h"
#include "tests/unit/test.h"

static void codes_lead_back(void **state)
{
    (void)state;
    for (int i = 1; i < LR_ERR_COUNT; i++)
        assert_int_equal(lr_err_from_code(lr_err_code((lr_err)i)), i);
    assert_int_equal(lr_err_from_code("no such"), LR_ERR_NONE);
    assert_string_equal(lr_err_code(LR_ERR_NONE), "none");
}

static void the_codes_of_the_interface_exist(void **state)
{
    (void)state;
    static const char *const codes[] = {
        "error",          "timeout",       "cancelled",    "deadline",
        "node_died",      "object_lost",   "infeasible",   "not_serializable",
        "out_of_memory",  "kernel_error",  "version_mismatch"};
    for (size_t i = 0; i < LR_COUNT(codes); i++)
        assert_int_not_equal(lr_err_from_code(codes[i]), LR_ERR_NONE);
}

static void every_row_has_words(void **state)
{
    (void)state;
    for (int i = 0; i < LR_ERR_COUNT; i++) {
        assert_true(strlen(lr_err_meaning((lr_err)i)) > 0);
        assert_true(strlen(lr_err_advice((lr_err)i)) > 0);
    }
    expect_assert_failure(lr_err_code(LR_ERR_COUNT));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_lead_back),
        cmocka_unit_test(the_codes_of_the_interface_exist),
        cmocka_unit_test(every_row_has_words),
    };
    return RUN_ALL(tests);
}
