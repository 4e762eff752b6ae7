#include "sched/task_state.h"
#include "tests/unit/test.h"

static void names_are_those_of_the_interface(void **state)
{
    (void)state;
    static const char *const names[] = {"waiting", "queued", "running", "ready", "failed", "cancelled"};
    assert_int_equal(LR_COUNT(names), LR_TASK_STATE_COUNT);
    for (int i = 0; i < LR_TASK_STATE_COUNT; i++) {
        assert_string_equal(lr_task_state_name((lr_task_state)i), names[i]);
        assert_int_equal(lr_task_state_from_name(names[i]), i);
        assert_true(strlen(lr_task_state_meaning((lr_task_state)i)) > 0);
    }
    assert_int_equal(lr_task_state_from_name("done"), LR_TASK_STATE_COUNT);
}

/* Rows from, columns to, in the order of the names above. */
static void exactly_these_moves_are_legal(void **state)
{
    (void)state;
    static const char *const legal[] = {".x..xx", "..x.xx", ".x.xxx", "......", "......", "......"};
    for (int from = 0; from < LR_TASK_STATE_COUNT; from++)
        for (int to = 0; to < LR_TASK_STATE_COUNT; to++)
            assert_int_equal(lr_task_state_may((lr_task_state)from, (lr_task_state)to),
                             legal[from][to] == 'x');
    assert_string_equal(lr_task_state_when(LR_TASK_QUEUED, LR_TASK_RUNNING), "a worker begins it");
}

static void a_state_that_ended_stays(void **state)
{
    (void)state;
    for (int from = 0; from < LR_TASK_STATE_COUNT; from++)
        for (int to = 0; to < LR_TASK_STATE_COUNT; to++)
            if (lr_task_state_ended((lr_task_state)from))
                assert_false(lr_task_state_may((lr_task_state)from, (lr_task_state)to));
}

static void a_move_names_the_old_state(void **state)
{
    (void)state;
    lr_task_state s = LR_TASK_WAITING;
    lr_task_state_move(&s, LR_TASK_WAITING, LR_TASK_QUEUED);
    assert_int_equal(s, LR_TASK_QUEUED);
    expect_assert_failure(lr_task_state_move(&s, LR_TASK_WAITING, LR_TASK_QUEUED));
    expect_assert_failure(lr_task_state_move(&s, LR_TASK_QUEUED, LR_TASK_READY));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_those_of_the_interface),
        cmocka_unit_test(exactly_these_moves_are_legal),
        cmocka_unit_test(a_state_that_ended_stays),
        cmocka_unit_test(a_move_names_the_old_state),
    };
    return RUN_ALL(tests);
}
