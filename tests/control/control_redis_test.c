/* The control store on Redis: the conformance suite against one real server and against two shards. */
#include "runtime/control_redis.h"

#include "tests/control/conformance.h"
#include "tests/control/redis_kit.h"

static server servers[2];
static uint32_t shard_count, opened;
static char last_cluster[32];

/* Each store is a cluster of its own: empty, whatever others left on the same servers. */
static lr_control *open_redis(const lr_control_handler *handler)
{
    char url[512], error[256];
    snprintf(last_cluster, sizeof last_cluster, "t%u", ++opened);
    int length = snprintf(url, sizeof url, "redis+unix://%s?cluster=%s", servers[0].socket, last_cluster);
    if (shard_count == 2)
        snprintf(url + length, sizeof url - (size_t)length, ",redis+unix://%s?cluster=%s", servers[1].socket, last_cluster);
    lr_control_redis_config config;
    lr_control_redis_config_init(&config, url);
    lr_control *control = lr_control_redis_open(&config, handler, error, sizeof error);
    if (!control) fail_msg("%s", error);
    return control;
}

static const implementation redis = {open_redis, lr_control_fini};

/* ---- what is special to Redis --------------------------------------------------------------------------- */

/* After the last row and log of a cluster its keys are gone, but for the format and the counter of versions. */
static void nothing_is_left(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < shard_count; i++)
        kit_do(&servers[i], "FLUSHALL");
    bench *b = open_bench();
    fill(b, 100);
    append(b, "log", 1, 5);
    lr_control_request q = ask(LR_CONTROL_DELETE_OWNED, TASK, "");
    q.owner = JOB_A;
    call(b, q);
    q.owner = JOB_B;
    call(b, q);
    assert_int_equal(status(b, ask(LR_CONTROL_DELETE_LOG, LR_CONTROL_TABLE_EVENT, "log")), LR_CONTROL_STATUS_OK);
    for (uint32_t i = 0; i < shard_count; i++) {
        redisReply *r = kit_ask(&servers[i], "KEYS *");
        assert_int_equal(r->elements, 2);
        for (size_t k = 0; k < 2; k++)
            assert_true(strstr(r->element[k]->str, "}:version") || strstr(r->element[k]->str, "}:format"));
        freeReplyObject(r);
    }
    close_bench(b);
}

static void both_shards_are_used(void **state)
{
    (void)state;
    if (shard_count < 2) return;
    bench *b = open_bench();
    fill(b, 100);
    for (uint32_t i = 0; i < shard_count; i++) {
        char command[64];
        snprintf(command, sizeof command, "ZCARD luarun:{%s}:index:task", last_cluster);
        redisReply *r = kit_ask(&servers[i], command);
        assert_in_range(r->integer, 20, 80);
        freeReplyObject(r);
    }
    close_bench(b);
}

/* Where a store lost everything, versions go on above those that were given. */
static void versions_after_a_flush(void **state)
{
    (void)state;
    bench *b = open_bench();
    uint64_t before = put(b, TASK, "a", "v", JOB_A);
    for (uint32_t i = 0; i < shard_count; i++)
        kit_do(&servers[i], "FLUSHALL");
    assert_true(put(b, TASK, "a", "v", JOB_A) > before);
    close_bench(b);
}

static void queues_have_a_capacity(void **state)
{
    (void)state;
    bench *b = calloc(1, sizeof *b);
    char url[256], error[256], value[1000] = "";
    lr_control_handler handler = {on_reply, on_wake, b};
    snprintf(url, sizeof url, "redis+unix://%s?cluster=capacity", servers[0].socket);
    lr_control_redis_config config;
    lr_control_redis_config_init(&config, url);
    config.queue_requests = 100;
    config.queue_bytes = 16u << 10;
    b->control = lr_control_redis_open(&config, &handler, error, sizeof error);
    lr_control_request q = ask(LR_CONTROL_GET, TASK, "a");
    uint32_t taken = 0;
    while (lr_control_request_make(b->control, &q) == LR_ERR_NONE)
        taken++;
    assert_in_range(taken, 50, 100);
    await(b, taken);
    b->answered = taken = 0;
    q.op = LR_CONTROL_PUT;
    q.value = lr_bytes_of(value, sizeof value);
    while (lr_control_request_make(b->control, &q) == LR_ERR_NONE)
        taken++;
    assert_in_range(taken, 8, 16);
    await(b, taken);
    close_bench(b);
}

/* What a loop of its own needs: it waits on the descriptors, and turns only when one is ready or time is up. */
static void another_loop_waits(void **state)
{
    (void)state;
    bench *b = open_bench();
    lr_control_request q = ask(LR_CONTROL_SUBSCRIBE, TASK, "");
    post(b, q);
    q.op = LR_CONTROL_PUT;
    q.notify = true;
    post(b, q);
    uint32_t turns = 0;
    for (; b->answered < 2 || b->woken < 1; turns++) {
        lr_control_turn(b->control, 0);
        if (b->answered == 2 && b->woken == 1) break;
        struct pollfd fds[LR_CONTROL_REDIS_FDS];
        uint32_t count = lr_control_redis_fds(b->control, fds);
        uint64_t now = lr_clock_ns(), deadline = lr_control_redis_deadline(b->control);
        poll(fds, count, deadline <= now ? 0 : (int)((deadline - now) / 1000000) + 1);
        assert_true(turns < 200);
    }
    close_bench(b);
}

int main(void)
{
    if (!kit_has("redis-server")) {
        puts("ok - control store on Redis # skip redis-server is not installed");
        return 0;
    }
    kit_start(&servers[0], 0, KIT_NO_FILES);
    kit_start(&servers[1], 0, KIT_NO_FILES);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_left),        cmocka_unit_test(both_shards_are_used),
        cmocka_unit_test(versions_after_a_flush), cmocka_unit_test(queues_have_a_capacity),
        cmocka_unit_test(another_loop_waits),
    };
    int failed = 0;
    for (shard_count = 1; shard_count <= 2; shard_count++) {
        failed += run_conformance(&redis);
        failed += cmocka_run_group_tests_name(shard_count == 1 ? "one Redis" : "two shards", tests, NULL, NULL);
    }
    kit_end(&servers[0]);
    kit_end(&servers[1]);
    return failed;
}
