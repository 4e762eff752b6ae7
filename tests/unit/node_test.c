#include "sched/node.h"
#include "tests/unit/test.h"

#define MS 1000000u
#define T0 1000000000u

/* A node with two workers and one gpu, and the last step's actions. */
static lr_resource_names names;
static lr_node node;
static lr_action items[64];
static uint8_t bytes[LR_ACTION_BYTES_MIN];
static lr_actions out;
static const lr_id self = {1, 1}, job = {7, 7};

static void step_event(uint64_t now_ns, lr_event e) { lr_node_step(&node, now_ns, &e, &out); }

static void step(uint64_t now_ns, lr_event_kind kind, lr_spec *spec)
{
    step_event(now_ns, (lr_event){.kind = kind, .spec = spec});
}

static void finish(uint64_t now_ns, lr_spec *spec, lr_err err)
{
    step_event(now_ns, (lr_event){.kind = LR_EVENT_TASK_FINISHED, .spec = spec, .err = err});
}

static void boot(int workers, uint32_t capacity)
{
    lr_resources offers = {{workers * (int64_t)LR_AMOUNT_ONE, LR_AMOUNT_ONE}};
    lr_resource_names_init(&names);
    lr_node_init(&node, &names);
    lr_actions_init(&out, items, capacity, bytes, sizeof bytes);
    step_event(T0, (lr_event){.kind = LR_EVENT_START, .start = {self, &offers}});
}

static int setup(void **state)
{
    (void)state;
    boot(2, LR_COUNT(items));
    return 0;
}

static lr_spec task(void)
{
    lr_spec s;
    lr_spec_init(&s, lr_id_child(job, 1), job, "f");
    return s;
}

/* Asserts that the last step's actions are exactly these, "start fail timer" and so on. */
static void did(const char *expected)
{
    char text[512] = "";
    for (uint32_t i = 0; i < out.count; i++) {
        if (i > 0) strcat(text, " ");
        const char *name = lr_action_name(items[i].kind);
        strcat(text, strncmp(name, "task_", 5) == 0 ? name + 5 : name);
    }
    assert_string_equal(text, expected);
}

static void row_is(const lr_control_request *r, lr_control_op op, lr_control_table table,
                   const char *value)
{
    assert_int_equal(r->op, op);
    assert_int_equal(r->table, table);
    assert_int_equal(r->value.size_bytes, strlen(value));
    assert_memory_equal(r->value.at, value, strlen(value));
}

static void start_announces_the_node(void **state)
{
    (void)state;
    did("control");
    row_is(&items[0].request, LR_CONTROL_PUT, LR_CONTROL_TABLE_NODE,
           "1 since=1000000000 offers=cpu=2,gpu=1");
    assert_memory_equal(items[0].request.key.at, &self, sizeof self);
    assert_true(lr_node_total(&node)->amount[LR_RESOURCE_CPU] == 2 * LR_AMOUNT_ONE);
    lr_resources none = {{0}};
    expect_assert_failure(
        step_event(T0, (lr_event){.kind = LR_EVENT_START, .start = {self, &none}}));
}

/* Given back by the pool, it lets a larger priority go first, and goes before its equals that came later. */
static void a_returned_task_queues_in_its_old_turn(void **state)
{
    (void)state;
    lr_spec first = task(), second = task(), later = task(), urgent = task();
    urgent.priority = 1;
    step(T0, LR_EVENT_TASK_SUBMIT, &first);
    step(T0, LR_EVENT_TASK_SUBMIT, &second);
    step(T0, LR_EVENT_TASK_SUBMIT, &later);
    step(T0, LR_EVENT_TASK_SUBMIT, &urgent);
    did("");
    step(T0, LR_EVENT_TASK_RETURNED, &second);
    did("start");
    assert_ptr_equal(items[0].spec, &urgent);
    finish(T0, &urgent, LR_ERR_NONE);
    did("release start");
    assert_ptr_equal(items[1].spec, &second);
    assert_int_equal(second.place, LR_PLACE_POOL);
    assert_int_equal(later.place, LR_PLACE_READY);
    step(T0, LR_EVENT_TASK_STARTED, &first);
    expect_assert_failure(step(T0, LR_EVENT_TASK_RETURNED, &first));
}

static void a_task_lives_and_is_released(void **state)
{
    (void)state;
    lr_spec s = task();
    step(T0, LR_EVENT_TASK_SUBMIT, &s);
    did("start");
    assert_int_equal(s.state, LR_TASK_QUEUED);
    assert_int_equal(lr_node_in_pool(&node), 1);
    step_event(T0 + 9, (lr_event){.kind = LR_EVENT_TASK_STARTED, .spec = &s, .at_ns = T0 + 5});
    did("");
    assert_int_equal(s.state, LR_TASK_RUNNING);
    assert_true(s.started_at_ns == T0 + 5);
    finish(T0 + 10, &s, LR_ERR_NONE);
    did("release");
    assert_int_equal(s.state, LR_TASK_READY);
    assert_int_equal(s.place, LR_PLACE_OUT);
    expect_assert_failure(finish(T0 + 11, &s, LR_ERR_NONE));
    expect_assert_failure(step(T0 + 11, LR_EVENT_TASK_SUBMIT, &s)); /* not initialised again */
}

static void started_may_be_left_out(void **state)
{
    (void)state;
    lr_spec s = task();
    step(T0, LR_EVENT_TASK_SUBMIT, &s);
    finish(T0 + 10, &s, LR_ERR_NONE);
    did("release");
    assert_int_equal(s.state, LR_TASK_READY);
    s = task();
    step(T0, LR_EVENT_TASK_SUBMIT, &s);
    step(T0 + 1, LR_EVENT_TASK_PARKED, &s);
    assert_int_equal(s.state, LR_TASK_RUNNING);
    assert_int_equal(lr_node_parked(&node), 1);
    step(T0 + 2, LR_EVENT_TASK_RESUMED, &s);
    finish(T0 + 10, &s, LR_ERR_ERROR);
    did("release");
    assert_int_equal(s.state, LR_TASK_FAILED);
    assert_int_equal(s.err, LR_ERR_ERROR);
}

static void what_ends_makes_room_in_the_same_step(void **state)
{
    (void)state;
    lr_spec a = task(), b = task(), c = task();
    c.priority = 1;
    a.need.amount[LR_RESOURCE_GPU] = b.need.amount[LR_RESOURCE_GPU] = LR_AMOUNT_ONE;
    c.need.amount[LR_RESOURCE_GPU] = LR_AMOUNT_ONE;
    step(T0, LR_EVENT_TASK_SUBMIT, &a);
    did("start");
    step(T0, LR_EVENT_TASK_SUBMIT, &b);
    did("");
    step(T0, LR_EVENT_TASK_SUBMIT, &c);
    did("");
    lr_node_explain(&node, &b);
    char text[256];
    lr_spec_explain(&b, &names, text, sizeof text);
    assert_string_equal(text, "waits for gpu (1 asked, 0 free)");
    finish(T0 + 1, &a, LR_ERR_NONE);
    did("release start");
    assert_ptr_equal(items[1].spec, &c); /* the larger priority */
}

static void the_infeasible_fails_at_once(void **state)
{
    (void)state;
    lr_spec s = task();
    s.need.amount[LR_RESOURCE_GPU] = 2 * LR_AMOUNT_ONE;
    step(T0, LR_EVENT_TASK_SUBMIT, &s);
    did("fail release");
    assert_int_equal(items[0].err, LR_ERR_INFEASIBLE);
    assert_int_equal(s.state, LR_TASK_FAILED);
    char text[256];
    lr_spec_explain(&s, &names, text, sizeof text);
    assert_string_equal(text, "infeasible: gpu: 2 asked, the most a node offers is 1 "
                              "(start luarun with --resources gpu=2)");
    boot(0, LR_COUNT(items));
    s = task();
    step(T0, LR_EVENT_TASK_SUBMIT, &s);
    did("fail release");
    lr_spec_explain(&s, &names, text, sizeof text);
    assert_string_equal(text, "infeasible: cpu: 1 asked, the most a node offers is 0 "
                              "(start luarun with --workers 1)");
}

static void a_deadline_is_exact(void **state)
{
    (void)state;
    lr_spec wide = task(), s = task();
    wide.need.amount[LR_RESOURCE_CPU] = 2 * LR_AMOUNT_ONE;
    s.deadline_ns = T0 + 100 * MS;
    step(T0, LR_EVENT_TASK_SUBMIT, &wide);
    step(T0, LR_EVENT_TASK_SUBMIT, &s);
    did("timer");
    assert_true(items[0].at_ns == T0 + 100 * MS);
    step(T0 + 100 * MS - 1, LR_EVENT_TICK, NULL);
    did("timer"); /* a tick that came early is told again */
    step(T0 + 100 * MS, LR_EVENT_TICK, NULL);
    did("fail release");
    assert_int_equal(items[0].err, LR_ERR_DEADLINE);
    assert_int_equal(s.state, LR_TASK_FAILED);
    char text[256];
    lr_spec_explain(&s, &names, text, sizeof text);
    assert_string_equal(
        text, "deadline: not started 0.1 s after it was submitted: waited for cpu (1 asked, 0 free)");
    finish(T0 + 101 * MS, &wide, LR_ERR_NONE);
    did("release");
}

static void a_deadline_beats_room_at_the_same_time(void **state)
{
    (void)state;
    lr_spec wide = task(), s = task();
    wide.need.amount[LR_RESOURCE_CPU] = 2 * LR_AMOUNT_ONE;
    s.deadline_ns = T0 + 5;
    step(T0, LR_EVENT_TASK_SUBMIT, &wide);
    step(T0, LR_EVENT_TASK_SUBMIT, &s);
    finish(T0 + 5, &wide, LR_ERR_NONE);
    did("release fail release");
    s = task();
    s.deadline_ns = T0 + 5; /* passed before it came */
    step(T0 + 6, LR_EVENT_TASK_SUBMIT, &s);
    did("fail release");
}

static void a_deadline_in_the_pool_asks_the_runtime(void **state)
{
    (void)state;
    lr_spec s = task();
    s.deadline_ns = T0 + 5;
    step(T0, LR_EVENT_TASK_SUBMIT, &s);
    did("start timer");
    step(T0 + 5, LR_EVENT_TICK, NULL);
    did("fail");
    assert_int_equal(s.place, LR_PLACE_POOL); /* its resources are held until the pool drops it */
    finish(T0 + 6, &s, LR_ERR_DEADLINE);
    did("release");
    assert_int_equal(s.state, LR_TASK_FAILED);

    s = task();
    s.deadline_ns = T0 + 10;
    s.timeout_ns = 7;
    step(T0 + 7, LR_EVENT_TASK_SUBMIT, &s);
    did("start timer");
    step(T0 + 10, LR_EVENT_TICK, NULL);
    did("fail");
    step_event(T0 + 12, /* a worker was faster; its event comes late */
               (lr_event){.kind = LR_EVENT_TASK_STARTED, .spec = &s, .at_ns = T0 + 9});
    did("timer");
    assert_true(items[0].at_ns == T0 + 16);
    assert_int_equal(s.err, LR_ERR_NONE);
    finish(T0 + 13, &s, LR_ERR_NONE);
    did("release");
    assert_int_equal(s.state, LR_TASK_READY);
}

static void a_timeout_counts_from_the_start_of_the_run(void **state)
{
    (void)state;
    lr_spec s = task();
    s.timeout_ns = 50;
    step(T0, LR_EVENT_TASK_SUBMIT, &s);
    did("start");
    step_event(T0 + 100, (lr_event){.kind = LR_EVENT_TASK_STARTED, .spec = &s});
    did("timer");
    assert_true(items[0].at_ns == T0 + 150);
    step(T0 + 110, LR_EVENT_TASK_PARKED, &s);
    did("");
    step(T0 + 150, LR_EVENT_TICK, NULL);
    did("timeout");
    assert_int_equal(s.state, LR_TASK_RUNNING); /* until its body stops */
    step(T0 + 151, LR_EVENT_TASK_RESUMED, &s);
    finish(T0 + 152, &s, LR_ERR_TIMEOUT);
    did("release");
    assert_int_equal(s.state, LR_TASK_FAILED);
    s = task();
    s.timeout_ns = UINT64_MAX; /* saturates */
    step(T0 + 200, LR_EVENT_TASK_SUBMIT, &s);
    step(T0 + 201, LR_EVENT_TASK_STARTED, &s);
    assert_true(s.timer_at_ns == UINT64_MAX);
}

static void cancel_drops_the_queued_only(void **state)
{
    (void)state;
    lr_spec a = task(), b = task();
    a.need.amount[LR_RESOURCE_CPU] = b.need.amount[LR_RESOURCE_CPU] = 2 * LR_AMOUNT_ONE;
    b.deadline_ns = T0 + 50;
    step(T0, LR_EVENT_TASK_SUBMIT, &a);
    step(T0, LR_EVENT_TASK_SUBMIT, &b);
    step(T0 + 1, LR_EVENT_TASK_CANCEL, &b);
    did("release");
    assert_int_equal(b.state, LR_TASK_CANCELLED);
    step(T0 + 1, LR_EVENT_TASK_CANCEL, &a);
    did("");
    step(T0 + 50, LR_EVENT_TICK, NULL);
    did(""); /* its deadline went with it */
    finish(T0 + 51, &a, LR_ERR_CANCELLED);
    did("release");
    assert_int_equal(a.state, LR_TASK_CANCELLED);
    step(T0 + 52, LR_EVENT_TASK_CANCEL, &a); /* too late: ignored */
    did("");
}

static void a_parked_task_lends_its_cpu(void **state)
{
    (void)state;
    lr_spec s[3];
    for (int i = 0; i < 3; i++) {
        s[i] = task();
        step(T0, LR_EVENT_TASK_SUBMIT, &s[i]);
        did(i < 2 ? "start" : "");
    }
    step(T0 + 1, LR_EVENT_TASK_PARKED, &s[0]);
    did("start");
    step(T0 + 2, LR_EVENT_TASK_RESUMED, &s[0]);
    did("");
    assert_true(lr_node_available(&node)->amount[LR_RESOURCE_CPU] == -LR_AMOUNT_ONE);
    for (int i = 0; i < 3; i++)
        finish(T0 + 3, &s[i], LR_ERR_NONE);
    assert_true(lr_resources_equal(lr_node_available(&node), lr_node_total(&node)));
}

static void a_full_list_loses_nothing(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    static lr_spec s[COUNT];
    boot(COUNT, LR_ACTIONS_MIN);
    lr_spec wide = task();
    wide.need.amount[LR_RESOURCE_CPU] = COUNT * LR_AMOUNT_ONE;
    step(T0, LR_EVENT_TASK_SUBMIT, &wide);
    for (int i = 0; i < COUNT; i++) {
        s[i] = task();
        s[i].deadline_ns = i < 50 ? T0 + 9 : 0;
        step(T0, LR_EVENT_TASK_SUBMIT, &s[i]);
    }
    int fails = 0, starts = 0, releases = 0, steps = 0;
    for (finish(T0 + 9, &wide, LR_ERR_NONE);; step(T0 + 9, LR_EVENT_TICK, NULL), steps++) {
        for (uint32_t i = 0; i < out.count; i++) {
            fails += items[i].kind == LR_ACTION_TASK_FAIL;
            starts += items[i].kind == LR_ACTION_TASK_START;
            releases += items[i].kind == LR_ACTION_TASK_RELEASE;
        }
        if (!out.more) break;
    }
    assert_int_equal(fails, 50);
    assert_int_equal(starts, 50);
    assert_int_equal(releases, 51);
    assert_in_range(steps, 151 / LR_ACTIONS_MIN, 40);
}

static void a_job_of_any_size_is_dropped(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    static lr_spec s[COUNT];
    boot(1, LR_ACTIONS_MIN);
    for (int i = 0; i < COUNT; i++) {
        s[i] = task();
        step(T0, LR_EVENT_TASK_SUBMIT, &s[i]);
    }
    step_event(T0 + 1, (lr_event){.kind = LR_EVENT_JOB_END, .job = {job, NULL, "ok"}});
    did("control control release release release release release");
    lr_spec late = task(), hopeless = task(); /* what comes in between is not lost either */
    hopeless.unknown_resource = "tpu";
    hopeless.unknown_amount = 1;
    step(T0 + 1, LR_EVENT_TASK_SUBMIT, &hopeless);
    step(T0 + 1, LR_EVENT_TASK_SUBMIT, &late);
    int releases = 5 + 7 + 7;
    while (out.more) {
        step(T0 + 1, LR_EVENT_TICK, NULL);
        for (uint32_t i = 0; i < out.count; i++)
            releases += items[i].kind == LR_ACTION_TASK_RELEASE;
    }
    assert_int_equal(releases, COUNT - 1 + 1);
    assert_int_equal(hopeless.state, LR_TASK_FAILED);
    finish(T0 + 2, &s[0], LR_ERR_CANCELLED);
    did("release start");
    assert_ptr_equal(items[1].spec, &late);
}

static void jobs_are_written_and_leave_a_line(void **state)
{
    (void)state;
    step_event(T0, (lr_event){.kind = LR_EVENT_JOB_START, .job = {job, "a.lua", NULL}});
    did("control");
    row_is(&items[0].request, LR_CONTROL_PUT, LR_CONTROL_TABLE_JOB, "1 since=1000000000 name=a.lua");
    assert_true(lr_id_equal(items[0].request.owner, job));
    lr_spec a = task(), b = task(), other = task();
    a.need.amount[LR_RESOURCE_CPU] = 2 * LR_AMOUNT_ONE;
    other.job = lr_id_from_seed(99);
    step(T0, LR_EVENT_TASK_SUBMIT, &a);
    step(T0, LR_EVENT_TASK_SUBMIT, &b);
    step(T0, LR_EVENT_TASK_SUBMIT, &other);
    step_event(T0 + 1, (lr_event){.kind = LR_EVENT_JOB_END, .job = {job, NULL, "ok"}});
    did("control control release");
    assert_ptr_equal(items[2].spec, &b); /* a is in the pool; other is another job's */
    row_is(&items[0].request, LR_CONTROL_APPEND, LR_CONTROL_TABLE_JOB,
           "1 job=00000000000000070000000000000007 ended=1000000001 status=ok");
    assert_int_equal(items[1].request.op, LR_CONTROL_DELETE_OWNED);
    assert_int_equal(lr_node_queued(&node), 1);
    finish(T0 + 2, &a, LR_ERR_CANCELLED);
    did("release start");
}

static void errors_are_written(void **state)
{
    (void)state;
    char *long_message = calloc(1, 100001);
    memset(long_message, 'x', 100000);
    step_event(T0, (lr_event){.kind = LR_EVENT_ERROR_REPORT,
                              .error = {{5, 5}, job, LR_ERR_ERROR, "fib", long_message}});
    free(long_message);
    did("control");
    assert_int_equal(items[0].request.op, LR_CONTROL_APPEND);
    assert_int_equal(items[0].request.table, LR_CONTROL_TABLE_ERROR);
    assert_int_equal(items[0].request.value.size_bytes, 1023);
}

static void a_lost_announcement_is_made_again(void **state)
{
    (void)state;
    lr_control_reply ok = {.token = items[0].request.token};
    lr_control_reply lost = ok;
    lost.status = LR_CONTROL_STATUS_UNAVAILABLE;
    step_event(T0, (lr_event){.kind = LR_EVENT_CONTROL_REPLY, .reply = &lost});
    did("timer");
    assert_true(items[0].at_ns == T0 + 100 * MS);
    step(T0 + 100 * MS, LR_EVENT_TICK, NULL);
    did("control");
    lost.token = ok.token = items[0].request.token;
    step_event(T0 + 100 * MS, (lr_event){.kind = LR_EVENT_CONTROL_REPLY, .reply = &lost});
    did("timer");
    assert_true(items[0].at_ns == T0 + 300 * MS); /* it waits longer each time */
    step(T0 + 300 * MS, LR_EVENT_TICK, NULL);
    step_event(T0 + 300 * MS, (lr_event){.kind = LR_EVENT_CONTROL_REPLY, .reply = &ok});
    did("");
    assert_true(lr_node_stats_of(&node)->control_failures == 2);
    lost.token = (uint64_t)0xff << 56; /* not the node's row: only counted */
    step_event(T0 + 300 * MS, (lr_event){.kind = LR_EVENT_CONTROL_REPLY, .reply = &lost});
    did("");
}

static void time_never_goes_back(void **state)
{
    (void)state;
    lr_spec s = task();
    step(T0 + 100, LR_EVENT_TICK, NULL);
    step(T0 + 50, LR_EVENT_TASK_SUBMIT, &s);
    assert_true(s.queued_at_ns == T0 + 100);
}

static void names_and_words_are_there(void **state)
{
    (void)state;
    for (int i = 0; i < LR_EVENT_COUNT; i++)
        assert_true(strlen(lr_event_name((lr_event_kind)i)) && strlen(lr_event_meaning((lr_event_kind)i)));
    for (int i = 0; i < LR_ACTION_COUNT; i++)
        assert_true(strlen(lr_action_name((lr_action_kind)i)) &&
                    strlen(lr_action_meaning((lr_action_kind)i)));
    assert_string_equal(lr_event_name(LR_EVENT_TASK_SUBMIT), "task_submit");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(start_announces_the_node, setup),
        cmocka_unit_test_setup(a_returned_task_queues_in_its_old_turn, setup),
        cmocka_unit_test_setup(a_task_lives_and_is_released, setup),
        cmocka_unit_test_setup(started_may_be_left_out, setup),
        cmocka_unit_test_setup(what_ends_makes_room_in_the_same_step, setup),
        cmocka_unit_test_setup(the_infeasible_fails_at_once, setup),
        cmocka_unit_test_setup(a_deadline_is_exact, setup),
        cmocka_unit_test_setup(a_deadline_beats_room_at_the_same_time, setup),
        cmocka_unit_test_setup(a_deadline_in_the_pool_asks_the_runtime, setup),
        cmocka_unit_test_setup(a_timeout_counts_from_the_start_of_the_run, setup),
        cmocka_unit_test_setup(cancel_drops_the_queued_only, setup),
        cmocka_unit_test_setup(a_parked_task_lends_its_cpu, setup),
        cmocka_unit_test_setup(a_full_list_loses_nothing, setup),
        cmocka_unit_test_setup(a_job_of_any_size_is_dropped, setup),
        cmocka_unit_test_setup(jobs_are_written_and_leave_a_line, setup),
        cmocka_unit_test_setup(errors_are_written, setup),
        cmocka_unit_test_setup(a_lost_announcement_is_made_again, setup),
        cmocka_unit_test_setup(time_never_goes_back, setup),
        cmocka_unit_test_setup(names_and_words_are_there, setup),
    };
    return RUN_ALL(tests);
}
