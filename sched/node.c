#include "sched/node.h"

#include "sched/record.h"

#define HISTORY_LIMIT 1000u  /* jobs that are over, in the control store */
#define ERRORS_LIMIT 10000u  /* lines of the error log */
#define BACKOFF_MIN_NS 100000000u
#define BACKOFF_MAX_NS 5000000000u

/* Bits of lr_spec.owed, in the order in which they are emitted. */
enum { OWE_START = 1, OWE_FAIL = 2, OWE_TIMEOUT = 4, OWE_RELEASE = 8 };

/* What a request was about: the high byte of its token. */
enum { ABOUT_NODE = 1, ABOUT_JOB, ABOUT_ERROR };

/* --- names --- */

static const struct {
    const char *name, *meaning;
} events[LR_EVENT_COUNT] = {
#define LR_EVENT(id, name, fields, meaning) [LR_EVENT_##id] = {name, meaning},
#include "sched/events.def"
#undef LR_EVENT
}, actions[LR_ACTION_COUNT] = {
#define LR_ACTION(id, name, fields, meaning) [LR_ACTION_##id] = {name, meaning},
#include "sched/actions.def"
#undef LR_ACTION
};

const char *lr_event_name(lr_event_kind kind)
{
    LR_ASSERT(kind < LR_EVENT_COUNT);
    return events[kind].name;
}

const char *lr_event_meaning(lr_event_kind kind)
{
    LR_ASSERT(kind < LR_EVENT_COUNT);
    return events[kind].meaning;
}

const char *lr_action_name(lr_action_kind kind)
{
    LR_ASSERT(kind < LR_ACTION_COUNT);
    return actions[kind].name;
}

const char *lr_action_meaning(lr_action_kind kind)
{
    LR_ASSERT(kind < LR_ACTION_COUNT);
    return actions[kind].meaning;
}

/* --- the list of actions --- */

void lr_actions_init(lr_actions *out, lr_action *items, uint32_t capacity, void *bytes,
                     uint32_t bytes_capacity)
{
    LR_ASSERT(capacity >= LR_ACTIONS_MIN && bytes_capacity >= LR_ACTION_BYTES_MIN);
    *out = (lr_actions){.items = items, .capacity = capacity, .bytes = bytes,
                        .bytes_capacity = bytes_capacity};
}

static lr_action *emit(lr_actions *out, lr_action_kind kind)
{
    LR_ASSERT(out->count < out->capacity);
    lr_action *a = &out->items[out->count++];
    *a = (lr_action){.kind = kind};
    return a;
}

/* Room for task actions; one place is kept for the TIMER. */
static size_t room(const lr_actions *out) { return out->capacity - out->count - 1; }

/* --- what specs are owed: decided now, emitted when there is room ---
 *
 * Starts, deadlines and timeouts are decided only while there is room (expire, start), so they leave in
 * the same step. What may stay for later are releases (JOB_END drops any number at once) and what
 * is submitted behind those; nobody outside waits for either. */

static void owe(lr_node *n, lr_spec *spec, uint8_t what)
{
    LR_ASSERT(!(spec->owed & what));
    if (spec->owed == 0) lr_list_append(&n->owed, &spec->owed_link);
    spec->owed |= what;
    n->owed_count++;
}

static void paid(lr_node *n, lr_spec *spec, uint8_t what)
{
    spec->owed &= (uint8_t)~what;
    n->owed_count--;
    if (spec->owed == 0) lr_link_remove(&spec->owed_link);
}

static void count_release(lr_node *n, const lr_spec *spec)
{
    n->stats.released++;
    n->stats.succeeded += spec->state == LR_TASK_READY;
    n->stats.failed += spec->state == LR_TASK_FAILED;
    n->stats.cancelled += spec->state == LR_TASK_CANCELLED;
}

static void emit_one(lr_node *n, lr_spec *spec, lr_actions *out)
{
    static const lr_action_kind kinds[] = {LR_ACTION_TASK_START, LR_ACTION_TASK_FAIL,
                                           LR_ACTION_TASK_TIMEOUT, LR_ACTION_TASK_RELEASE};
    for (size_t i = 0; i < LR_COUNT(kinds); i++) {
        if (!(spec->owed >> i & 1)) continue;
        paid(n, spec, (uint8_t)(1u << i));
        lr_action *a = emit(out, kinds[i]);
        a->spec = spec;
        a->err = kinds[i] == LR_ACTION_TASK_FAIL ? spec->err : LR_ERR_NONE;
        break;
    }
    if (spec->place == LR_PLACE_OVER && spec->owed == 0) {
        LR_ASSERT(lr_task_state_ended(spec->state));
        lr_link_remove(&spec->held_link);
        spec->place = LR_PLACE_OUT;
        count_release(n, spec);
    }
}

static void emit_owed(lr_node *n, lr_actions *out)
{
    while (!lr_list_empty(&n->owed) && room(out) > 0)
        emit_one(n, LR_CONTAINER(lr_list_first(&n->owed), lr_spec, owed_link), out);
    if (!lr_list_empty(&n->owed)) out->more = true;
}

/* --- timers --- */

static lr_spec *timed(const lr_heap_link *link) { return LR_CONTAINER(link, lr_spec, timer_link); }

static bool earlier(const lr_heap_link *a, const lr_heap_link *b)
{
    return timed(a)->timer_at_ns < timed(b)->timer_at_ns;
}

static void disarm(lr_node *n, lr_spec *spec)
{
    if (lr_heap_link_in_heap(&spec->timer_link)) lr_heap_remove(&n->timers, &spec->timer_link);
}

/* at_ns 0: no timer. */
static void arm(lr_node *n, lr_spec *spec, uint64_t at_ns)
{
    disarm(n, spec);
    if (at_ns == 0) return;
    spec->timer_at_ns = at_ns;
    lr_heap_insert(&n->timers, &spec->timer_link);
}

static void tell_timer(lr_node *n, lr_actions *out)
{
    uint64_t next = n->announce_at_ns;
    lr_heap_link *first = lr_heap_first(&n->timers);
    if (first && (next == 0 || timed(first)->timer_at_ns < next)) next = timed(first)->timer_at_ns;
    if (next == 0 || next == n->timer_told_ns) return;
    n->timer_told_ns = next;
    emit(out, LR_ACTION_TIMER)->at_ns = next;
}

/* --- the life of a spec --- */

/* It is over without having been handed to the pool (or the pool has given it back). */
static void end_spec(lr_node *n, lr_spec *spec, lr_task_state state)
{
    LR_ASSERT(spec->place == LR_PLACE_OVER);
    disarm(n, spec);
    lr_task_state_move(&spec->state, spec->state, state);
    owe(n, spec, OWE_RELEASE);
}

static void fail_spec(lr_node *n, lr_spec *spec, lr_err err)
{
    spec->err = err;
    owe(n, spec, OWE_FAIL);
    end_spec(n, spec, LR_TASK_FAILED);
}

static void drop_spec(lr_node *n, lr_spec *spec)
{
    lr_local_drop(&n->local, spec);
    end_spec(n, spec, LR_TASK_CANCELLED);
}

/* A queued task is too late: it fails and frees its place. */
static void expire_queued(lr_node *n, lr_spec *spec)
{
    lr_local_explain(&n->local, spec);
    lr_local_drop(&n->local, spec);
    n->stats.deadlines++;
    fail_spec(n, spec, LR_ERR_DEADLINE);
}

/* It lies in the pool, unbegun as far as is known here: the runtime finds out (node.h, rule 3). */
static void expire_in_pool(lr_node *n, lr_spec *spec)
{
    spec->err = LR_ERR_DEADLINE;
    spec->detail = (lr_detail){LR_DETAIL_LATE_TURN, 0, 0, 0};
    n->stats.deadlines++;
    owe(n, spec, OWE_FAIL);
}

static void expire_run(lr_node *n, lr_spec *spec)
{
    n->stats.timeouts++;
    owe(n, spec, OWE_TIMEOUT);
}

static void expire(lr_node *n, lr_actions *out)
{
    for (;;) {
        lr_heap_link *first = lr_heap_first(&n->timers);
        if (!first || timed(first)->timer_at_ns > n->now_ns) return;
        if (n->owed_count >= room(out)) {
            out->more = true;
            return;
        }
        lr_spec *spec = timed(first);
        disarm(n, spec);
        if (spec->place == LR_PLACE_READY)
            expire_queued(n, spec);
        else if (spec->began)
            expire_run(n, spec);
        else
            expire_in_pool(n, spec);
    }
}

static void start(lr_node *n, lr_actions *out)
{
    while (n->local.ready.count > 0) {
        if (n->owed_count >= room(out)) {
            out->more = true;
            return;
        }
        lr_spec *spec = lr_local_start(&n->local, n->now_ns);
        if (!spec) return;
        n->stats.started++;
        owe(n, spec, OWE_START);
    }
}

/* --- requests to the control store --- */

static lr_control_request *request(lr_node *n, lr_actions *out, int about, lr_control_op op,
                                   lr_control_table table)
{
    lr_control_request *r = &emit(out, LR_ACTION_CONTROL)->request;
    r->token = (uint64_t)about << 56 | n->next_token++;
    r->op = op;
    r->table = table;
    n->stats.control_requests++;
    return r;
}

/* Room for one record in the bytes of the step. */
static char *record_room(lr_actions *out)
{
    LR_ASSERT(out->bytes_capacity - out->bytes_used >= LR_RECORD_MAX);
    return (char *)out->bytes + out->bytes_used;
}

static lr_bytes record_done(lr_actions *out, size_t size_bytes)
{
    lr_bytes record = lr_bytes_of(out->bytes + out->bytes_used, size_bytes);
    out->bytes_used += (uint32_t)size_bytes;
    return record;
}

/* Writes the node's own row when that is due. */
static void announce(lr_node *n, lr_actions *out)
{
    if (n->announce_at_ns == 0 || n->announce_at_ns > n->now_ns) return;
    n->announce_at_ns = 0;
    char *text = record_room(out);
    size_t size = lr_record_node(text, LR_RECORD_MAX, n->now_ns, &n->local.total, n->names);
    lr_control_request *r = request(n, out, ABOUT_NODE, LR_CONTROL_PUT, LR_CONTROL_TABLE_NODE);
    r->key = lr_bytes_of_id(&n->id);
    r->value = record_done(out, size);
    r->notify = true;
}

/* --- one function per event; the names are those of events.def --- */

typedef void handler(lr_node *n, const lr_event *e, lr_actions *out);

static void on_start(lr_node *n, const lr_event *e, lr_actions *out)
{
    (void)out;
    LR_ASSERT(!n->started);
    LR_ASSERT(e->start.capacity->amount[LR_RESOURCE_CPU] % LR_AMOUNT_ONE == 0);
    n->started = true;
    n->id = e->start.node;
    lr_local_init(&n->local, e->start.capacity);
    n->announce_at_ns = n->now_ns;
}

static void on_task_submit(lr_node *n, const lr_event *e, lr_actions *out)
{
    (void)out;
    lr_spec *spec = e->spec;
    LR_ASSERT(n->started && spec->place == LR_PLACE_OUT);
    lr_task_state_move(&spec->state, LR_TASK_WAITING, LR_TASK_QUEUED);
    lr_list_append(&n->held, &spec->held_link);
    spec->queued_at_ns = n->now_ns;
    n->stats.submitted++;
    lr_err err = lr_local_feasible(&n->local, n->id, spec);
    if (err != LR_ERR_NONE) {
        n->stats.infeasible++;
        spec->place = LR_PLACE_OVER;
        fail_spec(n, spec, err);
        return;
    }
    lr_local_queue(&n->local, spec);
    arm(n, spec, spec->deadline_ns);
}

static uint64_t add_time(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }

static void on_task_started(lr_node *n, const lr_event *e, lr_actions *out)
{
    (void)out;
    lr_spec *spec = e->spec;
    LR_ASSERT(spec->place == LR_PLACE_POOL && !spec->began && spec->owed == 0);
    spec->began = true;
    spec->err = LR_ERR_NONE; /* the worker was faster than the deadline */
    spec->started_at_ns = e->at_ns ? e->at_ns : n->now_ns;
    lr_task_state_move(&spec->state, LR_TASK_QUEUED, LR_TASK_RUNNING);
    arm(n, spec, spec->timeout_ns ? add_time(spec->started_at_ns, spec->timeout_ns) : 0);
}

static lr_task_state final_state(lr_err err)
{
    if (err == LR_ERR_NONE) return LR_TASK_READY;
    return err == LR_ERR_CANCELLED ? LR_TASK_CANCELLED : LR_TASK_FAILED;
}

static void on_task_finished(lr_node *n, const lr_event *e, lr_actions *out)
{
    (void)out;
    lr_spec *spec = e->spec;
    LR_ASSERT(spec->owed == 0);
    lr_local_finish(&n->local, spec);
    spec->err = e->err;
    if (spec->state == LR_TASK_QUEUED && e->err == LR_ERR_NONE) /* TASK_STARTED was left out */
        lr_task_state_move(&spec->state, LR_TASK_QUEUED, LR_TASK_RUNNING);
    end_spec(n, spec, final_state(e->err));
}

static void on_task_parked(lr_node *n, const lr_event *e, lr_actions *out)
{
    LR_ASSERT(e->spec->owed == 0);
    if (!e->spec->began) on_task_started(n, e, out);
    lr_local_park(&n->local, e->spec);
    n->stats.parks++;
}

static void on_task_resumed(lr_node *n, const lr_event *e, lr_actions *out)
{
    (void)out;
    lr_local_resume(&n->local, e->spec);
}

static void on_task_returned(lr_node *n, const lr_event *e, lr_actions *out)
{
    (void)out;
    LR_ASSERT(!e->spec->began && e->spec->owed == 0);
    lr_local_return(&n->local, e->spec);
}

static void on_task_cancel(lr_node *n, const lr_event *e, lr_actions *out)
{
    (void)out;
    if (e->spec->place == LR_PLACE_READY) drop_spec(n, e->spec);
}

static void on_tick(lr_node *n, const lr_event *e, lr_actions *out)
{
    (void)e;
    (void)out;
    n->timer_told_ns = 0; /* that timer is spent, even if it came early */
}

static void on_control_reply(lr_node *n, const lr_event *e, lr_actions *out)
{
    (void)out;
    if (e->reply->status == LR_CONTROL_STATUS_OK) return;
    n->stats.control_failures++;
    if (e->reply->token >> 56 != ABOUT_NODE) return;
    uint64_t backoff = n->announce_backoff_ns;
    n->announce_at_ns = add_time(n->now_ns, backoff);
    n->announce_backoff_ns = backoff * 2 < BACKOFF_MAX_NS ? backoff * 2 : BACKOFF_MAX_NS;
}

static void on_job_start(lr_node *n, const lr_event *e, lr_actions *out)
{
    char *text = record_room(out);
    size_t size = lr_record_job(text, LR_RECORD_MAX, n->now_ns, e->job.name);
    lr_control_request *r = request(n, out, ABOUT_JOB, LR_CONTROL_PUT, LR_CONTROL_TABLE_JOB);
    r->key = lr_bytes_of_id(&e->job.id);
    r->owner = e->job.id;
    r->value = record_done(out, size);
    r->notify = true;
}

static void drop_queued_of(lr_node *n, lr_id job)
{
    for (lr_link *l = lr_list_first(&n->held), *next; l; l = next) {
        next = lr_list_next(&n->held, l);
        lr_spec *spec = LR_CONTAINER(l, lr_spec, held_link);
        if (spec->place == LR_PLACE_READY && lr_id_equal(spec->job, job)) drop_spec(n, spec);
    }
}

static void on_job_end(lr_node *n, const lr_event *e, lr_actions *out)
{
    drop_queued_of(n, e->job.id);
    char *text = record_room(out);
    size_t size = lr_record_history(text, LR_RECORD_MAX, n->now_ns, e->job.id, e->job.end_status);
    lr_control_request *r = request(n, out, ABOUT_JOB, LR_CONTROL_APPEND, LR_CONTROL_TABLE_JOB);
    r->key = lr_bytes_of("history", 7);
    r->value = record_done(out, size);
    r->limit = HISTORY_LIMIT;
    r = request(n, out, ABOUT_JOB, LR_CONTROL_DELETE_OWNED, LR_CONTROL_TABLE_JOB);
    r->owner = e->job.id;
    r->notify = true;
}

static void on_error_report(lr_node *n, const lr_event *e, lr_actions *out)
{
    char *text = record_room(out);
    size_t size = lr_record_error(text, LR_RECORD_MAX, n->now_ns, e->error.task, e->error.job,
                                  e->error.err, e->error.function_name, e->error.message);
    lr_control_request *r = request(n, out, ABOUT_ERROR, LR_CONTROL_APPEND, LR_CONTROL_TABLE_ERROR);
    r->key = lr_bytes_of("all", 3);
    r->value = record_done(out, size);
    r->limit = ERRORS_LIMIT;
    r->notify = true;
}

static handler *const handlers[LR_EVENT_COUNT] = {
    [LR_EVENT_START] = on_start,
    [LR_EVENT_TASK_SUBMIT] = on_task_submit,
    [LR_EVENT_TASK_STARTED] = on_task_started,
    [LR_EVENT_TASK_FINISHED] = on_task_finished,
    [LR_EVENT_TASK_PARKED] = on_task_parked,
    [LR_EVENT_TASK_RESUMED] = on_task_resumed,
    [LR_EVENT_TASK_RETURNED] = on_task_returned,
    [LR_EVENT_TASK_CANCEL] = on_task_cancel,
    [LR_EVENT_TICK] = on_tick,
    [LR_EVENT_CONTROL_REPLY] = on_control_reply,
    [LR_EVENT_JOB_START] = on_job_start,
    [LR_EVENT_JOB_END] = on_job_end,
    [LR_EVENT_ERROR_REPORT] = on_error_report,
};

/* --- the machine --- */

void lr_node_init(lr_node *n, const lr_resource_names *names)
{
    static const lr_resources nothing;
    memset(n, 0, sizeof *n);
    n->names = names;
    lr_local_init(&n->local, &nothing);
    lr_heap_init(&n->timers, earlier);
    lr_list_init(&n->owed);
    lr_list_init(&n->held);
    n->announce_backoff_ns = BACKOFF_MIN_NS;
}

void lr_node_step(lr_node *n, uint64_t now_ns, const lr_event *e, lr_actions *out)
{
    LR_ASSERT(now_ns > 0 && e->kind < LR_EVENT_COUNT);
    if (now_ns > n->now_ns) n->now_ns = now_ns;
    out->count = 0;
    out->bytes_used = 0;
    out->more = false;
    handlers[e->kind](n, e, out);
    announce(n, out);
    expire(n, out);
    start(n, out);
    emit_owed(n, out);
    tell_timer(n, out);
}

const lr_resources *lr_node_total(const lr_node *n) { return &n->local.total; }
const lr_resources *lr_node_available(const lr_node *n) { return &n->local.available; }
const lr_node_stats *lr_node_stats_of(const lr_node *n) { return &n->stats; }
size_t lr_node_queued(const lr_node *n) { return n->local.ready.count; }
size_t lr_node_in_pool(const lr_node *n) { return n->local.in_pool; }
size_t lr_node_parked(const lr_node *n) { return n->local.parked; }

void lr_node_explain(const lr_node *n, lr_spec *spec) { lr_local_explain(&n->local, spec); }
