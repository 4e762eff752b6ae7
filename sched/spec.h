/* sched/spec.h - what the node machine knows of a task: the record of a task that is not plain.
 *
 * Plain tasks (one cpu, default options, inputs at hand) never get one: they take the runtime's fast path.
 * A spec is made by the runtime, given to the machine by the event TASK_SUBMIT and held by it until the
 * action TASK_RELEASE; in between it must stay where it is. It is intrusive: the machine's queues run
 * through its private fields, so the machine needs no memory of its own per task.
 *
 * Three groups of fields: what the runtime fills in (constant from SUBMIT on), what the machine says (to be
 * read on the node thread, in or after the action that speaks of it), what is the machine's alone.
 * Owns: nothing; the runtime owns the memory, and function_name and unknown_resource must live as long as
 * the spec. Thread: the node thread from SUBMIT to RELEASE. Blocks: never. */
#ifndef SCHED_SPEC_H
#define SCHED_SPEC_H

#include "sched/error.h"
#include "sched/heap.h"
#include "sched/id.h"
#include "sched/list.h"
#include "sched/resource.h"
#include "sched/task_state.h"

typedef enum lr_affinity {
    LR_AFFINITY_NONE,  /* wherever there is room */
    LR_AFFINITY_NODE,  /* on lr_spec.node and nowhere else */
    LR_AFFINITY_SPREAD /* on as many nodes as there are; on one node the same as none */
} lr_affinity;

/* Why a task failed, for lr_spec_explain. */
typedef enum lr_detail_kind {
    LR_DETAIL_NONE,
    LR_DETAIL_RESOURCE,         /* more of a resource asked than any node offers */
    LR_DETAIL_UNKNOWN_RESOURCE, /* a name that no node offers */
    LR_DETAIL_UNKNOWN_NODE,     /* bound to a node that is not there */
    LR_DETAIL_LATE_RESOURCE,    /* at its deadline it was still short of a resource */
    LR_DETAIL_LATE_TURN         /* at its deadline others were still before it */
} lr_detail_kind;

typedef struct lr_detail {
    lr_detail_kind kind;
    int resource;    /* index of the resource that is short */
    int64_t asked;   /* of it */
    int64_t offered; /* in all (infeasible), or free at that moment (deadline) */
} lr_detail;

/* Where the machine has a spec. Private: for asserts and tests. */
typedef enum lr_spec_place {
    LR_PLACE_OUT = 0, /* not with the machine */
    LR_PLACE_READY,   /* in the ready queue */
    LR_PLACE_POOL,    /* TASK_START was decided; its resources are held */
    LR_PLACE_PARKED,  /* as POOL, with its cpus given back */
    LR_PLACE_OVER     /* everything given back; only actions are still owed */
} lr_spec_place;

struct lr_shape;

typedef struct lr_spec {
    /* --- the runtime's; constant from SUBMIT on --- */
    lr_id id;
    lr_id job;
    const char *function_name;    /* for messages; NULL is shown as "?" */
    lr_resources need;            /* what it asks; lr_spec_init: 1 cpu */
    const char *unknown_resource; /* the first name asked that lr_resource_find does not know, or NULL */
    int64_t unknown_amount;       /* how much of that */
    double priority;              /* larger first; 0; never NaN */
    uint64_t deadline_ns;         /* absolute, on the clock of now_ns: must have begun by then; 0: none */
    uint64_t timeout_ns;          /* of the run, from the moment that it began; 0: none */
    lr_affinity affinity;
    lr_id node;                   /* with LR_AFFINITY_NODE */
    void *runtime;                /* the runtime's own; the machine never looks at it */

    /* --- the machine's word --- */
    lr_task_state state;          /* WAITING before SUBMIT; ended at RELEASE */
    lr_err err;                   /* why it failed */
    lr_detail detail;             /* and more closely: see lr_spec_explain */
    uint64_t queued_at_ns;        /* time of SUBMIT */
    uint64_t started_at_ns;       /* time it began to run; 0: has not */

    /* --- private to the machine --- */
    lr_spec_place place;
    uint8_t owed;                 /* actions decided and not yet emitted (bits, node.c) */
    bool began;                   /* TASK_STARTED has come */
    uint16_t claims;              /* resources kept for it because it starves (bits by index, ready.h) */
    uint64_t blocked_since_ns;    /* when it first did not fit at the head of its shape; 0: never */
    uint64_t seq;                 /* order of submission */
    uint64_t timer_at_ns;         /* deadline or end of the run */
    lr_resources hold;            /* what it takes while it runs: need, with cpu by the slot */
    struct lr_shape *shape;       /* the queue it is in */
    lr_heap_link ready_link;      /* place READY */
    lr_heap_link timer_link;
    lr_link owed_link;            /* while owed is not 0 */
    lr_link held_link;            /* all specs with the machine */
} lr_spec;

/* Everything zero or at its default: state waiting, 1 cpu, priority 0, no limits, no affinity. */
void lr_spec_init(lr_spec *spec, lr_id id, lr_id job, const char *function_name);

/* The sentence for err.message of a failed spec, from err and detail, as in
 *   infeasible: gpu: 2 asked, the most a node offers is 0 (start luarun with --resources gpu=2)
 *   deadline: not started 0.1 s after it was submitted: waited for gpu (1 asked, 0 free)
 * Always ends with a 0; 256 bytes are enough. Returns the length it would need. */
size_t lr_spec_explain(const lr_spec *spec, const lr_resource_names *names, char *text,
                       size_t size_bytes);
/* The sentence of a shortage alone: "gpu: 2 asked, the most a node offers is 0 (start luarun with ...)". Ends with a 0;
 * returns the length it would need. */
size_t lr_spec_explain_short(int resource, const char *name, int64_t asked, int64_t offered, char *text,
                             size_t size_bytes);

#endif
