#include "runtime/agent.h"

#include "runtime/address.h"
#include "runtime/allocator.h"
#include "runtime/clock.h"
#include "runtime/control_redis.h"
#include "runtime/here.h"
#include "runtime/process.h"
#include "runtime/reach.h"
#include "runtime/room.h"
#include "runtime/statedir.h"
#include "sched/hosting.h"
#include "sched/lease.h"
#include "sched/leftover.h"
#include "sched/roster.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS 1000000ull
#define AWAIT_NS (LR_NS_PER_S * 5 / 2) /* longer than a connection may take, so that its own words are said */
#define FAREWELL_NS (500 * MS)
#define ERRORS_LIMIT 1000u
#define TOKEN_LOG (0xc0ull << 56)
#define TOKEN_HOSTING (0xc5ull << 56)
#define TOKEN_LEFTOVER (0xc6ull << 56)
#define WORD_TEXT 24

typedef struct job {
    lr_hosted hosted; /* first */
    char name[200], address[300];
    int pid;          /* 0: no process now */
} job;

static struct {
    const lr_config *config;
    lr_control *control;
    lr_secret secret;
    char secret_entry[sizeof "LUARUN_SECRET=" + LR_SECRET_MAX];
    lr_here here;
    lr_row row;
    char offers[LR_RESOURCES_TEXT];
    int room; /* for its job processes: what they share (runtime/room.h) */
    char listen[LR_REACH_TEXT];         /* where they listen for the others of their job */
    char beside_cpu[LR_RESOURCES_TEXT]; /* of the offers: what job processes are told */
    lr_lease lease;
    lr_roster jobs, nodes;
    lr_leftover leftover;
    lr_hosting hosting;
    int signals_fd;
    bool ends, quiet;
} agent;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    char line[1200];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    fprintf(stderr, "luarun: node: %s\n", line);
}

/* ---- job processes ---------------------------------------------------------------------------------------- */

static job *job_of(lr_hosted *hosted) { return (job *)(void *)hosted; }

static job *job_at(lr_link *link) { return link ? job_of(LR_CONTAINER(link, lr_hosted, link)) : NULL; }

static bool start_process(void *user, lr_hosted *hosted)
{
    (void)user;
    job *j = job_of(hosted);
    static char no_cluster[] = "LUARUN_CLUSTER", no_file[] = "LUARUN_SECRET_FILE", follow[] = "LUARUN_FOLLOW_PARENT=1";
    char room[32];
    snprintf(room, sizeof room, LR_ROOM_VARIABLE "=%d", agent.room);
    char *const changes[] = {agent.secret_entry, no_cluster, no_file, follow, room};
    char workers[WORD_TEXT], store[WORD_TEXT];
    snprintf(workers, sizeof workers, "%d", agent.config->workers);
    snprintf(store, sizeof store, "%llu", (unsigned long long)agent.config->store_bytes);
    const char *words[16] = {"luarun", "--workers", workers, "--cluster", j->address, "--resources", agent.beside_cpu,
                             "--listen", agent.listen};
    size_t count = 9;
    if (agent.config->store_bytes) {
        words[count++] = "--store-bytes";
        words[count++] = store;
    }
    words[count] = "node";
    char **environment = lr_process_environment(changes, LR_COUNT(changes));
    lr_process_start start = {.words = words, .environment = environment, .output_fd = -1};
    int why = environment ? lr_process_begin(&start, &j->pid) : ENOMEM;
    free(environment);
    if (why == 0) return true;
    j->pid = 0;
    say("a process for job %s could not be started: %s; this is tried again", j->name, strerror(why));
    return false;
}

static void kill_process(void *user, lr_hosted *hosted)
{
    (void)user;
    kill(job_of(hosted)->pid, SIGKILL);
}

static void forget(void *user, lr_hosted *hosted)
{
    (void)user;
    free(job_of(hosted));
}

/* Into the cluster's log of errors: `luarun list errors` shows it. */
static void log_death(const job *j, int pid, const char *how)
{
    char text[LR_ROW_MAX], task[LR_ID_TEXT], id[LR_ID_TEXT];
    lr_id_format(LR_ID_NIL, task);
    lr_id_format(j->hosted.id, id);
    int n = snprintf(text, sizeof text, "1 task=%s job=%s at=%llu code=node_died function=-: on %s process %d %s", task,
                     id, (unsigned long long)lr_here_wall_ms() * 1000000, agent.here.host, pid, how);
    lr_control_request r = {.token = TOKEN_LOG, .op = LR_CONTROL_APPEND, .table = LR_CONTROL_TABLE_ERROR,
                            .key = lr_bytes_of("all", 3), .value = lr_bytes_of(text, (size_t)n),
                            .limit = ERRORS_LIMIT, .notify = true};
    if (lr_control_request_make(agent.control, &r) != LR_ERR_NONE) say("the log of errors has no room");
}

static void note_end(job *j, int status, uint64_t now_ns)
{
    char how[LR_PROCESS_TEXT];
    int pid = j->pid;
    bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    j->pid = 0;
    if (!well) lr_process_explain(status, how);
    if (!lr_hosting_ended(&agent.hosting, &j->hosted, pid, well ? NULL : how, now_ns) || !WIFSIGNALED(status)) return;
    say("job %s: process %d %s; another is started", j->name, pid, how);
    log_death(j, pid, how);
}

static void reap(uint64_t now_ns)
{
    for (int status, pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (lr_link *l = lr_list_first(&agent.hosting.jobs); l; l = lr_list_next(&agent.hosting.jobs, l))
            if (job_at(l)->pid == pid) note_end(job_at(l), status, now_ns);
}

/* ---- the job table ---------------------------------------------------------------------------------------- */

static bool is_in_reach(const job *j, lr_bytes row)
{
    char loopback[40], host[LR_HERE_TEXT];
    lr_address address;
    lr_address_parse(j->address, &address);
    if (address.kind == LR_ADDRESS_BAD) {
        say("job %s has no address that can be used ('%s'): it is left alone", j->name, j->address);
        return false;
    }
    lr_row_field(row, "loopback", loopback, sizeof loopback);
    if (!address.loopback || strcmp(loopback, agent.here.loopback) == 0) return true;
    lr_row_field(row, "host", host, sizeof host);
    say("job %s listens on the loopback of %s, which nobody here can reach: give its --cluster the address of Redis by "
        "which other machines know it", j->name, host);
    return false;
}

static bool is_of_this_version(const job *j, lr_bytes row)
{
    char version[32];
    lr_row_field(row, "version", version, sizeof version);
    if (strcmp(version, LR_VERSION) == 0) return true;
    say("job %s is of luarun %s, this node of %s: it is left to others", j->name, version, LR_VERSION);
    return false;
}

static void on_job(void *user, lr_roster_entry *entry, lr_bytes row)
{
    (void)user;
    job *j = calloc(1, sizeof *j);
    entry->user = j;
    if (!j) return;
    j->hosted.id = entry->key;
    lr_row_field(row, "name", j->name, sizeof j->name);
    lr_row_field(row, "address", j->address, sizeof j->address);
    j->hosted.served = is_of_this_version(j, row) && is_in_reach(j, row);
    lr_hosting_add(&agent.hosting, &j->hosted);
}

static void on_job_gone(void *user, lr_roster_entry *entry)
{
    (void)user;
    job *j = entry->user;
    entry->user = NULL;
    if (j) lr_hosting_over(&agent.hosting, &j->hosted, lr_clock_ns());
}

static void on_job_swept(void *user, lr_id key)
{
    (void)user;
    char id[LR_ID_TEXT];
    lr_id_format(key, id);
    say("job %.8s is over: no sign of life from its driver; what it had in the tables is deleted", id);
}

static void on_node(void *user, lr_roster_entry *entry, lr_bytes row)
{
    (void)user;
    (void)entry;
    (void)row;
}

static void on_node_gone(void *user, lr_roster_entry *entry)
{
    (void)user;
    (void)entry;
}

static void on_node_swept(void *user, lr_id key)
{
    (void)user;
    char id[LR_ID_TEXT];
    lr_id_format(key, id);
    say("node %.8s is dead: no sign of life; its row is deleted", id);
}

/* ---- its own row ------------------------------------------------------------------------------------------ */

static lr_id fresh_id(void)
{
    lr_id id;
    if (getrandom(&id, sizeof id, 0) != sizeof id) abort(); /* it does not fail for so few */
    return id;
}

static size_t write_row(void *user, char text[LR_ROW_MAX])
{
    (void)user;
    agent.row.jobs = agent.hosting.served;
    agent.row.renewed_ms = lr_here_wall_ms();
    return lr_row_write_node(&agent.row, text);
}

static void on_lost(void *user)
{
    (void)user;
    agent.lease.key = fresh_id();
    say("this node's row was gone: it was taken for dead, or Redis has lost it; it registers again");
}

static bool find_offers(char text[LR_SECRET_TEXT])
{
    lr_resource_names names;
    lr_resources offers = {0};
    lr_resource_names_init(&names);
    if (!lr_resources_parse(agent.config->resources, &names, &offers, text, LR_SECRET_TEXT)) return false;
    int64_t *amount = offers.amount;
    if (amount[LR_RESOURCE_GPU] == 0) amount[LR_RESOURCE_GPU] = lr_here_gpus() * LR_AMOUNT_ONE;
    if (amount[LR_RESOURCE_MEMORY] == 0 &&
        !lr_amount_from_double((double)lr_here_memory_bytes(), &amount[LR_RESOURCE_MEMORY])) {
        snprintf(text, LR_SECRET_TEXT, "no memory size");
        return false;
    }
    lr_resources_format(&offers, &names, agent.beside_cpu, sizeof agent.beside_cpu);
    amount[LR_RESOURCE_CPU] = (int64_t)agent.config->workers * LR_AMOUNT_ONE;
    lr_resources_format(&offers, &names, agent.offers, sizeof agent.offers);
    return true;
}

/* ---- the store -------------------------------------------------------------------------------------------- */

static void on_reply(void *user, const lr_control_reply *reply)
{
    (void)user;
    if (lr_lease_reply(&agent.lease, reply) || lr_roster_reply(&agent.jobs, reply)) return;
    if (lr_leftover_reply(&agent.leftover, reply)) return;
    if (!lr_roster_reply(&agent.nodes, reply)) lr_hosting_reply(&agent.hosting, reply);
}

static void on_wake(void *user, lr_control_table table, lr_bytes key)
{
    (void)user;
    (void)key;
    lr_roster_wake(&agent.jobs, table);
}

/* Each change of what is wrong, and that it is mended; not what the start says itself. */
static void on_status(void *user, const char *line)
{
    (void)user;
    if (!agent.quiet) say("%s", line);
}

static bool open_store(char text[LR_SECRET_TEXT])
{
    lr_control_redis_config config;
    const lr_control_handler handler = {on_reply, on_wake, NULL};
    lr_control_redis_config_init(&config, agent.config->cluster);
    config.on_status = on_status;
    agent.quiet = true;
    agent.control = lr_control_redis_open(&config, &handler, text, LR_SECRET_TEXT);
    if (!agent.control) return false;
    if (lr_control_redis_await(agent.control, AWAIT_NS) != LR_CONTROL_REDIS_READY) {
        lr_control_redis_status(agent.control, text, LR_SECRET_TEXT);
        lr_control_fini(agent.control);
        return false;
    }
    agent.quiet = false;
    return true;
}

static bool may_be_here(char text[LR_SECRET_TEXT])
{
    if (lr_reach_url(agent.control, agent.listen) || agent.secret.size_bytes > 0) return true;
    snprintf(text, LR_SECRET_TEXT, "%s", lr_state_needs_secret);
    return false;
}

/* The first writing tells whether the store takes it: one without memory does not. */
static bool register_node(char text[LR_SECRET_TEXT])
{
    uint64_t now_ns = lr_clock_ns(), give_up_ns = now_ns + AWAIT_NS;
    agent.lease = (lr_lease){.control = agent.control, .table = LR_CONTROL_TABLE_NODE, .key = fresh_id(),
                             .lease_ns = LR_LEASE_NS, .write = write_row, .lost = on_lost};
    lr_lease_begin(&agent.lease);
    while (!agent.lease.held && agent.lease.status != LR_CONTROL_STATUS_FULL && now_ns < give_up_ns) {
        lr_lease_turn(&agent.lease, now_ns);
        lr_control_turn(agent.control, 50 * MS);
        now_ns = lr_clock_ns();
    }
    if (agent.lease.held) return true;
    bool full = agent.lease.status == LR_CONTROL_STATUS_FULL;
    lr_control_redis_status(agent.control, text, LR_SECRET_TEXT);
    size_t n = strlen(text);
    snprintf(text + n, LR_SECRET_TEXT - n, "%s", full ? "; this node cannot register" : ": no answer in time");
    return false;
}

/* ---- turns ------------------------------------------------------------------------------------------------ */

static void take_signals(uint64_t now_ns)
{
    struct signalfd_siginfo got;
    while (read(agent.signals_fd, &got, sizeof got) == sizeof got)
        if (got.ssi_signo != SIGCHLD) agent.ends = true;
    reap(now_ns);
}

static void wait_for(uint64_t until_ns)
{
    struct pollfd fds[LR_CONTROL_REDIS_FDS + 1];
    uint32_t count = lr_control_redis_fds(agent.control, fds);
    fds[count++] = (struct pollfd){.fd = agent.signals_fd, .events = POLLIN};
    uint64_t now_ns = lr_clock_ns(), wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    if (wait_ns > 60 * LR_NS_PER_S) wait_ns = 60 * LR_NS_PER_S;
    struct timespec wait = {(time_t)(wait_ns / LR_NS_PER_S), (long)(wait_ns % LR_NS_PER_S)};
    ppoll(fds, count, &wait, NULL);
}

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

static void loop(void)
{
    while (!agent.ends) {
        uint64_t now_ns = lr_clock_ns();
        take_signals(now_ns);
        lr_lease_turn(&agent.lease, now_ns);
        lr_roster_turn(&agent.jobs, now_ns);
        lr_roster_turn(&agent.nodes, now_ns);
        lr_leftover_turn(&agent.leftover, now_ns);
        lr_control_turn(agent.control, 0);
        uint64_t until_ns = lr_hosting_tend(&agent.hosting, lr_clock_ns());
        until_ns = earlier(until_ns, lr_control_redis_deadline(agent.control));
        until_ns = earlier(until_ns, lr_lease_deadline(&agent.lease));
        until_ns = earlier(until_ns, lr_roster_deadline(&agent.jobs));
        until_ns = earlier(until_ns, lr_roster_deadline(&agent.nodes));
        until_ns = earlier(until_ns, lr_leftover_deadline(&agent.leftover));
        if (!agent.ends) wait_for(until_ns);
    }
}

/* Their drivers run the tasks elsewhere. */
static void end_processes(void)
{
    for (lr_link *l = lr_list_first(&agent.hosting.jobs); l; l = lr_list_next(&agent.hosting.jobs, l)) {
        const job *j = job_at(l);
        if (!j->pid) continue;
        kill(j->pid, SIGKILL);
        waitpid(j->pid, NULL, 0);
    }
    lr_hosting_end(&agent.hosting);
}

static void leave(void)
{
    end_processes();
    lr_lease_end(&agent.lease, lr_here_wall_ms());
    lr_lease_clear(&agent.lease);
    agent.quiet = true;
    uint64_t give_up_ns = lr_clock_ns() + FAREWELL_NS;
    while (agent.lease.clearing && lr_control_redis_state_of(agent.control) == LR_CONTROL_REDIS_READY &&
           lr_clock_ns() < give_up_ns)
        lr_control_turn(agent.control, 10 * MS);
    lr_roster_end(&agent.jobs);
    lr_roster_end(&agent.nodes);
    lr_control_fini(agent.control);
    lr_secret_clear(&agent.secret);
    explicit_bzero(agent.secret_entry, sizeof agent.secret_entry);
}

static bool job_lives(void *user, lr_id id)
{
    (void)user;
    return !agent.jobs.read || lr_roster_find(&agent.jobs, id);
}

static unsigned node_count(void *user)
{
    (void)user;
    return (unsigned)agent.nodes.by_key.count;
}

static void begin_watching(void)
{
    agent.hosting.control = agent.control;
    agent.hosting.tokens = TOKEN_HOSTING;
    agent.hosting.hooks = (lr_hosting_hooks){start_process, kill_process, forget, NULL};
    lr_hosting_begin(&agent.hosting);
    const lr_roster usual = {.control = agent.control, .allocator = &lr_process_allocator,
                             .connections = lr_control_redis_connections, .wall_ms = lr_here_wall_ms};
    agent.jobs = agent.nodes = usual;
    agent.jobs.table = LR_CONTROL_TABLE_JOB;
    agent.jobs.tokens = LR_ROSTER_TOKEN(1);
    agent.jobs.subscribes = true;
    agent.jobs.handler = (lr_roster_handler){on_job, on_job_gone, on_job_swept, NULL};
    agent.nodes.table = LR_CONTROL_TABLE_NODE;
    agent.nodes.tokens = LR_ROSTER_TOKEN(2);
    agent.nodes.handler = (lr_roster_handler){on_node, on_node_gone, on_node_swept, NULL};
    lr_roster_begin(&agent.jobs);
    lr_roster_begin(&agent.nodes);
    agent.leftover = (lr_leftover){.control = agent.control, .token = TOKEN_LEFTOVER, .lives = job_lives,
                                   .agents = node_count};
    lr_leftover_begin(&agent.leftover, lr_clock_ns());
}

int lr_agent_run(const lr_config *config)
{
    char text[LR_SECRET_TEXT];
    agent.config = config;
    lr_here_find(&agent.here);
    agent.row = (lr_row){.pid = (uint64_t)getpid(), .host = agent.here.host, .user = agent.here.user,
                         .loopback = agent.here.loopback};
    agent.row.since_ms = lr_here_wall_ms();
    agent.row.lease_ms = LR_LEASE_NS / MS;
    agent.row.workers = config->workers;
    agent.row.offers = agent.offers;
    agent.room = lr_room_make();
    agent.signals_fd = lr_process_signals();
    if (!find_offers(text) || !lr_state_secret(config->cluster, &agent.secret, text) || !open_store(text) ||
        !may_be_here(text) || !register_node(text)) {
        say("%s", text);
        return EXIT_FAILURE;
    }
    snprintf(agent.secret_entry, sizeof agent.secret_entry, agent.secret.size_bytes ? "LUARUN_SECRET=%.*s" :
             "LUARUN_SECRET", (int)agent.secret.size_bytes, (const char *)agent.secret.bytes);
    if (config->verbose) say("registered with %d workers", config->workers);
    begin_watching();
    loop();
    leave();
    return EXIT_SUCCESS;
}
