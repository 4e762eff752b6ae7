/* tests/unit/lease_test.c - rows, leases and the watched table, in virtual time over the store in memory. */
#include "runtime/lease.h"
#include "runtime/roster.h"
#include "sched/control_memory.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>

#define MS 1000000ull
#define WATCHERS 2

static void *allocate(void *user, size_t size_bytes)
{
    (void)user;
    return malloc(size_bytes);
}

static void release(void *user, void *memory, size_t size_bytes)
{
    (void)user;
    (void)size_bytes;
    free(memory);
}

/* A store, a lease in it, and watchers of its table. */
static struct {
    lr_control_memory store;
    lr_lease lease;
    lr_roster roster[WATCHERS];
    uint64_t now_ns, connections;
    int came[WATCHERS], gone[WATCHERS], swept[WATCHERS], lost;
    bool renews;
    lr_row row;
} kit;

static void on_reply(void *user, const lr_control_reply *reply)
{
    (void)user;
    bool taken = lr_lease_reply(&kit.lease, reply);
    for (int i = 0; i < WATCHERS && !taken; i++)
        taken = lr_roster_reply(&kit.roster[i], reply);
}

static void on_wake(void *user, lr_control_table table, lr_bytes key)
{
    (void)user;
    (void)key;
    for (int i = 0; i < WATCHERS; i++)
        lr_roster_wake(&kit.roster[i], table);
}

static int index_of(const void *user) { return (int)((const lr_roster *)user - kit.roster); }

static void on_row(void *user, lr_roster_entry *entry, lr_bytes row)
{
    char name[40];
    assert_true(lr_row_field(row, "name", name, sizeof name));
    assert_string_equal(name, "a job = x.lua");
    entry->user = user;
    kit.came[index_of(user)]++;
}

static void on_gone(void *user, lr_roster_entry *entry)
{
    assert_ptr_equal(entry->user, user);
    kit.gone[index_of(user)]++;
}

static void on_swept(void *user, lr_id key)
{
    assert_true(lr_id_equal(key, kit.lease.key));
    kit.swept[index_of(user)]++;
}

static uint64_t connections(const lr_control *control)
{
    (void)control;
    return kit.connections;
}

static size_t write_row(void *user, char text[LR_ROW_MAX])
{
    (void)user;
    return lr_row_write_job(&kit.row, text);
}

static void on_lost(void *user)
{
    (void)user;
    kit.lost++;
}

static void start(void)
{
    const lr_allocator allocator = {allocate, release, NULL};
    const lr_control_handler handler = {on_reply, on_wake, NULL};
    memset(&kit, 0, sizeof kit);
    kit.now_ns = LR_NS_PER_S;
    kit.connections = 1;
    kit.renews = true;
    kit.row = (lr_row){.since_ms = 5, .lease_ms = 3000, .here = {"h", "u", "l"}, .workers = 2,
                       .address = "tcp://127.0.0.1:1", .name = "a job = x.lua"};
    assert_int_equal(lr_control_memory_init(&kit.store, &allocator, 1 << 20, &handler), LR_ERR_NONE);
    kit.lease = (lr_lease){.control = &kit.store.control, .table = LR_CONTROL_TABLE_JOB, .key = {1, 2}, .owner = {1, 2},
                           .lease_ns = LR_LEASE_NS, .write = write_row, .lost = on_lost};
    for (int i = 0; i < WATCHERS; i++) {
        kit.roster[i] = (lr_roster){.control = &kit.store.control, .table = LR_CONTROL_TABLE_JOB,
                                    .tokens = LR_ROSTER_TOKEN(i + 1), .subscribes = true,
                                    .handler = {on_row, on_gone, on_swept, &kit.roster[i]}, .connections = connections};
        lr_roster_begin(&kit.roster[i]);
    }
}

static void turn(void)
{
    for (int again = 0; again < 4; again++) {
        if (kit.renews) lr_lease_turn(&kit.lease, kit.now_ns);
        for (int i = 0; i < WATCHERS; i++)
            lr_roster_turn(&kit.roster[i], kit.now_ns);
        while (lr_control_turn(&kit.store.control, 0) > 0)
            ;
    }
}

static void pass(uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i += 50) {
        kit.now_ns += 50 * MS;
        turn();
    }
}

static void finish(void)
{
    for (int i = 0; i < WATCHERS; i++)
        lr_roster_end(&kit.roster[i]);
    lr_control_fini(&kit.store.control);
}

static void test_row(void **state)
{
    (void)state;
    char text[LR_ROW_MAX], field[16];
    lr_row row = {.since_ms = 5, .lease_ms = 3000, .here = {"h", "u", "l"}, .workers = 2, .jobs = 3, .offers = "cpu=2,gpu=1"};
    lr_bytes bytes = lr_bytes_of(text, lr_row_write_node(&row, text));
    assert_int_equal(lr_row_number(bytes, "workers", 0), 2);
    assert_int_equal(lr_row_number(bytes, "jobs", 0), 3);
    assert_int_equal(lr_row_number(bytes, "cpu", 77), 77); /* inside another's value */
    assert_true(lr_row_field(bytes, "offers", field, sizeof field));
    assert_string_equal(field, "cpu=2,gpu=1");
    assert_true(lr_row_field(bytes, "offers", field, 4));
    assert_string_equal(field, "cpu");
    assert_false(lr_row_field(bytes, "name", field, sizeof field));
    assert_string_equal(field, "");
    assert_false(lr_row_is_swept(bytes));
    row.address = "tcp://x:1";
    row.name = "1 swept=1 pid=7";
    bytes = lr_bytes_of(text, lr_row_write_job(&row, text));
    assert_false(lr_row_is_swept(bytes));
    assert_int_not_equal(lr_row_number(bytes, "pid", 7), 7);
    bytes = lr_bytes_of(text, lr_row_write_swept(text));
    assert_true(lr_row_is_swept(bytes));
    assert_int_equal(lr_row_number(lr_bytes_of("1 lease=x", 9), "lease", 9), 9);
    assert_int_equal(lr_row_number(lr_bytes_of(NULL, 0), "lease", 9), 9);
}

static void test_life(void **state)
{
    (void)state;
    start();
    turn();
    assert_int_equal(kit.came[0] + kit.came[1], 0);
    lr_lease_begin(&kit.lease);
    turn();
    assert_true(kit.lease.held);
    assert_int_equal(kit.came[0], 1);
    uint64_t version = kit.lease.version;
    pass(10000); /* renewed: it lives */
    assert_true(kit.lease.version > version);
    assert_int_equal(kit.came[1], 1);
    assert_int_equal(kit.gone[1] + kit.swept[0] + kit.swept[1] + kit.lost, 0);
    lr_lease_end(&kit.lease);
    turn(); /* woken */
    assert_int_equal(kit.gone[0], 1);
    assert_int_equal(kit.gone[1], 1);
    finish();
}

static void test_death(void **state)
{
    (void)state;
    start();
    lr_lease_begin(&kit.lease);
    turn();
    kit.renews = false;
    pass(2500);
    assert_int_equal(kit.gone[0] + kit.gone[1], 0);
    pass(3500);
    assert_int_equal(kit.gone[0], 1);
    assert_int_equal(kit.gone[1], 1);
    assert_int_equal(kit.swept[0] + kit.swept[1], 1); /* by one of them */
    kit.renews = true; /* it was not dead */
    pass(1000);
    assert_int_equal(kit.lost, 1);
    assert_true(kit.lease.held);
    assert_int_equal(kit.came[0], 2);
    pass(10000);
    assert_int_equal(kit.lost, 1);
    assert_int_equal(kit.came[0], 2);
    finish();
}

/* The store comes back empty: nobody is gone before owners had time to write again. */
static void test_store_lost(void **state)
{
    (void)state;
    start();
    lr_lease_begin(&kit.lease);
    pass(1000);
    lr_control_request all = {.op = LR_CONTROL_DELETE_OWNED, .owner = kit.lease.owner};
    assert_int_equal(lr_control_request_make(&kit.store.control, &all), LR_ERR_NONE);
    kit.connections++;
    kit.renews = false;
    pass(2000);
    assert_int_equal(kit.gone[0], 0);
    kit.renews = true;
    pass(2000);
    assert_int_equal(kit.lost, 1);
    assert_int_equal(kit.gone[0], 0);
    assert_int_equal(kit.came[0], 1);
    finish();
}

/* While the store is away nobody can renew: that time does not count. */
static void test_store_away(void **state)
{
    (void)state;
    start();
    lr_lease_begin(&kit.lease);
    turn();
    kit.renews = false;
    kit.now_ns += 60 * LR_NS_PER_S;
    kit.connections++;
    turn();
    kit.renews = true;
    pass(5000);
    assert_int_equal(kit.gone[0] + kit.swept[0] + kit.swept[1] + kit.lost, 0);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row),        cmocka_unit_test(test_life),       cmocka_unit_test(test_death),
        cmocka_unit_test(test_store_lost), cmocka_unit_test(test_store_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
