/* tests/unit/leftover_test.c - rows of jobs that are over are deleted at the second look, those of living ones never. */
#include "sched/leftover.h"
#include "sched/control_memory.h"
#include "runtime/allocator.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static const lr_id LIVES = {1, 1}, OVER = {2, 2}, COMES = {3, 3};

static struct {
    lr_control_memory store;
    lr_leftover leftover;
    bool comes;         /* the row of that job is there */
    unsigned agents;
    uint32_t rows;      /* of the last look of ours */
    lr_id owners[16];
} kit;

static bool lives(void *user, lr_id job)
{
    (void)user;
    return lr_id_equal(job, LIVES) || (kit.comes && lr_id_equal(job, COMES));
}

static unsigned agents(void *user)
{
    (void)user;
    return kit.agents;
}

static void on_reply(void *user, const lr_control_reply *reply)
{
    (void)user;
    if (lr_leftover_reply(&kit.leftover, reply) || reply->op != LR_CONTROL_SCAN) return;
    for (uint32_t i = 0; i < reply->count; i++)
        kit.owners[kit.rows++] = reply->rows[i].owner;
}

static void make(lr_control_request *r)
{
    lr_err err = lr_control_request_make(&kit.store.control, r);
    assert_int_equal(err, LR_ERR_NONE);
    while (lr_control_turn(&kit.store.control, 0) > 0)
        ;
}

static void put(lr_control_table table, const char *key, lr_id owner)
{
    lr_control_request r = {.op = LR_CONTROL_PUT, .table = table, .key = lr_bytes_of(key, strlen(key)), .owner = owner,
                            .value = lr_bytes_of("x", 1)};
    make(&r);
}

static bool has(lr_control_table table, lr_id owner)
{
    lr_control_request r = {.op = LR_CONTROL_SCAN, .table = table};
    bool found = false;
    kit.rows = 0;
    make(&r);
    for (uint32_t i = 0; i < kit.rows; i++)
        found |= lr_id_equal(kit.owners[i], owner);
    return found;
}

static void look_at(uint64_t now_ns)
{
    lr_leftover_turn(&kit.leftover, now_ns);
    while (lr_control_turn(&kit.store.control, 0) > 0)
        ;
}

static int set_up(void **state)
{
    (void)state;
    const lr_control_handler handler = {on_reply, NULL, NULL};
    memset(&kit, 0, sizeof kit);
    assert_int_equal(lr_control_memory_init(&kit.store, &lr_process_allocator, 1 << 20, &handler), LR_ERR_NONE);
    kit.agents = 1;
    kit.leftover = (lr_leftover){.control = &kit.store.control, .token = 77, .lives = lives, .agents = agents};
    lr_leftover_begin(&kit.leftover, 0);
    put(LR_CONTROL_TABLE_EVENT, "a", LIVES);
    put(LR_CONTROL_TABLE_EVENT, "b", OVER);
    put(LR_CONTROL_TABLE_EVENT, "c", OVER);
    put(LR_CONTROL_TABLE_INSPECTION, "d", OVER);
    put(LR_CONTROL_TABLE_EVENT, "e", COMES);
    put(LR_CONTROL_TABLE_EVENT, "f", LR_ID_NIL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lr_control_fini(&kit.store.control);
    return 0;
}

static void what_belongs_to_nobody_twice_is_deleted(void **state)
{
    (void)state;
    look_at(LR_LEFTOVER_LEAST_NS - 1);
    look_at(LR_LEFTOVER_LEAST_NS);
    assert_true(has(LR_CONTROL_TABLE_EVENT, OVER)); /* at the first look */
    kit.comes = true;                               /* its row was late */
    assert_int_equal(lr_leftover_deadline(&kit.leftover), 2ull * LR_LEFTOVER_LEAST_NS);
    look_at(2ull * LR_LEFTOVER_LEAST_NS);
    assert_false(has(LR_CONTROL_TABLE_EVENT, OVER));
    assert_false(has(LR_CONTROL_TABLE_INSPECTION, OVER));
    assert_true(has(LR_CONTROL_TABLE_EVENT, LIVES));
    assert_true(has(LR_CONTROL_TABLE_EVENT, COMES));
    assert_true(has(LR_CONTROL_TABLE_EVENT, LR_ID_NIL));
}

static void many_agents_look_more_seldom(void **state)
{
    (void)state;
    kit.agents = 1000;
    look_at(LR_LEFTOVER_LEAST_NS);
    assert_int_equal(lr_leftover_deadline(&kit.leftover), LR_LEFTOVER_LEAST_NS + 250000000000ull);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_belongs_to_nobody_twice_is_deleted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_agents_look_more_seldom, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
