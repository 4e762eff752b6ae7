#include "sched/resource.h"
#include "tests/unit/test.h"

static lr_resource_names names;

static int fresh_names(void **state)
{
    (void)state;
    lr_resource_names_init(&names);
    return 0;
}

static lr_resources parsed(const char *text)
{
    char error[200] = "";
    lr_resources r;
    if (!lr_resources_parse(text, &names, &r, error, sizeof error)) fail_msg("%s", error);
    return r;
}

static void names_are_interned(void **state)
{
    (void)state;
    assert_int_equal(lr_resource_find(&names, "cpu"), LR_RESOURCE_CPU);
    assert_int_equal(lr_resource_find(&names, "gpu"), LR_RESOURCE_GPU);
    assert_int_equal(lr_resource_find(&names, "memory"), LR_RESOURCE_MEMORY);
    assert_int_equal(lr_resource_find(&names, "tpu"), -1);
    assert_int_equal(lr_resource_intern(&names, "tpu"), LR_RESOURCE_NAMED);
    assert_int_equal(lr_resource_intern(&names, "tpu"), LR_RESOURCE_NAMED);
    assert_string_equal(lr_resource_name(&names, LR_RESOURCE_NAMED), "tpu");
    assert_string_equal(lr_resource_name(&names, 12), "?");
    assert_string_equal(lr_resource_name(&names, -1), "?");
    assert_int_equal(lr_resource_intern(&names, "7up"), -2);
    assert_int_equal(lr_resource_intern(&names, ""), -2);
    assert_int_equal(lr_resource_intern(&names, "a b"), -2);
    assert_int_equal(lr_resource_intern(&names, "abcdefghijklmnopqrstuvwxyz_12345"), -2);
    assert_int_equal(lr_resource_intern(&names, "abcdefghijklmnopqrstuvwxyz_1234"), 4);
}

static void the_name_table_is_bounded(void **state)
{
    (void)state;
    char name[] = "r_a";
    for (int i = 0; i < LR_RESOURCE_NAMED_MAX; i++, name[2]++)
        assert_int_equal(lr_resource_intern(&names, name), LR_RESOURCE_NAMED + i);
    assert_int_equal(lr_resource_intern(&names, "one_more"), -1);
    assert_int_equal(lr_resource_intern(&names, "r_c"), LR_RESOURCE_NAMED + 2);
}

static void amounts_are_decimal(void **state)
{
    (void)state;
    lr_resources r = parsed("gpu=2,tpu=0.5,memory=8589934592,cpu=0.1");
    assert_true(r.amount[LR_RESOURCE_GPU] == 2 * LR_AMOUNT_ONE);
    assert_true(r.amount[LR_RESOURCE_NAMED] == LR_AMOUNT_ONE / 2);
    assert_true(r.amount[LR_RESOURCE_MEMORY] == 8589934592 * LR_AMOUNT_ONE);
    assert_true(r.amount[LR_RESOURCE_CPU] == 1000);
    char text[100];
    size_t needed = lr_resources_format(&r, &names, text, sizeof text);
    assert_string_equal(text, "cpu=0.1,gpu=2,memory=8589934592,tpu=0.5");
    assert_int_equal(needed, strlen(text));
    lr_resources again = parsed(text), nothing = parsed("");
    assert_true(lr_resources_equal(&r, &again));
    assert_int_equal(lr_resources_format(&nothing, &names, text, sizeof text), 0);
}

static void malformed_text_is_refused_in_words(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"gpu", "resources: 'gpu': expected name=amount, as in gpu=2,tpu=0.5"},
        {",", "resources: '': expected name=amount, as in gpu=2,tpu=0.5"},
        {"gpu=1,", "resources: '': expected name=amount after the last comma"},
        {"gpu=", "resources: 'gpu=': the amount must be a number from 0 with up to 4 decimals"},
        {"gpu=.", "resources: 'gpu=.': the amount must be a number from 0 with up to 4 decimals"},
        {"gpu=-1", "resources: 'gpu=-1': the amount must be a number from 0 with up to 4 decimals"},
        {"gpu=1.00001",
         "resources: 'gpu=1.00001': the amount must be a number from 0 with up to 4 decimals"},
        {"gpu=99999999999999999999",
         "resources: 'gpu=99999999999999999999': the amount must be a number from 0 with up to 4 "
         "decimals"},
        {"gpu=1,gpu=2", "resources: 'gpu=2': named twice"},
        {"=1", "resources: '=1': a name is 1 to 31 letters, digits, '_', '-' or '.', and begins with "
               "no digit"},
        {"gp u=1", "resources: 'gp u=1': a name is 1 to 31 letters, digits, '_', '-' or '.', and "
                   "begins with no digit"},
        {"a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1,l=1,m=1,n=1",
         "resources: 'n=1': there is room for 13 named resources only"},
    };
    for (size_t i = 0; i < LR_COUNT(rows); i++) {
        char error[200];
        lr_resources r = {{77}};
        assert_false(lr_resources_parse(rows[i].text, &names, &r, error, sizeof error));
        assert_string_equal(error, rows[i].error);
        assert_true(r.amount[0] == 77);
        assert_int_equal(names.count, LR_RESOURCE_NAMED); /* nothing was entered */
    }
    char tiny[8];
    lr_resources r;
    assert_false(lr_resources_parse("gpu", &names, &r, tiny, sizeof tiny));
    assert_string_equal(tiny, "resourc");
}

static void numbers_become_amounts(void **state)
{
    (void)state;
    int64_t a = -7;
    double zero = 0;
    assert_false(lr_amount_from_double(-0.1, &a));
    assert_false(lr_amount_from_double(zero / zero, &a));
    assert_false(lr_amount_from_double(1 / zero, &a));
    assert_false(lr_amount_from_double(1e18, &a));
    assert_true(a == -7);
    assert_true(lr_amount_from_double(0.1 + 0.2, &a) && a == 3000);
    assert_true(lr_amount_from_double(1e-9, &a) && a == 1);
    assert_true(lr_amount_from_double(0, &a) && a == 0);
    assert_true(lr_amount_from_double(1e12, &a) && a == 10000000000000000);
    assert_true(lr_amount_to_double(5000) == 0.5);
}

static void amounts_are_shown_short(void **state)
{
    (void)state;
    static const struct {
        int64_t amount;
        const char *text;
    } rows[] = {{0, "0"}, {1, "0.0001"}, {5000, "0.5"}, {20000, "2"}, {-15000, "-1.5"}, {10100, "1.01"}};
    for (size_t i = 0; i < LR_COUNT(rows); i++) {
        char text[32];
        assert_int_equal(lr_amount_format(rows[i].amount, text, sizeof text), strlen(rows[i].text));
        assert_string_equal(text, rows[i].text);
    }
}

static void only_cpu_goes_below_zero(void **state)
{
    (void)state;
    lr_resources total = parsed("cpu=2,gpu=1"), available = total;
    lr_resources cpu3 = parsed("cpu=3"), gpu1 = parsed("gpu=1"), nothing = parsed("");
    assert_int_equal(lr_resources_short(&available, &cpu3), LR_RESOURCE_CPU);
    assert_true(lr_resources_fit(&available, &gpu1));
    lr_resources_take(&available, &cpu3);
    assert_true(available.amount[LR_RESOURCE_CPU] == -LR_AMOUNT_ONE);
    assert_true(lr_resources_fit(&available, &nothing)); /* even where cpu is below zero */
    assert_true(lr_resources_fit(&available, &gpu1));
    lr_resources_take(&available, &gpu1);
    assert_false(lr_resources_fit(&available, &gpu1));
    lr_resources scratch = available;
    expect_assert_failure(lr_resources_take(&scratch, &gpu1));
    lr_resources_give(&available, &cpu3, &total);
    lr_resources_give(&available, &gpu1, &total);
    assert_true(lr_resources_equal(&available, &total));
    expect_assert_failure(lr_resources_give(&available, &gpu1, &total));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(names_are_interned, fresh_names),
        cmocka_unit_test_setup(the_name_table_is_bounded, fresh_names),
        cmocka_unit_test_setup(amounts_are_decimal, fresh_names),
        cmocka_unit_test_setup(malformed_text_is_refused_in_words, fresh_names),
        cmocka_unit_test_setup(numbers_become_amounts, fresh_names),
        cmocka_unit_test_setup(amounts_are_shown_short, fresh_names),
        cmocka_unit_test_setup(only_cpu_goes_below_zero, fresh_names),
    };
    return RUN_ALL(tests);
}
