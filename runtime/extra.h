/* runtime/extra.h - what only some tasks have: inputs to wait for, options, the machine's record.
 *
 * Owned by its task, made before the submit, freed with the task. */
#ifndef RUNTIME_EXTRA_H
#define RUNTIME_EXTRA_H

#include "runtime/options.h"
#include "runtime/task.h"
#include "sched/spec.h"

#define LR_RESULT_ALL UINT32_MAX /* in place of an index: all results of a task */

/* A future among the arguments. The arguments' message holds the count of `input`. */
typedef struct lr_input {
    lr_waiter waiter;
    lr_task *owner; /* the task that waits; one count for all its inputs together */
    lr_task *input;
    uint32_t argument; /* 1-based position */
    uint32_t index;    /* which of input's results, from 0; or LR_RESULT_ALL */
} lr_input;

typedef struct lr_extra {
    lr_options *options; /* NULL: all default */
    lr_spec *spec;       /* of a machine task: the machine's from its submit to its release; else NULL */
    _Atomic bool in_machine;
    struct lr_room_hold *room; /* the node thread's, while it holds something that other jobs want, too */
    lr_task *room_next;        /* in line for that */
    uint32_t input_count;
    lr_input inputs[];
} lr_extra;

/* NULL: no memory. options gets one more count. */
lr_extra *lr_extra_new(lr_options *options, uint32_t input_count);
void lr_extra_free(lr_extra *e);
/* Gives t, which has an extra with all its inputs, its flags, and a spec where its options are not plain. False: no
 * memory. */
LR_MUST_USE bool lr_extra_attach(lr_task *t, lr_id job);

/* ---- between nodes: what a task has beside its arguments, as bytes and back ------------------------------
 *
 *   varint 1 where there are options, else 0 · name · need ("cpu=1,gpu=2") · f64 cpu · f64 priority · f64 timeout_s
 *   · f64 seconds to the deadline (0: none) · varint retry_on_error · varint returns
 *   varint count · count inputs: varint argument · varint index + 1 (0: all results) · varint reference of the
 * arguments Texts are a varint length and bytes. Where it runs is decided already: node and spread do not travel. */

/* Appends what t has to b. names: this node's. Fails by b->failed. */
void lr_extra_write(lr_builder *b, const lr_task *t, const lr_resource_names *names);
/* Makes t's extra; its arguments are there. Empty bytes are none. False: malformed, a resource that this node does not
 * know, or no memory; text says which. */
LR_MUST_USE bool lr_extra_read(lr_reader *r, lr_task *t, lr_id job, const lr_resource_names *names, char *text,
                               size_t text_bytes);
/* What it asks for as text, names that this node does not know too: "cpu=1,tpu=2". */
void lr_extra_need(const lr_options *o, const lr_resource_names *names, char *text, size_t text_bytes);

#endif
