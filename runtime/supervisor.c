#include "runtime/supervisor.h"

#include "runtime/clock.h"
#include "runtime/here.h"
#include "runtime/process.h"
#include "runtime/tables.h"
#include "sched/row.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS 1000000ull
#define START_NS (15 * LR_NS_PER_S)
#define LOOK_MS 4 /* while it waits for a start */
#define BACKOFF_MIN_NS (100 * MS)
#define BACKOFF_MAX_NS (2 * LR_NS_PER_S)
#define LIVED_NS (10 * LR_NS_PER_S)
#define END_NS (2 * LR_NS_PER_S)
#define LOG_MAX_BYTES (16 << 20)
#define LOG_LOOK_NS (60 * LR_NS_PER_S)
#define CHILDREN_MAX (LR_UP_NODES_MAX + 1)

typedef struct child {
    int pid; /* 0: ended */
    bool is_redis;
    uint64_t began_ns, next_ns, backoff_ns;
} child;

static struct {
    lr_supervisor_config config;
    char here[33];
    child all[CHILDREN_MAX];
    unsigned count;
    int signals_fd;
    bool ends;
} super;

/* ---- children --------------------------------------------------------------------------------------------- */

static int start_redis(child *c)
{
    const char *const words[] = {"redis-server", super.config.redis_conf, NULL};
    const lr_process_start start = {.program = "redis-server", .words = words, .output_fd = -1};
    return lr_process_begin(&start, &c->pid);
}

static int start_agent(child *c)
{
    static char url[sizeof "LUARUN_CLUSTER=" + LR_STATE_URL], no_file[] = "LUARUN_SECRET_FILE";
    char workers[24], store[24];
    snprintf(url, sizeof url, "LUARUN_CLUSTER=%s", super.config.url); /* it may hold a password: on no command line */
    snprintf(workers, sizeof workers, "%d", super.config.config->workers);
    char *const changes[] = {url, no_file, (char *)(uintptr_t)super.config.secret_entry};
    snprintf(store, sizeof store, "%llu", (unsigned long long)super.config.config->store_bytes);
    const char *words[12] = {"luarun", "--workers", workers};
    size_t count = 3;
    if (super.config.config->resources[0]) {
        words[count++] = "--resources";
        words[count++] = super.config.config->resources;
    }
    if (super.config.config->store_bytes) {
        words[count++] = "--store-bytes";
        words[count++] = store;
    }
    words[count] = "node";
    char **environment = lr_process_environment(changes, LR_COUNT(changes));
    const lr_process_start start = {.words = words, .environment = environment, .output_fd = -1};
    int why = environment ? lr_process_begin(&start, &c->pid) : ENOMEM;
    free(environment);
    return why;
}

static int start(child *c)
{
    c->began_ns = lr_clock_ns();
    int why = c->is_redis ? start_redis(c) : start_agent(c);
    if (why) c->next_ns = c->began_ns + BACKOFF_MAX_NS;
    return why;
}

static const char *name_of(const child *c) { return c->is_redis ? "redis-server" : "node"; }

static void note_end(child *c, int status)
{
    char how[LR_PROCESS_TEXT];
    uint64_t now_ns = lr_clock_ns();
    int pid = c->pid;
    c->pid = 0;
    if (now_ns - c->began_ns > LIVED_NS) c->backoff_ns = 0;
    uint64_t backoff = c->backoff_ns ? c->backoff_ns : BACKOFF_MIN_NS;
    c->next_ns = now_ns + backoff;
    c->backoff_ns = backoff * 2 < BACKOFF_MAX_NS ? backoff * 2 : BACKOFF_MAX_NS;
    lr_process_explain(status, how);
    if (!super.ends) fprintf(stderr, "luarun: up: %s (process %d) %s; it is started again\n", name_of(c), pid, how);
}

static void reap(void)
{
    for (int status, pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (unsigned i = 0; i < super.count; i++)
            if (super.all[i].pid == pid) note_end(&super.all[i], status);
}

/* Waits for signals up to so long, and takes in what they say. */
static void attend(int wait_ms)
{
    struct pollfd fd = {.fd = super.signals_fd, .events = POLLIN};
    struct signalfd_siginfo got;
    poll(&fd, 1, wait_ms);
    while (read(super.signals_fd, &got, sizeof got) == sizeof got)
        if (got.ssi_signo == SIGTERM || got.ssi_signo == SIGINT) super.ends = true;
    reap();
}

/* ---- starting --------------------------------------------------------------------------------------------- */

static child *add(bool is_redis, int *why)
{
    child *c = &super.all[super.count++];
    *c = (child){.is_redis = is_redis};
    *why = start(c);
    return c;
}

/* The last line of the log, where there is one. */
static void last_words(char *out, size_t out_bytes)
{
    char line[400];
    FILE *f = super.config.log ? fopen(super.config.log, "re") : NULL;
    out[0] = 0;
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "luarun: up:", 11) != 0 && line[0]) snprintf(out, out_bytes, "%s", line);
    }
    if (f) fclose(f);
}

static bool tell_ended(const child *c, char text[LR_SUPERVISOR_TEXT])
{
    char words[400];
    last_words(words, sizeof words);
    snprintf(text, LR_SUPERVISOR_TEXT, "%s ended at its start%s%s", name_of(c), words[0] ? ": " : "", words);
    return false;
}

static bool bring_up_redis(uint64_t give_up_ns, char text[LR_SUPERVISOR_TEXT])
{
    int why;
    char words[LR_TABLES_TEXT] = "it did not answer";
    const child *c = add(true, &why);
    if (why) {
        snprintf(text, LR_SUPERVISOR_TEXT, "redis-server cannot be started: %s; install it (apt-get install "
                 "redis-server), or give the address of one with --redis", strerror(why));
        return false;
    }
    while (!super.ends && lr_clock_ns() < give_up_ns) {
        attend(LOOK_MS);
        if (!c->pid) return tell_ended(c, text);
        lr_tables *t = lr_tables_open(super.config.url, 20 * MS, words);
        if (!t) continue;
        lr_tables_close(t);
        return true;
    }
    snprintf(text, LR_SUPERVISOR_TEXT, "%s", words);
    return false;
}

static void count_ours(void *user, const lr_control_row *row)
{
    unsigned *count = user;
    char loopback[40];
    uint64_t pid = lr_row_number(row->value, "pid", 0);
    lr_row_field(row->value, "loopback", loopback, sizeof loopback);
    if (strcmp(loopback, super.here) != 0) return;
    for (unsigned i = 0; i < super.count; i++)
        *count += !super.all[i].is_redis && super.all[i].pid == (int)pid;
}

static const child *find_ended(void)
{
    for (unsigned i = 0; i < super.count; i++)
        if (!super.all[i].pid) return &super.all[i];
    return NULL;
}

static bool await_nodes(lr_tables *t, uint64_t give_up_ns, char text[LR_SUPERVISOR_TEXT])
{
    unsigned count = 0;
    while (!super.ends && lr_clock_ns() < give_up_ns) {
        attend(LOOK_MS);
        const child *ended = find_ended();
        if (ended) return tell_ended(ended, text);
        count = 0;
        if (!lr_tables_scan(t, LR_CONTROL_TABLE_NODE, count_ours, &count, text)) return false;
        if (count == super.config.nodes) return true;
    }
    snprintf(text, LR_SUPERVISOR_TEXT, "%u of %u nodes have registered within %llu s", count, super.config.nodes,
             START_NS / LR_NS_PER_S);
    return false;
}

static bool bring_up_nodes(uint64_t give_up_ns, char text[LR_SUPERVISOR_TEXT])
{
    char words[LR_TABLES_TEXT];
    lr_tables *t = lr_tables_open(super.config.url, 2 * LR_NS_PER_S, words);
    if (!t) {
        snprintf(text, LR_SUPERVISOR_TEXT, "%s", words);
        return false;
    }
    int why = 0;
    for (unsigned i = 0; i < super.config.nodes && !why; i++)
        add(false, &why);
    if (why) snprintf(text, LR_SUPERVISOR_TEXT, "a node cannot be started: %s", strerror(why));
    bool ok = !why && await_nodes(t, give_up_ns, text);
    lr_tables_close(t);
    return ok;
}

/* ---- the end ---------------------------------------------------------------------------------------------- */

static void signal_all(bool redis, int signal)
{
    for (unsigned i = 0; i < super.count; i++)
        if (super.all[i].is_redis == redis && super.all[i].pid) kill(super.all[i].pid, signal);
}

static bool any_left(bool redis)
{
    for (unsigned i = 0; i < super.count; i++)
        if (super.all[i].is_redis == redis && super.all[i].pid) return true;
    return false;
}

static void end(bool redis, int signal)
{
    uint64_t give_up_ns = lr_clock_ns() + END_NS;
    signal_all(redis, signal);
    while (any_left(redis)) {
        attend(20);
        if (lr_clock_ns() > give_up_ns) signal_all(redis, SIGKILL);
    }
}

static void count_row(void *user, const lr_control_row *row)
{
    (void)row;
    ++*(unsigned *)user;
}

/* On a Redis that stays: nothing of the cluster, unless others are in it. */
static void clear_foreign(void)
{
    char text[LR_TABLES_TEXT];
    unsigned others = 0;
    lr_tables *t = lr_tables_open(super.config.url, LR_NS_PER_S, text);
    bool ok = t && lr_tables_scan(t, LR_CONTROL_TABLE_NODE, count_row, &others, text) &&
              lr_tables_scan(t, LR_CONTROL_TABLE_JOB, count_row, &others, text) &&
              (others > 0 || lr_tables_purge(t, text));
    if (!ok) fprintf(stderr, "luarun: up: what the cluster has on Redis is not removed: %s\n", text);
    if (t) lr_tables_close(t);
}

static void end_all(bool was_up)
{
    super.ends = true;
    end(false, SIGTERM);
    if (!super.config.redis_conf && was_up) clear_foreign();
    end(true, SIGKILL); /* its files are removed next: nothing to save */
}

/* ---- the interface ---------------------------------------------------------------------------------------- */

bool lr_supervisor_start(const lr_supervisor_config *config, char text[LR_SUPERVISOR_TEXT])
{
    lr_here here;
    lr_here_find(&here);
    super.config = *config;
    super.count = 0;
    super.ends = false;
    memcpy(super.here, here.loopback, sizeof super.here);
    super.signals_fd = lr_process_signals();
    uint64_t give_up_ns = lr_clock_ns() + START_NS;
    if ((!config->redis_conf || bring_up_redis(give_up_ns, text)) && bring_up_nodes(give_up_ns, text)) return true;
    if (super.ends) snprintf(text, LR_SUPERVISOR_TEXT, "ended before it was up");
    end_all(false);
    close(super.signals_fd);
    return false;
}

/* Jobs' words go there, too: it starts anew when it is too long. Everybody appends, so nobody leaves a hole. */
static void bound_log(void)
{
    struct stat s;
    if (!super.config.log || fstat(STDERR_FILENO, &s) != 0 || !S_ISREG(s.st_mode) || s.st_size < LOG_MAX_BYTES) return;
    if (ftruncate(STDERR_FILENO, 0) == 0) fputs("luarun: up: the log was cut: it had grown to 16 MB\n", stderr);
}

void lr_supervisor_run(void)
{
    while (!super.ends) {
        bound_log();
        uint64_t now_ns = lr_clock_ns(), next_ns = LR_NEVER;
        for (unsigned i = 0; i < super.count; i++) {
            child *c = &super.all[i];
            if (c->pid) continue;
            if (c->next_ns <= now_ns && start(c) != 0)
                fprintf(stderr, "luarun: up: %s cannot be started\n", name_of(c));
            if (!c->pid && c->next_ns < next_ns) next_ns = c->next_ns;
        }
        uint64_t wait_ns = next_ns == LR_NEVER ? LR_NEVER : next_ns > now_ns ? next_ns - now_ns : 0;
        if (wait_ns > LOG_LOOK_NS) wait_ns = LOG_LOOK_NS;
        attend((int)(wait_ns / MS) + 1);
    }
    end_all(true);
    close(super.signals_fd);
}
