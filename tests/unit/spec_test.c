#include "sched/spec.h"
#include "tests/unit/test.h"

static lr_resource_names names;

static lr_spec failed_spec(lr_err err, lr_detail detail)
{
    lr_spec s;
    lr_spec_init(&s, lr_id_from_seed(1), lr_id_from_seed(2), "f");
    s.err = err;
    s.detail = detail;
    return s;
}

static void says(const lr_spec *spec, const char *expected)
{
    char text[256];
    size_t needed = lr_spec_explain(spec, &names, text, sizeof text);
    assert_string_equal(text, expected);
    assert_int_equal(needed, strlen(expected));
}

static void starts_with_defaults(void **state)
{
    (void)state;
    lr_spec s = failed_spec(LR_ERR_NONE, (lr_detail){0});
    assert_int_equal(s.state, LR_TASK_WAITING);
    assert_int_equal(s.place, LR_PLACE_OUT);
    assert_true(s.need.amount[LR_RESOURCE_CPU] == LR_AMOUNT_ONE);
    assert_true(s.deadline_ns == 0 && s.timeout_ns == 0 && s.priority == 0);
    assert_int_equal(s.affinity, LR_AFFINITY_NONE);
}

static void infeasible_names_what_is_short(void **state)
{
    (void)state;
    lr_spec s = failed_spec(LR_ERR_INFEASIBLE, (lr_detail){LR_DETAIL_RESOURCE, LR_RESOURCE_GPU,
                                                           2 * LR_AMOUNT_ONE, 0});
    says(&s, "infeasible: gpu: 2 asked, the most a node offers is 0 "
             "(start luarun with --resources gpu=2)");
    s.detail = (lr_detail){LR_DETAIL_RESOURCE, LR_RESOURCE_CPU, 35000, 2 * LR_AMOUNT_ONE};
    says(&s, "infeasible: cpu: 3.5 asked, the most a node offers is 2 (start luarun with --workers 4)");
    s.unknown_resource = "tpu";
    s.detail = (lr_detail){LR_DETAIL_UNKNOWN_RESOURCE, -1, 5000, 0};
    says(&s, "infeasible: tpu: 0.5 asked, the most a node offers is 0 "
             "(start luarun with --resources tpu=0.5)");
    s.node = (lr_id){1, 2};
    s.detail = (lr_detail){LR_DETAIL_UNKNOWN_NODE, 0, 0, 0};
    says(&s, "infeasible: node: 00000000000000010000000000000002 asked, there is no such node "
             "(lr.nodes() lists them)");
}

static void deadline_says_what_it_waited_for(void **state)
{
    (void)state;
    lr_spec s = failed_spec(LR_ERR_DEADLINE, (lr_detail){LR_DETAIL_LATE_RESOURCE, LR_RESOURCE_GPU,
                                                         LR_AMOUNT_ONE, 0});
    s.queued_at_ns = 5000000000u;
    s.deadline_ns = 5100000000u;
    says(&s, "deadline: not started 0.1 s after it was submitted: waited for gpu (1 asked, 0 free)");
    s.detail = (lr_detail){LR_DETAIL_LATE_RESOURCE, LR_RESOURCE_CPU, LR_AMOUNT_ONE, -LR_AMOUNT_ONE};
    says(&s, "deadline: not started 0.1 s after it was submitted: waited for cpu (1 asked, 0 free)");
    s.detail = (lr_detail){LR_DETAIL_LATE_TURN, 0, 0, 0};
    says(&s, "deadline: not started 0.1 s after it was submitted: waited for its turn");
    s.deadline_ns = 4000000000u;
    says(&s, "deadline: it had passed before the task and its inputs were there");
}

static void other_states_have_words_too(void **state)
{
    (void)state;
    lr_spec s = failed_spec(LR_ERR_NONE, (lr_detail){LR_DETAIL_LATE_RESOURCE, LR_RESOURCE_MEMORY,
                                                     100 * LR_AMOUNT_ONE, 7 * LR_AMOUNT_ONE});
    says(&s, "waits for memory (100 asked, 7 free)");
    s = failed_spec(LR_ERR_TIMEOUT, (lr_detail){0});
    says(&s, "timeout: the time allowed was over before the result was there");
    s = failed_spec(LR_ERR_INFEASIBLE, (lr_detail){0});
    says(&s, "infeasible: no node could ever run the task");
    char tiny[6];
    assert_int_equal(lr_spec_explain(&s, &names, tiny, sizeof tiny), 43);
    assert_string_equal(tiny, "infea");
}

static int setup(void **state)
{
    (void)state;
    lr_resource_names_init(&names);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_with_defaults),
        cmocka_unit_test(infeasible_names_what_is_short),
        cmocka_unit_test(deadline_says_what_it_waited_for),
        cmocka_unit_test(other_states_have_words_too),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
