/* runtime/extra.h - what only some tasks have: inputs to wait for, options, the machine's record.
 *
 * Owned by its task, made before the submit, freed with the task. */
#ifndef RUNTIME_EXTRA_H
#define RUNTIME_EXTRA_H

#include "runtime/options.h"
#include "runtime/task.h"
#include "sched/spec.h"

/* A future among the arguments. The arguments' message holds the count of `input`. */
typedef struct lr_input {
    lr_waiter waiter;
    lr_task *owner; /* the task that waits; one count for all its inputs together */
    lr_task *input;
    uint32_t argument; /* 1-based position */
    uint32_t index;    /* which of input's results */
} lr_input;

typedef struct lr_extra {
    lr_options *options; /* NULL: all default */
    lr_spec *spec;       /* of a machine task: the machine's from its submit to its release; else NULL */
    _Atomic bool in_machine;
    uint32_t input_count;
    lr_input inputs[];
} lr_extra;

/* NULL: no memory. options gets one more count. */
lr_extra *lr_extra_new(lr_options *options, uint32_t input_count);
void lr_extra_free(lr_extra *e);

#endif
