/* sched/control.h - the control store: the tables by which every other component can be restarted.
 *
 * Words. A table holds rows: a key (up to 64 bytes), a value (bytes), an owner (an id; nil: nobody) and a version.
 * Versions come from one counter of the store: a row that is deleted and made again never has an old
 * version, so compare-and-set cannot be deceived. A log is a capped list of entries under a table and a key, apart from
 * the rows. An owner (a job) is an index: its rows are found and deleted without a scan.
 *
 * How it is used. Asynchronously: request() takes a copy of a request and returns; turn() does the work
 * and calls on_reply once for each request taken, in the order of requests that name the same table and key.
 * Nothing is answered inside request(). Handlers may make requests. Pub/sub is only a wake-up: several may
 * be merged into one, it tells that something may have changed and never what; the tables are the truth. Who
 * subscribes reads a snapshot afterwards.
 *
 * Two implementations, one suite (tests/control/conformance.h): control_memory.h, and Redis in the
 * runtime. What a table, an operation, an answer is called stands in control.def.
 *
 * Blocks: request never; turn up to wait_ns. Thread: one, the store's owner (the node thread). */
#ifndef SCHED_CONTROL_H
#define SCHED_CONTROL_H

#include "sched/error.h"
#include "sched/id.h"

#define LR_CONTROL_KEY_MAX 64               /* bytes */
#define LR_CONTROL_VALUE_MAX (16u << 20)    /* bytes */
#define LR_CONTROL_ROWS_MAX 64              /* rows of one answer; a larger limit means this */
#define LR_CONTROL_SUBSCRIPTIONS_MAX 64

typedef enum lr_control_table {
#define LR_CONTROL_TABLE(id, name, meaning) LR_CONTROL_TABLE_##id,
#include "sched/control.def"
    LR_CONTROL_TABLE_COUNT
} lr_control_table;

typedef enum lr_control_op {
#define LR_CONTROL_OP(id, name, fields, meaning) LR_CONTROL_##id,
#include "sched/control.def"
    LR_CONTROL_OP_COUNT
} lr_control_op;

typedef enum lr_control_status {
#define LR_CONTROL_STATUS(id, name, meaning) LR_CONTROL_STATUS_##id,
#include "sched/control.def"
    LR_CONTROL_STATUS_COUNT
} lr_control_status;

const char *lr_control_table_name(lr_control_table table);
const char *lr_control_op_name(lr_control_op op);
const char *lr_control_op_meaning(lr_control_op op);
const char *lr_control_status_name(lr_control_status status);

typedef struct lr_bytes {
    const void *at; /* may be NULL where size_bytes is 0 */
    size_t size_bytes;
} lr_bytes;

/* What is not named for the operation in control.def is ignored. */
typedef struct lr_control_request {
    uint64_t token; /* comes back in the reply; the caller's */
    lr_control_op op;
    lr_control_table table;
    lr_bytes key;
    lr_bytes value;
    lr_id owner;
    uint64_t version;
    uint64_t cursor;
    uint32_t limit; /* rows; 0 in SCAN and READ: as many as one answer holds */
    bool notify;    /* wake subscribers after the write */
} lr_control_request;

typedef struct lr_control_row {
    lr_bytes key;
    lr_bytes value;
    lr_id owner;
    uint64_t version;
} lr_control_row;

/* Valid during on_reply only. */
typedef struct lr_control_reply {
    uint64_t token;
    lr_control_op op;
    lr_control_status status;
    uint64_t version;
    uint64_t cursor;
    uint32_t count; /* of rows */
    const lr_control_row *rows;
} lr_control_reply;

typedef struct lr_control_handler {
    void (*on_reply)(void *user, const lr_control_reply *reply);
    void (*on_wake)(void *user, lr_control_table table, lr_bytes key);
    void *user;
} lr_control_handler;

typedef struct lr_control lr_control;

typedef struct lr_control_class {
    lr_err (*request)(lr_control *control, const lr_control_request *request);
    uint32_t (*turn)(lr_control *control, uint64_t wait_ns);
    void (*fini)(lr_control *control);
} lr_control_class;

/* The head of every implementation. */
struct lr_control {
    const lr_control_class *class;
    lr_control_handler handler;
};

/* Takes a request: copies it, key and value too. OUT_OF_MEMORY: not taken, no reply will come. Asserts
 * that op and table exist. */
static inline lr_err LR_MUST_USE lr_control_request_make(lr_control *control,
                                                         const lr_control_request *request)
{
    return control->class->request(control, request);
}

/* Works off what was requested until now; returns how many replies and wake-ups it delivered. Where there is
 * nothing to do it waits for the store up to wait_ns (the memory form never waits). */
static inline uint32_t lr_control_turn(lr_control *control, uint64_t wait_ns)
{
    return control->class->turn(control, wait_ns);
}

/* Lets go of everything; what was not answered never will be. */
static inline void lr_control_fini(lr_control *control) { control->class->fini(control); }

static inline lr_bytes lr_bytes_of(const void *at, size_t size_bytes)
{
    return (lr_bytes){at, size_bytes};
}

/* An id as a key: its two words as they lie in memory, 16 bytes. *id must outlive the use. */
static inline lr_bytes lr_bytes_of_id(const lr_id *id) { return (lr_bytes){id, sizeof *id}; }

#endif
