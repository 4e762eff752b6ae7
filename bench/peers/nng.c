/* bench/peers/nng.c - bare nng between two processes, for the figures of a cluster (protocol in work.h).
 *
 *   nng roundtrip n= (2,000) pause= seconds between two (0): 64 bytes there and back over tcp loopback
 *   nng messages bytes= (1,048,576) total= (4e9): so many bytes one way in such messages between pair0 sockets
 *
 * nng's byte stream with blocking waits: the quickest that nng has (bench/transport.c measures its sockets too). The
 * other process is this program started again, and ends with the connection. */
#include "bench/peers/work.h"

#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <nng/supplemental/util/platform.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define MESSAGE_BYTES 64

extern char **environ;

static void must(int failed, const char *what)
{
    if (!failed) return;
    fprintf(stderr, "nng: %s: %s\n", what, nng_strerror(failed));
    exit(1);
}

/* Reads or writes all of it; what nng says where that fails. */
static int transfer(nng_stream *s, nng_aio *aio, uint8_t *bytes, size_t size_bytes, bool writes)
{
    for (size_t at = 0; at < size_bytes; at += nng_aio_count(aio)) {
        nng_iov iov = {bytes + at, size_bytes - at};
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

/* Says on standard output which port it has, then answers everything. */
static int serve(void)
{
    nng_stream_listener *l;
    nng_aio *aio;
    nng_sockaddr bound;
    uint8_t bytes[MESSAGE_BYTES];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    must(nng_stream_listener_alloc(&l, "tcp://127.0.0.1:0"), "a listener");
    (void)nng_stream_listener_set_bool(l, NNG_OPT_TCP_NODELAY, true);
    must(nng_stream_listener_listen(l), "listen");
    must(nng_stream_listener_get_addr(l, NNG_OPT_LOCADDR, &bound), "the address");
    uint16_t port = (uint16_t)(bound.s_in.sa_port >> 8 | bound.s_in.sa_port << 8);
    printf("%u\n", port);
    fflush(stdout);
    must(nng_aio_alloc(&aio, NULL, NULL), "an aio");
    nng_stream_listener_accept(l, aio);
    nng_aio_wait(aio);
    must(nng_aio_result(aio), "accept");
    nng_stream *s = nng_aio_get_output(aio, 0);
    while (transfer(s, aio, bytes, sizeof bytes, false) == 0 && transfer(s, aio, bytes, sizeof bytes, true) == 0) {}
    return 0;
}

static nng_stream *connect_to_child(pid_t *pid)
{
    int out[2];
    char said[16] = "", url[64];
    char *arguments[] = {"nng", "serve", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    must(pipe(out) ? NNG_ESYSERR : 0, "a pipe");
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_addclose(&actions, out[0]);
    must(posix_spawn(pid, "/proc/self/exe", &actions, NULL, arguments, environ) ? NNG_ESYSERR : 0, "posix_spawn");
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    ssize_t n = read(out[0], said, sizeof said - 1);
    must(n <= 0 ? NNG_ECLOSED : 0, "the other process");
    close(out[0]);
    snprintf(url, sizeof url, "tcp://127.0.0.1:%ld", strtol(said, NULL, 10));
    nng_stream_dialer *d;
    nng_aio *aio;
    must(nng_stream_dialer_alloc(&d, url), url);
    (void)nng_stream_dialer_set_bool(d, NNG_OPT_TCP_NODELAY, true);
    must(nng_aio_alloc(&aio, NULL, NULL), "an aio");
    nng_stream_dialer_dial(d, aio);
    nng_aio_wait(aio);
    must(nng_aio_result(aio), url);
    nng_stream *s = nng_aio_get_output(aio, 0);
    nng_aio_free(aio);
    return s;
}

static int roundtrip(long n, double pause)
{
    pid_t pid;
    nng_aio *aio;
    uint8_t bytes[MESSAGE_BYTES] = {0};
    double *seconds = calloc((size_t)n, sizeof *seconds);
    nng_stream *s = connect_to_child(&pid);
    must(nng_aio_alloc(&aio, NULL, NULL), "an aio");
    for (long i = -20; i < n; i++) {
        if (pause > 0) usleep((useconds_t)(pause * 1e6));
        double begun = bench_now();
        must(transfer(s, aio, bytes, sizeof bytes, true), "send");
        must(transfer(s, aio, bytes, sizeof bytes, false), "receive");
        if (i >= 0) seconds[i] = bench_now() - begun;
    }
    nng_stream_close(s);
    nng_stream_free(s);
    nng_aio_free(aio);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    int status = bench_latency("roundtrip", seconds, n);
    free(seconds);
    return status;
}

/* ---- messages ------------------------------------------------------------------------------------------ */

static void pair_url(char url[64], int pid) { snprintf(url, 64, "tcp://127.0.0.1:%d", 20000 + pid % 20000); }

/* Takes everything; an empty message is answered. */
static int serve_messages(const char *url)
{
    nng_socket s;
    nng_msg *m;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    must(nng_pair0_open(&s), "pair0");
    must(nng_listen(s, url, NULL, 0), url);
    while (nng_recvmsg(s, &m, 0) == 0) {
        if (nng_msg_len(m) == 0)
            must(nng_sendmsg(s, m, 0), "send");
        else
            nng_msg_free(m);
    }
    return 0;
}

static void send_message(nng_socket s, size_t size_bytes)
{
    nng_msg *m;
    must(nng_msg_alloc(&m, size_bytes), "a message");
    must(nng_sendmsg(s, m, 0), "send");
}

static int messages(size_t size_bytes, double total)
{
    pid_t pid;
    char url[64];
    nng_socket s;
    nng_msg *m;
    pair_url(url, getpid());
    char *arguments[] = {"nng", "serve-messages", url, NULL};
    must(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, environ) ? NNG_ESYSERR : 0, "posix_spawn");
    must(nng_pair0_open(&s), "pair0");
    for (int i = 0; nng_dial(s, url, NULL, 0) != 0 && i < 500; i++)
        nng_msleep(10);
    long count = (long)(total / (double)size_bytes);
    for (long i = 0; i < count / 10; i++)
        send_message(s, size_bytes);
    double begun = bench_now();
    for (long i = 0; i < count; i++)
        send_message(s, size_bytes);
    send_message(s, 0);
    must(nng_recvmsg(s, &m, 0), "receive");
    int status = bench_rate("messages", (double)count * (double)size_bytes, bench_now() - begun);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return status;
}

int main(int argc, char **argv)
{
    const char *workload = argc > 1 ? argv[1] : "";
    if (strcmp(workload, "serve") == 0) return serve();
    if (strcmp(workload, "serve-messages") == 0 && argc > 2) return serve_messages(argv[2]);
    if (strcmp(workload, "messages") == 0)
        return messages((size_t)bench_number(argc, argv, "bytes", 1 << 20), bench_number(argc, argv, "total", 4e9));
    if (strcmp(workload, "roundtrip") == 0)
        return roundtrip((long)bench_number(argc, argv, "n", 2000), bench_number(argc, argv, "pause", 0));
    return bench_cannot("nng", workload);
}
