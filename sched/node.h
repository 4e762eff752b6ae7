/* sched/node.h - the node machine: what a node decides, as one pure function.
 *
 *     lr_node_step(node, now, event, actions)
 *
 * The runtime's node thread owns a machine and feeds it: one event and the time go in, a list of actions comes out,
 * the runtime performs them. The machine knows no clock, no thread, no socket and takes no memory; given
 * the same events and times it gives the same actions. That is why the simulator can run thousands of them in
 * virtual time, and why a bug that happened once can be made to happen again.
 *
 * What comes here. Plain tasks (one cpu, default options, local, inputs at hand) never do: they live in the
 * pool's deques. A task with a priority, a resource, a deadline, a timeout or an affinity comes here as an
 * lr_spec (spec.h) once its inputs are there. The machine decides when it may start (local.h, ready.h), says so,
 * and keeps its resources until it hears the end. The events are listed in events.def, the actions in
 * actions.def; spec->place says where a spec is:
 *
 *      SUBMIT          TASK_START          PARKED
 *   OUT ──────▶ READY ──────────▶ POOL ◀────────────▶ PARKED
 *    │            │                │      RESUMED       │
 *    │ infeasible │ deadline,      │ FINISHED           │ FINISHED
 *    ▼            ▼ CANCEL         ▼                    ▼
 *   OVER ───────────────────────────────────────────────── TASK_RELEASE, and the spec is the runtime's again
 *
 *   event            what the machine does                                        actions that may follow
 *   START            notes capacity; announces the node                           CONTROL
 *   TASK_SUBMIT      checks that it can ever run; queues it                       TASK_START | TASK_FAIL, TASK_RELEASE
 *   TASK_STARTED     its deadline is met, its timeout begins                      TIMER
 *   TASK_FINISHED    resources come back; whoever fits starts                     TASK_RELEASE, TASK_START...
 *   TASK_PARKED      its cpus come back; whoever fits starts                      TASK_START...
 *   TASK_RESUMED     its cpus are taken, below zero if need be                    -
 *   TASK_RETURNED    unbegun in the pool: it gives its resources back and queues   TASK_START...
 *   TASK_CANCEL      queued: dropped; else nothing (the runtime stops it)         TASK_RELEASE, TASK_START...
 *   TICK             deadlines, timeouts                                          TASK_FAIL, TASK_TIMEOUT, TASK_RELEASE
 *   CONTROL_REPLY    counts what failed; tries the node's own row again           CONTROL, TIMER
 *   JOB_START        writes the job's row                                         CONTROL
 *   JOB_END          drops the job's queued tasks, deletes its rows               TASK_RELEASE..., CONTROL
 *   ERROR_REPORT     appends to the error log                                     CONTROL
 *
 * Every step, whatever the event, also expires what is due and starts what fits, in this order: the
 * event; deadlines and
 * timeouts at or before now; starts. So a deadline is exact (the step at that nanosecond fails the task), and what ends
 * in this step makes room in this step.
 *
 * Rules that the runtime relies on
 *  1. A spec gets at most one TASK_START (one more after each TASK_RETURNED), at most one TASK_FAIL, at most one
 *     TASK_TIMEOUT and exactly one TASK_RELEASE, in that order; RELEASE is the last word.
 *  2. TASK_FAIL without a TASK_START before it is final: state is FAILED, RELEASE follows.
 *  3. TASK_FAIL (deadline) after TASK_START says: it lies in the pool and has not begun. The runtime fails the
 *     future if that is still so (a compare-and-swap on the future's state decides), and the pool,
 *     when it comes to the dead
 *     task, throws it away and sends TASK_FINISHED. If a worker was faster, the runtime ignores the action.
 *  4. TASK_TIMEOUT: the same with a running task; TASK_FINISHED comes when the body stops.
 *  5. TASK_CANCEL and TASK_FINISHED may cross TASK_START, TASK_FAIL and TASK_TIMEOUT. A CANCEL
 *     after RELEASE is ignored, but the
 *     spec's memory must still be there: an event in a queue counts as a reference.
 *  6. A task that is RELEASEd in state CANCELLED without ever a TASK_START was dropped by CANCEL or JOB_END.
 *
 * When the list is full (its capacity is the caller's choice, LR_ACTIONS_MIN at least) nothing is lost: what does not
 * fit stays with the machine, actions->more is true, and the caller, having performed these, steps again with a TICK.
 *
 * Owns: nothing but its own fields; specs are held from SUBMIT to RELEASE. Errors: none; an event
 * that cannot be (a second
 * FINISHED) asserts. Units: nanoseconds of one clock that does not go back. Blocks: never. Thread: one. */
#ifndef SCHED_NODE_H
#define SCHED_NODE_H

#include "sched/control.h"
#include "sched/heap.h"
#include "sched/list.h"
#include "sched/local.h"
#include "sched/resource.h"
#include "sched/spec.h"

/* --- events: what the machine is told --- */

typedef enum lr_event_kind {
#define LR_EVENT(id, name, fields, meaning) LR_EVENT_##id,
#include "sched/events.def"
#undef LR_EVENT
    LR_EVENT_COUNT
} lr_event_kind;

/* What pointers point to must last until the actions of the step are performed; specs until RELEASE. */
typedef struct lr_event {
    lr_event_kind kind;
    lr_err err;     /* TASK_FINISHED: how it ended; NONE: well */
    lr_spec *spec;  /* TASK_* */
    uint64_t at_ns; /* TASK_STARTED: when it began; 0: now */
    union {
        struct {
            lr_id node;
            const lr_resources *capacity; /* cpu: whole workers */
        } start;
        struct {
            lr_id id;
            const char *name;       /* the script; may be NULL */
            const char *end_status; /* JOB_END: "ok", "failed", ... */
        } job;
        struct {
            lr_id task, job;
            lr_err err;
            const char *function_name;
            const char *message;
        } error;
        const lr_control_reply *reply;
    };
} lr_event;

/* --- actions: what the machine asks for --- */

typedef enum lr_action_kind {
#define LR_ACTION(id, name, fields, meaning) LR_ACTION_##id,
#include "sched/actions.def"
#undef LR_ACTION
    LR_ACTION_COUNT
} lr_action_kind;

typedef struct lr_action {
    lr_action_kind kind;
    lr_err err;                 /* TASK_FAIL: DEADLINE or INFEASIBLE */
    lr_spec *spec;              /* TASK_* */
    uint64_t at_ns;             /* TIMER */
    lr_control_request request; /* CONTROL; its bytes lie in lr_actions.bytes or in the event */
} lr_action;

#define LR_ACTIONS_MIN 8          /* least capacity of the list */
#define LR_ACTION_BYTES_MIN 4096u /* least capacity of the bytes */

typedef struct lr_actions {
    lr_action *items;
    uint32_t capacity, count;
    uint8_t *bytes; /* what CONTROL requests write */
    uint32_t bytes_capacity, bytes_used;
    bool more; /* there was no room for all: perform these, then step with a TICK */
} lr_actions;

void lr_actions_init(lr_actions *out, lr_action *items, uint32_t capacity, void *bytes,
                     uint32_t bytes_capacity);

const char *lr_event_name(lr_event_kind kind);
const char *lr_event_meaning(lr_event_kind kind);
const char *lr_action_name(lr_action_kind kind);
const char *lr_action_meaning(lr_action_kind kind);

/* --- the machine --- */

/* Since START; only ever growing. */
typedef struct lr_node_stats {
    uint64_t submitted, started, released;
    uint64_t succeeded, failed, cancelled; /* of the released */
    uint64_t deadlines, timeouts, infeasible;
    uint64_t parks;
    uint64_t control_requests, control_failures;
} lr_node_stats;

/* Fields are private; read them through the functions below. */
typedef struct lr_node {
    lr_id id;
    bool started;
    const lr_resource_names *names;
    uint64_t now_ns;         /* the largest time seen */
    lr_local local;
    lr_heap timers;          /* of specs, by timer_at_ns */
    lr_list owed;            /* specs with actions not yet emitted, oldest first */
    size_t owed_count;       /* of such actions */
    lr_list held;            /* all specs between SUBMIT and RELEASE */
    uint64_t timer_told_ns;  /* the TIMER that is out; 0: none */
    uint64_t announce_at_ns; /* when to try the node's row again; 0: not needed */
    uint64_t announce_backoff_ns;
    uint64_t next_token;
    lr_node_stats stats;
} lr_node;

/* A machine that waits for START. names is filled already and stays the caller's. About 15 KiB. */
void lr_node_init(lr_node *n, const lr_resource_names *names);
/* Takes one event and writes the actions that follow into out (emptied first). now_ns: the caller's clock, not 0; a
 * time before the last one counts as the last one. */
void lr_node_step(lr_node *n, uint64_t now_ns, const lr_event *e, lr_actions *out);

/* What the node offers and what of it is free now (cpu may be below zero). */
const lr_resources *lr_node_total(const lr_node *n);
const lr_resources *lr_node_available(const lr_node *n);
const lr_node_stats *lr_node_stats_of(const lr_node *n);
/* Specs queued, handed to the pool (running or about to), parked. */
size_t lr_node_queued(const lr_node *n);
size_t lr_node_in_pool(const lr_node *n);
size_t lr_node_parked(const lr_node *n);
/* Why a spec that is queued is not started yet: sets spec->detail (see lr_spec_explain). */
void lr_node_explain(const lr_node *n, lr_spec *spec);

#endif
