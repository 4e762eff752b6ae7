/* tests/transport/lending_test.c - objects that come in chunks from peers that do what they should, and from such that do not.
 *
 * One node takes (lr_lending); its peers are made by hand here, so that they may say anything. All in one process and thread,
 * over real sockets. Nothing sleeps a fixed time: until() turns everything until a condition holds. */
#include "tests/unit/test.h"

#include "runtime/clock.h"
#include "runtime/export.h"
#include "runtime/futex.h"
#include "runtime/lending.h"
#include "runtime/store.h"

#define LONG_NS (20 * LR_NS_PER_S)
#define CHUNK LR_CHUNK_BYTES
#define SIZE (CHUNK * 5 / 2)
#define PEERS 2
#define SEEN 64

/* What came to a peer made by hand. */
typedef struct heard {
    lr_message_kind kind;
    lr_id object;
    uint64_t offset, size, check, sum;
    size_t count; /* BORROWED: ids */
} heard;

typedef struct hand {
    lr_transport *transport;
    lr_channel channel;
    lr_peer *peer;
    heard all[SEEN];
    size_t count, read;
    uint64_t data_bytes, data_check;
} hand;

/* The node under test, and its end of each connection. */
typedef struct node_end {
    lr_channel channel;
    lr_lending lending;
    bool up;
} node_end;

static struct {
    lr_transport *transport;
    node_end ends[PEERS];
    unsigned end_count;
    lr_message_kind kinds[SEEN]; /* delivered */
    char texts[SEEN][200];
    lr_buffer *objects[SEEN]; /* of the values, one count */
    size_t delivered;
} node;

static hand hands[PEERS];
static lr_bed bed;
static uint8_t source[SIZE];

static void ring(void) { lr_bed_wake(&bed); }
static void ring_transport(void *user) { (void)user, ring(); }

/* ---- the node ----------------------------------------------------------------------------------------------- */

static struct lr_task *borrow(void *user, lr_id id)
{
    (void)user, (void)id;
    return NULL;
}

static lr_fn *find(void *user, lr_id id)
{
    (void)user, (void)id;
    return NULL;
}

static void deliver(void *user, const lr_message *m)
{
    (void)user;
    size_t at = node.delivered++;
    assert_true(at < SEEN);
    node.kinds[at] = m->kind;
    node.texts[at][0] = 0;
    node.objects[at] = NULL;
    if (m->kind != LR_MESSAGE_TASK) return;
    lr_value v = {0};
    lr_import_from from = {borrow, find, NULL, NULL};
    lr_reader r = lr_reader_of(m->task.args.at, m->task.args.size_bytes);
    if (!lr_import(&r, &v, &from, node.texts[at], sizeof node.texts[at])) return;
    if (lr_value_ref_count(&v) > 0) {
        node.objects[at] = (lr_buffer *)lr_value_refs(&v)[0];
        lr_object_retain(&node.objects[at]->base);
    }
    lr_value_clear(&v);
}

static void node_up(void *user, lr_peer *peer, const lr_identity *identity)
{
    (void)user;
    node_end *e = &node.ends[identity->node.lo - 2];
    lr_channel_init(&e->channel, peer);
    lr_lending_init(&e->lending, &e->channel, deliver, e);
    e->up = true;
    node.end_count++;
    lr_peer_set_user(peer, e);
}

static void node_record(void *user, lr_peer *peer, uint16_t kind, const void *bytes, size_t size_bytes)
{
    (void)user;
    node_end *e = lr_peer_user(peer);
    lr_message m;
    if (kind == LR_LENDING_DATA)
        lr_lending_data(&e->lending, bytes, size_bytes);
    else if (lr_channel_take(&e->channel, kind, bytes, size_bytes, &m) == LR_CHANNEL_MESSAGE)
        lr_lending_take(&e->lending, &m);
}

static void node_down(void *user, lr_peer *peer, lr_ending why, const char *text)
{
    (void)user, (void)why, (void)text;
    node_end *e = lr_peer_user(peer);
    if (!e) return;
    lr_lending_fini(&e->lending);
    lr_channel_fini(&e->channel);
    e->up = false;
    node.end_count--;
}

/* ---- the peers made by hand ------------------------------------------------------------------------------------ */

static void hand_up(void *user, lr_peer *peer, const lr_identity *identity)
{
    (void)identity;
    hand *h = user;
    h->peer = peer;
    lr_channel_init(&h->channel, peer);
}

static void hand_record(void *user, lr_peer *peer, uint16_t kind, const void *bytes, size_t size_bytes)
{
    (void)peer;
    hand *h = user;
    lr_message m;
    if (kind == LR_LENDING_DATA) {
        h->data_bytes += size_bytes;
        h->data_check = lr_transfer_check(bytes, size_bytes);
        return;
    }
    assert_int_equal(lr_channel_take(&h->channel, kind, bytes, size_bytes, &m), LR_CHANNEL_MESSAGE);
    heard *x = &h->all[h->count++ % SEEN];
    *x = (heard){.kind = m.kind};
    if (m.kind == LR_MESSAGE_FETCH) *x = (heard){m.kind, m.fetch.object, m.fetch.offset, m.fetch.size, 0, 0, 0};
    if (m.kind == LR_MESSAGE_CHUNK) *x = (heard){m.kind, m.chunk.object, m.chunk.offset, m.chunk.size, m.chunk.check, 0, 0};
    if (m.kind == LR_MESSAGE_GONE) x->object = m.gone.object;
    if (m.kind == LR_MESSAGE_BORROWED) x->count = m.borrowed.objects.size_bytes / sizeof(lr_id);
}

static void hand_down(void *user, lr_peer *peer, lr_ending why, const char *text)
{
    (void)peer, (void)why, (void)text;
    ((hand *)user)->peer = NULL;
}

/* ---- turning --------------------------------------------------------------------------------------------------- */

static void turn(void)
{
    lr_transport_turn(node.transport);
    lr_lending_turn();
    lr_transport_flush(node.transport);
    for (int i = 0; i < PEERS; i++)
        if (hands[i].transport) lr_transport_turn(hands[i].transport);
}

#define until(condition) \
    do { \
        uint64_t end_ns_ = lr_clock_ns() + LONG_NS; \
        while (!(condition)) { \
            turn(); \
            if (condition) break; \
            if (lr_clock_ns() > end_ns_) fail_msg("not in time: %s", #condition); \
            lr_bed_sleep(&bed, lr_clock_ns() + 1000000); \
        } \
    } while (0)

static lr_transport *open_transport(uint64_t id, void *user, bool is_node)
{
    lr_transport_config c = {.node = {1, id}, .version = "t", .build = "t", .record_max = LR_LENDING_RECORD_MAX};
    c.handler = is_node ? (lr_transport_handler){node_up, node_record, NULL, node_down, ring_transport, user}
                        : (lr_transport_handler){hand_up, hand_record, NULL, hand_down, ring_transport, user};
    lr_transport *t = lr_transport_open(&c);
    assert_non_null(t);
    return t;
}

static int start(void **state)
{
    (void)state;
    char text[LR_ENDING_TEXT];
    lr_peer *peer;
    assert_true(lr_store_configure(64 << 20));
    memset(&node, 0, sizeof node);
    memset(hands, 0, sizeof hands);
    for (size_t i = 0; i < SIZE; i++)
        source[i] = (uint8_t)(i * 31 + i / CHUNK * 7);
    lr_lending_open(ring, NULL, NULL);
    node.transport = open_transport(1, NULL, true);
    assert_int_equal(lr_transport_listen(node.transport, "tcp://127.0.0.1:0", text), LR_ENDING_OK);
    for (int i = 0; i < PEERS; i++) {
        hands[i].transport = open_transport((uint64_t)i + 2, &hands[i], false);
        const char *url = lr_transport_address(node.transport);
        assert_int_equal(lr_transport_connect(hands[i].transport, url, &peer, text), LR_ENDING_OK);
    }
    until(hands[0].count == 1 && hands[1].count == 1); /* HOST */
    assert_int_equal(hands[0].all[0].kind, LR_MESSAGE_HOST);
    hands[0].read = hands[1].read = 1;
    return 0;
}

static int end(void **state)
{
    (void)state;
    struct lr_store_stats stats;
    lr_lending_stats lending;
    for (size_t i = 0; i < node.delivered; i++)
        if (node.objects[i]) lr_buffer_release(node.objects[i]);
    lr_lending_close();
    for (int i = 0; i < PEERS; i++) {
        if (hands[i].transport) lr_transport_close(hands[i].transport, 0);
        lr_channel_fini(&hands[i].channel);
    }
    lr_transport_close(node.transport, 0);
    for (int i = 0; i < PEERS; i++)
        if (node.ends[i].up) {
            lr_lending_fini(&node.ends[i].lending);
            lr_channel_fini(&node.ends[i].channel);
        }
    lr_store_stats(&stats);
    lr_lending_count(&lending);
    assert_int_equal(lending.lent + lending.parked + lending.pulls + lending.sendings, 0);
    assert_int_equal(stats.used_bytes, 0);
    return lr_store_close() == 0 ? 0 : -1;
}

/* ---- saying ---------------------------------------------------------------------------------------------------- */

static lr_id object_id(uint64_t n) { return (lr_id){n, 77}; }
static lr_id task_id(uint64_t n) { return (lr_id){n, 88}; }

/* A message about that task, whose value refers to an object of that id. */
static void say_value(hand *h, lr_message_kind kind, uint64_t task, uint64_t object, uint64_t size)
{
    lr_builder b;
    lr_id id = object_id(object);
    lr_builder_init(&b);
    lr_builder_varint(&b, 3); /* the message: version, one value, nil */
    lr_builder_header(&b, 1);
    lr_builder_u8(&b, LR_TAG_NIL);
    lr_builder_varint(&b, 1);
    lr_builder_u8(&b, 5);
    lr_builder_bytes(&b, &id, sizeof id);
    lr_builder_varint(&b, size);
    lr_builder_varint(&b, 7);
    lr_builder_bytes(&b, "by hand", 7);
    lr_builder_bytes(&b, &(lr_id){0, 0}, sizeof(lr_id));
    lr_builder_varint(&b, 0);
    lr_message m = {.kind = kind};
    lr_bytes value = lr_bytes_of(b.data, b.size_bytes);
    if (kind == LR_MESSAGE_TASK) {
        m.task.task = task_id(task);
        m.task.args = value;
    } else {
        m.result.task = task_id(task);
        m.result.value = value;
    }
    assert_true(lr_channel_send(&h->channel, &m));
    lr_builder_fini(&b);
}

static void say_task(hand *h, uint64_t task, uint64_t object, uint64_t size)
{
    say_value(h, LR_MESSAGE_TASK, task, object, size);
}

static void say_chunk(hand *h, uint64_t object, uint64_t offset, uint64_t check_off)
{
    uint64_t size = SIZE - offset < CHUNK ? SIZE - offset : CHUNK;
    lr_message m = {.kind = LR_MESSAGE_CHUNK};
    m.chunk.object = object_id(object);
    m.chunk.offset = offset;
    m.chunk.size = size;
    m.chunk.check = lr_transfer_check(source + offset, size) + check_off;
    assert_true(lr_channel_send(&h->channel, &m));
    assert_int_equal(lr_transport_send(h->peer, LR_LENDING_DATA, source + offset, size), LR_ENDING_OK);
}

static const heard *next(hand *h, lr_message_kind kind)
{
    until(h->count > h->read);
    const heard *x = &h->all[h->read++ % SEEN];
    assert_string_equal(lr_message_name(x->kind), lr_message_name(kind));
    return x;
}

static void assert_fetch(hand *h, uint64_t object, uint64_t offset, uint64_t size)
{
    const heard *x = next(h, LR_MESSAGE_FETCH);
    assert_int_equal(x->object.hi, object_id(object).hi);
    assert_int_equal(x->offset, offset);
    assert_int_equal(x->size, size);
}

static void assert_whole(size_t at)
{
    assert_non_null(node.objects[at]);
    assert_int_equal(node.objects[at]->size_bytes, SIZE);
    assert_memory_equal(node.objects[at]->data, source, SIZE);
    assert_string_equal(node.objects[at]->site, "by hand");
}

/* ---- cases ----------------------------------------------------------------------------------------------------- */

static void test_whole(void **state)
{
    (void)state;
    hand *h = &hands[0];
    say_task(h, 1, 1, SIZE);
    assert_fetch(h, 1, 0, 2 * CHUNK);
    assert_fetch(h, 1, 2 * CHUNK, SIZE - 2 * CHUNK);
    say_chunk(h, 1, 2 * CHUNK, 0); /* in any order */
    say_chunk(h, 1, 0, 0);
    say_chunk(h, 1, CHUNK, 0);
    assert_int_equal(next(h, LR_MESSAGE_BORROWED)->count, 1);
    assert_int_equal(node.delivered, 1);
    assert_whole(0);
    say_task(h, 2, 1, SIZE); /* it is here */
    assert_int_equal(next(h, LR_MESSAGE_BORROWED)->count, 1);
    assert_ptr_equal(node.objects[1], node.objects[0]);
}

/* A result does not wait for its objects: they stay with its sender, who holds them, until they are asked for. */
static void test_result_waits_for_nothing(void **state)
{
    (void)state;
    hand *h = &hands[0];
    say_value(h, LR_MESSAGE_RESULT, 1, 1, SIZE);
    until(node.delivered == 1);
    assert_int_equal(h->count, h->read); /* no FETCH, no BORROWED */
    lr_reference ref = {.id = object_id(1), .size_bytes = SIZE};
    assert_true(lr_lending_ask(&node.ends[0].lending, &ref));
    assert_fetch(h, 1, 0, 2 * CHUNK);
    assert_fetch(h, 1, 2 * CHUNK, SIZE - 2 * CHUNK);
    for (uint64_t at = 0; at < SIZE; at += CHUNK)
        say_chunk(h, 1, at, 0);
    lr_lending_stats stats;
    until((lr_lending_count(&stats), stats.pulls == 0));
    lr_lending_acknowledge(&node.ends[0].lending, object_id(1));
    assert_int_equal(next(h, LR_MESSAGE_BORROWED)->count, 1);
}

/* What its sender has to make first does not stand in the way of what it has. */
static void test_await(void **state)
{
    (void)state;
    hand *h = &hands[0];
    const uint64_t many = 20;
    for (uint64_t i = 1; i <= many; i++)
        say_task(h, i, i, SIZE);
    for (uint64_t i = 1; i <= many; i++) {
        assert_fetch(h, i, 0, 2 * CHUNK);
        lr_message later = {.kind = LR_MESSAGE_AWAIT, .await.object = object_id(i)};
        assert_true(lr_channel_send(&h->channel, &later));
        if (i == many) break;
        until(h->count > h->read);
        while (h->all[h->read % SEEN].offset > 0) { /* the rest of one before */
            next(h, LR_MESSAGE_FETCH);
            until(h->count > h->read);
        }
    }
}

static void test_damaged_chunk_is_refused(void **state)
{
    (void)state;
    hand *h = &hands[0];
    lr_lending_stats before, after;
    lr_lending_count(&before);
    say_task(h, 1, 1, SIZE);
    assert_fetch(h, 1, 0, 2 * CHUNK);
    assert_fetch(h, 1, 2 * CHUNK, SIZE - 2 * CHUNK);
    say_chunk(h, 1, 0, 0);
    say_chunk(h, 1, CHUNK, 1);
    assert_fetch(h, 1, CHUNK, CHUNK); /* that part again */
    say_chunk(h, 1, 2 * CHUNK, 0);
    say_chunk(h, 1, CHUNK, 0);
    next(h, LR_MESSAGE_BORROWED);
    assert_whole(0);
    lr_lending_count(&after);
    assert_int_equal(after.refused - before.refused, 1);
}

static void test_always_damaged_is_an_error(void **state)
{
    (void)state;
    hand *h = &hands[0];
    say_task(h, 1, 1, SIZE);
    assert_fetch(h, 1, 0, 2 * CHUNK);
    assert_fetch(h, 1, 2 * CHUNK, SIZE - 2 * CHUNK);
    for (unsigned i = 0; i < LR_TRANSFER_REFUSALS; i++) {
        say_chunk(h, 1, 0, 1);
        assert_fetch(h, 1, 0, CHUNK);
    }
    say_chunk(h, 1, 0, 1);
    next(h, LR_MESSAGE_BORROWED);
    assert_null(node.objects[0]);
    assert_string_equal(node.texts[0], "2.6 MB (by hand) from another node: what came was not what had been sent, again and again");
}

static void test_gone_and_too_large(void **state)
{
    (void)state;
    hand *h = &hands[0];
    say_task(h, 1, 1, SIZE);
    assert_fetch(h, 1, 0, 2 * CHUNK);
    lr_message gone = {.kind = LR_MESSAGE_GONE, .gone.object = object_id(1)};
    assert_true(lr_channel_send(&h->channel, &gone));
    next(h, LR_MESSAGE_FETCH);
    next(h, LR_MESSAGE_BORROWED);
    assert_string_equal(node.texts[0], "2.6 MB (by hand) from another node: its node does not have it any more");
    say_task(h, 2, 2, (uint64_t)100 << 20);
    next(h, LR_MESSAGE_BORROWED);
    assert_non_null(strstr(node.texts[1], "104.9 MB asked: this can never fit the object store, whose capacity is 67.1 MB"));
    say_task(h, 3, 3, UINT64_MAX);
    next(h, LR_MESSAGE_BORROWED);
    assert_non_null(strstr(node.texts[2], "can never fit"));
    say_task(h, 4, 4, 0);
    next(h, LR_MESSAGE_BORROWED);
    assert_null(node.objects[3]);
}

static void test_one_transfer_and_order(void **state)
{
    (void)state;
    hand *h = &hands[0];
    lr_message print = {.kind = LR_MESSAGE_PRINT}, cancel = {.kind = LR_MESSAGE_CANCEL, .cancel.task = task_id(1)};
    lr_message other = {.kind = LR_MESSAGE_CANCEL, .cancel.task = task_id(9)};
    say_task(h, 1, 1, SIZE);
    assert_fetch(h, 1, 0, 2 * CHUNK);
    assert_fetch(h, 1, 2 * CHUNK, SIZE - 2 * CHUNK);
    say_task(h, 2, 1, SIZE);
    assert_true(lr_channel_send(&h->channel, &cancel));
    assert_true(lr_channel_send(&h->channel, &print));
    assert_true(lr_channel_send(&h->channel, &other));
    until(node.delivered == 2); /* these two pass */
    assert_int_equal(node.kinds[0], LR_MESSAGE_PRINT);
    assert_int_equal(node.kinds[1], LR_MESSAGE_CANCEL);
    for (uint64_t at = 0; at < SIZE; at += CHUNK)
        say_chunk(h, 1, at, 0);
    next(h, LR_MESSAGE_BORROWED);
    next(h, LR_MESSAGE_BORROWED);
    assert_int_equal(node.delivered, 5);
    assert_int_equal(node.kinds[2], LR_MESSAGE_TASK);
    assert_int_equal(node.kinds[3] + node.kinds[4], LR_MESSAGE_TASK + LR_MESSAGE_CANCEL);
    assert_int_equal(h->count, h->read);
}

static void test_goes_on_with_another_peer(void **state)
{
    (void)state;
    hand *a = &hands[0], *b = &hands[1];
    lr_lending_stats before, stats;
    lr_lending_count(&before);
    say_task(a, 1, 1, SIZE);
    assert_fetch(a, 1, 0, 2 * CHUNK);
    say_task(b, 2, 1, SIZE);
    say_chunk(a, 1, 0, 0);
    until((lr_lending_count(&stats), stats.parked == 2 && stats.bytes_in == before.bytes_in + CHUNK));
    lr_transport_close(a->transport, LR_NS_PER_S);
    a->transport = NULL;
    assert_fetch(b, 1, CHUNK, SIZE - CHUNK); /* what is missing */
    say_chunk(b, 1, CHUNK, 0);
    say_chunk(b, 1, 2 * CHUNK, 0);
    next(b, LR_MESSAGE_BORROWED);
    assert_int_equal(node.delivered, 1);
    assert_whole(0);
}

static void test_stray_chunks_are_ignored(void **state)
{
    (void)state;
    hand *h = &hands[0];
    say_chunk(h, 1, 0, 0); /* nobody has asked */
    assert_int_equal(lr_transport_send(h->peer, LR_LENDING_DATA, source, 1000), LR_ENDING_OK);
    say_task(h, 1, 1, SIZE);
    next(h, LR_MESSAGE_FETCH);
    say_chunk(&hands[1], 1, 0, 0); /* nobody has asked him */
    assert_int_equal(lr_transport_send(h->peer, LR_LENDING_DATA, source, 1000), LR_ENDING_OK);
    for (uint64_t at = 0; at < SIZE; at += CHUNK)
        say_chunk(h, 1, at, 0);
    until(node.delivered == 1);
    assert_whole(0);
}

static void say_fetch(hand *h, lr_id id, uint64_t offset, uint64_t size)
{
    lr_message m = {.kind = LR_MESSAGE_FETCH};
    m.fetch.object = id;
    m.fetch.offset = offset;
    m.fetch.size = size;
    assert_true(lr_channel_send(&h->channel, &m));
}

static void test_sends_what_it_has_lent(void **state)
{
    (void)state;
    hand *h = &hands[0];
    lr_reference ref;
    lr_buffer *b = lr_buffer_new(SIZE, "lent", NULL, 0);
    memcpy(b->data, source, SIZE);
    lr_buffer_seal(b);
    assert_true(lr_lending_offer(&node.ends[0].lending, b, &ref));
    assert_int_equal(ref.place.pid, 0); /* the peer has not said that it is on this host */
    lr_buffer_release(b);               /* the peer has it still */
    say_fetch(h, ref.id, CHUNK, CHUNK);
    const heard *x = next(h, LR_MESSAGE_CHUNK);
    assert_int_equal(x->offset, CHUNK);
    assert_int_equal(x->size, CHUNK);
    until(h->data_bytes == CHUNK);
    assert_int_equal(x->check, h->data_check);
    say_fetch(h, ref.id, 0, 0);
    until(h->data_bytes == CHUNK + SIZE);
    for (int i = 0; i < 3; i++)
        next(h, LR_MESSAGE_CHUNK);
    static const uint64_t bad[][2] = {{1, 1}, {SIZE, 0}, {0, SIZE + 1}, {CHUNK, SIZE}, {UINT64_MAX / CHUNK * CHUNK, CHUNK}};
    for (size_t i = 0; i < LR_COUNT(bad); i++) {
        say_fetch(h, ref.id, bad[i][0], bad[i][1]);
        next(h, LR_MESSAGE_GONE);
    }
    say_fetch(&hands[1], ref.id, 0, 0); /* it was not lent to him, but somebody has told him who has it */
    next(&hands[1], LR_MESSAGE_CHUNK);
    lr_lending_stats lending; /* a sending keeps the object alive to its end, for whoever asks */
    until((lr_lending_count(&lending), lending.sendings == 0) && hands[1].data_bytes == SIZE);
    lr_message borrowed = {.kind = LR_MESSAGE_BORROWED, .borrowed.objects = lr_bytes_of_id(&ref.id)};
    assert_true(lr_channel_send(&h->channel, &borrowed));
    assert_true(lr_channel_send(&h->channel, &borrowed)); /* once too often */
    say_fetch(h, ref.id, 0, 0);
    next(h, LR_MESSAGE_GONE);
    struct lr_store_stats stats;
    until((lr_store_stats(&stats), stats.used_bytes == 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, start, end),
        cmocka_unit_test_setup_teardown(test_result_waits_for_nothing, start, end),
        cmocka_unit_test_setup_teardown(test_await, start, end),
        cmocka_unit_test_setup_teardown(test_damaged_chunk_is_refused, start, end),
        cmocka_unit_test_setup_teardown(test_always_damaged_is_an_error, start, end),
        cmocka_unit_test_setup_teardown(test_gone_and_too_large, start, end),
        cmocka_unit_test_setup_teardown(test_one_transfer_and_order, start, end),
        cmocka_unit_test_setup_teardown(test_goes_on_with_another_peer, start, end),
        cmocka_unit_test_setup_teardown(test_stray_chunks_are_ignored, start, end),
        cmocka_unit_test_setup_teardown(test_sends_what_it_has_lent, start, end),
    };
    lr_clock_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
