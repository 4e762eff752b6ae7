#include "runtime/handshake.h"
#include "tests/unit/test.h"

/* Two ends and what is on the way between them. */
typedef struct pair {
    lr_identity a_self, b_self;
    lr_secret a_secret, b_secret;
    lr_handshake a, b; /* a dials */
} pair;

static void set_secret(lr_secret *secret, const char *text)
{
    *secret = (lr_secret){.size_bytes = strlen(text)};
    memcpy(secret->bytes, text, strlen(text));
}

static void open_pair(pair *p, const char *a_secret, const char *b_secret)
{
    memset(p, 0, sizeof *p);
    p->a_self = (lr_identity){{1, 1}, LR_PROTOCOL, "0.1", "build a", "tcp://127.0.0.1:1"};
    p->b_self = (lr_identity){{2, 2}, LR_PROTOCOL, "0.1", "build b", ""};
    set_secret(&p->a_secret, a_secret);
    set_secret(&p->b_secret, b_secret);
}

static void start(pair *p, uint8_t nonce)
{
    uint8_t a[LR_NONCE_BYTES], b[LR_NONCE_BYTES];
    memset(a, nonce, sizeof a);
    memset(b, nonce + 100, sizeof b);
    lr_handshake_init(&p->a, true, &p->a_self, &p->a_secret, false, a);
    lr_handshake_init(&p->b, false, &p->b_self, &p->b_secret, false, b);
}

static bool is_over(const lr_handshake *h)
{
    return h->state == LR_HANDSHAKE_DONE || h->state == LR_HANDSHAKE_FAILED;
}

/* Carries what one end says to the other, piece by piece. */
static bool carry(lr_handshake *from, lr_handshake *to, size_t piece)
{
    uint8_t bytes[LR_HANDSHAKE_OUT_MAX];
    size_t n = from->out_bytes, at = 0, used;
    memcpy(bytes, from->out, n);
    from->out_bytes = 0;
    while (at < n && !is_over(to)) {
        size_t size_bytes = n - at < piece ? n - at : piece;
        lr_handshake_feed(to, bytes + at, size_bytes, &used);
        at += used;
        if (to->state == LR_HANDSHAKE_ASK) lr_handshake_answer(to, LR_ENDING_OK);
        assert_true(used > 0);
    }
    return n > 0;
}

static void talk(pair *p, size_t piece)
{
    while (carry(&p->a, &p->b, piece) || carry(&p->b, &p->a, piece)) {}
}

static void both_learn_who_the_other_is(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 200; piece += 7) {
        pair p;
        open_pair(&p, "secret", "secret");
        start(&p, 1);
        talk(&p, piece);
        assert_int_equal(p.a.state, LR_HANDSHAKE_DONE);
        assert_int_equal(p.b.state, LR_HANDSHAKE_DONE);
        assert_true(lr_id_equal(p.a.remote.node, p.b_self.node));
        assert_true(lr_id_equal(p.b.remote.node, p.a_self.node));
        assert_string_equal(p.b.remote.address, "tcp://127.0.0.1:1");
        assert_string_equal(p.a.remote.build, "build b");
    }
}

static void ends(const char *a_secret, const char *b_secret, lr_ending a_end, lr_ending b_end)
{
    pair p;
    open_pair(&p, a_secret, b_secret);
    start(&p, 1);
    talk(&p, 1000);
    assert_int_equal(p.a.end, a_end);
    assert_int_equal(p.b.end, b_end);
    assert_int_equal(p.a.state, a_end ? LR_HANDSHAKE_FAILED : LR_HANDSHAKE_DONE);
    assert_int_equal(p.b.state, b_end ? LR_HANDSHAKE_FAILED : LR_HANDSHAKE_DONE);
}

static void secrets_must_be_the_same(void **state)
{
    (void)state;
    ends("", "", LR_ENDING_OK, LR_ENDING_OK);
    ends("one", "other", LR_ENDING_WRONG_SECRET, LR_ENDING_WRONG_SECRET);
    ends("one", "one1", LR_ENDING_WRONG_SECRET, LR_ENDING_WRONG_SECRET);
    ends("one", "", LR_ENDING_NO_SECRET_THERE, LR_ENDING_NO_SECRET_HERE);
    ends("", "one", LR_ENDING_NO_SECRET_HERE, LR_ENDING_NO_SECRET_THERE);
}

static void protocols_must_be_the_same(void **state)
{
    (void)state;
    pair p;
    open_pair(&p, "s", "s");
    p.b_self.protocol = LR_PROTOCOL + 1;
    start(&p, 1);
    talk(&p, 1000);
    assert_int_equal(p.a.end, LR_ENDING_OTHER_PROTOCOL);
    assert_int_equal(p.b.end, LR_ENDING_OTHER_PROTOCOL);
    char words[64];
    snprintf(words, sizeof words, "protocol %u there, %u here", LR_PROTOCOL + 1, LR_PROTOCOL);
    assert_string_equal(p.a.detail, words);
}

static void another_build_is_refused_when_asked_for(void **state)
{
    (void)state;
    pair p;
    open_pair(&p, "s", "s");
    start(&p, 1);
    p.b.same_build = true;
    talk(&p, 1000);
    assert_int_equal(p.b.end, LR_ENDING_OTHER_BUILD);
    assert_int_equal(p.a.end, LR_ENDING_OTHER_BUILD);
}

static void a_node_does_not_connect_to_itself(void **state)
{
    (void)state;
    pair p;
    open_pair(&p, "s", "s");
    p.b_self.node = p.a_self.node;
    start(&p, 1);
    talk(&p, 1000);
    assert_int_equal(p.a.end, LR_ENDING_SELF);
    assert_int_equal(p.b.end, LR_ENDING_SELF);
}

/* Somebody without the secret sends back whatever the dialer says. */
static void a_mirror_is_not_believed(void **state)
{
    (void)state;
    pair p;
    open_pair(&p, "s", "s");
    start(&p, 1);
    size_t used;
    uint8_t bytes[LR_HANDSHAKE_OUT_MAX];
    size_t n = p.a.out_bytes;
    memcpy(bytes, p.a.out, n);
    lr_handshake_feed(&p.a, bytes, n, &used);
    assert_int_equal(p.a.state, LR_HANDSHAKE_FAILED);
    /* the same with the words changed that show it: side and id */
    start(&p, 1);
    bytes[LR_HELLO_HEAD] = 'L';
    bytes[LR_HELLO_HEAD + 2] ^= 1;
    lr_handshake_feed(&p.a, bytes, n, &used);
    assert_int_equal(p.a.state, LR_HANDSHAKE_ASK);
    p.a.out_bytes = 0;
    lr_handshake_answer(&p.a, LR_ENDING_OK);
    memcpy(bytes, p.a.out, p.a.out_bytes); /* its proof as the listener's */
    lr_handshake_feed(&p.a, bytes, p.a.out_bytes, &used);
    assert_int_equal(p.a.end, LR_ENDING_WRONG_SECRET);
}

/* What a good dialer once said is said again, to a listener with another nonce. */
static void what_was_said_before_is_not_believed(void **state)
{
    (void)state;
    pair p;
    uint8_t said[2 * LR_HANDSHAKE_OUT_MAX];
    size_t n, used;
    open_pair(&p, "s", "s");
    start(&p, 1);
    n = p.a.out_bytes;
    memcpy(said, p.a.out, n);
    carry(&p.a, &p.b, 1000);
    carry(&p.b, &p.a, 1000);
    memcpy(said + n, p.a.out, p.a.out_bytes);
    n += p.a.out_bytes;
    carry(&p.a, &p.b, 1000);
    assert_int_equal(p.b.state, LR_HANDSHAKE_ACCEPT);
    start(&p, 2);
    lr_handshake_feed(&p.b, said, n, &used);
    assert_int_equal(p.b.end, LR_ENDING_WRONG_SECRET);
}

/* Any single byte changed on the way is noticed by one of the two. */
static void every_changed_byte_is_noticed(void **state)
{
    (void)state;
    for (size_t at = 0;; at++) {
        pair p;
        open_pair(&p, "s", "s");
        start(&p, 1);
        if (at >= p.a.out_bytes) break;
        p.a.out[at] ^= 1;
        talk(&p, 1000);
        assert_false(p.a.state == LR_HANDSHAKE_DONE && p.b.state == LR_HANDSHAKE_DONE);
        assert_false(p.b.state == LR_HANDSHAKE_DONE);
    }
}

static void others_are_noticed_by_their_first_byte(void **state)
{
    (void)state;
    pair p;
    size_t used;
    open_pair(&p, "s", "s");
    start(&p, 1);
    lr_handshake_feed(&p.b, (const uint8_t *)"G", 1, &used);
    assert_int_equal(p.b.end, LR_ENDING_NOT_LUARUN);
    assert_int_equal(p.b.out_bytes, 0);
    start(&p, 1);
    lr_handshake_feed(&p.a, (const uint8_t *)"HTTP/1.1 400 Bad Request\r\n", 26, &used);
    assert_int_equal(p.a.end, LR_ENDING_NOT_LUARUN);
}

static void hellos_of_any_size_are_bounded(void **state)
{
    (void)state;
    for (size_t size_bytes = 0; size_bytes < 0x10000; size_bytes += size_bytes < 600 ? 1 : 997) {
        pair p;
        size_t used;
        uint8_t bytes[1024] = "luarun\r\n";
        open_pair(&p, "s", "s");
        start(&p, 1);
        bytes[8] = LR_PROTOCOL;
        bytes[10] = (uint8_t)size_bytes;
        bytes[11] = (uint8_t)(size_bytes >> 8);
        bytes[12] = 'D';
        lr_handshake_feed(&p.b, bytes, sizeof bytes, &used);
        assert_int_equal(p.b.state, LR_HANDSHAKE_FAILED);
    }
}

static void a_proof_before_its_time_is_garbage(void **state)
{
    (void)state;
    pair p;
    size_t used;
    open_pair(&p, "s", "s");
    start(&p, 1);
    carry(&p.a, &p.b, 1000);
    lr_handshake_feed(&p.b, (const uint8_t *)"A", 1, &used);
    assert_int_equal(p.b.end, LR_ENDING_GARBAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_learn_who_the_other_is),
        cmocka_unit_test(secrets_must_be_the_same),
        cmocka_unit_test(protocols_must_be_the_same),
        cmocka_unit_test(another_build_is_refused_when_asked_for),
        cmocka_unit_test(a_node_does_not_connect_to_itself),
        cmocka_unit_test(a_mirror_is_not_believed),
        cmocka_unit_test(what_was_said_before_is_not_believed),
        cmocka_unit_test(every_changed_byte_is_noticed),
        cmocka_unit_test(others_are_noticed_by_their_first_byte),
        cmocka_unit_test(hellos_of_any_size_are_bounded),
        cmocka_unit_test(a_proof_before_its_time_is_garbage),
    };
    return RUN_ALL(tests);
}
