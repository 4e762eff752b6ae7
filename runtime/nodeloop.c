#include "runtime/nodeloop.h"

#include "runtime/allocator.h"
#include "runtime/exchange.h"
#include "runtime/extra.h"
#include "runtime/inspection.h"
#include "runtime/room.h"
#include "runtime/watcher.h"
#include "sched/control_memory.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define ACTIONS 64
#define ACTION_BYTES 16384
#define CONTROL_BYTES (64u << 20)

typedef struct message {
    struct message *next;
    lr_event event;
    lr_task *task; /* one count, or NULL */
    char *text;    /* owned; ERROR_REPORT */
} message;

static struct {
    lr_pool *pool;
    lr_nodeloop_config config;
    pthread_t thread;
    pthread_mutex_t lock; /* the queue, started, stopping */
    message *first, *last;
    bool started, stopping, resting;
    /* the cluster: wanted before the thread starts, opened by it; under the lock */
    lr_cluster_config *cluster;
    char *cluster_text;
    enum { CLUSTER_NONE, CLUSTER_OPENING, CLUSTER_OPEN, CLUSTER_FAILED } cluster_state;
    pthread_cond_t cluster_changed;
    _Atomic bool cluster_starts;
    lr_bell bell;
    /* the leader's alone */
    lr_node machine;
    lr_control_memory memory;
    lr_control *control; /* in this process's memory, or a public cluster's */
    uint64_t timer_ns;
    lr_task *room_first, *room_last; /* handed out by the machine, in line for what other jobs hold; by room_next */
} loop = {.lock = PTHREAD_MUTEX_INITIALIZER, .cluster_changed = PTHREAD_COND_INITIALIZER, .timer_ns = LR_NEVER};

static void step(const lr_event *event);

static void ring(void) { lr_bell_ring(loop.bell.page); }

/* ---- actions: one function each ------------------------------------------------------------------- */

static lr_task *task_of(const lr_action *a)
{
    return a->spec->runtime;
}

static void hand_out(lr_task *t)
{
    lr_task_retain(t); /* the queue's */
    lr_pool_inject(loop.pool, t, t->extra->spec->priority);
}

/* False: another job has what it needs. One that has ended goes where it is thrown away. */
static bool has_room(lr_task *t)
{
    if (t->extra->room || lr_task_ended(t)) return true;
    return lr_room_take(&t->extra->spec->need, &loop.config.capacity, &t->extra->room);
}

static void do_task_start(const lr_action *a)
{
    lr_task *t = task_of(a);
    if (!loop.room_first && has_room(t)) {
        hand_out(t);
        return;
    }
    t->extra->room_next = NULL;
    *(loop.room_first ? &loop.room_last->extra->room_next : &loop.room_first) = t;
    loop.room_last = t;
}

/* Those in line for what other jobs hold: the oldest first; a later one that needs something else waits with it. */
static void look_for_room(void)
{
    while (loop.room_first && has_room(loop.room_first)) {
        lr_task *t = loop.room_first;
        loop.room_first = t->extra->room_next;
        hand_out(t);
    }
}

static void give_room(lr_task *t)
{
    lr_room_give(t->extra->room);
    t->extra->room = NULL;
}

static void do_task_fail(const lr_action *a)
{
    char text[256];
    lr_spec_explain(a->spec, loop.config.names, text, sizeof text);
    const char *code = lr_err_code(a->err), *words = text;
    size_t length = strlen(code);
    if (strncmp(text, code, length) == 0 && text[length] == ':')
        words += length + 2; /* an error shows its code itself */
    lr_pool_fail_unbegun(task_of(a), a->err, words);
}

static void do_task_timeout(const lr_action *a)
{
    char text[128];
    snprintf(text, sizeof text, "it ran longer than its timeout of %g s", (double)a->spec->timeout_ns / 1e9);
    lr_pool_cancel(loop.pool, task_of(a), LR_ERR_TIMEOUT, text);
}

static void do_task_release(const lr_action *a)
{
    lr_task *t = task_of(a);
    give_room(t);
    atomic_store(&t->extra->in_machine, false);
    lr_task_release(t);
}

static void do_timer(const lr_action *a)
{
    loop.timer_ns = a->at_ns;
}

static void do_control(const lr_action *a)
{
    char text[LR_MEMBER_LINE];
    lr_control_request request = a->request;
    bool kept = !lr_member_passes(&request, text);
    if (!kept && lr_control_request_make(loop.control, &request) == LR_ERR_NONE) return;
    lr_control_reply reply = {.token = a->request.token, .op = a->request.op,
                              .status = kept ? LR_CONTROL_STATUS_OK : LR_CONTROL_STATUS_FULL};
    lr_event event = {.kind = LR_EVENT_CONTROL_REPLY, .reply = &reply};
    step(&event);
}

static void perform(const lr_action *a)
{
    switch (a->kind) {
    case LR_ACTION_TASK_START: do_task_start(a); return;
    case LR_ACTION_TASK_FAIL: do_task_fail(a); return;
    case LR_ACTION_TASK_TIMEOUT: do_task_timeout(a); return;
    case LR_ACTION_TASK_RELEASE: do_task_release(a); return;
    case LR_ACTION_TIMER: do_timer(a); return;
    case LR_ACTION_CONTROL: do_control(a); return;
    case LR_ACTION_COUNT: break;
    }
    LR_ASSERT(!"an action of no kind");
}

/* ---- events --------------------------------------------------------------------------------------- */

static void step(const lr_event *event)
{
    lr_event tick = {.kind = LR_EVENT_TICK};
    for (;;) {
        lr_action items[ACTIONS];
        _Alignas(16) uint8_t bytes[ACTION_BYTES];
        lr_actions actions;
        lr_actions_init(&actions, items, ACTIONS, bytes, sizeof bytes);
        lr_node_step(&loop.machine, lr_clock_ns(), event, &actions);
        for (uint32_t i = 0; i < actions.count; i++)
            perform(&actions.items[i]);
        if (!actions.more) return;
        event = &tick;
    }
}

/* A task that is tried again comes with the spec of its last attempt. */
static void renew(lr_spec *spec)
{
    if (spec->state == LR_TASK_WAITING) return;
    lr_spec fresh;
    lr_spec_init(&fresh, spec->id, spec->job, spec->function_name);
    fresh.need = spec->need;
    fresh.unknown_resource = spec->unknown_resource;
    fresh.unknown_amount = spec->unknown_amount;
    fresh.priority = spec->priority;
    fresh.timeout_ns = spec->timeout_ns;
    fresh.affinity = spec->affinity;
    fresh.node = spec->node;
    fresh.runtime = spec->runtime;
    *spec = fresh; /* without the deadline: it has begun in time once */
}

/* What lies in the pool unbegun must not keep the place of one with a larger priority. As often as there are workers
 * at most: when the place it makes is not enough, the same one may be handed out again. */
static void recall_for(lr_spec *spec)
{
    for (unsigned i = 0; i < loop.pool->worker_count && spec->place == LR_PLACE_READY; i++) {
        lr_task *t = lr_pool_recall(loop.pool, spec->priority);
        if (!t) return;
        lr_event event = {.kind = LR_EVENT_TASK_RETURNED, .spec = t->extra->spec};
        give_room(t);
        step(&event);
        lr_task_release(t);
    }
}

/* A task for this node's machine, or for the cluster. Takes over a count. */
static void submit(lr_task *t)
{
    lr_event event = {.kind = LR_EVENT_TASK_SUBMIT, .spec = t->extra->spec};
    renew(event.spec);
    if (lr_cluster_wants(t)) {
        lr_cluster_place(t);
        return;
    }
    atomic_store(&t->extra->in_machine, true);
    step(&event);
    recall_for(event.spec);
}

static void handle(message *m)
{
    if (m->event.kind == LR_EVENT_TASK_SUBMIT)
        submit(m->task);
    else
        step(&m->event);
    if (m->task) lr_task_release(m->task);
    free(m->text);
    free(m);
}

static void on_reply(void *user, const lr_control_reply *reply)
{
    (void)user;
    lr_event event = {.kind = LR_EVENT_CONTROL_REPLY, .reply = reply};
    step(&event);
}

static void on_wake(void *user, lr_control_table table, lr_bytes key)
{
    (void)user; /* the machine subscribes to nothing */
    if (table == LR_CONTROL_TABLE_INSPECTION) lr_inspection_asked(key);
}

static bool open_memory(void)
{
    lr_control_handler handler = {on_reply, on_wake, NULL};
    loop.control = &loop.memory.control;
    return lr_control_memory_init(&loop.memory, &lr_process_allocator, CONTROL_BYTES, &handler) == LR_ERR_NONE;
}

static void start_machine(void)
{
    lr_node_init(&loop.machine, loop.config.names);
    lr_event start = {.kind = LR_EVENT_START};
    start.start.node = loop.config.node;
    start.start.capacity = &loop.config.capacity;
    step(&start);
    lr_event job = {.kind = LR_EVENT_JOB_START};
    job.job.id = loop.config.job;
    job.job.name = loop.config.job_name;
    step(&job);
}

/* The tables of a public cluster in place of those in memory. */
static bool open_member(void)
{
    lr_control_handler handler = {on_reply, on_wake, NULL};
    lr_control *control = lr_member_open(loop.config.member, &handler, loop.cluster_text);
    if (!control) return false;
    lr_control_fini(loop.control);
    loop.control = control;
    loop.cluster->url = lr_member_listen();
    loop.cluster->expected = lr_member_nodes();
    return true;
}

static bool open_transport(void)
{
    if (!lr_cluster_open(loop.pool, loop.cluster, loop.cluster_text)) return false;
    if (!loop.config.member) return true;
    if (!lr_member_join(lr_cluster_address(), loop.cluster_text)) return false;
    if (lr_watcher_start(ring)) return true;
    snprintf(loop.cluster_text, LR_CLUSTER_TEXT, "no thread for the store's connections");
    return false;
}

static void tell_opened(bool opened)
{
    pthread_mutex_lock(&loop.lock);
    loop.cluster = NULL;
    loop.cluster_state = opened ? CLUSTER_OPEN : CLUSTER_FAILED;
    pthread_cond_signal(&loop.cluster_changed);
    pthread_mutex_unlock(&loop.lock);
}

/* The store first: the machine's first words go there. */
static void open_all(void)
{
    bool memory = open_memory(), joins = loop.cluster != NULL, opened = true;
    LR_ASSERT(memory);
    if (joins && loop.config.member) opened = open_member();
    start_machine();
    if (joins) tell_opened(opened && open_transport());
}

static void turn_cluster(void) { lr_cluster_turn(lr_node_available(&loop.machine)); }

static message *take_all(void)
{
    pthread_mutex_lock(&loop.lock);
    message *m = loop.first;
    loop.first = loop.last = NULL;
    loop.resting = false;
    pthread_mutex_unlock(&loop.lock);
    return m;
}

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t room_deadline(void) { return loop.room_first ? lr_clock_ns() + LR_ROOM_LOOK_NS : LR_NEVER; }

static void tell_watcher(void)
{
    struct pollfd fds[LR_CONTROL_REDIS_FDS];
    _Static_assert(LR_CONTROL_REDIS_FDS <= LR_WATCHER_FDS, "the watcher has room for all");
    if (lr_member_is_open()) lr_watcher_turned(fds, lr_member_fds(fds));
}

/* The bell's leader: everything that has happened is worked off. */
static void turn(void)
{
    message *first = take_all();
    if (atomic_exchange(&loop.cluster_starts, false)) lr_cluster_start(); /* before a task that came after it */
    for (message *m = first, *next; m; m = next) {
        next = m->next;
        handle(m);
    }
    lr_member_turn();
    lr_inspection_turn();
    lr_control_turn(loop.control, 0);
    turn_cluster();
    if (loop.timer_ns <= lr_clock_ns()) {
        lr_event tick = {.kind = LR_EVENT_TICK};
        loop.timer_ns = LR_NEVER;
        step(&tick);
    }
    tell_watcher();
    look_for_room();
    pthread_mutex_lock(&loop.lock);
    loop.resting = !loop.first && !loop.stopping && loop.timer_ns == LR_NEVER && !loop.room_first;
    pthread_mutex_unlock(&loop.lock);
    uint64_t others_ns = earlier(lr_member_deadline(), lr_inspection_deadline());
    others_ns = earlier(others_ns, room_deadline());
    atomic_store(&loop.bell.deadline_ns, earlier(earlier(lr_cluster_deadline(), others_ns), loop.timer_ns));
}

static bool is_stopping(void)
{
    pthread_mutex_lock(&loop.lock);
    bool stopping = loop.stopping;
    pthread_mutex_unlock(&loop.lock);
    return stopping;
}

/* Leads whenever nobody else does, until it is to stop and does. */
static void lead_until_stopped(void)
{
    bool leads = true, rung;
    while (!is_stopping() || !leads) {
        uint32_t seen = lr_bell_seen(&loop.bell);
        if (leads || lr_bell_try_lead(&loop.bell, &rung)) {
            lr_bell_is_rung(&loop.bell);
            turn();
            lr_bell_leave(&loop.bell);
        }
        leads = false;
        if (is_stopping())
            leads = lr_bell_try_lead(&loop.bell, &rung); /* no thread of the pool is there any more */
        else
            lr_bell_sit(&loop.bell, seen);
    }
}

static void *loop_main(void *unused)
{
    (void)unused;
    pthread_setname_np(pthread_self(), "luarun/node");
    open_all();
    lead_until_stopped();
    turn();
    lr_watcher_stop();
    lr_inspection_close();
    lr_member_leave();
    lr_cluster_close();
    lr_event end = {.kind = LR_EVENT_JOB_END};
    end.job.id = loop.config.job;
    end.job.end_status = "ok";
    step(&end);
    lr_control_turn(loop.control, 0);
    if (lr_member_is_open())
        lr_member_close();
    else
        lr_control_fini(loop.control);
    return NULL;
}

static void start_thread(void)
{
    sigset_t all, before;
    const char *rings = getenv("LUARUN_RING"); /* 0: records between processes of a host go through sockets, too */
    lr_bell_open(&loop.bell, loop.cluster && !(rings && strcmp(rings, "0") == 0));
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&loop.thread, NULL, loop_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    LR_ASSERT(rc == 0);
    loop.started = true;
}

static void post_text(lr_event_kind kind, lr_task *t, const lr_event *more, char *text)
{
    message *m = calloc(1, sizeof *m);
    LR_ASSERT(m); /* a few bytes for a task that takes hundreds */
    if (more) m->event = *more;
    m->event.kind = kind;
    m->text = text;
    if (t) {
        lr_task_retain(t);
        m->task = t;
        m->event.spec = t->extra->spec;
    }
    pthread_mutex_lock(&loop.lock);
    if (loop.last)
        loop.last->next = m;
    else
        loop.first = m;
    loop.last = m;
    if (!loop.started) start_thread();
    pthread_mutex_unlock(&loop.lock);
    ring();
}

static void post(lr_event_kind kind, lr_task *t, const lr_event *more)
{
    post_text(kind, t, more, NULL);
}

/* ---- the pool's hooks ------------------------------------------------------------------------------- */

static void ready(lr_task *t) /* takes over a count: the machine's, until TASK_RELEASE */
{
    post(LR_EVENT_TASK_SUBMIT, t, NULL);
}

static void started(lr_task *t)
{
    lr_event event = {.at_ns = lr_clock_ns()};
    post(LR_EVENT_TASK_STARTED, t, &event);
}

static void finished(lr_task *t)
{
    lr_event event = {.err = lr_task_state_of(t) == LR_TASK_READY ? LR_ERR_NONE : LR_ERR_ERROR};
    post(LR_EVENT_TASK_FINISHED, t, &event);
}

static void cancelled(lr_task *t)
{
    if (t->extra && atomic_load(&t->extra->in_machine)) post(LR_EVENT_TASK_CANCEL, t, NULL);
}

static void parked(lr_task *t, bool is_parked)
{
    post(is_parked ? LR_EVENT_TASK_PARKED : LR_EVENT_TASK_RESUMED, t, NULL);
}

static bool rests(void)
{
    pthread_mutex_lock(&loop.lock);
    bool resting = !loop.started || (loop.resting && !loop.first && lr_cluster_rests());
    pthread_mutex_unlock(&loop.lock);
    return resting;
}

void lr_nodeloop_init(lr_pool *pool, const lr_nodeloop_config *config)
{
    loop.pool = pool;
    loop.config = *config;
    pool->machine_ready = ready;
    pool->machine_started = started;
    pool->machine_finished = finished;
    pool->machine_cancelled = cancelled;
    pool->machine_parked = parked;
    pool->machine_rests = rests;
}

bool lr_nodeloop_open_cluster(const lr_cluster_config *config, char text[LR_CLUSTER_TEXT])
{
    lr_cluster_config own = *config;
    own.ring = ring;
    own.bell = &loop.bell;
    own.submit = submit;
    own.offers = &loop.config.capacity;
    own.names = loop.config.names;
    pthread_mutex_lock(&loop.lock);
    LR_ASSERT(!loop.started);
    loop.cluster = &own;
    loop.cluster_text = text;
    loop.cluster_state = CLUSTER_OPENING;
    start_thread();
    while (loop.cluster_state == CLUSTER_OPENING)
        pthread_cond_wait(&loop.cluster_changed, &loop.lock);
    bool opened = loop.cluster_state == CLUSTER_OPEN;
    if (opened) {
        loop.pool->bell = &loop.bell;
        loop.pool->node_turn = turn;
    }
    pthread_mutex_unlock(&loop.lock);
    return opened;
}

void lr_nodeloop_start_cluster(void)
{
    atomic_store(&loop.cluster_starts, true);
    ring();
}

void lr_nodeloop_stop(void)
{
    pthread_mutex_lock(&loop.lock);
    bool was_started = loop.started;
    loop.stopping = true;
    pthread_mutex_unlock(&loop.lock);
    if (!was_started) return;
    loop.pool->bell = NULL;
    lr_bell_call_seat(&loop.bell);
    pthread_join(loop.thread, NULL);
    for (message *m = take_all(), *next; m; m = next) {
        next = m->next;
        if (m->task) lr_task_release(m->task);
        free(m->text);
        free(m);
    }
    pthread_mutex_lock(&loop.lock);
    loop.started = loop.stopping = false;
    pthread_mutex_unlock(&loop.lock);
    lr_bell_close(&loop.bell);
}

void lr_nodeloop_report(const lr_task *t, lr_err err, const char *message_text)
{
    pthread_mutex_lock(&loop.lock);
    bool running = loop.started && !loop.stopping;
    pthread_mutex_unlock(&loop.lock);
    if (!running) return;
    lr_event event = {.err = err};
    event.error.task = t->id;
    event.error.job = loop.config.job;
    event.error.err = err;
    event.error.function_name = "";
    char *text = strdup(message_text);
    event.error.message = text ? text : "";
    post_text(LR_EVENT_ERROR_REPORT, NULL, &event, text);
}
