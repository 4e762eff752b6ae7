#include "runtime/member.h"

#include "runtime/clock.h"
#include "runtime/here.h"
#include "runtime/process.h"
#include "runtime/statedir.h"
#include "sched/lease.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define MS 1000000ull
#define AWAIT_NS (LR_NS_PER_S * 5 / 2) /* longer than a connection may take, so that its own words are said */
#define CLOSE_NS (500 * MS)
#define HISTORY_LIMIT 1000u
#define TOKEN_NODES (0xc1ull << 56)
#define TOKEN_DEATH (0xc3ull << 56)
#define TOKEN_INSPECTION (0xc4ull << 56) /* nobody waits for the replies */

static struct {
    lr_member_config config;
    lr_control *control;
    lr_control_handler handler;
    lr_here here;
    lr_row row;
    char address[300], listen[300];
    lr_lease lease;
    bool quiet, nodes_answered;
    bool death_asked;            /* no answer has come yet */
    int death_pid;               /* of which process */
    char death[LR_PROCESS_TEXT]; /* the answer; "": not known */
    unsigned nodes, others; /* registered: of this version, of another */
    char other[32];
} member;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    char line[700];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    fprintf(stderr, "luarun: %s\n", line);
}

/* ---- who is there: asked once, before the row is written ------------------------------------------------ */

static void ask_nodes(uint64_t cursor)
{
    lr_control_request r = {.token = TOKEN_NODES, .op = LR_CONTROL_SCAN, .table = LR_CONTROL_TABLE_NODE,
                            .cursor = cursor};
    member.nodes_answered = lr_control_request_make(member.control, &r) != LR_ERR_NONE;
}

static void warn(void)
{
    if (member.others > 0)
        say("%u of the cluster's %u nodes are of luarun %s, this is %s: they take no part in this job", member.others,
            member.others + member.nodes, member.other, LR_VERSION);
    else if (member.nodes == 0 && member.config.workers == 0)
        say("no node is registered in this cluster, and this one has no workers: tasks wait for one "
            "(luarun node --cluster ...)");
}

static void on_nodes(const lr_control_reply *reply)
{
    char version[32];
    for (uint32_t i = 0; i < reply->count; i++) {
        if (!lr_row_field(reply->rows[i].value, "version", version, sizeof version)) continue;
        if (strcmp(version, LR_VERSION) == 0) {
            member.nodes++;
            continue;
        }
        member.others++;
        snprintf(member.other, sizeof member.other, "%s", version);
    }
    if (reply->cursor)
        ask_nodes(reply->cursor);
    else
        member.nodes_answered = true;
}

/* Their job processes are on their way as soon as the row is written. */
static void count_nodes(void)
{
    uint64_t give_up_ns = lr_clock_ns() + AWAIT_NS;
    member.nodes_answered = false;
    ask_nodes(0);
    while (!member.nodes_answered && lr_clock_ns() < give_up_ns)
        lr_control_turn(member.control, 50 * MS);
    warn();
}

/* ---- how a process ended ---------------------------------------------------------------------------------- */

static void on_death(const lr_control_reply *reply)
{
    member.death_asked = false;
    if (reply->count == 0) return;
    lr_bytes how = reply->rows[0].value;
    snprintf(member.death, sizeof member.death, "%.*s", (int)how.size_bytes, (const char *)how.at);
}

/* Asks, and looks later whether an answer has come: of one process at a time. */
bool lr_member_how_ended(int pid, char *text, size_t text_bytes)
{
    bool known = member.death_pid == pid && member.death[0];
    if (known) snprintf(text, text_bytes, "%s", member.death);
    if (known || member.death_asked || !member.control) return known;
    if (lr_control_redis_state_of(member.control) != LR_CONTROL_REDIS_READY) return false;
    lr_id key = lr_row_death_key(member.config.job, pid);
    lr_control_request r = {.token = TOKEN_DEATH, .op = LR_CONTROL_GET, .table = LR_CONTROL_TABLE_EVENT,
                            .key = lr_bytes_of_id(&key)};
    member.death_pid = pid;
    member.death[0] = 0;
    member.death_asked = lr_control_request_make(member.control, &r) == LR_ERR_NONE;
    return false;
}

/* ---- the store ------------------------------------------------------------------------------------------ */

static void on_reply(void *user, const lr_control_reply *reply)
{
    (void)user;
    if (lr_lease_reply(&member.lease, reply)) return;
    if (reply->token == TOKEN_NODES)
        on_nodes(reply);
    else if (reply->token == TOKEN_DEATH)
        on_death(reply);
    else if (reply->token != LR_LEASE_TOKEN && reply->token != TOKEN_INSPECTION)
        member.handler.on_reply(member.handler.user, reply);
}

static void on_wake(void *user, lr_control_table table, lr_bytes key)
{
    (void)user;
    member.handler.on_wake(member.handler.user, table, key);
}

static void on_status(void *user, const char *line)
{
    (void)user;
    if (!member.quiet) say("--cluster: %s", line);
}

lr_control *lr_member_open(const lr_member_config *config, const lr_control_handler *handler, char text[LR_MEMBER_TEXT])
{
    char reach[LR_REACH_TEXT];
    lr_control_redis_config redis;
    const lr_control_handler own = {on_reply, on_wake, NULL};
    member.config = *config;
    member.handler = *handler;
    member.lease = (lr_lease){0};
    member.quiet = true;
    member.nodes = member.others = 0;
    member.death_asked = false;
    member.death_pid = 0;
    lr_control_redis_config_init(&redis, config->url);
    redis.on_status = on_status;
    lr_control *control = lr_control_redis_open(&redis, &own, text, LR_MEMBER_TEXT);
    if (!control) return NULL;
    bool ready = lr_control_redis_await(control, AWAIT_NS) == LR_CONTROL_REDIS_READY;
    bool loopback = lr_reach_url(control, reach);
    snprintf(member.listen, sizeof member.listen, "%s", config->listen[0] ? config->listen : reach);
    if (ready && (loopback || config->has_secret)) {
        member.control = control;
        count_nodes();
        return control;
    }
    if (!ready)
        lr_control_redis_status(control, text, LR_MEMBER_TEXT);
    else
        snprintf(text, LR_MEMBER_TEXT, "%s", lr_state_needs_secret);
    lr_control_fini(control);
    return NULL;
}

unsigned lr_member_nodes(void) { return member.nodes; }
const char *lr_member_listen(void) { return member.listen; }
bool lr_member_is_open(void) { return member.control != NULL; }

/* ---- the row -------------------------------------------------------------------------------------------- */

static size_t write_row(void *user, char text[LR_ROW_MAX])
{
    (void)user;
    member.row.renewed_ms = lr_here_wall_ms();
    return lr_row_write_job(&member.row, text);
}

static void on_lost(void *user)
{
    (void)user;
    say("--cluster: this job's row was gone: it was taken for dead, or Redis has lost it; it is written again");
}

/* Those who look at the cluster; without it a job runs as well. */
static void listen_for_questions(void)
{
    lr_control_request r = {.token = TOKEN_INSPECTION, .op = LR_CONTROL_SUBSCRIBE,
                            .table = LR_CONTROL_TABLE_INSPECTION};
    lr_err err = lr_control_request_make(member.control, &r);
    (void)err;
}

bool lr_member_join(const char *address, char text[LR_MEMBER_TEXT])
{
    uint64_t now_ns = lr_clock_ns(), give_up_ns = now_ns + AWAIT_NS;
    snprintf(member.address, sizeof member.address, "%s", address);
    lr_here_find(&member.here);
    member.row = (lr_row){.pid = (uint64_t)getpid(), .host = member.here.host, .user = member.here.user,
                          .loopback = member.here.loopback};
    member.row.since_ms = lr_here_wall_ms();
    member.row.lease_ms = LR_LEASE_NS / MS;
    member.row.workers = member.config.workers;
    member.row.address = member.address;
    member.row.name = member.config.name;
    member.lease = (lr_lease){.control = member.control, .table = LR_CONTROL_TABLE_JOB, .key = member.config.job,
                              .lease_ns = LR_LEASE_NS, .write = write_row, .lost = on_lost};
    listen_for_questions();
    lr_lease_begin(&member.lease);
    while (!member.lease.held && member.lease.status != LR_CONTROL_STATUS_FULL && now_ns < give_up_ns) {
        lr_lease_turn(&member.lease, now_ns);
        lr_control_turn(member.control, 50 * MS);
        now_ns = lr_clock_ns();
    }
    member.quiet = false;
    if (member.lease.held) return true;
    lr_control_redis_status(member.control, text, LR_MEMBER_TEXT);
    size_t n = strlen(text);
    snprintf(text + n, LR_MEMBER_TEXT - n, "%s", member.lease.status == LR_CONTROL_STATUS_FULL
                                                     ? "; this job cannot register" : ": no answer in time");
    return false;
}

static void tell_wall_time(lr_control_request *request, char text[LR_MEMBER_LINE])
{
    const char *line = request->value.at, *at = memmem(line, request->value.size_bytes, " at=", 4);
    size_t size = request->value.size_bytes;
    if (!at || size + 32 > LR_MEMBER_LINE) return;
    const char *rest = at + 4;
    while (rest < line + size && *rest >= '0' && *rest <= '9')
        rest++;
    int n = snprintf(text, LR_MEMBER_LINE, "%.*s at=%llu%.*s", (int)(at - line), line,
                     (unsigned long long)lr_here_wall_ms() * 1000000, (int)(line + size - rest), rest);
    request->value = lr_bytes_of(text, (size_t)n);
}

bool lr_member_passes(lr_control_request *request, char text[LR_MEMBER_LINE])
{
    if (!member.control) return true;
    bool writes = request->op == LR_CONTROL_PUT || request->op == LR_CONTROL_APPEND;
    if (request->table == LR_CONTROL_TABLE_NODE || request->table == LR_CONTROL_TABLE_JOB) return !writes;
    if (request->table == LR_CONTROL_TABLE_ERROR && writes) tell_wall_time(request, text);
    return true;
}

/* ---- answers ---------------------------------------------------------------------------------------------- */

#define ANSWER_KEY_BYTES (2 * (LR_ID_TEXT - 1))

static lr_bytes answer_key(lr_id token, char key[2 * LR_ID_TEXT])
{
    _Static_assert(ANSWER_KEY_BYTES <= LR_CONTROL_KEY_MAX, "two ids are a key");
    lr_id_format(token, key);
    lr_id_format(member.config.job, key + LR_ID_TEXT - 1);
    return lr_bytes_of(key, ANSWER_KEY_BYTES);
}

void lr_member_answer(lr_id token, lr_bytes text)
{
    char key[2 * LR_ID_TEXT];
    lr_control_request r = {.token = TOKEN_INSPECTION, .op = LR_CONTROL_PUT, .table = LR_CONTROL_TABLE_INSPECTION,
                            .key = answer_key(token, key), .owner = member.config.job, .value = text};
    lr_err err = member.control ? lr_control_request_make(member.control, &r) : LR_ERR_NONE;
    (void)err; /* who has asked says that this job did not answer */
}

void lr_member_take_back(lr_id token)
{
    char key[2 * LR_ID_TEXT];
    lr_control_request r = {.token = TOKEN_INSPECTION, .op = LR_CONTROL_DELETE, .table = LR_CONTROL_TABLE_INSPECTION,
                            .key = answer_key(token, key)};
    lr_err err = member.control ? lr_control_request_make(member.control, &r) : LR_ERR_NONE;
    (void)err; /* it goes with the job */
}

/* ---- turns ---------------------------------------------------------------------------------------------- */

void lr_member_turn(void)
{
    if (member.control) lr_lease_turn(&member.lease, lr_clock_ns());
}

uint64_t lr_member_deadline(void)
{
    if (!member.control) return LR_NEVER;
    uint64_t store_ns = lr_control_redis_deadline(member.control), lease_ns = lr_lease_deadline(&member.lease);
    return store_ns < lease_ns ? store_ns : lease_ns;
}

uint32_t lr_member_fds(struct pollfd *fds) { return member.control ? lr_control_redis_fds(member.control, fds) : 0; }

static void write_history(void)
{
    char text[LR_ROW_MAX], id[LR_ID_TEXT];
    lr_id_format(member.config.job, id);
    int n = snprintf(text, sizeof text, "1 job=%s ended=%llu since=%llu user=%s status=ok name=%.200s", id,
                     (unsigned long long)lr_here_wall_ms(), (unsigned long long)member.row.since_ms,
                     member.row.user, member.config.name);
    lr_control_request r = {.token = LR_LEASE_TOKEN, .op = LR_CONTROL_APPEND, .table = LR_CONTROL_TABLE_JOB,
                            .key = lr_bytes_of("history", 7), .value = lr_bytes_of(text, (size_t)n),
                            .limit = HISTORY_LIMIT};
    lr_err err = lr_control_request_make(member.control, &r);
    (void)err; /* a line less */
}

void lr_member_leave(void)
{
    if (!member.control) return;
    member.quiet = true;
    lr_lease_end(&member.lease, lr_here_wall_ms());
    write_history();
    lr_control_turn(member.control, 0);
}

void lr_member_close(void)
{
    if (!member.control) return;
    uint64_t give_up_ns = lr_clock_ns() + CLOSE_NS;
    if (member.lease.control) lr_lease_clear(&member.lease); /* else it never came to join */
    while (member.lease.clearing && lr_control_redis_state_of(member.control) == LR_CONTROL_REDIS_READY &&
           lr_clock_ns() < give_up_ns)
        lr_control_turn(member.control, 10 * MS);
    lr_control_fini(member.control);
    member.control = NULL;
}
