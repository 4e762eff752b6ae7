#include "bindings/session.h"

#include "bindings/codec.h"
#include "bindings/core.h"
#include "bindings/objects.h"
#include "bindings/options.h"
#include "bindings/output.h"
#include "bindings/run.h"
#include "bindings/worker_state.h"
#include "runtime/children.h"
#include "runtime/crash.h"
#include "runtime/failures.h"
#include "runtime/here.h"
#include "runtime/nodeloop.h"
#include "runtime/room.h"
#include "runtime/statedir.h"
#include "runtime/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define UNSEEN_SHOWN 10
/* How long an ending waits for kernels that do not look whether they are cancelled. */
#define STOP_NS (200 * 1000000ull)

static struct {
    lr_config config;
    bool configured, prepared, started, finished;
    bool serves;    /* another node's job */
    bool abandoned; /* a worker could not be stopped: everything stays until the process ends */
    lr_pool pool;
    lr_state *script;
    lr_id root; /* of the ids of tasks: the same for the same seed */
    lr_id job, node;
    uint32_t children; /* of the script */
    lr_member_config member; /* of a public cluster */
    lr_resource_names names;
    lr_resources capacity;
    /* failed tasks nobody looked at */
    pthread_mutex_t unseen_lock;
    uint64_t unseen_count;
    char *unseen[UNSEEN_SHOWN];
} session = {.unseen_lock = PTHREAD_MUTEX_INITIALIZER};

bool lr_session_configure(const lr_config *config)
{
    if (session.started || session.prepared) return false;
    session.config = *config;
    session.configured = true;
    return true;
}

const lr_config *lr_session_config(void) { return &session.config; }
lr_pool *lr_session_pool(void) { return session.started ? &session.pool : NULL; }
lr_state *lr_session_script(void) { return session.script; }
bool lr_session_started(void) { return session.started; }
lr_id lr_session_job(void) { return session.job; }
lr_id lr_session_node(void) { return session.node; }

/* ---- what a node offers ----------------------------------------------------------------------------- */

static void find_capacity(lua_State *L)
{
    char error[200];
    lr_resource_names_init(&session.names);
    if (!lr_resources_parse(session.config.resources, &session.names, &session.capacity, error, sizeof error))
        luaL_error(L, "--resources: %s", error);
    lr_options_names(&session.names);
    int64_t *amount = session.capacity.amount;
    amount[LR_RESOURCE_CPU] = (int64_t)session.config.workers * LR_AMOUNT_ONE;
    if (session.serves || session.config.joins) return; /* the rest is promised by whoever started it */
    if (amount[LR_RESOURCE_GPU] == 0) amount[LR_RESOURCE_GPU] = lr_here_gpus() * LR_AMOUNT_ONE;
    if (amount[LR_RESOURCE_MEMORY] == 0) {
        /* bytes are amounts like others: refused only beyond what 62 bits hold */
        if (!lr_amount_from_double((double)lr_here_memory_bytes(), &amount[LR_RESOURCE_MEMORY]))
            luaL_error(L, "no memory size");
    }
}

/* ---- errors nobody looked at ------------------------------------------------------------------------ */

/* "task add (3f2a...) failed: error: boom" */
static char *describe(const lr_task *t, lr_err code, const char *message, uint64_t length_bytes)
{
    char id[LR_ID_TEXT];
    if (length_bytes > 2000) length_bytes = 2000;
    lr_id_format(t->id, id);
    char *text = malloc(length_bytes + 300);
    if (text)
        snprintf(text, (size_t)length_bytes + 300, "task %.100s (%.8s) failed: %s: %.*s", lr_task_name(t), id,
                 lr_err_code(code), (int)length_bytes, message);
    return text;
}

static void on_unseen(lr_task *t)
{
    const char *message;
    uint64_t length_bytes;
    lr_err code = lr_failure_read(t, &message, &length_bytes);
    if (code == LR_ERR_CANCELLED) return; /* somebody wanted it so */
    pthread_mutex_lock(&session.unseen_lock);
    uint64_t number = session.unseen_count++;
    pthread_mutex_unlock(&session.unseen_lock);
    if (number >= UNSEEN_SHOWN) return;
    char *text = describe(t, code, message, length_bytes);
    pthread_mutex_lock(&session.unseen_lock); /* a job that is left as it is reports while workers still run */
    session.unseen[number] = text;
    pthread_mutex_unlock(&session.unseen_lock);
    if (text) lr_nodeloop_report(t, code, text);
}

static void show_unseen(void)
{
    fprintf(stderr, "luarun: %llu failed task%s nobody looked at:\n", (unsigned long long)session.unseen_count,
            session.unseen_count == 1 ? "" : "s");
    for (uint64_t i = 0; i < session.unseen_count && i < UNSEEN_SHOWN; i++) {
        fprintf(stderr, "  %s\n", session.unseen[i] ? session.unseen[i] : "(no memory for the words)");
        free(session.unseen[i]);
        session.unseen[i] = NULL;
    }
    if (session.unseen_count > UNSEEN_SHOWN)
        fprintf(stderr, "  and %llu more\n", (unsigned long long)session.unseen_count - UNSEEN_SHOWN);
}

static void report_unseen(void)
{
    fflush(stdout);
    pthread_mutex_lock(&session.unseen_lock);
    if (session.unseen_count > 0) show_unseen();
    pthread_mutex_unlock(&session.unseen_lock);
}

/* ---- life ----------------------------------------------------------------------------------------- */

/* Workers of each process: as told, or this machine's shared among them. */
static void share_workers(void)
{
    lr_config *c = &session.config;
    if (c->procs > 1 && !c->workers_given) c->workers = c->workers > c->procs ? c->workers / c->procs : 1;
}

/* LUARUN_CLUSTER, under plain luajit: the program's command line has seen to it. */
static void take_environment(lua_State *L)
{
    char error[600];
    const char *url = getenv("LUARUN_CLUSTER");
    lr_config *c = &session.config;
    if (c->by_program || c->cluster[0] || c->procs > 1 || !url || !*url) return;
    if (!lr_config_set(c, "cluster", url, error, sizeof error)) luaL_error(L, "LUARUN_CLUSTER: %s", error);
}

/* What ids and options need, before any thread. */
static void prepare(lua_State *L)
{
    if (session.prepared) return;
    if (!session.configured) lr_config_init(&session.config);
    take_environment(L);
    uint64_t seed = session.config.seed;
    if (!session.config.seed_given && getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = lr_clock_ns();
    session.config.seed = seed;
    session.root = session.job = lr_id_from_seed(seed);
    if (session.config.joins && getrandom(&session.job, sizeof session.job, 0) != sizeof session.job) abort();
    session.node = lr_id_child(session.job, UINT64_MAX);
    share_workers();
    find_capacity(L);
    uint64_t store_bytes = session.config.store_bytes;
    if (store_bytes == 0 && session.config.procs > 1) /* the default is of a machine's memory: a share each */
        store_bytes = lr_store_capacity() / (uint64_t)session.config.procs;
    if (!lr_store_configure(store_bytes))
        luaL_error(L, "init: the object store is in use already; call lr.init before making tensors");
    session.prepared = true;
    if (session.config.verbose)
        fprintf(stderr, "luarun: seed %llu, %d workers\n", (unsigned long long)seed, session.config.workers);
}

lr_id lr_session_next_id(lr_state *S)
{
    if (S->current) return lr_id_child(S->current->task->id, S->current->task->children++);
    return lr_id_child(session.root, session.children++);
}

/* ---- the other node processes ----------------------------------------------------------------------- */

static void print_line(const char *line, size_t size_bytes) { lr_output_line("", line, size_bytes); }

static void make_secret(lr_secret *secret, char text[65])
{
    uint8_t bytes[32];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) abort(); /* it does not fail for so few */
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    secret->size_bytes = 64;
    memcpy(secret->bytes, text, 64);
}

static void open_cluster(lua_State *L, char secret[65])
{
    char text[LR_CLUSTER_TEXT];
    lr_cluster_config cluster = {.url = "tcp://127.0.0.1:0", .expected = (unsigned)session.config.procs - 1,
                                 .node = session.node, .job = session.job,
                                 .seed = session.config.seed, .print = print_line,
                                 .how_ended = lr_children_look, .replace = lr_children_replace,
                                 .starts = true,
                                 .forsake = lr_children_forsake};
    make_secret(&cluster.secret, secret);
    memcpy((void *)cluster.paths, (const void *)lr_worker_state_paths_noted(), sizeof cluster.paths);
    if (!lr_nodeloop_open_cluster(&cluster, text)) luaL_error(L, "--procs: %s", text);
}

/* In the program one line, and the end: no script can do anything about it. */
static void refuse_public(lua_State *L, const char *text)
{
    if (!session.config.by_program) luaL_error(L, "--cluster: %s", text);
    fflush(stdout);
    fprintf(stderr, "luarun: --cluster: %s\n", text);
    lr_nodeloop_stop();
    _exit(EXIT_FAILURE);
}

/* Processes of its job are the agents' to start: there may always be another. */
static bool others_may_come(void) { return true; }

/* A public cluster: the job is in its tables, and its nodes connect here. */
static void open_public_cluster(lua_State *L)
{
    char text[LR_CLUSTER_TEXT];
    lr_cluster_config cluster = {.node = session.node, .job = session.job, .seed = session.config.seed,
                                 .print = print_line, .how_ended = lr_member_how_ended,
                                 .replace = others_may_come};
    if (!lr_state_secret(session.config.cluster, &cluster.secret, text)) refuse_public(L, text);
    session.member.has_secret = cluster.secret.size_bytes > 0;
    memcpy((void *)cluster.paths, (const void *)lr_worker_state_paths_noted(), sizeof cluster.paths);
    if (!lr_nodeloop_open_cluster(&cluster, text)) refuse_public(L, text);
    lr_secret_clear(&cluster.secret);
}

static void start_children(lua_State *L, const char *secret)
{
    char text[LR_CHILD_TEXT];
    int workers = session.config.workers > 0 ? session.config.workers : 1; /* 0: only this process runs nothing */
    lr_nodeloop_start_cluster();
    if (!lr_children_start((unsigned)session.config.procs - 1, workers, lr_cluster_address(), secret, text,
                           sizeof text))
        luaL_error(L, "--procs: %s", text);
}

static void start(lr_state *S, lua_State *L)
{
    char message[200];
    lr_pool *p = &session.pool;
    p->seed = session.config.seed;
    p->max_pending = session.config.max_pending;
    lr_worker_state_paths(S->L);
    lr_nodeloop_config node = {.node = session.node,
                               .job = session.job,
                               .job_name = session.config.name,
                               .capacity = session.capacity,
                               .names = &session.names,
                               .member = session.config.joins ? &session.member : NULL};
    session.member = (lr_member_config){.url = session.config.cluster, .job = session.job,
                                        .name = session.config.name, .workers = session.config.workers,
                                        .listen = session.config.listen};
    lr_nodeloop_init(p, &node);
    lr_task_on_unseen(on_unseen);
    lr_crash_install();
    char secret[65];
    if (session.config.joins) open_public_cluster(L);
    else if (session.config.procs > 1) open_cluster(L, secret);
    if (!lr_pool_start(p, (unsigned)session.config.workers, &lr_lua_runner, message, sizeof message))
        luaL_error(L, "%s", message);
    session.started = true;
    if (session.config.joins) lr_nodeloop_start_cluster();
    else if (session.config.procs > 1) start_children(L, secret);
}

lr_worker *lr_session_worker(lr_state *S, lua_State *L)
{
    if (__builtin_expect(S->worker != NULL, 1)) return S->worker;
    if (session.finished) luaL_error(L, "the job has ended (lr.shutdown was called)");
    if (!session.started) start(S, L);
    S->worker = &session.pool.workers[0];
    return S->worker;
}

/* False: nothing will ever finish what is left. */
static bool drain(void)
{
    if (lr_pool_drain(&session.pool, lr_clock_ns() + LR_NS_PER_S)) return true;
    lr_pool_counts c = lr_pool_count(&session.pool);
    fflush(stdout);
    uint64_t left = c.submitted - c.finished;
    fprintf(stderr, "luarun: the script has ended; waiting for %llu task%s it started (^C ends %s)\n",
            (unsigned long long)left, left == 1 ? "" : "s", left == 1 ? "it" : "them");
    lr_pool_watch watch = {0};
    while (!lr_pool_drain(&session.pool, lr_clock_ns() + LR_NS_PER_S))
        if (lr_pool_is_stuck(&session.pool, &watch)) {
            fputs("luarun: deadlock: nothing runs and nothing can start; these tasks are given up\n", stderr);
            return false;
        }
    return true;
}

bool lr_session_finish(lua_State *L, bool wait)
{
    if (session.finished) return true;
    session.finished = true;
    if (!session.started) return true;
    bool done = !wait || drain();
    if (session.script) session.script->worker = NULL; /* what comes later is refused */
    lr_pool_cancel_all(&session.pool);
    if (!lr_pool_stop(&session.pool, lr_clock_ns() + STOP_NS)) {
        /* a kernel or a loop that does not look: it ends with the process */
        report_unseen();
        fflush(NULL);
        session.abandoned = true;
        return done;
    }
    lr_nodeloop_stop();
    lr_children_end();
    lr_worker_state_close(&session.pool.workers[0]);
    lr_kernel_workers_free(session.pool.workers[0].kernel_state); /* os.exit goes no further than here */
    session.pool.workers[0].kernel_state = NULL;
    (void)L;
    return done;
}

/* Frees what is left once the script's lua_State is gone, and says what nobody looked at. */
void lr_session_close(void)
{
    if (session.abandoned) return;
    if (session.started) lr_pool_fini(&session.pool);
    report_unseen();
    if (session.started) lr_store_close();
    lr_state_free(session.script);
    session.script = NULL;
    session.started = false;
    lr_fn_thread_end();
}

/* ---- a node that serves ----------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool welcomed, lost;
    char why[LR_CLUSTER_TEXT];
    lr_cluster_config said;
} serving = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void welcomed(const lr_cluster_config *said)
{
    pthread_mutex_lock(&serving.lock);
    serving.said = *said;
    serving.welcomed = true;
    pthread_cond_signal(&serving.changed);
    pthread_mutex_unlock(&serving.lock);
}

static void lost(const char *why)
{
    pthread_mutex_lock(&serving.lock);
    snprintf(serving.why, sizeof serving.why, "%s", why);
    serving.lost = true;
    pthread_cond_signal(&serving.changed);
    pthread_mutex_unlock(&serving.lock);
}

/* Until the driver is gone; when `welcome`, or until it has said what to work for. False: it is gone. */
static bool wait_for_driver(bool welcome)
{
    pthread_mutex_lock(&serving.lock);
    while (!serving.lost && !(welcome && serving.welcomed))
        pthread_cond_wait(&serving.changed, &serving.lock);
    bool gone = serving.lost;
    pthread_mutex_unlock(&serving.lock);
    return !gone;
}

static int complain(const char *why)
{
    fprintf(stderr, "luarun: node: %s\n", why);
    return EXIT_FAILURE;
}

static bool open_served_cluster(char text[LR_CLUSTER_TEXT])
{
    lr_nodeloop_config node = {.node = session.node,
                               .job = session.job,
                               .job_name = "node",
                               .capacity = session.capacity,
                               .names = &session.names};
    lr_cluster_config cluster = {.serves = true, .url = session.config.cluster, .node = session.node,
                                 .listen = session.config.listen,
                                 .welcomed = welcomed, .lost = lost};
    if (!lr_secret_load(&cluster.secret, getenv("LUARUN_SECRET"), NULL, text)) return false;
    lr_nodeloop_init(&session.pool, &node);
    return lr_nodeloop_open_cluster(&cluster, text);
}

int lr_session_serve(lua_State *L)
{
    char text[LR_CLUSTER_TEXT];
    uint64_t seed;
    if (getenv("LUARUN_FOLLOW_PARENT")) lr_children_follow_parent();
    session.serves = true;
    lr_room_open();
    prepare(L);
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = lr_clock_ns();
    session.node = lr_id_from_seed(seed);
    if (!open_served_cluster(text)) return complain(text);
    if (!wait_for_driver(true)) return complain(serving.why);
    session.config.seed = session.pool.seed = serving.said.seed;
    session.job = serving.said.job;
    session.pool.max_pending = session.config.max_pending;
    lr_worker_state_paths_given(serving.said.paths);
    lr_task_on_unseen(on_unseen);
    lr_crash_install();
    if (!lr_pool_start(&session.pool, (unsigned)session.config.workers, &lr_lua_runner, text, sizeof text))
        return complain(text);
    session.started = true;
    lr_nodeloop_start_cluster();
    wait_for_driver(false);
    session.unseen_count = 0; /* theirs, who is gone */
    lr_session_finish(L, false);
    return EXIT_SUCCESS;
}

_Noreturn void lr_session_exit(int status)
{
    lr_session_finish(NULL, false);
    fflush(NULL);
    _exit(status);
}

/* ---- the module ----------------------------------------------------------------------------------- */

/* stats(): counts of this node. */
static int core_stats(lua_State *L)
{
    lua_createtable(L, 0, 10);
    lr_push_store_stats(L);
    lua_setfield(L, -2, "store");
    lr_pool_counts c = {0};
    if (session.started) c = lr_pool_count(&session.pool);
    const struct { const char *name; double value; } rows[] = {
        {"submitted", (double)c.submitted}, {"started", (double)c.started}, {"finished", (double)c.finished},
        {"pending", (double)(c.submitted - c.started)}, {"running", (double)(c.started - c.finished)},
        {"steals", (double)c.steals}, {"workers", session.config.workers},
        {"procs", session.config.procs}, {"seed", (double)session.config.seed}};
    for (size_t i = 0; i < LR_COUNT(rows); i++) {
        lua_pushnumber(L, rows[i].value);
        lua_setfield(L, -2, rows[i].name);
    }
    return 1;
}

/* resources(): name -> amount, what this node offers. */
static int core_resources(lua_State *L)
{
    lua_newtable(L);
    for (int i = 0; i < session.names.count; i++) {
        lua_pushnumber(L, lr_amount_to_double(session.capacity.amount[i]));
        lua_setfield(L, -2, lr_resource_name(&session.names, i));
    }
    return 1;
}

/* init{options}: for plain luajit. */
static int core_init(lua_State *L)
{
    if (session.started || session.configured) return luaL_error(L, "init: the job is already there");
    lr_config config;
    lr_config_init(&config);
    if (!lua_isnoneornil(L, 1)) {
        if (!lua_istable(L, 1)) return luaL_error(L, "init: a table of options wanted, %s given", luaL_typename(L, 1));
        lua_pushnil(L);
        while (lua_next(L, 1)) {
            char name[64], error[200];
            lua_pushvalue(L, -2);
            snprintf(name, sizeof name, "%s", lua_tostring(L, -1));
            for (char *p = name; *p; p++)
                if (*p == '_') *p = '-';
            lua_pop(L, 1);
            lua_getglobal(L, "tostring");
            lua_pushvalue(L, -2);
            lua_call(L, 1, 1);
            if (!lr_config_set(&config, name, lua_tostring(L, -1), error, sizeof error))
                return luaL_error(L, "init: %s", error);
            lua_pop(L, 2);
        }
    }
    session.prepared = false;
    lr_session_configure(&config);
    prepare(L);
    return 0;
}

static int core_shutdown(lua_State *L)
{
    if (!lr_state_of(L)->is_script) return luaL_error(L, "shutdown: only the script can end the job, not a task");
    lr_session_finish(L, true);
    return 0;
}

static int core_class(lua_State *L) { return lr_codec_class(L); }
static int core_codec_roundtrip(lua_State *L) { return lr_codec_roundtrip(L); }

void lr_core_register(lr_state *S, lua_State *L)
{
    static const luaL_Reg functions[] = {{"stats", core_stats},       {"resources", core_resources},
                                         {"init", core_init},         {"shutdown", core_shutdown},
                                         {"class", core_class},       {"tensor", lr_tensor_new},
                                         {"codec_roundtrip", core_codec_roundtrip},
                                         {"kernels", lr_kernels_lua}, {NULL, NULL}};
    lr_state_register(S, L, functions);
    lua_pushboolean(L, S->is_script);
    lua_setfield(L, -2, "is_script");
    lua_pushliteral(L, LR_VERSION);
    lua_setfield(L, -2, "version");
}

/* Under plain luajit nobody calls finish: the collector of this userdata does, as the state closes. */
static int at_close(lua_State *L)
{
    lr_session_finish(L, true);
    return 0;
}

int luaopen_luarun_core(lua_State *L)
{
    if (session.script) return luaL_error(L, "luarun is already open in another Lua state of this process");
    prepare(L);
    session.script = lr_state_new(L, NULL, true);
    lua_newuserdata(L, 1);
    lua_newtable(L);
    lua_pushcfunction(L, at_close);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    luaL_ref(L, LUA_REGISTRYINDEX);
    return 1;
}
