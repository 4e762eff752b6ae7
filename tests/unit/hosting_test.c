/* tests/unit/hosting_test.c - which job processes a machine starts, kills and starts again, in virtual time. */
#include "sched/control_memory.h"
#include "sched/hosting.h"
#include "tests/unit/test.h"

#include <stdlib.h>

#define MS 1000000ull

static struct {
    lr_control control;
    lr_hosting hosting;
    lr_hosted job;
    bool refuses;
    int started, killed, forgotten;
    unsigned puts, deletes;
    uint64_t token; /* of the last deletion */
} kit;

static lr_err request(lr_control *control, const lr_control_request *r)
{
    (void)control;
    kit.puts += r->op == LR_CONTROL_PUT;
    if (r->op != LR_CONTROL_DELETE) return LR_ERR_NONE;
    kit.deletes++;
    kit.token = r->token;
    return LR_ERR_NONE;
}

static bool start(void *user, lr_hosted *job)
{
    (void)user;
    assert_ptr_equal(job, &kit.job);
    kit.started += !kit.refuses;
    return !kit.refuses;
}

static void stop(void *user, lr_hosted *job)
{
    (void)user;
    (void)job;
    kit.killed++;
}

static void forget(void *user, lr_hosted *job)
{
    (void)user;
    (void)job;
    kit.forgotten++;
}

static void begin(bool served)
{
    static const lr_control_class class = {request, NULL, NULL};
    memset(&kit, 0, sizeof kit);
    kit.control.class = &class;
    kit.hosting.control = &kit.control;
    kit.hosting.tokens = 7ull << 56;
    kit.hosting.hooks = (lr_hosting_hooks){start, stop, forget, NULL};
    lr_hosting_begin(&kit.hosting);
    kit.job = (lr_hosted){.id = {1, 2}, .served = served};
    lr_hosting_add(&kit.hosting, &kit.job);
}

static void answer(lr_control_status status)
{
    lr_control_reply reply = {.token = kit.token, .op = LR_CONTROL_DELETE, .status = status};
    assert_true(lr_hosting_reply(&kit.hosting, &reply));
}

/* Killed again and again: the pauses double, up to two seconds; one that lived long is started again soon. */
static void test_again(void **state)
{
    (void)state;
    uint64_t now_ns = 1000 * LR_NS_PER_S, pause_ns = 100 * MS;
    begin(true);
    for (int i = 1; i < 9; i++) {
        assert_int_equal(lr_hosting_tend(&kit.hosting, now_ns), LR_NEVER);
        assert_int_equal(kit.started, i);
        assert_true(lr_hosting_ended(&kit.hosting, &kit.job, i, "was killed", now_ns));
        assert_int_equal(lr_hosting_tend(&kit.hosting, now_ns), now_ns + pause_ns);
        assert_int_equal(kit.started, i);
        now_ns += pause_ns;
        pause_ns = pause_ns * 2 < 2 * LR_NS_PER_S ? pause_ns * 2 : 2 * LR_NS_PER_S;
    }
    assert_int_equal(kit.puts, 8);
    lr_hosting_tend(&kit.hosting, now_ns);
    now_ns += 11 * LR_NS_PER_S;
    assert_false(lr_hosting_ended(&kit.hosting, &kit.job, 9, NULL, now_ns)); /* well: nothing to tell */
    assert_int_equal(lr_hosting_tend(&kit.hosting, now_ns), now_ns + 100 * MS);
    assert_int_equal(kit.puts, 8);
}

/* One that cannot be started is tried again; one that is not served never. */
static void test_refused(void **state)
{
    (void)state;
    begin(true);
    kit.refuses = true;
    assert_int_equal(lr_hosting_tend(&kit.hosting, 5), 5 + 2 * LR_NS_PER_S);
    kit.refuses = false;
    assert_int_equal(lr_hosting_tend(&kit.hosting, 5 + 2 * LR_NS_PER_S), LR_NEVER);
    assert_int_equal(kit.started, 1);
    begin(false);
    assert_int_equal(lr_hosting_tend(&kit.hosting, 5), LR_NEVER);
    assert_int_equal(kit.started + (int)kit.hosting.served, 0);
}

/* Its row is gone: it may end by itself for a while, then it is killed, and forgotten when it has ended. */
static void test_over(void **state)
{
    (void)state;
    begin(true);
    lr_hosting_tend(&kit.hosting, 5);
    assert_int_equal(kit.hosting.served, 1);
    lr_hosting_over(&kit.hosting, &kit.job, 10);
    assert_int_equal(kit.hosting.served, 0);
    assert_int_equal(lr_hosting_tend(&kit.hosting, 10), 10 + LR_HOSTING_GRACE_NS);
    assert_int_equal(kit.killed, 0);
    lr_hosting_tend(&kit.hosting, 10 + LR_HOSTING_GRACE_NS);
    assert_int_equal(kit.killed, 1);
    lr_hosting_tend(&kit.hosting, 20 * LR_NS_PER_S);
    assert_int_equal(kit.killed, 1);
    assert_int_equal(kit.forgotten, 0);
    assert_false(lr_hosting_ended(&kit.hosting, &kit.job, 3, "was killed", 20 * LR_NS_PER_S));
    lr_hosting_tend(&kit.hosting, 20 * LR_NS_PER_S);
    assert_int_equal(kit.forgotten, 1);
    assert_int_equal(kit.puts, 0);
}

/* What it had written of the job's processes is deleted first, however often the store does not answer. */
static void test_rows(void **state)
{
    (void)state;
    uint64_t now_ns = LR_NS_PER_S;
    begin(true);
    lr_hosting_tend(&kit.hosting, now_ns);
    lr_hosting_ended(&kit.hosting, &kit.job, 3, "was killed", now_ns);
    lr_hosting_over(&kit.hosting, &kit.job, now_ns); /* at once: nothing runs */
    for (unsigned i = 1; i < 4; i++) {
        lr_hosting_tend(&kit.hosting, now_ns);
        assert_int_equal(kit.deletes, i);
        lr_hosting_tend(&kit.hosting, now_ns);
        assert_int_equal(kit.deletes, i); /* one at a time */
        answer(LR_CONTROL_STATUS_UNAVAILABLE);
        now_ns += LR_NS_PER_S;
    }
    lr_hosting_tend(&kit.hosting, now_ns);
    assert_int_equal(kit.forgotten, 0);
    answer(LR_CONTROL_STATUS_NOT_FOUND);
    lr_hosting_tend(&kit.hosting, now_ns);
    assert_int_equal(kit.forgotten, 1);
    assert_int_equal(kit.deletes, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_over),
        cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
