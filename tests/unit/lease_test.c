/* tests/unit/lease_test.c - rows, leases and the watched table, in virtual time over the store in memory. */
#include "sched/lease.h"
#include "sched/roster.h"
#include "sched/control_memory.h"
#include "runtime/allocator.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>

#define MS 1000000ull
#define WATCHERS 2

/* A store, a lease in it, and watchers of its table. */
static struct {
    lr_control_memory store;
    lr_lease lease;
    lr_roster roster[WATCHERS];
    uint64_t now_ns, connections;
    int came[WATCHERS], gone[WATCHERS], swept[WATCHERS], lost;
    bool renews;
    lr_row row;
    lr_lease *other; /* a second one, or NULL */
} kit;

static void on_reply(void *user, const lr_control_reply *reply)
{
    (void)user;
    bool taken = lr_lease_reply(&kit.lease, reply) || (kit.other && lr_lease_reply(kit.other, reply));
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

static uint64_t wall_ms(void) { return 7; }

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
    const lr_control_handler handler = {on_reply, on_wake, NULL};
    memset(&kit, 0, sizeof kit);
    kit.now_ns = LR_NS_PER_S;
    kit.connections = 1;
    kit.renews = true;
    kit.row = (lr_row){.since_ms = 5, .lease_ms = 3000, .host = "h", .user = "u", .loopback = "l", .workers = 2,
                       .address = "tcp://127.0.0.1:1", .name = "a job = x.lua"};
    assert_int_equal(lr_control_memory_init(&kit.store, &lr_process_allocator, 1 << 20, &handler), LR_ERR_NONE);
    kit.lease = (lr_lease){.control = &kit.store.control, .table = LR_CONTROL_TABLE_JOB, .key = {1, 2},
                           .lease_ns = LR_LEASE_NS, .write = write_row, .lost = on_lost};
    for (int i = 0; i < WATCHERS; i++) {
        kit.roster[i] = (lr_roster){.control = &kit.store.control, .allocator = &lr_process_allocator, .wall_ms = wall_ms,
                                    .table = LR_CONTROL_TABLE_JOB,
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
    lr_row row = {.since_ms = 5, .lease_ms = 3000, .host = "h", .user = "u", .loopback = "l", .workers = 2, .jobs = 3,
                  .offers = "cpu=2,gpu=1"};
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
    bytes = lr_bytes_of(text, lr_row_write_swept(7, text));
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
    lr_lease_end(&kit.lease, 7);
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
    lr_control_request all = {.op = LR_CONTROL_DELETE, .table = LR_CONTROL_TABLE_JOB, .key = lr_bytes_of_id(&kit.lease.key)};
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

/* A node taken for dead is told so with its next renewal, and comes as another. */
static void lost_takes_new_key(void *user)
{
    kit.lost++;
    ((lr_lease *)user)->key = (lr_id){1, 3};
}

static void test_rejoin(void **state)
{
    (void)state;
    start();
    kit.lease.lost = lost_takes_new_key;
    kit.lease.user = &kit.lease;
    for (int i = 0; i < WATCHERS; i++)
        kit.roster[i].handler.on_swept = NULL;
    lr_lease_begin(&kit.lease);
    turn();
    kit.renews = false;
    pass(6000);
    assert_int_equal(kit.gone[0], 1);
    assert_null(lr_roster_find(&kit.roster[0], (lr_id){1, 2}));
    kit.renews = true;
    pass(500);
    assert_int_equal(kit.lost, 1);
    assert_true(kit.lease.held);
    assert_non_null(lr_roster_find(&kit.roster[0], (lr_id){1, 3}));
    pass(10000);
    assert_null(lr_roster_find(&kit.roster[1], (lr_id){1, 2}));
    assert_int_equal(kit.gone[0], 1);
    assert_int_equal(kit.lost, 1);
    finish();
}

/* Two with the same id by accident: the row stands for both, and stays for the one that is left. */
static void test_duplicate(void **state)
{
    (void)state;
    start();
    lr_lease other = kit.lease;
    lr_lease_begin(&kit.lease);
    turn();
    lr_lease_begin(&other);
    kit.other = &other;
    other.token = 1000; /* its own process: its tokens are not those of the first */
    for (int i = 0; i < 200; i++) { /* both renew: each finds the other's version, and takes it */
        lr_lease_turn(&other, kit.now_ns);
        turn();
        kit.now_ns += 50 * MS;
    }
    assert_true(kit.lease.held && other.held);
    assert_int_equal(kit.came[0], 1);
    assert_int_equal(kit.gone[0] + kit.lost + kit.swept[0] + kit.swept[1], 0);
    kit.other = NULL;
    pass(10000); /* the other is dead */
    assert_int_equal(kit.gone[0] + kit.lost, 0);
    assert_non_null(lr_roster_find(&kit.roster[1], kit.lease.key));
    finish();
}

/* A control that notes what it is asked, and answers when told to. */
static struct {
    lr_control control;
    lr_control_request asked[16];
    unsigned count;
} noted;

static lr_err note(lr_control *control, const lr_control_request *request)
{
    (void)control;
    noted.asked[noted.count++] = *request;
    return LR_ERR_NONE;
}

static void answer(lr_roster *r, unsigned which, lr_control_status status)
{
    const lr_control_request *q = &noted.asked[which];
    lr_control_reply reply = {.token = q->token, .op = q->op, .status = status};
    assert_true(lr_roster_reply(r, &reply));
}

/* The subscription is asked for before the table is read, also when it has to be asked for again; what wakes during a
 * reading is read after it. */
static void test_order(void **state)
{
    (void)state;
    static const lr_control_class class = {note, NULL, NULL};
    noted.control.class = &class;
    noted.count = 0;
    lr_roster r = {.control = &noted.control, .allocator = &lr_process_allocator, .table = LR_CONTROL_TABLE_JOB,
                   .tokens = LR_ROSTER_TOKEN(1), .subscribes = true, .connections = connections, .wall_ms = wall_ms};
    lr_roster_begin(&r);
    lr_roster_turn(&r, LR_NS_PER_S);
    assert_int_equal(noted.count, 2);
    assert_int_equal(noted.asked[0].op, LR_CONTROL_SUBSCRIBE);
    assert_int_equal(noted.asked[1].op, LR_CONTROL_SCAN);
    answer(&r, 0, LR_CONTROL_STATUS_UNAVAILABLE);
    answer(&r, 1, LR_CONTROL_STATUS_UNAVAILABLE);
    assert_false(r.read);
    lr_roster_turn(&r, 3 * LR_NS_PER_S);
    assert_int_equal(noted.count, 4);
    assert_int_equal(noted.asked[2].op, LR_CONTROL_SUBSCRIBE);
    assert_int_equal(noted.asked[3].op, LR_CONTROL_SCAN);
    answer(&r, 2, LR_CONTROL_STATUS_OK);
    lr_roster_wake(&r, LR_CONTROL_TABLE_NODE); /* not its table */
    lr_roster_wake(&r, LR_CONTROL_TABLE_JOB);
    lr_roster_turn(&r, 3 * LR_NS_PER_S);
    assert_int_equal(noted.count, 4); /* one reading at a time */
    answer(&r, 3, LR_CONTROL_STATUS_OK);
    assert_true(r.read);
    lr_roster_turn(&r, 3 * LR_NS_PER_S);
    assert_int_equal(noted.count, 5);
    assert_int_equal(noted.asked[4].op, LR_CONTROL_SCAN);
    answer(&r, 4, LR_CONTROL_STATUS_OK);
    lr_roster_turn(&r, 3 * LR_NS_PER_S);
    assert_int_equal(noted.count, 5);
    lr_roster_end(&r);
}

/* The row goes last: as long as something that its key owns may be there, somebody will find the row. */
static void test_row_last(void **state)
{
    (void)state;
    static const lr_control_class class = {note, NULL, NULL};
    lr_lease lease = {.control = &noted.control, .table = LR_CONTROL_TABLE_JOB, .key = {1, 2}, .lease_ns = LR_LEASE_NS, .write = write_row};
    kit.row = (lr_row){.lease_ms = 3000, .host = "h", .user = "u", .loopback = "l", .address = "a", .name = "n"};
    noted.control.class = &class;
    noted.count = 0;
    lr_lease_begin(&lease);
    lr_lease_turn(&lease, LR_NS_PER_S);
    lr_lease_end(&lease, 7);
    assert_int_equal(noted.asked[1].op, LR_CONTROL_PUT);
    for (unsigned n = 3; n < 6; n += 1) {
        lr_lease_clear(&lease);
        assert_int_equal(noted.count, n);
        assert_int_equal(noted.asked[n - 1].op, LR_CONTROL_DELETE_OWNED);
        lr_control_reply reply = {.token = noted.asked[n - 1].token, .op = LR_CONTROL_DELETE_OWNED,
                                  .status = n < 5 ? LR_CONTROL_STATUS_UNAVAILABLE : LR_CONTROL_STATUS_OK};
        assert_true(lr_lease_reply(&lease, &reply));
        assert_true(lease.clearing == (n == 5));
    }
    assert_int_equal(noted.count, 6);
    assert_int_equal(noted.asked[5].op, LR_CONTROL_DELETE);
}

/* Who swept it is dead, and nobody else is there: the owner takes the row back after a lease. */
static void test_taken_back(void **state)
{
    (void)state;
    char text[LR_ROW_MAX];
    start();
    kit.now_ns = 1000 * LR_NS_PER_S;
    lr_lease_begin(&kit.lease);
    lr_lease_turn(&kit.lease, kit.now_ns);
    lr_control_turn(&kit.store.control, 0);
    lr_control_request sweep = {.op = LR_CONTROL_PUT, .table = LR_CONTROL_TABLE_JOB, .key = lr_bytes_of_id(&kit.lease.key)};
    sweep.value = lr_bytes_of(text, lr_row_write_swept(7, text));
    assert_int_equal(lr_control_request_make(&kit.store.control, &sweep), LR_ERR_NONE);
    for (int i = 0; i < 100; i++) { /* 5 s, the watchers stand still */
        kit.now_ns += 50 * MS;
        lr_lease_turn(&kit.lease, kit.now_ns);
        lr_control_turn(&kit.store.control, 0);
        if (i == 40) assert_false(kit.lease.held);
    }
    assert_true(kit.lease.held);
    assert_int_equal(kit.lost, 1);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row),        cmocka_unit_test(test_life),       cmocka_unit_test(test_death),
        cmocka_unit_test(test_store_lost), cmocka_unit_test(test_store_away),
        cmocka_unit_test(test_rejoin),     cmocka_unit_test(test_duplicate),  cmocka_unit_test(test_order),
        cmocka_unit_test(test_row_last),   cmocka_unit_test(test_taken_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
