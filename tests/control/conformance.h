/* tests/control/conformance.h - what every control store must do (sched/control.h, control.def), as one suite.
 *
 * A test program gives its implementation as a table of two functions and calls run_conformance. The cases ask only what
 * the interface promises: answers are awaited by turns, wake-ups may be merged, the order of a scan means nothing.
 * Every case opens an empty store. Include it in one file of a program. */
#ifndef TESTS_CONTROL_CONFORMANCE_H
#define TESTS_CONTROL_CONFORMANCE_H

#include "sched/control.h"
#include "tests/unit/test.h"

typedef struct implementation {
    /* An empty store that answers to handler. */
    lr_control *(*open)(const lr_control_handler *handler);
    /* Ends it; what was stored is gone. */
    void (*close)(lr_control *control);
} implementation;

static const implementation *tested;

/* ---- a store and what it said ------------------------------------------------------------------------ */

enum { ANSWERS = 4096, WAKES = 64, TURNS = 10000 };
#define TURN_NS 1000000u

typedef struct answer {
    lr_control_reply reply;
    lr_control_row rows[LR_CONTROL_ROWS_MAX]; /* their bytes are the bench's */
} answer;

typedef struct bench {
    lr_control *control;
    uint64_t tokens[ANSWERS]; /* of every reply, in order */
    uint32_t answered;
    answer last;
    char *kept[2 * LR_CONTROL_ROWS_MAX];
    uint32_t kept_count;
    struct {
        lr_control_table table;
        char key[LR_CONTROL_KEY_MAX + 1];
    } wakes[WAKES];
    uint32_t woken;
    uint64_t next_token;
} bench;

static lr_bytes keep(bench *b, lr_bytes given)
{
    char *copy = malloc(given.size_bytes + 1);
    if (given.size_bytes) memcpy(copy, given.at, given.size_bytes);
    copy[given.size_bytes] = 0;
    b->kept[b->kept_count++] = copy;
    return lr_bytes_of(copy, given.size_bytes);
}

static void forget(bench *b)
{
    while (b->kept_count > 0)
        free(b->kept[--b->kept_count]);
}

static void on_reply(void *user, const lr_control_reply *reply)
{
    bench *b = user;
    forget(b);
    assert_true(b->answered < ANSWERS);
    assert_in_range(reply->count, 0, LR_CONTROL_ROWS_MAX);
    b->tokens[b->answered++] = reply->token;
    b->last.reply = *reply;
    for (uint32_t i = 0; i < reply->count; i++) {
        b->last.rows[i] = reply->rows[i];
        b->last.rows[i].key = keep(b, reply->rows[i].key);
        b->last.rows[i].value = keep(b, reply->rows[i].value);
    }
    b->last.reply.rows = b->last.rows;
}

static void on_wake(void *user, lr_control_table table, lr_bytes key)
{
    bench *b = user;
    assert_true(b->woken < WAKES);
    b->wakes[b->woken].table = table;
    memcpy(b->wakes[b->woken].key, key.at, key.size_bytes);
    b->wakes[b->woken++].key[key.size_bytes] = 0;
}

static bench *open_bench(void)
{
    bench *b = calloc(1, sizeof *b);
    lr_control_handler handler = {on_reply, on_wake, b};
    b->next_token = 100;
    b->control = tested->open(&handler);
    assert_non_null(b->control);
    return b;
}

static void close_bench(bench *b)
{
    tested->close(b->control);
    forget(b);
    free(b);
}

static lr_bytes text(const char *s) { return lr_bytes_of(s, strlen(s)); }

static lr_control_request ask(lr_control_op op, lr_control_table table, const char *key)
{
    return (lr_control_request){.op = op, .table = table, .key = text(key)};
}

/* Makes a request; its token. */
static uint64_t post(bench *b, lr_control_request request)
{
    request.token = b->next_token++;
    assert_int_equal(lr_control_request_make(b->control, &request), LR_ERR_NONE);
    return request.token;
}

static void await(bench *b, uint32_t answered)
{
    for (int i = 0; i < TURNS && b->answered < answered; i++)
        lr_control_turn(b->control, TURN_NS);
    assert_int_equal(b->answered, answered);
}

/* Makes a request and awaits its answer. */
static const answer *call(bench *b, lr_control_request request)
{
    uint64_t token = post(b, request);
    await(b, b->answered + 1);
    assert_int_equal(b->last.reply.token, token);
    assert_int_equal(b->last.reply.op, request.op);
    return &b->last;
}

static lr_control_status status(bench *b, lr_control_request request) { return call(b, request)->reply.status; }

static uint64_t put(bench *b, lr_control_table table, const char *key, const char *value, lr_id owner)
{
    lr_control_request q = ask(LR_CONTROL_PUT, table, key);
    q.value = text(value);
    q.owner = owner;
    const answer *a = call(b, q);
    assert_int_equal(a->reply.status, LR_CONTROL_STATUS_OK);
    assert_int_equal(a->reply.count, 0);
    return a->reply.version;
}

static const answer *get(bench *b, lr_control_table table, const char *key)
{
    return call(b, ask(LR_CONTROL_GET, table, key));
}

static void assert_bytes(lr_bytes got, const char *wanted)
{
    assert_int_equal(got.size_bytes, strlen(wanted));
    assert_memory_equal(got.at, wanted, got.size_bytes);
}

#define TASK LR_CONTROL_TABLE_TASK
#define OBJECT LR_CONTROL_TABLE_OBJECT
#define JOB_A lr_id_from_seed(11)
#define JOB_B lr_id_from_seed(12)

/* ---- rows -------------------------------------------------------------------------------------------- */

static void put_and_get(void **state)
{
    (void)state;
    bench *b = open_bench();
    assert_int_equal(status(b, ask(LR_CONTROL_GET, TASK, "a")), LR_CONTROL_STATUS_NOT_FOUND);
    assert_int_equal(b->last.reply.count, 0);
    uint64_t version = put(b, TASK, "a", "one", JOB_A);
    const answer *a = get(b, TASK, "a");
    assert_int_equal(a->reply.status, LR_CONTROL_STATUS_OK);
    assert_int_equal(a->reply.count, 1);
    assert_bytes(a->rows[0].key, "a");
    assert_bytes(a->rows[0].value, "one");
    assert_true(lr_id_equal(a->rows[0].owner, JOB_A));
    assert_int_equal(a->rows[0].version, version);
    assert_int_equal(a->reply.version, version);
    close_bench(b);
}

static void tables_and_keys_are_apart(void **state)
{
    (void)state;
    bench *b = open_bench();
    put(b, TASK, "a", "task", LR_ID_NIL);
    put(b, OBJECT, "a", "object", LR_ID_NIL);
    put(b, TASK, "", "empty key", LR_ID_NIL);
    put(b, TASK, "a ", "blank", LR_ID_NIL);
    assert_bytes(get(b, TASK, "a")->rows[0].value, "task");
    assert_bytes(get(b, OBJECT, "a")->rows[0].value, "object");
    assert_bytes(get(b, TASK, "")->rows[0].value, "empty key");
    assert_bytes(get(b, TASK, "a ")->rows[0].value, "blank");
    assert_true(lr_id_is_nil(get(b, TASK, "a")->rows[0].owner));
    close_bench(b);
}

static void bytes_are_bytes(void **state)
{
    (void)state;
    bench *b = open_bench();
    uint8_t key[LR_CONTROL_KEY_MAX], value[256];
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)(i * 37);
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (uint8_t)i;
    lr_control_request q = {.op = LR_CONTROL_PUT, .table = TASK, .key = lr_bytes_of(key, sizeof key)};
    q.value = lr_bytes_of(value, sizeof value);
    assert_int_equal(status(b, q), LR_CONTROL_STATUS_OK);
    q.op = LR_CONTROL_GET;
    const answer *a = call(b, q);
    assert_int_equal(a->reply.count, 1);
    assert_int_equal(a->rows[0].key.size_bytes, sizeof key);
    assert_memory_equal(a->rows[0].key.at, key, sizeof key);
    assert_int_equal(a->rows[0].value.size_bytes, sizeof value);
    assert_memory_equal(a->rows[0].value.at, value, sizeof value);
    close_bench(b);
}

/* The request is copied: the caller's memory may change at once. */
static void requests_are_copied(void **state)
{
    (void)state;
    bench *b = open_bench();
    char key[] = "key", value[] = "value";
    lr_control_request q = ask(LR_CONTROL_PUT, TASK, key);
    q.value = text(value);
    post(b, q);
    key[0] = value[0] = 'x';
    assert_int_equal(b->answered, 0); /* nothing is answered inside a request */
    await(b, 1);
    assert_bytes(get(b, TASK, "key")->rows[0].value, "value");
    close_bench(b);
}

static void delete_a_row(void **state)
{
    (void)state;
    bench *b = open_bench();
    put(b, TASK, "a", "one", JOB_A);
    assert_int_equal(status(b, ask(LR_CONTROL_DELETE, TASK, "a")), LR_CONTROL_STATUS_OK);
    assert_int_equal(status(b, ask(LR_CONTROL_DELETE, TASK, "a")), LR_CONTROL_STATUS_NOT_FOUND);
    assert_int_equal(status(b, ask(LR_CONTROL_GET, TASK, "a")), LR_CONTROL_STATUS_NOT_FOUND);
    close_bench(b);
}

/* A row that is deleted and made again never has an old version. */
static void versions_never_come_again(void **state)
{
    (void)state;
    bench *b = open_bench();
    uint64_t last = 0;
    for (int i = 0; i < 20; i++) {
        uint64_t version = put(b, i % 2 ? TASK : OBJECT, "a", "v", LR_ID_NIL);
        assert_true(version > last);
        last = version;
        if (i % 3 == 0) status(b, ask(LR_CONTROL_DELETE, i % 2 ? TASK : OBJECT, "a"));
    }
    close_bench(b);
}

static void compare_and_set(void **state)
{
    (void)state;
    bench *b = open_bench();
    lr_control_request q = ask(LR_CONTROL_COMPARE_AND_SET, TASK, "a");
    q.value = text("one");
    q.version = 5;
    assert_int_equal(status(b, q), LR_CONTROL_STATUS_CONFLICT); /* there is no row */
    assert_int_equal(b->last.reply.count, 0);
    q.version = 0;
    assert_int_equal(status(b, q), LR_CONTROL_STATUS_OK);
    uint64_t first = b->last.reply.version;
    q.value = text("two");
    assert_int_equal(status(b, q), LR_CONTROL_STATUS_CONFLICT); /* there is one now */
    assert_int_equal(b->last.reply.count, 1);
    assert_bytes(b->last.rows[0].value, "one");
    assert_int_equal(b->last.rows[0].version, first);
    q.version = first;
    q.owner = JOB_B;
    assert_int_equal(status(b, q), LR_CONTROL_STATUS_OK);
    assert_true(b->last.reply.version > first);
    q.value = text("three");
    assert_int_equal(status(b, q), LR_CONTROL_STATUS_CONFLICT); /* that version is over */
    const answer *a = get(b, TASK, "a");
    assert_bytes(a->rows[0].value, "two");
    assert_true(lr_id_equal(a->rows[0].owner, JOB_B));
    close_bench(b);
}

static void limits(void **state)
{
    (void)state;
    bench *b = open_bench();
    static char long_key[LR_CONTROL_KEY_MAX + 2];
    memset(long_key, 'k', LR_CONTROL_KEY_MAX + 1);
    static const lr_control_op ops[] = {LR_CONTROL_PUT, LR_CONTROL_GET, LR_CONTROL_DELETE, LR_CONTROL_SCAN,
                                        LR_CONTROL_SUBSCRIBE};
    for (size_t i = 0; i < LR_COUNT(ops); i++)
        assert_int_equal(status(b, ask(ops[i], TASK, long_key)), LR_CONTROL_STATUS_TOO_LARGE);
    char *large = calloc(1, LR_CONTROL_VALUE_MAX + 1);
    lr_control_request q = ask(LR_CONTROL_PUT, TASK, "a");
    put(b, TASK, "a", "small", LR_ID_NIL);
    q.value = lr_bytes_of(large, LR_CONTROL_VALUE_MAX + 1);
    assert_int_equal(status(b, q), LR_CONTROL_STATUS_TOO_LARGE);
    assert_bytes(get(b, TASK, "a")->rows[0].value, "small"); /* nothing was changed */
    q.value.size_bytes = LR_CONTROL_VALUE_MAX;
    assert_int_equal(status(b, q), LR_CONTROL_STATUS_OK);
    assert_int_equal(get(b, TASK, "a")->rows[0].value.size_bytes, LR_CONTROL_VALUE_MAX);
    free(large);
    close_bench(b);
}

/* Requests for the same table and key are answered in their order. */
static void answers_in_order(void **state)
{
    (void)state;
    bench *b = open_bench();
    uint64_t tokens[300];
    for (int i = 0; i < 300; i++) {
        lr_control_request q = ask(i % 3 == 2 ? LR_CONTROL_GET : LR_CONTROL_PUT, TASK, "a");
        q.value = text("v");
        tokens[i] = post(b, q);
    }
    await(b, 300);
    for (int i = 0; i < 300; i++)
        assert_int_equal(b->tokens[i], tokens[i]);
    close_bench(b);
}

/* ---- scans and owners --------------------------------------------------------------------------------- */

/* All pages of a scan; seen[i] counts the row whose key ends with that number. */
static uint32_t scan_all(bench *b, lr_control_request q, uint32_t *seen)
{
    uint32_t pages = 0;
    do {
        const answer *a = call(b, q);
        assert_int_equal(a->reply.status, LR_CONTROL_STATUS_OK);
        if (q.limit) assert_in_range(a->reply.count, 0, q.limit);
        for (uint32_t i = 0; i < a->reply.count; i++)
            seen[atoi((const char *)a->rows[i].key.at + 1)]++;
        q.cursor = a->reply.cursor;
        pages++;
        assert_true(pages < 1000);
    } while (q.cursor != 0);
    return pages;
}

static void fill(bench *b, int count)
{
    for (int i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof key, "%c%d", i % 2 ? 'o' : 'e', i);
        put(b, TASK, key, "v", i % 5 == 0 ? JOB_A : JOB_B);
    }
    put(b, OBJECT, "e0", "another table", JOB_A);
}

static void scan(void **state)
{
    (void)state;
    bench *b = open_bench();
    enum { COUNT = 200 };
    fill(b, COUNT);
    for (uint32_t limit = 0; limit <= 200; limit += 7) {
        uint32_t all[COUNT] = {0}, even[COUNT] = {0}, owned[COUNT] = {0};
        lr_control_request q = ask(LR_CONTROL_SCAN, TASK, "");
        q.limit = limit;
        uint32_t pages = scan_all(b, q, all);
        assert_true(pages >= COUNT / LR_CONTROL_ROWS_MAX);
        q.key = text("e");
        scan_all(b, q, even);
        q.key = text("");
        q.owner = JOB_A;
        scan_all(b, q, owned);
        for (int i = 0; i < COUNT; i++) {
            assert_true(all[i] >= 1);
            assert_int_equal(even[i] > 0, i % 2 == 0);
            assert_int_equal(owned[i] > 0, i % 5 == 0);
        }
    }
    close_bench(b);
}

/* A row that is there during the whole scan comes, whatever is written and deleted meanwhile. */
static void scan_while_it_changes(void **state)
{
    (void)state;
    bench *b = open_bench();
    enum { COUNT = 100 };
    fill(b, COUNT);
    uint32_t seen[COUNT] = {0};
    lr_control_request q = ask(LR_CONTROL_SCAN, TASK, "");
    q.limit = 9;
    for (int page = 0; page == 0 || q.cursor; page++) {
        const answer *a = call(b, q);
        q.cursor = a->reply.cursor;
        for (uint32_t i = 0; i < a->reply.count; i++)
            seen[atoi((const char *)a->rows[i].key.at + 1)]++;
        char key[16];
        snprintf(key, sizeof key, "o%d", 2 * page + 1); /* odd ones go, even ones are written anew */
        status(b, ask(LR_CONTROL_DELETE, TASK, key));
        snprintf(key, sizeof key, "e%d", 2 * (page * 7 % 50));
        put(b, TASK, key, "again", page % 2 ? JOB_A : JOB_B);
        assert_true(page < 200);
    }
    for (int i = 0; i < COUNT; i += 2)
        assert_true(seen[i] >= 1);
    close_bench(b);
}

/* More rows than any page, of which a prefix wants few: every page goes on from where the last one ended. */
static void scan_many(void **state)
{
    (void)state;
    bench *b = open_bench();
    enum { COUNT = 2500, WANTED = 50 };
    for (int i = 0; i < COUNT; i++) {
        char key[16];
        snprintf(key, sizeof key, "%c%d", i % WANTED ? 'x' : 'w', i % WANTED ? i : i / WANTED);
        lr_control_request q = ask(LR_CONTROL_PUT, TASK, key);
        q.owner = i % 2 ? JOB_A : JOB_B;
        post(b, q);
    }
    await(b, COUNT);
    uint32_t seen[COUNT] = {0};
    lr_control_request q = ask(LR_CONTROL_SCAN, TASK, "w");
    b->answered = 0;
    scan_all(b, q, seen);
    for (int i = 0; i < COUNT / WANTED; i++)
        assert_true(seen[i] >= 1);
    memset(seen, 0, sizeof seen);
    q.key = text("");
    q.owner = JOB_A;
    scan_all(b, q, seen);
    for (int i = 1; i < COUNT; i += 2)
        assert_true(seen[i] >= 1);
    q = ask(LR_CONTROL_DELETE_OWNED, TASK, "");
    q.owner = JOB_A;
    assert_int_equal(call(b, q)->reply.version, COUNT / 2);
    q.owner = JOB_B;
    assert_int_equal(call(b, q)->reply.version, COUNT / 2);
    q = ask(LR_CONTROL_SCAN, TASK, "");
    for (int page = 0; page == 0 || q.cursor; page++) {
        assert_int_equal(call(b, q)->reply.count, 0);
        q.cursor = b->last.reply.cursor;
        assert_true(page < 50);
    }
    close_bench(b);
}

/* Rows too large to come together come in several pages, each of them once. */
static void scan_large_values(void **state)
{
    (void)state;
    bench *b = open_bench();
    enum { COUNT = 12, BYTES = 400 << 10 };
    char *value = calloc(1, BYTES);
    for (int i = 0; i < COUNT; i++) {
        char key[16];
        snprintf(key, sizeof key, "v%d", i);
        lr_control_request q = ask(LR_CONTROL_PUT, TASK, key);
        q.value = lr_bytes_of(value, BYTES);
        assert_int_equal(status(b, q), LR_CONTROL_STATUS_OK);
        q.op = LR_CONTROL_APPEND;
        q.key = text("log");
        q.limit = COUNT;
        assert_int_equal(status(b, q), LR_CONTROL_STATUS_OK);
    }
    free(value);
    uint32_t seen[COUNT] = {0};
    scan_all(b, ask(LR_CONTROL_SCAN, TASK, ""), seen);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(seen[i], 1);
    lr_control_request q = ask(LR_CONTROL_READ, TASK, "log");
    while (q.cursor < COUNT) {
        const answer *a = call(b, q);
        assert_true(a->reply.count > 0);
        for (uint32_t i = 0; i < a->reply.count; i++) {
            assert_int_equal(a->rows[i].version, q.cursor + 1 + i);
            assert_int_equal(a->rows[i].value.size_bytes, BYTES);
        }
        q.cursor = a->reply.cursor;
    }
    close_bench(b);
}

static void delete_owned(void **state)
{
    (void)state;
    bench *b = open_bench();
    fill(b, 50);
    lr_control_request q = ask(LR_CONTROL_DELETE_OWNED, TASK, "");
    q.owner = JOB_A;
    assert_int_equal(status(b, q), LR_CONTROL_STATUS_OK);
    assert_int_equal(b->last.reply.version, 11); /* ten of fifty, and one of another table */
    assert_int_equal(status(b, q), LR_CONTROL_STATUS_OK);
    assert_int_equal(b->last.reply.version, 0);
    uint32_t seen[50] = {0};
    scan_all(b, ask(LR_CONTROL_SCAN, TASK, ""), seen);
    for (int i = 0; i < 50; i++)
        assert_int_equal(seen[i] > 0, i % 5 != 0);
    q.owner = LR_ID_NIL; /* nobody owns nothing */
    assert_int_equal(status(b, q), LR_CONTROL_STATUS_OK);
    assert_int_equal(b->last.reply.version, 0);
    close_bench(b);
}

/* A row belongs to who wrote it last. */
static void owners_change(void **state)
{
    (void)state;
    bench *b = open_bench();
    put(b, TASK, "a", "one", JOB_A);
    put(b, TASK, "a", "two", JOB_B);
    lr_control_request q = ask(LR_CONTROL_DELETE_OWNED, TASK, "");
    q.owner = JOB_A;
    call(b, q);
    assert_int_equal(b->last.reply.version, 0);
    assert_bytes(get(b, TASK, "a")->rows[0].value, "two");
    put(b, TASK, "a", "three", LR_ID_NIL);
    q.owner = JOB_B;
    call(b, q);
    assert_int_equal(b->last.reply.version, 0);
    close_bench(b);
}

/* ---- logs ------------------------------------------------------------------------------------------- */

static uint64_t append(bench *b, const char *key, int number, uint32_t limit)
{
    char value[16];
    snprintf(value, sizeof value, "%d", number);
    lr_control_request q = ask(LR_CONTROL_APPEND, LR_CONTROL_TABLE_EVENT, key);
    q.value = text(value);
    q.limit = limit;
    assert_int_equal(status(b, q), LR_CONTROL_STATUS_OK);
    return b->last.reply.version;
}

static void logs(void **state)
{
    (void)state;
    bench *b = open_bench();
    for (int i = 1; i <= 100; i++)
        assert_int_equal(append(b, "log", i, 80), i);
    assert_int_equal(append(b, "other", 1, 80), 1);
    lr_control_request q = ask(LR_CONTROL_READ, LR_CONTROL_TABLE_EVENT, "log");
    q.limit = 30;
    int next = 21; /* 100 appended, 80 kept */
    for (;;) {
        const answer *a = call(b, q);
        assert_int_equal(a->reply.status, LR_CONTROL_STATUS_OK);
        if (a->reply.count == 0) break;
        for (uint32_t i = 0; i < a->reply.count; i++, next++) {
            assert_int_equal(a->rows[i].version, next);
            assert_int_equal(atoi(a->rows[i].value.at), next);
        }
        q.cursor = a->reply.cursor;
    }
    assert_int_equal(next, 101);
    assert_int_equal(q.cursor, 100);
    assert_int_equal(append(b, "log", 101, 1), 101); /* a smaller limit drops the rest */
    q.cursor = 0;
    const answer *a = call(b, q);
    assert_int_equal(a->reply.count, 1);
    assert_int_equal(a->rows[0].version, 101);
    close_bench(b);
}

static void logs_are_no_rows(void **state)
{
    (void)state;
    bench *b = open_bench();
    append(b, "a", 1, 10);
    assert_int_equal(status(b, ask(LR_CONTROL_GET, LR_CONTROL_TABLE_EVENT, "a")), LR_CONTROL_STATUS_NOT_FOUND);
    put(b, LR_CONTROL_TABLE_EVENT, "a", "row", LR_ID_NIL);
    assert_int_equal(status(b, ask(LR_CONTROL_DELETE_LOG, LR_CONTROL_TABLE_EVENT, "a")), LR_CONTROL_STATUS_OK);
    assert_int_equal(status(b, ask(LR_CONTROL_DELETE_LOG, LR_CONTROL_TABLE_EVENT, "a")), LR_CONTROL_STATUS_NOT_FOUND);
    assert_int_equal(get(b, LR_CONTROL_TABLE_EVENT, "a")->reply.status, LR_CONTROL_STATUS_OK);
    const answer *a = call(b, ask(LR_CONTROL_READ, LR_CONTROL_TABLE_EVENT, "a"));
    assert_int_equal(a->reply.status, LR_CONTROL_STATUS_OK);
    assert_int_equal(a->reply.count, 0);
    assert_int_equal(append(b, "a", 1, 10), 1); /* a new log counts from 1 */
    close_bench(b);
}

/* ---- wake-ups --------------------------------------------------------------------------------------- */

static void await_wake(bench *b)
{
    for (int i = 0; i < TURNS && b->woken == 0; i++)
        lr_control_turn(b->control, TURN_NS);
    assert_true(b->woken > 0);
}

static void write_with_notify(bench *b, lr_control_op op, const char *key)
{
    lr_control_request q = ask(op, TASK, key);
    q.value = text("v");
    q.limit = 5;
    q.notify = true;
    assert_int_equal(status(b, q), LR_CONTROL_STATUS_OK);
}

static void subscribers_are_woken(void **state)
{
    (void)state;
    bench *b = open_bench();
    static const lr_control_op writes[] = {LR_CONTROL_PUT, LR_CONTROL_COMPARE_AND_SET, LR_CONTROL_APPEND,
                                           LR_CONTROL_DELETE, LR_CONTROL_PUBLISH};
    assert_int_equal(status(b, ask(LR_CONTROL_SUBSCRIBE, TASK, "mine")), LR_CONTROL_STATUS_OK);
    for (size_t i = 0; i < LR_COUNT(writes); i++) {
        char key[16];
        snprintf(key, sizeof key, "mine/%zu", i);
        if (writes[i] == LR_CONTROL_DELETE) put(b, TASK, key, "v", LR_ID_NIL);
        b->woken = 0;
        write_with_notify(b, writes[i], key);
        await_wake(b);
        assert_int_equal(b->wakes[0].table, TASK);
        assert_string_equal(b->wakes[0].key, key);
    }
    close_bench(b);
}

/* A publish on a subscription of its own: once it has come, what was to come before it has come. */
static void assert_only_the_mark(bench *b)
{
    bool marked = false;
    write_with_notify(b, LR_CONTROL_PUBLISH, "mark");
    for (int i = 0; i < TURNS && !marked; i++) {
        lr_control_turn(b->control, TURN_NS);
        for (uint32_t k = 0; k < b->woken; k++) {
            assert_string_equal(b->wakes[k].key, "mark");
            marked = true;
        }
    }
    assert_true(marked);
}

static void others_are_not_woken(void **state)
{
    (void)state;
    bench *b = open_bench();
    assert_int_equal(status(b, ask(LR_CONTROL_SUBSCRIBE, TASK, "mark")), LR_CONTROL_STATUS_OK);
    assert_int_equal(status(b, ask(LR_CONTROL_SUBSCRIBE, TASK, "mine")), LR_CONTROL_STATUS_OK);
    put(b, TASK, "mine", "without notify", LR_ID_NIL);
    write_with_notify(b, LR_CONTROL_PUT, "min");
    write_with_notify(b, LR_CONTROL_PUT, "other");
    lr_control_request q = ask(LR_CONTROL_PUT, OBJECT, "mine");
    q.notify = true;
    call(b, q);
    q = ask(LR_CONTROL_DELETE, TASK, "mine/nothing");
    q.notify = true;
    assert_int_equal(status(b, q), LR_CONTROL_STATUS_NOT_FOUND);
    assert_only_the_mark(b);
    assert_int_equal(status(b, ask(LR_CONTROL_UNSUBSCRIBE, TASK, "mine")), LR_CONTROL_STATUS_OK);
    assert_int_equal(status(b, ask(LR_CONTROL_UNSUBSCRIBE, TASK, "mine")), LR_CONTROL_STATUS_NOT_FOUND);
    b->woken = 0;
    write_with_notify(b, LR_CONTROL_PUT, "mine");
    assert_only_the_mark(b);
    close_bench(b);
}

/* Keys of any bytes, those too that mean something to a store: in rows, scans, logs and subscriptions. */
static void keys_are_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        size_t size_bytes;
    } keys[] = {{"*", 1},      {"?", 1},         {"[a]", 3},      {"\\", 1},     {"\\*", 2}, {"a*", 2},     {"", 0},
                {"\0", 1},     {"\0\0", 2},     {"\r\n$-1\r\n", 7}, {":", 1},      {"t:k", 3}, {"[^-]", 4}, {"{x}", 3},
                {"\xff\xfe", 2}, {"%s%n", 4},    {"' \"", 3}};
    bench *b = open_bench();
    for (size_t i = 0; i < LR_COUNT(keys); i++) {
        lr_control_request q = {.op = LR_CONTROL_PUT, .table = TASK, .owner = JOB_A};
        q.key = q.value = lr_bytes_of(keys[i].key, keys[i].size_bytes);
        assert_int_equal(status(b, q), LR_CONTROL_STATUS_OK);
        q.op = LR_CONTROL_APPEND;
        q.limit = 3;
        assert_int_equal(call(b, q)->reply.version, 1);
    }
    for (size_t i = 0; i < LR_COUNT(keys); i++) {
        lr_control_request q = {.op = LR_CONTROL_SCAN, .table = TASK};
        q.key = lr_bytes_of(keys[i].key, keys[i].size_bytes);
        uint32_t wanted = 0, found = 0;
        for (size_t k = 0; k < LR_COUNT(keys); k++)
            wanted += keys[k].size_bytes >= q.key.size_bytes && memcmp(keys[k].key, q.key.at, q.key.size_bytes) == 0;
        for (int page = 0; page == 0 || q.cursor; page++) {
            const answer *a = call(b, q);
            found += a->reply.count;
            for (uint32_t k = 0; k < a->reply.count; k++) {
                assert_int_equal(a->rows[k].key.size_bytes, a->rows[k].value.size_bytes);
                assert_memory_equal(a->rows[k].key.at, a->rows[k].value.at, a->rows[k].key.size_bytes);
            }
            q.cursor = a->reply.cursor;
        }
        assert_int_equal(found, wanted);
        if (q.key.size_bytes == 0) continue; /* everything begins with it: looked at elsewhere */
        q = (lr_control_request){.op = LR_CONTROL_SUBSCRIBE, .table = TASK, .key = q.key};
        assert_int_equal(status(b, q), LR_CONTROL_STATUS_OK);
        q.op = LR_CONTROL_PUBLISH;
        b->woken = 0;
        status(b, ask(LR_CONTROL_PUBLISH, TASK, "something else"));
        assert_int_equal(status(b, q), LR_CONTROL_STATUS_OK);
        await_wake(b);
        assert_memory_equal(b->wakes[0].key, q.key.at, q.key.size_bytes);
        q.op = LR_CONTROL_UNSUBSCRIBE;
        assert_int_equal(status(b, q), LR_CONTROL_STATUS_OK);
    }
    lr_control_request q = ask(LR_CONTROL_DELETE_OWNED, TASK, "");
    q.owner = JOB_A;
    assert_int_equal(call(b, q)->reply.version, LR_COUNT(keys));
    for (size_t i = 0; i < LR_COUNT(keys); i++) {
        q = (lr_control_request){.op = LR_CONTROL_GET, .table = TASK};
        q.key = lr_bytes_of(keys[i].key, keys[i].size_bytes);
        assert_int_equal(status(b, q), LR_CONTROL_STATUS_NOT_FOUND);
        q.op = LR_CONTROL_DELETE_LOG;
        assert_int_equal(status(b, q), LR_CONTROL_STATUS_OK);
    }
    close_bench(b);
}

static void delete_owned_wakes(void **state)
{
    (void)state;
    bench *b = open_bench();
    put(b, TASK, "a", "v", JOB_A);
    assert_int_equal(status(b, ask(LR_CONTROL_SUBSCRIBE, TASK, "")), LR_CONTROL_STATUS_OK);
    lr_control_request q = ask(LR_CONTROL_DELETE_OWNED, TASK, "");
    q.owner = JOB_A;
    q.notify = true;
    call(b, q);
    await_wake(b);
    close_bench(b);
}

static void subscriptions_are_bounded(void **state)
{
    (void)state;
    bench *b = open_bench();
    char key[16];
    for (int i = 0; i < LR_CONTROL_SUBSCRIPTIONS_MAX; i++) {
        snprintf(key, sizeof key, "s%d", i);
        assert_int_equal(status(b, ask(LR_CONTROL_SUBSCRIBE, TASK, key)), LR_CONTROL_STATUS_OK);
    }
    assert_int_equal(status(b, ask(LR_CONTROL_SUBSCRIBE, TASK, "s0")), LR_CONTROL_STATUS_OK); /* there already */
    assert_int_equal(status(b, ask(LR_CONTROL_SUBSCRIBE, TASK, "more")), LR_CONTROL_STATUS_FULL);
    assert_int_equal(status(b, ask(LR_CONTROL_UNSUBSCRIBE, TASK, "s7")), LR_CONTROL_STATUS_OK);
    assert_int_equal(status(b, ask(LR_CONTROL_SUBSCRIBE, TASK, "more")), LR_CONTROL_STATUS_OK);
    close_bench(b);
}

/* ---- life ------------------------------------------------------------------------------------------- */

/* A handler may make requests; they are answered too. */
static uint32_t chain_left;
static lr_control *chained;

static void chain_reply(void *user, const lr_control_reply *reply)
{
    (void)user;
    (void)reply;
    if (chain_left == 0) return;
    chain_left--;
    lr_control_request q = ask(LR_CONTROL_PUT, TASK, "a");
    assert_int_equal(lr_control_request_make(chained, &q), LR_ERR_NONE);
}

static void handlers_may_ask(void **state)
{
    (void)state;
    lr_control_handler handler = {chain_reply, on_wake, NULL};
    chained = tested->open(&handler);
    chain_left = 10;
    lr_control_request q = ask(LR_CONTROL_PUT, TASK, "a");
    assert_int_equal(lr_control_request_make(chained, &q), LR_ERR_NONE);
    for (int i = 0; i < TURNS && chain_left > 0; i++)
        lr_control_turn(chained, TURN_NS);
    assert_int_equal(chain_left, 0);
    tested->close(chained);
}

/* Ends with requests open, rows, logs and subscriptions there. */
static void ends_in_the_middle(void **state)
{
    (void)state;
    bench *b = open_bench();
    fill(b, 20);
    append(b, "log", 1, 5);
    call(b, ask(LR_CONTROL_SUBSCRIBE, TASK, ""));
    uint32_t answered = b->answered;
    for (int i = 0; i < 10; i++) {
        lr_control_request q = ask(LR_CONTROL_PUT, TASK, "open");
        q.value = text("never answered");
        post(b, q);
    }
    assert_int_equal(b->answered, answered);
    close_bench(b);
}

static int run_conformance(const implementation *i)
{
    tested = i;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_and_get),
        cmocka_unit_test(tables_and_keys_are_apart),
        cmocka_unit_test(bytes_are_bytes),
        cmocka_unit_test(requests_are_copied),
        cmocka_unit_test(delete_a_row),
        cmocka_unit_test(versions_never_come_again),
        cmocka_unit_test(compare_and_set),
        cmocka_unit_test(limits),
        cmocka_unit_test(answers_in_order),
        cmocka_unit_test(scan),
        cmocka_unit_test(scan_while_it_changes),
        cmocka_unit_test(scan_many),
        cmocka_unit_test(scan_large_values),
        cmocka_unit_test(delete_owned),
        cmocka_unit_test(owners_change),
        cmocka_unit_test(logs),
        cmocka_unit_test(logs_are_no_rows),
        cmocka_unit_test(subscribers_are_woken),
        cmocka_unit_test(others_are_not_woken),
        cmocka_unit_test(keys_are_bytes),
        cmocka_unit_test(delete_owned_wakes),
        cmocka_unit_test(subscriptions_are_bounded),
        cmocka_unit_test(handlers_may_ask),
        cmocka_unit_test(ends_in_the_middle),
    };
    return cmocka_run_group_tests_name("conformance", tests, NULL, NULL);
}

#endif
