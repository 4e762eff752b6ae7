#include "sched/local.h"
#include "tests/unit/test.h"

static lr_local local;
static const lr_id self = {1, 1}, other = {2, 2};

static lr_resources offer(int cpu, int gpu)
{
    return (lr_resources){{cpu * (int64_t)LR_AMOUNT_ONE, gpu * (int64_t)LR_AMOUNT_ONE}};
}

static int setup(void **state)
{
    (void)state;
    lr_resources total = offer(2, 1);
    lr_local_init(&local, &total);
    return 0;
}

static lr_spec spec_of(int64_t cpu, int64_t gpu)
{
    lr_spec s;
    lr_spec_init(&s, lr_id_from_seed(1), lr_id_from_seed(2), "f");
    s.need.amount[LR_RESOURCE_CPU] = cpu;
    s.need.amount[LR_RESOURCE_GPU] = gpu;
    return s;
}

static int64_t cpu_free(void) { return local.available.amount[LR_RESOURCE_CPU]; }

static void the_infeasible_is_found(void **state)
{
    (void)state;
    lr_spec s = spec_of(LR_AMOUNT_ONE, 20000);
    assert_int_equal(lr_local_feasible(&local, self, &s), LR_ERR_INFEASIBLE);
    assert_int_equal(s.detail.kind, LR_DETAIL_RESOURCE);
    assert_int_equal(s.detail.resource, LR_RESOURCE_GPU);
    assert_true(s.detail.asked == 20000 && s.detail.offered == LR_AMOUNT_ONE);
    s = spec_of(25000, 0);
    assert_int_equal(lr_local_feasible(&local, self, &s), LR_ERR_INFEASIBLE);
    assert_true(s.detail.resource == LR_RESOURCE_CPU && s.detail.asked == 25000);
    s = spec_of(20000, 10000);
    assert_int_equal(lr_local_feasible(&local, self, &s), LR_ERR_NONE);
    s.unknown_resource = "tpu";
    assert_int_equal(lr_local_feasible(&local, self, &s), LR_ERR_NONE); /* 0 of it */
    s.unknown_amount = 1;
    assert_int_equal(lr_local_feasible(&local, self, &s), LR_ERR_INFEASIBLE);
    assert_int_equal(s.detail.kind, LR_DETAIL_UNKNOWN_RESOURCE);
}

static void affinity_is_to_this_node(void **state)
{
    (void)state;
    lr_spec s = spec_of(LR_AMOUNT_ONE, 0);
    s.affinity = LR_AFFINITY_NODE;
    s.node = other;
    assert_int_equal(lr_local_feasible(&local, self, &s), LR_ERR_INFEASIBLE);
    assert_int_equal(s.detail.kind, LR_DETAIL_UNKNOWN_NODE);
    s.node = self;
    assert_int_equal(lr_local_feasible(&local, self, &s), LR_ERR_NONE);
    s.affinity = LR_AFFINITY_SPREAD;
    s.node = LR_ID_NIL;
    assert_int_equal(lr_local_feasible(&local, self, &s), LR_ERR_NONE);
}

static void without_workers_nothing_is_feasible(void **state)
{
    (void)state;
    lr_resources total = offer(0, 1);
    lr_local_init(&local, &total);
    lr_spec s = spec_of(0, 0);
    assert_int_equal(lr_local_feasible(&local, self, &s), LR_ERR_INFEASIBLE);
    assert_true(s.detail.resource == LR_RESOURCE_CPU && s.detail.asked == LR_AMOUNT_ONE);
}

static void small_tasks_take_a_slot_each(void **state)
{
    (void)state;
    lr_spec s[3], zero = spec_of(0, 0);
    for (int i = 0; i < 3; i++) {
        s[i] = spec_of(2500, 0); /* a quarter of a cpu */
        lr_local_queue(&local, &s[i]);
    }
    lr_local_queue(&local, &zero);
    assert_ptr_equal(lr_local_start(&local, 1), &s[0]);
    assert_ptr_equal(lr_local_start(&local, 1), &s[1]);
    assert_ptr_equal(lr_local_start(&local, 1), &zero); /* takes no slot */
    assert_null(lr_local_start(&local, 1));
    assert_int_equal(local.in_pool, 3);
    lr_local_explain(&local, &s[2]);
    assert_int_equal(s[2].detail.kind, LR_DETAIL_LATE_RESOURCE);
    assert_int_equal(s[2].detail.resource, LR_RESOURCE_CPU);
    lr_local_finish(&local, &zero);
    assert_null(lr_local_start(&local, 1));
    lr_local_finish(&local, &s[0]);
    assert_ptr_equal(lr_local_start(&local, 1), &s[2]);
}

static void parking_lends_the_cpu(void **state)
{
    (void)state;
    lr_spec wide = spec_of(20000, 10000), next = spec_of(15000, 0), gpu = spec_of(0, 10000);
    lr_local_queue(&local, &wide);
    lr_local_queue(&local, &next);
    lr_local_queue(&local, &gpu);
    assert_ptr_equal(lr_local_start(&local, 1), &wide);
    assert_null(lr_local_start(&local, 1));
    lr_local_park(&local, &wide);
    assert_ptr_equal(lr_local_start(&local, 1), &next);
    assert_null(lr_local_start(&local, 1)); /* the gpu is still held */
    lr_local_resume(&local, &wide);
    assert_true(cpu_free() == -15000);
    lr_local_finish(&local, &next);
    assert_true(cpu_free() == 0);
    lr_local_park(&local, &wide);
    lr_local_finish(&local, &wide); /* ends while parked: its cpus are not given twice */
    assert_true(cpu_free() == 20000);
    assert_ptr_equal(lr_local_start(&local, 1), &gpu);
    lr_local_finish(&local, &gpu);
    assert_true(lr_resources_equal(&local.available, &local.total));
    assert_int_equal(local.in_pool + local.parked, 0);
}

static void what_cannot_be_asserts(void **state)
{
    (void)state;
    lr_spec s = spec_of(LR_AMOUNT_ONE, 0);
    lr_local_queue(&local, &s);
    expect_assert_failure(lr_local_finish(&local, &s));
    expect_assert_failure(lr_local_park(&local, &s));
    assert_ptr_equal(lr_local_start(&local, 1), &s);
    expect_assert_failure(lr_local_resume(&local, &s));
    lr_local_finish(&local, &s);
    expect_assert_failure(lr_local_finish(&local, &s));
    lr_spec negative = spec_of(-1, 0);
    expect_assert_failure(lr_local_queue(&local, &negative));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_infeasible_is_found, setup),
        cmocka_unit_test_setup(affinity_is_to_this_node, setup),
        cmocka_unit_test_setup(without_workers_nothing_is_feasible, setup),
        cmocka_unit_test_setup(small_tasks_take_a_slot_each, setup),
        cmocka_unit_test_setup(parking_lends_the_cpu, setup),
        cmocka_unit_test_setup(what_cannot_be_asserts, setup),
    };
    return RUN_ALL(tests);
}
