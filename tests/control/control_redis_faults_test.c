/* The control store on Redis when something is wrong: each with one line that says what, where and what to do. */
#include "runtime/control_redis.h"

#include "runtime/control_redis_scripts.h"
#include "runtime/control_redis_url.h"
#include "tests/control/redis_kit.h"

/* ---- a store and what it said ------------------------------------------------------------------------ */

typedef struct said {
    uint32_t answered, woken, count[LR_CONTROL_STATUS_COUNT];
    lr_control_status last;
    char value[32];
} said;

static void on_reply(void *user, const lr_control_reply *reply)
{
    said *s = user;
    s->answered++;
    s->count[reply->status]++;
    s->last = reply->status;
    s->value[0] = 0;
    if (reply->count > 0)
        snprintf(s->value, sizeof s->value, "%.*s", (int)reply->rows[0].value.size_bytes, (const char *)reply->rows[0].value.at);
}

static void on_wake(void *user, lr_control_table table, lr_bytes key)
{
    (void)table;
    (void)key;
    ((said *)user)->woken++;
}

/* Impatient, so that a test is short. */
static lr_control *open_store(const char *url, said *s)
{
    char error[256];
    lr_control_handler handler = {on_reply, on_wake, s};
    lr_control_redis_config config;
    memset(s, 0, sizeof *s);
    lr_control_redis_config_init(&config, url);
    config.connect_timeout_ns = LR_NS_PER_S;
    config.answer_timeout_ns = LR_NS_PER_S;
    config.idle_ns = LR_NS_PER_S / 2;
    config.retry_min_ns = LR_NS_PER_S / 100;
    config.retry_max_ns = LR_NS_PER_S / 10;
    lr_control *c = lr_control_redis_open(&config, &handler, error, sizeof error);
    if (!c) fail_msg("%s", error);
    return c;
}

static lr_control_request ask(lr_control_op op, const char *key, const char *value)
{
    return (lr_control_request){.op = op, .table = LR_CONTROL_TABLE_TASK, .key = {key, strlen(key)},
                                .value = {value, strlen(value)}, .limit = 5, .notify = true};
}

static lr_control_status call(lr_control *c, said *s, lr_control_op op, const char *key, const char *value)
{
    lr_control_request q = ask(op, key, value);
    uint32_t before = s->answered;
    assert_int_equal(lr_control_request_make(c, &q), LR_ERR_NONE);
    for (uint64_t start = lr_clock_ns(); s->answered == before;) {
        lr_control_turn(c, LR_NS_PER_S / 10);
        assert_true(lr_clock_ns() - start < KIT_PATIENCE_NS);
    }
    return s->last;
}

static void await_state(lr_control *c, lr_control_redis_state wanted)
{
    for (uint64_t start = lr_clock_ns(); lr_control_redis_state_of(c) != wanted;) {
        lr_control_turn(c, LR_NS_PER_S / 100);
        if (lr_clock_ns() - start < KIT_PATIENCE_NS) continue;
        char line[512];
        lr_control_redis_status(c, line, sizeof line);
        fail_msg("not in state %d: %s", wanted, line);
    }
}

static void assert_line(lr_control *c, const char *wanted)
{
    char line[512];
    lr_control_redis_status(c, line, sizeof line);
    if (!strstr(line, wanted) || strchr(line, '\n') || strstr(line, "secret")) fail_msg("'%s' lacks '%s'", line, wanted);
}

/* Opens a store that ends up in a state, with these words; requests are answered `unavailable` meanwhile. */
static void expect(const char *url, lr_control_redis_state state, const char *words)
{
    said s;
    lr_control *c = open_store(url, &s);
    await_state(c, state);
    assert_line(c, words);
    lr_control_fini(c);
}

static char url_text[256];
static const char *url_of(const server *s, const char *user, const char *rest)
{
    if (s->port)
        snprintf(url_text, sizeof url_text, "redis://%s127.0.0.1:%u%s", user, s->port, rest);
    else
        snprintf(url_text, sizeof url_text, "redis+unix://%s%s%s", user, s->socket, rest);
    return url_text;
}

/* ---- no Redis, or a wrong one ------------------------------------------------------------------------- */

static void nobody_there(void **state)
{
    (void)state;
    char url[64];
    snprintf(url, sizeof url, "redis://127.0.0.1:%u", kit_port());
    expect(url, LR_CONTROL_REDIS_UNREACHABLE, "Connection refused: nothing listens there: start redis-server");
    expect("redis+unix:///nowhere/at/all", LR_CONTROL_REDIS_UNREACHABLE, "redis at /nowhere/at/all: No such file");
    expect("redis://no-such-host.invalid:1", LR_CONTROL_REDIS_UNREACHABLE, "no-such-host.invalid:1: ");
    said s;
    lr_control *c = open_store(url, &s);
    assert_int_equal(call(c, &s, LR_CONTROL_PUT, "a", "v"), LR_CONTROL_STATUS_UNAVAILABLE);
    assert_int_equal(call(c, &s, LR_CONTROL_SUBSCRIBE, "a", ""), LR_CONTROL_STATUS_UNAVAILABLE);
    assert_int_equal(call(c, &s, LR_CONTROL_DELETE_OWNED, "a", ""), LR_CONTROL_STATUS_OK); /* of nobody: nothing */
    lr_control_fini(c);
}

static void stand_ins(void **state)
{
    (void)state;
    static const struct {
        const char *says, *line;
        lr_control_redis_state state;
    } cases[] = {
        {"+OK\r\n$21\r\nredis_version:5.0.14\n\r\n", "version 5.0.14 is too old: 6 or later", LR_CONTROL_REDIS_REFUSED},
        {"HTTP/1.1 400 Bad Request\r\n\r\n", "does not answer as a Redis does", LR_CONTROL_REDIS_REFUSED},
        {"-DENIED Redis is running in protected mode\r\n", "protected mode", LR_CONTROL_REDIS_REFUSED},
        {"-ERR max number of clients reached\r\n", "maxclients", LR_CONTROL_REDIS_UNREACHABLE},
        {"+OK\r\n-LOADING Redis is loading\r\n", "still loading", LR_CONTROL_REDIS_UNREACHABLE},
        {"+OK\r\n$43\r\nredis_version:7.0.15\r\nredis_mode:cluster\r\n\r\n\r\n", "Redis Cluster", LR_CONTROL_REDIS_REFUSED},
        {"", "waiting for its first answer", LR_CONTROL_REDIS_UNREACHABLE},
    };
    for (size_t i = 0; i < LR_COUNT(cases); i++) {
        server s;
        kit_pretend(&s, cases[i].says);
        s.port = 0;
        expect(url_of(&s, "", ""), cases[i].state, cases[i].line);
        kit_end(&s);
    }
}

static void passwords(void **state)
{
    (void)state;
    server s;
    kit_start(&s, 0, KIT_NO_FILES);
    expect(url_of(&s, ":secret@", ""), LR_CONTROL_REDIS_REFUSED, "the server has none");
    kit_do(&s, "ACL SETUSER good on >secret ~luarun:* &* +@all -@dangerous +info");
    kit_do(&s, "ACL SETUSER poor on >secret ~* &* +@read");
    expect(url_of(&s, "good:secret2@", ""), LR_CONTROL_REDIS_REFUSED, "wrong password for user 'good'");
    expect(url_of(&s, "poor:secret@", ""), LR_CONTROL_REDIS_REFUSED, "user 'poor' may not do what is needed");
    said heard;
    lr_control *c = open_store(url_of(&s, "good:secret@", ""), &heard);
    assert_int_equal(call(c, &heard, LR_CONTROL_SUBSCRIBE, "", ""), LR_CONTROL_STATUS_OK);
    assert_int_equal(call(c, &heard, LR_CONTROL_PUT, "a", "v"), LR_CONTROL_STATUS_OK);
    assert_int_equal(call(c, &heard, LR_CONTROL_APPEND, "a", "v"), LR_CONTROL_STATUS_OK);
    assert_int_equal(call(c, &heard, LR_CONTROL_SCAN, "", ""), LR_CONTROL_STATUS_OK);
    lr_control_fini(c);
    kit_do(&s, "CONFIG SET requirepass secret");
    expect(url_of(&s, "", ""), LR_CONTROL_REDIS_REFUSED, "it wants a password");
    expect(url_of(&s, ":secret@", ""), LR_CONTROL_REDIS_READY, "connected");
    expect(url_of(&s, ":secret@", "?database=4000"), LR_CONTROL_REDIS_REFUSED, "no database 4000");
    kit_end(&s);
}

static void a_replica(void **state)
{
    (void)state;
    server s;
    kit_start(&s, 0, KIT_NO_FILES);
    said heard;
    lr_control *c = open_store(url_of(&s, "", ""), &heard);
    assert_int_equal(call(c, &heard, LR_CONTROL_PUT, "a", "v"), LR_CONTROL_STATUS_OK);
    kit_do(&s, "REPLICAOF 127.0.0.1 1"); /* while it is used */
    assert_int_equal(call(c, &heard, LR_CONTROL_PUT, "a", "v"), LR_CONTROL_STATUS_UNAVAILABLE);
    assert_line(c, "a read-only replica: give the primary's address");
    await_state(c, LR_CONTROL_REDIS_REFUSED);
    kit_do(&s, "REPLICAOF NO ONE");
    await_state(c, LR_CONTROL_REDIS_READY);
    lr_control_fini(c);
    kit_end(&s);
}

/* Full: writes are refused whole; reading, deleting and going on afterwards work. */
static void out_of_memory(void **state)
{
    (void)state;
    server s;
    kit_start(&s, 0, KIT_NO_FILES);
    said heard;
    lr_control *c = open_store(url_of(&s, "", ""), &heard);
    assert_int_equal(call(c, &heard, LR_CONTROL_PUT, "a", "old"), LR_CONTROL_STATUS_OK);
    kit_do(&s, "CONFIG SET maxmemory 1");
    assert_int_equal(call(c, &heard, LR_CONTROL_PUT, "a", "new"), LR_CONTROL_STATUS_FULL);
    assert_line(c, "out of memory: raise maxmemory");
    assert_int_equal(call(c, &heard, LR_CONTROL_GET, "a", ""), LR_CONTROL_STATUS_OK);
    assert_string_equal(heard.value, "old");
    lr_control_fini(c);
    c = open_store(url_of(&s, "", ""), &heard); /* one that comes when it is full */
    assert_int_equal(call(c, &heard, LR_CONTROL_DELETE, "a", ""), LR_CONTROL_STATUS_OK);
    assert_line(c, "out of memory: raise maxmemory");
    kit_do(&s, "CONFIG SET maxmemory 0");
    assert_int_equal(call(c, &heard, LR_CONTROL_PUT, "a", "new"), LR_CONTROL_STATUS_OK);
    lr_control_fini(c);
    kit_do(&s, "CONFIG SET maxmemory 1000000000");
    kit_do(&s, "CONFIG SET maxmemory-policy allkeys-lru");
    expect(url_of(&s, "", ""), LR_CONTROL_REDIS_REFUSED, "maxmemory-policy allkeys-lru");
    kit_end(&s);
}

/* ---- others on the same Redis -------------------------------------------------------------------------- */

static void others_on_it(void **state)
{
    (void)state;
    server s;
    kit_start(&s, 0, KIT_NO_FILES);
    kit_do(&s, "SET foreign 1");
    kit_do(&s, "SET luarun:{c}:index:task mine");
    said a, b;
    lr_control *one = open_store(url_of(&s, "", "?cluster=a"), &a), *two = open_store(url_of(&s, "", "?cluster=b"), &b);
    assert_int_equal(call(one, &a, LR_CONTROL_SUBSCRIBE, "", ""), LR_CONTROL_STATUS_OK);
    assert_int_equal(call(one, &a, LR_CONTROL_PUT, "k", "one"), LR_CONTROL_STATUS_OK);
    assert_int_equal(call(two, &b, LR_CONTROL_PUT, "k", "two"), LR_CONTROL_STATUS_OK);
    assert_int_equal(call(one, &a, LR_CONTROL_GET, "k", ""), LR_CONTROL_STATUS_OK);
    assert_string_equal(a.value, "one");
    lr_control_fini(two);
    lr_control_fini(one);
    two = open_store(url_of(&s, "", "?cluster=c"), &b); /* somebody else's keys under our names */
    assert_int_equal(call(two, &b, LR_CONTROL_PUT, "k", "v"), LR_CONTROL_STATUS_UNAVAILABLE);
    assert_line(two, "another program uses keys that begin with luarun:{c}:");
    lr_control_fini(two);
    kit_do(&s, "SET luarun:{d}:format 99");
    expect(url_of(&s, "", "?cluster=d"), LR_CONTROL_REDIS_REFUSED, "have format 99, this luarun writes 1");
    redisReply *r = kit_ask(&s, "GET foreign");
    assert_string_equal(r->str, "1");
    freeReplyObject(r);
    kit_end(&s);
}

/* ---- what dies in the middle ---------------------------------------------------------------------------- */

/* A kill, a start with empty tables: open requests are answered, the subscriber is woken, versions go on above. */
static void a_restart(void **state)
{
    (void)state;
    server s;
    kit_start(&s, 0, KIT_NO_FILES);
    said heard;
    lr_control *c = open_store(url_of(&s, "", ""), &heard);
    assert_int_equal(call(c, &heard, LR_CONTROL_SUBSCRIBE, "a", ""), LR_CONTROL_STATUS_OK);
    assert_int_equal(call(c, &heard, LR_CONTROL_PUT, "b", "v"), LR_CONTROL_STATUS_OK);
    kill(s.pid, SIGSTOP); /* takes what is sent and answers nothing */
    lr_control_request q = ask(LR_CONTROL_PUT, "b", "w");
    for (int i = 0; i < 100; i++)
        assert_int_equal(lr_control_request_make(c, &q), LR_ERR_NONE);
    lr_control_turn(c, 0);
    kit_kill(&s);
    for (int i = 0; i < 100 && heard.answered < 102; i++)
        lr_control_turn(c, LR_NS_PER_S / 10);
    assert_int_equal(heard.count[LR_CONTROL_STATUS_UNAVAILABLE], 100);
    assert_int_not_equal(lr_control_redis_state_of(c), LR_CONTROL_REDIS_READY);
    heard.woken = 0;
    kit_run(&s, false);
    await_state(c, LR_CONTROL_REDIS_READY);
    assert_int_equal(lr_control_redis_connections(c), 2);
    for (uint64_t start = lr_clock_ns(); heard.woken == 0;) {
        lr_control_turn(c, LR_NS_PER_S / 10);
        assert_true(lr_clock_ns() - start < KIT_PATIENCE_NS);
    }
    assert_int_equal(call(c, &heard, LR_CONTROL_GET, "b", ""), LR_CONTROL_STATUS_NOT_FOUND);
    assert_int_equal(call(c, &heard, LR_CONTROL_PUT, "b", "x"), LR_CONTROL_STATUS_OK);
    heard.woken = 0;
    assert_int_equal(call(c, &heard, LR_CONTROL_PUT, "a", "x"), LR_CONTROL_STATUS_OK);
    for (uint64_t start = lr_clock_ns(); heard.woken == 0;) {
        lr_control_turn(c, LR_NS_PER_S / 10);
        assert_true(lr_clock_ns() - start < KIT_PATIENCE_NS);
    }
    kit_do(&s, "SCRIPT FLUSH");
    assert_int_equal(call(c, &heard, LR_CONTROL_PUT, "b", "x"), LR_CONTROL_STATUS_UNAVAILABLE);
    assert_int_equal(call(c, &heard, LR_CONTROL_PUT, "b", "x"), LR_CONTROL_STATUS_OK);
    lr_control_fini(c);
    kit_end(&s);
}

/* A server that hangs: what was sent is given up after the time allowed, and the connection with it. */
static void a_hanging_server(void **state)
{
    (void)state;
    server s;
    kit_start(&s, 0, KIT_NO_FILES);
    said heard;
    lr_control *c = open_store(url_of(&s, "", ""), &heard);
    assert_int_equal(call(c, &heard, LR_CONTROL_PUT, "b", "v"), LR_CONTROL_STATUS_OK);
    kill(s.pid, SIGSTOP);
    assert_int_equal(call(c, &heard, LR_CONTROL_PUT, "b", "v"), LR_CONTROL_STATUS_UNAVAILABLE);
    assert_line(c, "no answer for 1.");
    kill(s.pid, SIGCONT);
    assert_int_equal(call(c, &heard, LR_CONTROL_PUT, "b", "v"), LR_CONTROL_STATUS_OK);
    lr_control_fini(c);
    kit_end(&s);
}

/* ---- Sentinel -------------------------------------------------------------------------------------------- */

static void fail_over(void **state)
{
    (void)state;
    server primary, replica, sentinel = {.port = kit_port()};
    char lines[400], url[128];
    kit_start(&primary, kit_port(), KIT_NO_FILES);
    snprintf(lines, sizeof lines, KIT_NO_FILES "replicaof 127.0.0.1 %u\n", primary.port);
    kit_start(&replica, kit_port(), lines);
    kit_folder(&sentinel);
    snprintf(lines, sizeof lines, "sentinel monitor tables 127.0.0.1 %u 1\nsentinel down-after-milliseconds tables 400\n"
             "sentinel failover-timeout tables 2000\n", primary.port);
    kit_configure(&sentinel, lines);
    kit_run(&sentinel, true);
    for (uint64_t start = lr_clock_ns();; kit_pause()) { /* it has found the replica, and that has its data */
        redisReply *r = kit_ask(&sentinel, "SENTINEL replicas tables"), *link = kit_ask(&replica, "INFO replication");
        bool found = r->type == REDIS_REPLY_ARRAY && r->elements == 1 && strstr(link->str, "master_link_status:up");
        freeReplyObject(r);
        freeReplyObject(link);
        if (found) break;
        assert_true(lr_clock_ns() - start < KIT_PATIENCE_NS);
    }
    snprintf(url, sizeof url, "redis+sentinel://127.0.0.1:%u,127.0.0.1:%u/tables", kit_port(), sentinel.port);
    said heard;
    lr_control *c = open_store(url, &heard);
    assert_int_equal(call(c, &heard, LR_CONTROL_SUBSCRIBE, "", ""), LR_CONTROL_STATUS_OK);
    assert_int_equal(call(c, &heard, LR_CONTROL_PUT, "a", "kept"), LR_CONTROL_STATUS_OK);
    redisContext *at = kit_connect(&primary);
    freeReplyObject(redisCommand(at, "SET mark after")); /* WAIT is for what its own connection has written */
    redisReply *copies = redisCommand(at, "WAIT 1 5000");
    assert_true(copies && copies->integer >= 1);
    freeReplyObject(copies);
    redisFree(at);
    kit_kill(&primary);
    for (uint64_t start = lr_clock_ns(); call(c, &heard, LR_CONTROL_PUT, "b", "v") != LR_CONTROL_STATUS_OK;)
        assert_true(lr_clock_ns() - start < 3 * KIT_PATIENCE_NS); /* a Sentinel that finds the replica late waits twice its timeout */
    assert_int_equal(call(c, &heard, LR_CONTROL_GET, "a", ""), LR_CONTROL_STATUS_OK);
    assert_string_equal(heard.value, "kept");
    snprintf(lines, sizeof lines, "redis at 127.0.0.1:%u version", replica.port);
    await_state(c, LR_CONTROL_REDIS_READY);
    assert_line(c, lines);
    lr_control_fini(c);
    snprintf(url, sizeof url, "redis+sentinel://127.0.0.1:%u/others", sentinel.port);
    expect(url, LR_CONTROL_REDIS_UNREACHABLE, "it knows no primary named 'others'");
    snprintf(url, sizeof url, "redis+sentinel://127.0.0.1:%u/x", replica.port);
    expect(url, LR_CONTROL_REDIS_REFUSED, "it is no Sentinel");
    expect(url_of(&sentinel, "", ""), LR_CONTROL_REDIS_REFUSED, "Sentinel");
    kit_end(&sentinel);
    kit_end(&replica);
    kit_end(&primary);
}

/* ---- addresses, hashes ----------------------------------------------------------------------------------- */

static void addresses(void **state)
{
    (void)state;
    static const struct {
        const char *url, *error;
    } wrong[] = {
        {"", "wanted"}, {"http://x", "wanted"}, {"redis://", "no host"}, {"redis://h:0", "no host"},
        {"redis://h:70000", "no host"}, {"redis://h/x", "database: a number"}, {"redis://h?cluster=a b", "cluster: 1 to"},
        {"redis://h?cluster=", "cluster: 1 to"}, {"redis://h?nope=1", "unknown option 'nope'"}, {"redis://h?x", "name=value"},
        {"redis://u:secret%zz@h", "too long"}, {"redis://h,redis://h", "same server"}, {"redis+unix://x", "path of a socket"},
        {"redis+sentinel://h", "primary's name"}, {"redis://h?cluster=a,redis://i?cluster=b", "two cluster names"},
    };
    lr_redis_targets t;
    char error[256];
    for (size_t i = 0; i < LR_COUNT(wrong); i++) {
        assert_false(lr_redis_targets_parse(&t, wrong[i].url, error, sizeof error));
        if (!strstr(error, wrong[i].error) || strstr(error, "secret")) fail_msg("%s: %s", wrong[i].url, error);
    }
    assert_true(lr_redis_targets_parse(&t, "redis://me:se%40cret@[::1]:7000/3?cluster=c.1,"
                                           "redis+sentinel://a,b:5/main?sentinel_password=x", error, sizeof error));
    assert_int_equal(t.count, 2);
    assert_string_equal(t.cluster, "c.1");
    assert_string_equal(t.shard[0].at[0].host, "::1");
    assert_string_equal(t.shard[0].password, "se@cret");
    assert_int_equal(t.shard[0].database, 3);
    assert_int_equal(t.shard[1].count, 2);
    assert_int_equal(t.shard[1].at[0].port, 26379);
    assert_int_equal(t.shard[1].at[1].port, 5);
    assert_string_equal(t.shard[1].primary, "main");
    char sha[LR_REDIS_SHA_TEXT];
    lr_redis_sha1("abc", 3, sha);
    assert_string_equal(sha, "a9993e364706816aba3e25717850c26c9cd0d89d");
}

int main(void)
{
    const struct CMUnitTest alone[] = {cmocka_unit_test(addresses), cmocka_unit_test(nobody_there),
                                       cmocka_unit_test(stand_ins)};
    const struct CMUnitTest with_redis[] = {
        cmocka_unit_test(passwords),    cmocka_unit_test(a_replica), cmocka_unit_test(out_of_memory),
        cmocka_unit_test(others_on_it), cmocka_unit_test(a_restart), cmocka_unit_test(a_hanging_server),
        cmocka_unit_test(fail_over),
    };
    int failed = cmocka_run_group_tests_name("faults without Redis", alone, NULL, NULL);
    if (kit_has("redis-server"))
        return failed + cmocka_run_group_tests_name("faults of Redis", with_redis, NULL, NULL);
    puts("ok - faults of Redis # skip redis-server is not installed");
    return failed;
}
