/* bench/transport.c - the transport beside bare nng, between two processes: bench/transport, run by hand.
 *
 *   build/release/bench/transport [seconds of each figure (1)]
 *
 * Bare nng is a pair0 socket with blocking calls, and nng's byte stream with nng_aio_wait. Every figure of one
 * address is taken in the same run, so that they may be compared; the other process is this program started again.
 * Round trips are of 64 bytes; both ways is 128-byte records that come back, 2,000 of them on the way. Gone: from
 * SIGKILL to being told. */
#include "runtime/clock.h"
#include "runtime/futex.h"
#include "runtime/transport.h"

#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <nng/supplemental/util/platform.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#define ECHO 1
#define SINK 2
#define LAST 3 /* answered when everything before it was taken */
#define SMALL 128
#define LARGE ((size_t)1 << 20)
#define TRIPS_MAX 200000

extern char **environ;
static double seconds = 1;
static uint64_t trips[TRIPS_MAX];

static void must(int failed, const char *what)
{
    if (!failed) return;
    fprintf(stderr, "bench/transport: %s: %s\n", what, nng_strerror(failed));
    exit(1);
}

static pid_t serve_elsewhere(const char *kind, const char *url)
{
    pid_t pid;
    char *arguments[] = {"transport", "serve", (char *)(uintptr_t)kind, (char *)(uintptr_t)url, NULL};
    must(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, environ), "posix_spawn");
    return pid;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void show_trips(const char *name, unsigned count)
{
    qsort(trips, count, sizeof *trips, by_size);
    printf("  %-28s p50 %7.1f  p99 %7.1f us\n", name, (double)trips[count / 2] / 1e3,
           (double)trips[count - 1 - count / 100] / 1e3);
}

static uint64_t until(void) { return lr_clock_ns() + (uint64_t)(seconds * 1e9); }
static double since(uint64_t start_ns) { return (double)(lr_clock_ns() - start_ns) / 1e9; }

/* ---- bare pair0 -------------------------------------------------------------------------------------- */

static void pair_serve(const char *url)
{
    nng_socket s;
    must(nng_pair0_open(&s), "pair0");
    must(nng_listen(s, url, NULL, 0), url);
    for (;;) {
        nng_msg *m;
        if (nng_recvmsg(s, &m, 0) != 0) return;
        size_t n = nng_msg_len(m);
        if (n == 64 || n == 1) /* 64: a round trip; 1: everything before it was taken */
            nng_sendmsg(s, m, 0);
        else
            nng_msg_free(m);
    }
}

static void pair_send(nng_socket s, size_t size_bytes)
{
    nng_msg *m;
    must(nng_msg_alloc(&m, size_bytes), "a message");
    must(nng_sendmsg(s, m, 0), "send");
}

static void pair_receive(nng_socket s)
{
    nng_msg *m;
    must(nng_recvmsg(s, &m, 0), "receive");
    nng_msg_free(m);
}

static double pair_stream(nng_socket s, size_t size_bytes)
{
    uint64_t start_ns = lr_clock_ns(), end_ns = until(), count = 0;
    for (; lr_clock_ns() < end_ns; count++)
        pair_send(s, size_bytes);
    pair_send(s, 1);
    pair_receive(s);
    return (double)count / since(start_ns);
}

static _Atomic uint64_t gone_ns;

static void on_pipe_gone(nng_pipe pipe, nng_pipe_ev event, void *user)
{
    (void)pipe, (void)event, (void)user;
    atomic_store(&gone_ns, lr_clock_ns());
}

static void pair_bench(const char *url)
{
    pid_t pid = serve_elsewhere("pair", url);
    nng_socket s;
    must(nng_pair0_open(&s), "pair0");
    must(nng_pipe_notify(s, NNG_PIPE_EV_REM_POST, on_pipe_gone, NULL), "notify");
    while (nng_dial(s, url, NULL, 0) != 0)
        nng_msleep(10);
    unsigned count = 0;
    for (uint64_t end_ns = until(); lr_clock_ns() < end_ns && count < TRIPS_MAX; count++) {
        uint64_t start_ns = lr_clock_ns();
        pair_send(s, 64);
        pair_receive(s);
        trips[count] = lr_clock_ns() - start_ns;
    }
    show_trips("pair0 round trip", count);
    printf("  %-28s %9.0f /s\n", "pair0 128 bytes one way", pair_stream(s, SMALL));
    printf("  %-28s %9.2f GB/s\n", "pair0 1 MiB one way", pair_stream(s, LARGE) * (double)LARGE / 1e9);
    uint64_t killed_ns = lr_clock_ns();
    kill(pid, SIGKILL);
    for (int i = 0; i < 3000 && !atomic_load(&gone_ns); i++)
        nng_msleep(1);
    printf("  %-28s %9.0f us\n", "pair0 gone", (double)(atomic_load(&gone_ns) - killed_ns) / 1e3);
    atomic_store(&gone_ns, 0);
    waitpid(pid, NULL, 0);
    nng_close(s);
}

/* ---- bare nng_stream --------------------------------------------------------------------------------- */

/* Reads or writes all of it. */
static int stream_all(nng_stream *s, nng_aio *aio, void *bytes, size_t size_bytes, bool writes)
{
    for (size_t at = 0; at < size_bytes; at += nng_aio_count(aio)) {
        nng_iov iov = {(uint8_t *)bytes + at, size_bytes - at};
        nng_aio_set_iov(aio, 1, &iov);
        if (writes)
            nng_stream_send(s, aio);
        else
            nng_stream_recv(s, aio);
        nng_aio_wait(aio);
        int failed = nng_aio_result(aio);
        if (failed) return failed;
    }
    return 0;
}

/* A size (u32) and as many bytes; 64 bytes and 1 byte are answered, as above. */
static void stream_serve(const char *url)
{
    nng_stream_listener *l;
    nng_aio *aio;
    must(nng_stream_listener_alloc(&l, url), url);
    must(nng_stream_listener_listen(l), url);
    must(nng_aio_alloc(&aio, NULL, NULL), "an aio");
    nng_stream_listener_accept(l, aio);
    nng_aio_wait(aio);
    must(nng_aio_result(aio), "accept");
    nng_stream *s = nng_aio_get_output(aio, 0);
    uint8_t *bytes = malloc(LARGE + 4);
    for (;;) {
        uint32_t n;
        if (stream_all(s, aio, &n, 4, false) != 0 || stream_all(s, aio, bytes, n, false) != 0) return;
        if ((n == 64 || n == 1) && stream_all(s, aio, bytes, n, true) != 0) return;
    }
}

static void stream_put(nng_stream *s, nng_aio *aio, uint8_t *bytes, uint32_t size_bytes)
{
    memcpy(bytes, &size_bytes, 4);
    must(stream_all(s, aio, bytes, 4 + size_bytes, true), "send");
}

static double stream_stream(nng_stream *s, nng_aio *aio, uint8_t *bytes, uint32_t size_bytes)
{
    uint64_t start_ns = lr_clock_ns(), end_ns = until(), count = 0;
    for (; lr_clock_ns() < end_ns; count++)
        stream_put(s, aio, bytes, size_bytes);
    stream_put(s, aio, bytes, 1);
    must(stream_all(s, aio, bytes, 1, false), "receive");
    return (double)count / since(start_ns);
}

static void stream_bench(const char *url)
{
    pid_t pid = serve_elsewhere("stream", url);
    nng_stream_dialer *d;
    nng_aio *aio;
    must(nng_stream_dialer_alloc(&d, url), url);
    must(nng_aio_alloc(&aio, NULL, NULL), "an aio");
    do {
        nng_msleep(10);
        nng_stream_dialer_dial(d, aio);
        nng_aio_wait(aio);
    } while (nng_aio_result(aio) != 0);
    nng_stream *s = nng_aio_get_output(aio, 0);
    uint8_t *bytes = calloc(1, LARGE + 4);
    unsigned count = 0;
    for (uint64_t end_ns = until(); lr_clock_ns() < end_ns && count < TRIPS_MAX; count++) {
        uint64_t start_ns = lr_clock_ns();
        stream_put(s, aio, bytes, 64);
        must(stream_all(s, aio, bytes, 64, false), "receive");
        trips[count] = lr_clock_ns() - start_ns;
    }
    show_trips("stream round trip", count);
    printf("  %-28s %9.0f /s\n", "stream 128 bytes one way", stream_stream(s, aio, bytes, SMALL));
    double rate = stream_stream(s, aio, bytes, (uint32_t)LARGE);
    printf("  %-28s %9.2f GB/s\n", "stream 1 MiB one way", rate * (double)LARGE / 1e9);
    uint64_t killed_ns = lr_clock_ns();
    kill(pid, SIGKILL);
    stream_all(s, aio, bytes, 1, false);
    printf("  %-28s %9.0f us\n", "stream gone", (double)(lr_clock_ns() - killed_ns) / 1e3);
    waitpid(pid, NULL, 0);
    nng_stream_close(s);
    nng_stream_free(s);
    nng_aio_free(aio);
    nng_stream_dialer_free(d);
    free(bytes);
}

/* ---- the transport ----------------------------------------------------------------------------------- */

static lr_transport *transport;
static lr_bed bed;
static lr_peer *peer;
static bool down, writable = true;
static uint64_t echoes, lasts;

static void ring(void *user)
{
    (void)user;
    lr_bed_wake(&bed);
}

static void on_up(void *user, lr_peer *p, const lr_identity *identity)
{
    (void)user, (void)identity;
    peer = p;
}

static void on_writable(void *user, lr_peer *p)
{
    (void)user, (void)p;
    writable = true;
}

static void on_down(void *user, lr_peer *p, lr_ending end, const char *text)
{
    (void)user, (void)p, (void)end, (void)text;
    peer = NULL;
    down = true;
}

static void on_record_there(void *user, lr_peer *p, uint16_t kind, const void *bytes, size_t size_bytes)
{
    (void)user;
    if (kind == SINK) return;
    lr_ending end = lr_transport_send(p, kind, bytes, size_bytes);
    LR_ASSERT(end == LR_ENDING_OK);
}

static void on_record_here(void *user, lr_peer *p, uint16_t kind, const void *bytes, size_t size_bytes)
{
    (void)user, (void)p, (void)bytes, (void)size_bytes;
    echoes += kind == ECHO;
    lasts += kind == LAST;
}

static void transport_open(uint64_t id, bool here)
{
    lr_transport_config config = {
        .handler = {on_up, here ? on_record_here : on_record_there, on_writable, on_down, ring, NULL},
        .node = {id, id},
    };
    transport = lr_transport_open(&config);
    LR_ASSERT(transport);
}

static void turn(void)
{
    if (lr_transport_turn(transport) == 0) lr_bed_sleep(&bed, lr_transport_deadline(transport));
}

static void transport_serve(const char *url)
{
    char text[LR_ENDING_TEXT];
    transport_open(2, false);
    if (lr_transport_listen(transport, url, text) != LR_ENDING_OK) {
        fprintf(stderr, "%s\n", text);
        exit(1);
    }
    while (!down)
        turn();
}

/* Sends as long as there is room; what does not go now is tried again when there is. */
static bool put(uint16_t kind, const void *bytes, size_t size_bytes, bool owned)
{
    static void (*const nothing)(void *) = ring;
    lr_ending end = owned ? lr_transport_send_owned(peer, kind, bytes, size_bytes, nothing, NULL)
                          : lr_transport_send(peer, kind, bytes, size_bytes);
    if (end == LR_ENDING_BUSY) {
        writable = false;
        while (!writable)
            turn();
        return false;
    }
    LR_ASSERT(end == LR_ENDING_OK);
    return true;
}

static double one_way(const void *bytes, size_t size_bytes, bool owned)
{
    uint64_t start_ns = lr_clock_ns(), end_ns = until(), count = 0;
    lasts = 0;
    for (; (count & 63) != 0 || lr_clock_ns() < end_ns;)
        count += put(SINK, bytes, size_bytes, owned);
    while (!put(LAST, bytes, 1, false)) {}
    while (lasts == 0)
        turn();
    return (double)count / since(start_ns);
}

static double both_ways(const void *bytes)
{
    uint64_t start_ns = lr_clock_ns(), end_ns = until(), sent = 0;
    echoes = 0;
    while (lr_clock_ns() < end_ns) {
        while (sent - echoes < 2000)
            sent += put(ECHO, bytes, SMALL, false);
        turn();
    }
    return (double)echoes / since(start_ns);
}

static void connect_to(const char *url)
{
    char text[LR_ENDING_TEXT];
    lr_peer *p;
    for (down = true; down || !peer; turn()) {
        if (!down) continue;
        nng_msleep(10);
        down = false;
        lr_ending end = lr_transport_connect(transport, url, &p, text);
        LR_ASSERT(end == LR_ENDING_OK);
    }
}

static void transport_bench(const char *url)
{
    pid_t pid = serve_elsewhere("transport", url);
    uint8_t *bytes = calloc(1, LARGE);
    transport_open(1, true);
    connect_to(url);
    unsigned count = 0;
    for (uint64_t end_ns = until(); lr_clock_ns() < end_ns && count < TRIPS_MAX; count++) {
        uint64_t start_ns = lr_clock_ns();
        echoes = 0;
        while (!put(ECHO, bytes, 64, false)) {}
        lr_transport_flush(transport);
        while (echoes == 0)
            turn();
        trips[count] = lr_clock_ns() - start_ns;
    }
    show_trips("transport round trip", count);
    printf("  %-28s %9.0f /s\n", "transport 128 bytes one way", one_way(bytes, SMALL, false));
    printf("  %-28s %9.0f /s\n", "transport 128 both ways", both_ways(bytes));
    printf("  %-28s %9.2f GB/s\n", "transport 1 MiB copied", one_way(bytes, LARGE, false) * (double)LARGE / 1e9);
    printf("  %-28s %9.2f GB/s\n", "transport 1 MiB owned", one_way(bytes, LARGE, true) * (double)LARGE / 1e9);
    uint64_t killed_ns = lr_clock_ns();
    kill(pid, SIGKILL);
    while (!down)
        turn();
    printf("  %-28s %9.0f us\n", "transport gone", (double)(lr_clock_ns() - killed_ns) / 1e3);
    waitpid(pid, NULL, 0);
    lr_transport_close(transport, 0);
    free(bytes);
}

static void bench(const char *kind)
{
    for (unsigned i = 0; i < 3; i++) {
        char url[128];
        unsigned number = 20000 + (unsigned)(getpid() * 3) % 20000 + i;
        if (*kind == 't')
            snprintf(url, sizeof url, "tcp://127.0.0.1:%u", number);
        else
            snprintf(url, sizeof url, "ipc:///tmp/luarun-bench-%u.sock", number);
        (i == 0 ? pair_bench : i == 1 ? stream_bench : transport_bench)(url);
        fflush(stdout);
        if (*kind != 't') unlink(url + 6);
    }
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "serve") == 0) {
        const char *kind = argv[2];
        (*kind == 'p' ? pair_serve : *kind == 's' ? stream_serve : transport_serve)(argv[3]);
        return 0;
    }
    if (argc > 1) seconds = strtod(argv[1], NULL);
    puts("tcp");
    bench("tcp");
    puts("ipc");
    bench("ipc");
    return 0;
}
