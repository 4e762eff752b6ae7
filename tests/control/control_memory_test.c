/* The in-memory control store: the conformance suite, every allocation failing in turn, a full store, and names. */
#include "sched/control_memory.h"

#include "tests/control/conformance.h"

/* ---- an allocator that counts, and fails where told ----------------------------------------------------- */

static size_t allocated_bytes, allocations;
static size_t fail_at; /* 0: never; 1: the next */

static void *allocate(void *user, size_t size_bytes)
{
    (void)user;
    allocations++;
    if (fail_at && --fail_at == 0) return NULL;
    allocated_bytes += size_bytes;
    return malloc(size_bytes);
}

static void release(void *user, void *memory, size_t size_bytes)
{
    (void)user;
    assert_true(size_bytes <= allocated_bytes);
    allocated_bytes -= size_bytes;
    free(memory);
}

static const lr_allocator allocator = {allocate, release, NULL};
static size_t capacity = 256u << 20;

static lr_control *open_memory(const lr_control_handler *handler)
{
    lr_control_memory *m = malloc(sizeof *m);
    if (lr_control_memory_init(m, &allocator, capacity, handler) == LR_ERR_NONE) return &m->control;
    free(m);
    return NULL;
}

static void close_memory(lr_control *control)
{
    lr_control_fini(control);
    assert_int_equal(allocated_bytes, 0);
    free(control); /* the head of an lr_control_memory */
}

static const implementation memory = {open_memory, close_memory};

/* ---- what is special to memory -------------------------------------------------------------------------- */

/* A round of everything; where memory fails, an operation is refused whole. Returns how many were refused. */
static uint32_t everything(bench *b)
{
    uint32_t refused = 0;
    static const lr_control_op ops[] = {LR_CONTROL_PUT,  LR_CONTROL_COMPARE_AND_SET, LR_CONTROL_APPEND,
                                        LR_CONTROL_SCAN, LR_CONTROL_READ,            LR_CONTROL_SUBSCRIBE,
                                        LR_CONTROL_DELETE_OWNED};
    for (int i = 0; i < 60; i++)
        for (size_t k = 0; k < LR_COUNT(ops); k++) {
            char key[16];
            snprintf(key, sizeof key, "k%d", i);
            lr_control_request q = ask(ops[k], TASK, ops[k] == LR_CONTROL_SCAN ? "" : key);
            q.value = text("value");
            q.limit = 3;
            q.notify = i % 2;
            q.owner = ops[k] == LR_CONTROL_DELETE_OWNED ? LR_ID_NIL : lr_id_from_seed((uint64_t)(i % 7) + 1);
            if (lr_control_request_make(b->control, &q) != LR_ERR_NONE) {
                refused++;
                continue;
            }
            uint32_t before = b->answered;
            b->woken = 0;
            lr_control_turn(b->control, 0);
            assert_int_equal(b->answered, before + 1);
            if (b->last.reply.status == LR_CONTROL_STATUS_FULL) refused++;
        }
    return refused;
}

static void every_allocation_fails(void **state)
{
    (void)state;
    size_t last = 0;
    for (size_t n = 1;; n++) {
        bench *b = calloc(1, sizeof *b);
        lr_control_handler handler = {on_reply, on_wake, b};
        fail_at = n;
        allocations = 0;
        b->control = open_memory(&handler);
        if (b->control) {
            uint32_t refused = everything(b);
            assert_in_range(refused, 0, 1 + LR_CONTROL_SUBSCRIPTIONS_MAX);
            /* a failure does not stay: the same is done afterwards */
            bool reached = fail_at == 0;
            fail_at = 0;
            put(b, TASK, "k0", "afterwards", JOB_A);
            assert_bytes(get(b, TASK, "k0")->rows[0].value, "afterwards");
            close_bench(b);
            if (!reached) break;
        } else {
            assert_int_equal(allocated_bytes, 0);
            free(b);
        }
        last = n;
    }
    assert_true(last > 300); /* a round makes that many at least: else nothing was tested */
}

/* A write that does not fit changes nothing, and fits once there is room. */
static void a_full_store(void **state)
{
    (void)state;
    capacity = 64u << 10;
    bench *b = open_bench();
    static char value[4096];
    memset(value, 'v', sizeof value);
    int fitted = 0;
    char key[16];
    for (;; fitted++) {
        snprintf(key, sizeof key, "k%d", fitted);
        lr_control_request q = ask(LR_CONTROL_PUT, TASK, key);
        q.value = lr_bytes_of(value, sizeof value);
        q.owner = lr_id_from_seed((uint64_t)fitted + 1);
        lr_control_status s = status(b, q);
        if (s == LR_CONTROL_STATUS_FULL) break;
        assert_int_equal(s, LR_CONTROL_STATUS_OK);
        assert_true(fitted < 100);
    }
    assert_in_range(fitted, 8, 16);
    assert_true(lr_control_memory_used_bytes((lr_control_memory *)(void *)b->control) <= capacity);
    assert_int_equal(status(b, ask(LR_CONTROL_GET, TASK, key)), LR_CONTROL_STATUS_NOT_FOUND);
    lr_control_request q = ask(LR_CONTROL_PUT, TASK, "k0"); /* an old row stays as it is */
    q.value = lr_bytes_of(value, sizeof value);
    assert_int_equal(status(b, q), LR_CONTROL_STATUS_FULL);
    assert_int_equal(get(b, TASK, "k0")->rows[0].value.size_bytes, sizeof value);
    assert_int_equal(status(b, ask(LR_CONTROL_DELETE, TASK, "k1")), LR_CONTROL_STATUS_OK);
    assert_int_equal(status(b, q), LR_CONTROL_STATUS_OK);
    close_bench(b);
    capacity = 256u << 20;
}

/* Memory goes back with what is deleted: a thousand jobs leave nothing. */
static void tables_shrink(void **state)
{
    (void)state;
    bench *b = open_bench();
    size_t before = 0;
    for (int round = 0; round < 1000; round++) {
        lr_id job = lr_id_from_seed((uint64_t)round + 1);
        for (int i = 0; i < 5; i++) {
            char key[32];
            snprintf(key, sizeof key, "%d.%d", round, i);
            lr_control_request q = ask(LR_CONTROL_PUT, TASK, key);
            q.owner = job;
            q.value = text("v");
            b->answered = 0;
            call(b, q);
        }
        lr_control_request q = ask(LR_CONTROL_DELETE_OWNED, TASK, "");
        q.owner = job;
        assert_int_equal(call(b, q)->reply.version, 5);
        size_t used = lr_control_memory_used_bytes((lr_control_memory *)(void *)b->control);
        if (round == 0) before = used;
        assert_int_equal(used, before);
    }
    close_bench(b);
}

static void programmers_errors(void **state)
{
    (void)state;
    bench *b = open_bench();
    lr_control_request q = ask((lr_control_op)LR_CONTROL_OP_COUNT, TASK, "a");
    expect_assert_failure((void)!lr_control_request_make(b->control, &q));
    q = ask(LR_CONTROL_GET, (lr_control_table)LR_CONTROL_TABLE_COUNT, "a");
    expect_assert_failure((void)!lr_control_request_make(b->control, &q));
    close_bench(b);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(lr_control_table_name(LR_CONTROL_TABLE_NODE), "node");
    assert_string_equal(lr_control_table_name(LR_CONTROL_TABLE_EVENT), "event");
    assert_string_equal(lr_control_op_name(LR_CONTROL_COMPARE_AND_SET), "compare_and_set");
    assert_string_equal(lr_control_status_name(LR_CONTROL_STATUS_UNAVAILABLE), "unavailable");
    for (int i = 0; i < LR_CONTROL_OP_COUNT; i++) {
        assert_true(strlen(lr_control_op_name((lr_control_op)i)) > 0);
        assert_true(strlen(lr_control_op_meaning((lr_control_op)i)) > 10);
    }
    expect_assert_failure(lr_control_table_name(LR_CONTROL_TABLE_COUNT));
    expect_assert_failure(lr_control_op_name(LR_CONTROL_OP_COUNT));
    expect_assert_failure(lr_control_op_meaning(LR_CONTROL_OP_COUNT));
    expect_assert_failure(lr_control_status_name(LR_CONTROL_STATUS_COUNT));
}

int main(void)
{
    int failed = run_conformance(&memory);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_fails), cmocka_unit_test(a_full_store),
        cmocka_unit_test(tables_shrink),          cmocka_unit_test(programmers_errors),
        cmocka_unit_test(names),
    };
    return failed + cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
