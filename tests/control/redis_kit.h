/* tests/control/redis_kit.h - real Redis servers for tests, and stand-ins that say what they are told to.
 *
 * Each runs in a folder of its own under the system's temporary folder, on a Unix socket or a free port of the loopback,
 * never on Redis' own port, and dies with the test. Waiting is for a condition, with a deadline. Include in one file of a
 * program. */
#ifndef TESTS_CONTROL_REDIS_KIT_H
#define TESTS_CONTROL_REDIS_KIT_H

#include "runtime/clock.h"
#include "tests/unit/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIT __attribute__((unused)) static
#define KIT_PATIENCE_NS (20 * LR_NS_PER_S)

typedef struct server {
    pid_t pid;
    uint16_t port; /* 0: none */
    char folder[64], socket[96];
} server;

KIT bool kit_has(const char *program)
{
    const char *path = getenv("PATH");
    char list[4096], file[4200];
    snprintf(list, sizeof list, "%s", path ? path : "/usr/bin");
    for (char *at = list, *folder; (folder = strsep(&at, ":"));) {
        snprintf(file, sizeof file, "%s/%s", folder, program);
        if (access(file, X_OK) == 0) return true;
    }
    return false;
}

KIT void kit_pause(void) { nanosleep(&(struct timespec){0, 2000000}, NULL); }

KIT void kit_folder(server *s)
{
    const char *temporary = getenv("TMPDIR");
    if (!temporary || strlen(temporary) > 30) temporary = "/tmp";
    snprintf(s->folder, sizeof s->folder, "%s/lr-redis-XXXXXX", temporary);
    assert_non_null(mkdtemp(s->folder));
    snprintf(s->socket, sizeof s->socket, "%s/socket", s->folder);
}

/* A port nobody has, of the loopback. */
KIT uint16_t kit_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    close(fd);
    return ntohs(at.sin_port);
}

/* A connection of the test's own. */
KIT redisContext *kit_connect(const server *s)
{
    return s->port ? redisConnect("127.0.0.1", s->port) : redisConnectUnix(s->socket);
}

/* Asks the server itself; the caller frees the reply. */
KIT redisReply *kit_ask(const server *s, const char *command)
{
    redisContext *c = kit_connect(s);
    redisReply *r = c && !c->err ? redisCommand(c, command) : NULL;
    if (c) redisFree(c);
    return r;
}

KIT void kit_await_up(const server *s)
{
    for (uint64_t start = lr_clock_ns();; kit_pause()) {
        redisReply *r = kit_ask(s, "PING");
        bool up = r && !(r->type == REDIS_REPLY_ERROR && strncmp(r->str, "LOADING", 7) == 0);
        if (r) freeReplyObject(r);
        if (up) return;
        assert_true(lr_clock_ns() - start < KIT_PATIENCE_NS);
    }
}

KIT pid_t kit_fork(void)
{
    pid_t parent = getpid(), pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that is killed leaves no server */
    if (getppid() != parent) _exit(1);
    return 0;
}

/* Runs redis-server with what stands in the folder's redis.conf; the folder is there. */
KIT void kit_run(server *s, bool sentinel)
{
    char config[128], log[128];
    snprintf(config, sizeof config, "%s/redis.conf", s->folder);
    snprintf(log, sizeof log, "%s/log", s->folder);
    s->pid = kit_fork();
    if (s->pid == 0) {
        int fd = open(log, O_CREAT | O_WRONLY | O_APPEND, 0600);
        dup2(fd, 1);
        dup2(fd, 2);
        execlp("redis-server", "redis-server", config, sentinel ? "--sentinel" : NULL, (char *)NULL);
        _exit(127);
    }
    kit_await_up(s);
}

/* Writes redis.conf: what all have, and the lines given. */
KIT void kit_configure(server *s, const char *lines)
{
    char config[128];
    snprintf(config, sizeof config, "%s/redis.conf", s->folder);
    FILE *f = fopen(config, "w");
    assert_non_null(f);
    fprintf(f, "dir %s\ndaemonize no\nbind 127.0.0.1\nport %u\n%s", s->folder, s->port, lines);
    if (!s->port) fprintf(f, "unixsocket %s\nunixsocketperm 700\n", s->socket);
    fclose(f);
}

#define KIT_NO_FILES "save \"\"\nappendonly no\n"

KIT void kit_start(server *s, uint16_t port, const char *lines)
{
    s->port = port;
    kit_folder(s);
    kit_configure(s, lines);
    kit_run(s, false);
}

KIT void kit_kill(server *s)
{
    if (s->pid <= 0) return;
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

KIT void kit_end(server *s)
{
    static const char *const files[] = {"socket", "redis.conf", "log", "dump.rdb", "appendonly.aof"};
    char file[128];
    kit_kill(s);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(file, sizeof file, "%s/%s", s->folder, files[i]);
        unlink(file);
    }
    rmdir(s->folder);
}

/* Sends a command whose answer does not matter. */
KIT void kit_do(const server *s, const char *command)
{
    redisReply *r = kit_ask(s, command);
    assert_non_null(r);
    if (r->type == REDIS_REPLY_ERROR) fail_msg("%s: %s", command, r->str);
    freeReplyObject(r);
}

/* A stand-in on a Unix socket that sends these words to whoever connects, and then is silent. */
KIT void kit_pretend(server *s, const char *words)
{
    kit_folder(s);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s", s->socket);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 8), 0);
    s->pid = kit_fork();
    if (s->pid == 0) {
        for (int client; (client = accept(fd, NULL, NULL)) >= 0;)
            if (write(client, words, strlen(words)) < 0) _exit(1);
        _exit(0);
    }
    close(fd);
}

#endif
