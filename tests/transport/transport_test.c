/* tests/transport/transport_test.c - real sockets: several transports in this process, and another process to be killed.
 *
 * One thread owns all transports of a test. Nothing sleeps a fixed time: until() turns them until a condition holds. */
#include "runtime/bell.h"
#include "runtime/clock.h"
#include "runtime/frame.h"
#include "runtime/futex.h"
#include "runtime/transport.h"
#include "tests/unit/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define LONG_NS (20 * LR_NS_PER_S)
#define TCP "tcp://127.0.0.1:0"

typedef struct end {
    lr_transport *transport;
    lr_peer *peer; /* the last that came up */
    lr_identity identity;
    lr_ending down;
    char text[LR_ENDING_TEXT];
    unsigned ups, downs, writables, duplicates;
    uint64_t records, bytes, sum;
    bool echo, stall;
    lr_bell bell; /* where near says so */
} end;

static lr_bed bed;
static struct {
    char folder[64], ca[128], cert[128], key[128]; /* folder empty: none */
} tls;
static bool near; /* the ends of the test have bells: they go over to a ring */
static char program[256];
extern char **environ;

static void ring(void *user)
{
    (void)user;
    lr_bed_wake(&bed);
}

static void on_up(void *user, lr_peer *peer, const lr_identity *identity)
{
    end *e = user;
    e->peer = peer;
    e->identity = *identity;
    e->ups++;
}

static void on_record(void *user, lr_peer *peer, uint16_t kind, const void *bytes, size_t size_bytes)
{
    end *e = user;
    assert_int_equal((uintptr_t)bytes % 8, 0);
    e->records++;
    e->bytes += size_bytes;
    for (size_t i = 0; i < size_bytes; i += 97)
        e->sum += ((const uint8_t *)bytes)[i] * (uint64_t)(i + 1);
    if (e->echo) assert_int_equal(lr_transport_send(peer, kind, bytes, size_bytes), LR_ENDING_OK);
}

static void on_writable(void *user, lr_peer *peer)
{
    (void)peer;
    ((end *)user)->writables++;
}

static void on_down(void *user, lr_peer *peer, lr_ending why, const char *text)
{
    end *e = user;
    if (why == LR_ENDING_DUPLICATE) {
        e->duplicates++;
        return;
    }
    if (e->peer == peer) e->peer = NULL;
    e->downs++;
    e->down = why;
    snprintf(e->text, sizeof e->text, "%s", text);
}

static lr_transport_config config_of(end *e, uint64_t id)
{
    return (lr_transport_config){
        .handler = {on_up, on_record, on_writable, on_down, ring, e},
        .node = {id, id},
        .version = "0.1",
        .build = "test",
        .silence_ns = LONG_NS, /* an end that is not turned for a while is no end that is lost */
    };
}

static void open_end(end *e, uint64_t id, const char *secret)
{
    static lr_secret bytes;
    char text[LR_SECRET_TEXT];
    memset(e, 0, sizeof *e);
    lr_transport_config config = config_of(e, id);
    if (near) {
        lr_bell_open(&e->bell, true);
        config.bell = &e->bell;
    }
    if (tls.folder[0]) {
        config.tls_ca_file = tls.ca;
        config.tls_cert_file = tls.cert;
        config.tls_key_file = tls.key;
    }
    if (secret) {
        assert_true(lr_secret_load(&bytes, secret, NULL, text));
        config.secret = &bytes;
    }
    e->transport = lr_transport_open(&config);
    assert_non_null(e->transport);
}

static void listen_on(end *e, const char *url)
{
    char text[LR_ENDING_TEXT] = "";
    lr_ending failed = lr_transport_listen(e->transport, url, text);
    assert_string_equal(text, "");
    assert_int_equal(failed, LR_ENDING_OK);
}

static lr_peer *connect_to(end *e, const char *url)
{
    char text[LR_ENDING_TEXT] = "";
    lr_peer *p;
    lr_ending failed = lr_transport_connect(e->transport, url, &p, text);
    assert_string_equal(text, "");
    assert_int_equal(failed, LR_ENDING_OK);
    return p;
}

/* Turns until the condition holds; false after LONG_NS. */
static void turn(end *a, end *b)
{
    size_t called = a->stall ? 0 : lr_transport_turn(a->transport);
    uint64_t at_ns = lr_clock_ns() + LR_NS_PER_S / 100;
    if (b && !b->stall) called += lr_transport_turn(b->transport);
    uint64_t due_ns = lr_transport_deadline(a->transport);
    if (!called) lr_bed_sleep(&bed, due_ns < at_ns ? due_ns : at_ns);
}
#define until(a, b, condition)                                                  \
    do {                                                                        \
        uint64_t until_ns = lr_clock_ns() + LONG_NS;                            \
        while (!(condition)) {                                                  \
            turn(a, b);                                                         \
            if (lr_clock_ns() > until_ns) fail_msg("not in time: %s", #condition); \
        }                                                                       \
    } while (0)

static void close_end(end *e)
{
    lr_transport_close(e->transport, 0);
    if (near) lr_bell_close(&e->bell);
}

static void close_both(end *a, end *b)
{
    close_end(a);
    if (b) close_end(b);
}

static bool is_near(end *e)
{
    lr_peer_stats stats;
    lr_peer_count(e->peer, &stats);
    return stats.near;
}

static void meet(end *a, end *b, const char *url, const char *secret)
{
    open_end(a, 1, secret);
    open_end(b, 2, secret);
    listen_on(b, url);
    connect_to(a, lr_transport_address(b->transport));
    until(a, b, a->ups == 1 && b->ups == 1);
    if (near) until(a, b, is_near(a) && is_near(b));
}

static const char *ipc_url(void)
{
    static char url[128];
    snprintf(url, sizeof url, "ipc:///tmp/luarun-transport-test-%d.sock", (int)getpid());
    return url;
}

/* ---- good weather ------------------------------------------------------------------------------------ */

static void records_both_ways(const char *url, const char *secret)
{
    end a, b;
    meet(&a, &b, url, secret);
    assert_true(lr_id_equal(a.identity.node, (lr_id){2, 2}));
    assert_string_equal(b.identity.build, "test");
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    uint64_t sent = 0;
    b.echo = true;
    for (unsigned i = 0; i < 30000; i++) {
        size_t n = i % sizeof bytes;
        assert_int_equal(lr_transport_send(a.peer, (uint16_t)i, bytes, n), LR_ENDING_OK);
        sent += n;
        if (i % 100 == 0) turn(&a, &b);
    }
    until(&a, &b, a.records == 30000);
    assert_int_equal(b.records, 30000);
    assert_int_equal(b.bytes, sent);
    assert_int_equal(a.bytes, sent);
    assert_int_equal(a.sum, b.sum);
    lr_peer_stats stats;
    lr_peer_count(a.peer, &stats);
    assert_int_equal(stats.records_out, 30000);
    assert_int_equal(stats.records_in, 30000);
    assert_true(stats.frames_out < 5000);
    close_both(&a, &b);
}

static void over_tcp(void **state) { (void)state; records_both_ways(TCP, NULL); }
static void over_tcp_with_a_secret(void **state) { (void)state; records_both_ways(TCP, "secret"); }
static void over_ipc(void **state) { (void)state; records_both_ways(ipc_url(), NULL); }

/* ---- TLS --------------------------------------------------------------------------------------------- */

#define TLS "tls+tcp://127.0.0.1:0"

/* A certificate of its own for 127.0.0.1, and its key, in a folder. */
static void make_certificate(const char *name)
{
    char command[1024];
    snprintf(command, sizeof command,
             "cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 "
             "-keyout %s.key -out %s.pem 2>%s.log",
             tls.folder, name, name, name);
    assert_int_equal(system(command), 0);
}

static int make_certificates(void **state)
{
    (void)state;
    strcpy(tls.folder, "/tmp/luarun-tls-XXXXXX");
    assert_non_null(mkdtemp(tls.folder));
    make_certificate("a");
    make_certificate("b");
    return 0;
}

static int forget_certificates(void **state)
{
    (void)state;
    char command[200];
    snprintf(command, sizeof command, "rm -r %s", tls.folder);
    tls.folder[0] = 0;
    return system(command);
}

/* Both sides show the certificate `shown` and believe `believed`. */
static void use_certificates(const char *shown, const char *believed)
{
    snprintf(tls.cert, sizeof tls.cert, "%s/%s.pem", tls.folder, shown);
    snprintf(tls.key, sizeof tls.key, "%s/%s.key", tls.folder, shown);
    snprintf(tls.ca, sizeof tls.ca, "%s/%s.pem", tls.folder, believed);
}

static void over_tls(void **state)
{
    (void)state;
    use_certificates("a", "a");
    records_both_ways(TLS, NULL);
    records_both_ways(TLS, "secret");
}

static void a_certificate_that_nobody_vouches_for(void **state)
{
    (void)state;
    end a, b;
    use_certificates("a", "b");
    open_end(&a, 1, NULL);
    open_end(&b, 2, NULL);
    listen_on(&b, TLS);
    connect_to(&a, lr_transport_address(b.transport));
    until(&a, &b, a.downs == 1);
    assert_int_equal(a.ups + b.ups, 0);
    print_message("%s\n", a.text);
    close_both(&a, &b);
}

static void tls_without_files(void **state)
{
    (void)state;
    end a;
    char text[LR_ENDING_TEXT] = "";
    open_end(&a, 1, NULL);
    memset(tls.ca, 0, sizeof tls.ca);
    assert_int_not_equal(lr_transport_listen(a.transport, TLS, text), LR_ENDING_OK);
    print_message("%s\n", text);
    close_both(&a, NULL);
}

static void count_release(void *user) { ++*(unsigned *)user; }

static void large_records_copied_and_owned(void **state)
{
    (void)state;
    end a, b;
    meet(&a, &b, TCP, NULL);
    size_t size_bytes = (1 << 20) - 3;
    uint8_t *bytes = malloc(size_bytes);
    for (size_t i = 0; i < size_bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    unsigned released = 0;
    assert_int_equal(lr_transport_send(a.peer, 1, "small", 5), LR_ENDING_OK);
    assert_int_equal(lr_transport_send(a.peer, 2, bytes, size_bytes), LR_ENDING_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(lr_transport_send_owned(a.peer, 3, bytes, size_bytes, count_release, &released), LR_ENDING_OK);
    assert_int_equal(lr_transport_send(a.peer, 1, "small", 5), LR_ENDING_OK);
    until(&a, &b, b.records == 8 && released == 5);
    assert_int_equal(b.bytes, 6 * size_bytes + 10);
    uint64_t one = 0;
    for (size_t i = 0; i < size_bytes; i += 97)
        one += bytes[i] * (uint64_t)(i + 1);
    assert_int_equal(b.sum, 6 * one + 2 * 's');
    assert_int_equal(lr_transport_send(a.peer, 3, bytes, (1 << 20) + 1), LR_ENDING_TOO_LARGE);
    close_both(&a, &b);
    free(bytes);
}

static void a_peer_that_does_not_read_makes_busy(void **state)
{
    (void)state;
    end a, b;
    meet(&a, &b, TCP, NULL);
    static uint8_t bytes[60000];
    b.stall = true; /* its owner does not turn: it keeps 8 MiB, then its socket is full, then ours */
    uint64_t sent = 0;
    lr_ending got = LR_ENDING_OK;
    uint64_t limit_ns = lr_clock_ns() + LONG_NS, since_ns = lr_clock_ns();
    while (lr_clock_ns() < limit_ns) {
        got = lr_transport_send(a.peer, 1, bytes, sizeof bytes);
        if (got == LR_ENDING_OK) {
            sent++;
            since_ns = lr_clock_ns();
        } else {
            assert_int_equal(got, LR_ENDING_BUSY);
            if (lr_clock_ns() - since_ns > LR_NS_PER_S / 2) break; /* busy so long: nothing moves */
        }
        turn(&a, &b);
    }
    assert_int_equal(got, LR_ENDING_BUSY);
    assert_true(sent * sizeof bytes < 60u << 20);
    unsigned writables = a.writables;
    b.stall = false;
    until(&a, &b, a.writables > writables && b.records == sent);
    close_both(&a, &b);
}

/* ---- ends -------------------------------------------------------------------------------------------- */

static void a_hang_up_is_seen_and_loses_nothing(void **state)
{
    (void)state;
    end a, b;
    meet(&a, &b, TCP, NULL);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(lr_transport_send(a.peer, 1, "goodbye", 7), LR_ENDING_OK);
    lr_transport_hang_up(a.peer);
    until(&a, &b, b.downs == 1);
    assert_int_equal(b.records, 1000);
    assert_int_equal(b.down, LR_ENDING_GONE);
    assert_int_equal(a.downs, 0);
    close_both(&a, &b);
}

/* This program once more, as the other node: it connects to the address and waits to be killed. */
static int other_node(const char *url)
{
    end e;
    open_end(&e, 77, NULL);
    connect_to(&e, url);
    until(&e, NULL, e.downs > 0);
    close_end(&e);
    return 0;
}

static void a_killed_peer_is_noticed_at_once(void **state)
{
    (void)state;
    end a;
    pid_t pid;
    open_end(&a, 1, NULL);
    listen_on(&a, TCP);
    char address[128];
    snprintf(address, sizeof address, "%s", lr_transport_address(a.transport));
    char *arguments[] = {program, near ? "--near" : "--connect", address, NULL};
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, environ), 0);
    until(&a, NULL, a.ups == 1 && (!near || is_near(&a)));
    uint64_t start_ns = lr_clock_ns();
    kill(pid, SIGKILL);
    until(&a, NULL, a.downs == 1);
    assert_true(lr_clock_ns() - start_ns < 2 * LR_NS_PER_S);
    assert_int_equal(a.down, LR_ENDING_GONE);
    assert_non_null(strstr(a.text, "closed the connection or died"));
    waitpid(pid, NULL, 0);
    close_end(&a);
}

static void refused(const char *a_secret, const char *b_secret, lr_ending wanted, const char *words)
{
    end a, b;
    open_end(&a, 1, a_secret);
    open_end(&b, 2, b_secret);
    listen_on(&b, TCP);
    connect_to(&a, lr_transport_address(b.transport));
    until(&a, &b, a.downs == 1);
    assert_int_equal(a.down, wanted);
    assert_non_null(strstr(a.text, words));
    assert_int_equal(b.ups + b.downs, 0);
    close_both(&a, &b);
}

static void secrets_that_differ(void **state)
{
    (void)state;
    refused("one", "other", LR_ENDING_WRONG_SECRET, "LUARUN_SECRET");
    refused("one", NULL, LR_ENDING_NO_SECRET_THERE, "the other node has no secret");
    refused(NULL, "one", LR_ENDING_NO_SECRET_HERE, "this node has no secret");
}

static void addresses_that_cannot_be(void **state)
{
    (void)state;
    end a, b;
    char text[LR_ENDING_TEXT];
    lr_peer *p;
    open_end(&a, 1, NULL);
    open_end(&b, 2, NULL);
    assert_int_equal(lr_transport_listen(a.transport, "tcp://0.0.0.0:0", text), LR_ENDING_NEEDS_SECRET);
    assert_non_null(strstr(text, "LUARUN_SECRET"));
    assert_int_equal(lr_transport_connect(a.transport, "tcp://192.0.2.1:7", &p, text), LR_ENDING_NEEDS_SECRET);
    assert_int_equal(lr_transport_connect(a.transport, "http://localhost:7", &p, text), LR_ENDING_BAD_ADDRESS);
    assert_int_equal(lr_transport_connect(a.transport, "tcp://127.0.0.1", &p, text), LR_ENDING_BAD_ADDRESS);
    assert_int_equal(lr_transport_connect(a.transport, "tcp://127.0.0.1:70000", &p, text), LR_ENDING_BAD_ADDRESS);
    listen_on(&a, TCP);
    assert_int_equal(lr_transport_listen(b.transport, lr_transport_address(a.transport), text), LR_ENDING_PORT_IN_USE);
    assert_non_null(strstr(text, lr_transport_address(a.transport)));
    connect_to(&b, "tcp://127.0.0.1:1");
    until(&a, &b, b.downs == 1);
    assert_int_equal(b.down, LR_ENDING_NOT_LISTENING);
    connect_to(&a, lr_transport_address(a.transport));
    until(&a, &b, a.downs == 1);
    assert_int_equal(a.down, LR_ENDING_SELF);
    close_both(&a, &b);
}

static void two_that_dial_each_other_keep_one(void **state)
{
    (void)state;
    for (int round = 0; round < 30; round++) {
        end a, b;
        open_end(&a, round % 2 ? 1 : 2, "s");
        open_end(&b, round % 2 ? 2 : 1, "s");
        listen_on(&a, TCP);
        listen_on(&b, TCP);
        connect_to(&a, lr_transport_address(b.transport));
        connect_to(&b, lr_transport_address(a.transport));
        until(&a, &b, a.peer && b.peer && a.duplicates + b.duplicates >= 1);
        assert_int_equal(lr_transport_stats_of(a.transport)->peers_up, 1);
        assert_int_equal(lr_transport_stats_of(b.transport)->peers_up, 1);
        assert_int_equal(a.ups + b.ups + a.downs + b.downs, 2);
        assert_int_equal(lr_transport_send(a.peer, 1, "x", 1), LR_ENDING_OK);
        assert_int_equal(lr_transport_send(b.peer, 1, "x", 1), LR_ENDING_OK);
        until(&a, &b, a.records == 1 && b.records == 1);
        close_both(&a, &b);
    }
}

/* ---- strangers --------------------------------------------------------------------------------------- */

static int plain_socket(const end *e)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const char *colon = strrchr(lr_transport_address(e->transport), ':');
    at.sin_port = htons((uint16_t)atoi(colon + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static uint64_t ended(const end *e, lr_ending why) { return lr_transport_stats_of(e->transport)->ended[why]; }

static void say(int fd, const char *words, size_t size_bytes)
{
    assert_int_equal(send(fd, words, size_bytes, MSG_NOSIGNAL), size_bytes);
}

static void strangers_are_dropped_and_counted(void **state)
{
    (void)state;
    end a;
    memset(&a, 0, sizeof a);
    lr_transport_config config = config_of(&a, 1);
    config.handshake_ns = LR_NS_PER_S / 5;
    config.strangers_max = 4;
    a.transport = lr_transport_open(&config);
    listen_on(&a, TCP);
    int http = plain_socket(&a);
    say(http, "GET / HTTP/1.0\r\n\r\n", 18);
    until(&a, NULL, ended(&a, LR_ENDING_NOT_LUARUN) == 1);
    int slow = plain_socket(&a); /* one byte, and then nothing */
    say(slow, "l", 1);
    until(&a, NULL, ended(&a, LR_ENDING_NO_ANSWER) == 1);
    int many[9];
    for (int i = 0; i < 9; i++)
        many[i] = plain_socket(&a);
    until(&a, NULL, ended(&a, LR_ENDING_CROWDED) == 5);
    assert_int_equal(lr_transport_stats_of(a.transport)->strangers, 4);
    until(&a, NULL, lr_transport_stats_of(a.transport)->strangers == 0);
    assert_int_equal(a.ups + a.downs, 0);
    for (int i = 0; i < 9; i++)
        close(many[i]);
    close(http);
    close(slow);
    lr_transport_close(a.transport, 0);
}

/* A stranger who can do the handshake, since there is no secret, and then sends what it likes. */
static int shaken_socket(end *a)
{
    static const lr_identity self = {{9, 9}, LR_PROTOCOL, "0", "0", ""};
    static const lr_secret none;
    uint8_t nonce[LR_NONCE_BYTES] = {1}, bytes[1024];
    lr_handshake h;
    int fd = plain_socket(a);
    lr_handshake_init(&h, true, &self, &none, false, nonce);
    uint64_t limit_ns = lr_clock_ns() + LONG_NS;
    for (;;) {
        size_t used;
        say(fd, (const char *)h.out, h.out_bytes);
        h.out_bytes = 0;
        if (h.state == LR_HANDSHAKE_DONE) return fd;
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n > 0) lr_handshake_feed(&h, bytes, (size_t)n, &used);
        if (h.state == LR_HANDSHAKE_ASK) lr_handshake_answer(&h, LR_ENDING_OK);
        turn(a, NULL);
        assert_true(lr_clock_ns() < limit_ns);
    }
}

static void garbage_and_huge_frames_end_the_peer(void **state)
{
    (void)state;
    end a;
    open_end(&a, 1, NULL);
    listen_on(&a, TCP);
    int fd = shaken_socket(&a);
    until(&a, NULL, a.ups == 1);
    say(fd, "this is no frame", 16);
    until(&a, NULL, a.downs == 1);
    assert_int_equal(a.down, LR_ENDING_GARBAGE);
    close(fd);
    fd = shaken_socket(&a);
    until(&a, NULL, a.ups == 2);
    uint8_t head[8];
    lr_frame_write_head(head, 0xfffffff8u, 1);
    say(fd, (const char *)head, 8);
    until(&a, NULL, a.downs == 2);
    assert_int_equal(a.down, LR_ENDING_TOO_LARGE);
    close(fd);
    fd = shaken_socket(&a);
    until(&a, NULL, a.ups == 3);
    uint8_t lie[24] = {16, 0, 0, 0, 1, 0, 0, 0, 100}; /* a record larger than its frame */
    say(fd, (const char *)lie, 24);
    until(&a, NULL, a.downs == 3);
    assert_int_equal(a.down, LR_ENDING_GARBAGE);
    close(fd);
    lr_transport_close(a.transport, 0);
}

static void a_silent_peer_is_given_up(void **state)
{
    (void)state;
    end a;
    memset(&a, 0, sizeof a);
    lr_transport_config config = config_of(&a, 1);
    config.keepalive_ns = LR_NS_PER_S / 20;
    config.silence_ns = LR_NS_PER_S / 4;
    a.transport = lr_transport_open(&config);
    listen_on(&a, TCP);
    int fd = shaken_socket(&a);
    until(&a, NULL, a.downs == 1);
    assert_int_equal(a.down, LR_ENDING_SILENT);
    close(fd);
    lr_transport_close(a.transport, 0);
}

/* Turns one end only, for so long. */
static void turn_alone(end *e, uint64_t ns)
{
    for (uint64_t over_ns = lr_clock_ns() + ns; lr_clock_ns() < over_ns;)
        turn(e, NULL);
}

/* One that does not turn sends no signs of life. On this host it is waited for: it is stopped, and may go on. */
static void a_peer_that_is_stopped_is_given_up_sooner_when_far(void **state)
{
    (void)state;
    for (int is_far = 0; is_far < 2; is_far++) {
        end a, b;
        near = !is_far;
        open_end(&a, 1, NULL);
        open_end(&b, 2, NULL);
        lr_transport_close(a.transport, 0);
        lr_transport_config config = config_of(&a, 1);
        config.bell = near ? &a.bell : NULL;
        config.keepalive_ns = LR_NS_PER_S / 50;
        config.silence_ns = LR_NS_PER_S / 5;
        a.transport = lr_transport_open(&config);
        listen_on(&b, TCP);
        connect_to(&a, lr_transport_address(b.transport));
        until(&a, &b, a.ups == 1 && b.ups == 1);
        if (near) until(&a, &b, is_near(&a) && is_near(&b));
        turn_alone(&a, LR_NS_PER_S / 2);
        assert_int_equal(a.downs, is_far);
        if (is_far) assert_int_equal(a.down, LR_ENDING_SILENT);
        close_both(&a, &b);
    }
    near = false;
}

/* One that has itself been stopped for longer than it waits for others does not take them for dead. */
static void one_that_was_stopped_itself_gives_up_nobody(void **state)
{
    (void)state;
    end a, b;
    memset(&a, 0, sizeof a);
    lr_transport_config config = config_of(&a, 1);
    config.keepalive_ns = LR_NS_PER_S / 50;
    config.silence_ns = LR_NS_PER_S / 5;
    a.transport = lr_transport_open(&config);
    open_end(&b, 2, NULL);
    listen_on(&b, TCP);
    connect_to(&a, lr_transport_address(b.transport));
    until(&a, &b, a.ups == 1 && b.ups == 1);
    turn_alone(&a, LR_NS_PER_S / 10); /* what was heard of the handshake is noted */
    turn_alone(&b, LR_NS_PER_S * 3 / 10); /* without a sign of life: that is due after half a second */
    for (int i = 0; i < 3; i++)
        lr_transport_turn(a.transport);
    assert_int_equal(a.downs, 0);
    close_both(&a, &b);
}

/* ---- through rings ----------------------------------------------------------------------------------- */

static int set_near(void **state)
{
    (void)state;
    near = true;
    return 0;
}

static int set_far(void **state)
{
    (void)state;
    near = false;
    return 0;
}

/* One of the two has no bell: the socket stays, and everything goes on. */
static void one_that_has_no_bell_stays_far(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        end a, b;
        near = i == 0;
        open_end(&a, 1, NULL);
        near = i == 1;
        open_end(&b, 2, NULL);
        listen_on(&b, TCP);
        connect_to(&a, lr_transport_address(b.transport));
        until(&a, &b, a.ups == 1 && b.ups == 1);
        b.echo = true;
        for (unsigned n = 1; n <= 20; n++) {
            assert_int_equal(lr_transport_send(a.peer, 1, "word", 4), LR_ENDING_OK);
            until(&a, &b, a.records == n);
        }
        assert_false(is_near(&a));
        assert_false(is_near(&b));
        lr_transport_close(a.transport, 0);
        lr_transport_close(b.transport, 0);
        lr_bell_close(i == 0 ? &a.bell : &b.bell);
    }
}

/* What is said about a ring by one who has proved who it is, and lies. */
static void lies_about_a_ring_end_the_peer(void **state)
{
    (void)state;
    end a;
    uint8_t frame[256] = {0}, words[128] = {0};
    near = true;
    open_end(&a, 1, NULL);
    listen_on(&a, TCP);
    for (uint32_t step = 0; step < 6; step++) {
        int fd = shaken_socket(&a);
        until(&a, NULL, a.ups == step + 1);
        memcpy(words, &step, sizeof step);
        size_t n = lr_record_write(frame + LR_FRAME_HEAD, 0xffff, words, step == 2 ? 80 : 79);
        lr_frame_write_head(frame, (uint32_t)n, 1);
        say(fd, (const char *)frame, LR_FRAME_HEAD + n);
        if (step == 2) { /* TAKEN, with a bell that is nowhere: the socket stays */
            until(&a, NULL, !is_near(&a) && lr_transport_turn(a.transport) == 0);
            say(fd, "this is no frame", 16);
        }
        until(&a, NULL, a.downs == step + 1);
        assert_int_equal(a.down, LR_ENDING_GARBAGE);
        close(fd);
    }
    close_end(&a);
}

static unsigned lines_of(const char *path)
{
    char line[512];
    unsigned count = 0;
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        count += strstr(line, "memfd:luarun") != NULL;
    if (f) fclose(f);
    return count;
}

static unsigned descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void many_connections_leave_nothing(void **state)
{
    (void)state;
    end a, b;
    unsigned maps = 0, open = 0, before = lines_of("/proc/self/maps");
    near = true;
    open_end(&b, 2, NULL);
    listen_on(&b, TCP);
    for (unsigned i = 1; i <= 200; i++) {
        open_end(&a, 1, NULL);
        connect_to(&a, lr_transport_address(b.transport));
        until(&a, &b, a.ups == 1 && b.ups == i);
        if (i % 2) until(&a, &b, is_near(&a) && is_near(&b)); /* or in the midst of it */
        close_end(&a);
        until(&b, NULL, b.downs == i);
        if (i == 20) {
            maps = lines_of("/proc/self/maps");
            open = descriptors();
        }
    }
    assert_int_equal(lines_of("/proc/self/maps"), maps);
    assert_true(descriptors() <= open + 2); /* nng's threads close sockets a moment later */
    close_end(&b);
    assert_int_equal(lines_of("/proc/self/maps"), before);
}

#define WITH_TLS(test) cmocka_unit_test_setup_teardown(test, make_certificates, forget_certificates)
#define NEAR(test) cmocka_unit_test_setup_teardown(test, set_near, set_far)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_tcp),
        cmocka_unit_test(over_tcp_with_a_secret),
        cmocka_unit_test(over_ipc),
        WITH_TLS(over_tls),
        WITH_TLS(a_certificate_that_nobody_vouches_for),
        cmocka_unit_test(tls_without_files),
        cmocka_unit_test(large_records_copied_and_owned),
        cmocka_unit_test(a_peer_that_does_not_read_makes_busy),
        cmocka_unit_test(a_hang_up_is_seen_and_loses_nothing),
        cmocka_unit_test(a_killed_peer_is_noticed_at_once),
        cmocka_unit_test(secrets_that_differ),
        cmocka_unit_test(addresses_that_cannot_be),
        cmocka_unit_test(two_that_dial_each_other_keep_one),
        cmocka_unit_test(strangers_are_dropped_and_counted),
        cmocka_unit_test(garbage_and_huge_frames_end_the_peer),
        cmocka_unit_test(a_silent_peer_is_given_up),
        cmocka_unit_test(a_peer_that_is_stopped_is_given_up_sooner_when_far),
        cmocka_unit_test(one_that_was_stopped_itself_gives_up_nobody),
        NEAR(over_tcp),
        NEAR(over_tcp_with_a_secret),
        NEAR(over_ipc),
        NEAR(large_records_copied_and_owned),
        NEAR(a_peer_that_does_not_read_makes_busy),
        NEAR(a_hang_up_is_seen_and_loses_nothing),
        NEAR(a_killed_peer_is_noticed_at_once),
        NEAR(two_that_dial_each_other_keep_one),
        NEAR(one_that_has_no_bell_stays_far),
        NEAR(lies_about_a_ring_end_the_peer),
        NEAR(many_connections_leave_nothing),
    };
    snprintf(program, sizeof program, "%s", argv[0]);
    near = argc == 3 && strcmp(argv[1], "--near") == 0;
    if (argc == 3) return other_node(argv[2]);
    return RUN_ALL(tests);
}
