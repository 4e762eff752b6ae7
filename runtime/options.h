/* runtime/options.h - the options of a remote function, once checked.
 *
 * Immutable after lr_options_finish; counted; shared by every task submitted with them.
 * The meaning and the defaults are the public interface's (bindings/options.c reads them). */
#ifndef RUNTIME_OPTIONS_H
#define RUNTIME_OPTIONS_H

#include "sched/base.h"
#include "sched/id.h"
#include "sched/resource.h"

#include <stdatomic.h>

typedef struct lr_options {
    _Atomic uint32_t refs;
    bool plain;            /* nothing the node machine need know of */
    bool pure, spread;
    char *name;            /* NULL: the function's own */
    lr_resources need;
    double cpu;            /* as given */
    struct lr_unknown {     /* names asked that this node does not know: another one may */
        char name[LR_RESOURCE_NAME_MAX + 1];
        int64_t amount;
    } unknown[LR_RESOURCE_NAMED_MAX];
    uint32_t unknown_count;
    double priority;
    double timeout_s;      /* of the run; 0: none */
    double deadline_s;     /* from submission; 0: none */
    uint32_t retries, retry_on_error;
    uint32_t returns;      /* futures a call gives */
    lr_id node;            /* nil: any */
} lr_options;

lr_options *lr_options_new(void); /* all default; one count. NULL: no memory */
lr_options *lr_options_copy(const lr_options *o); /* not finished yet */
void lr_options_retain(lr_options *o);
void lr_options_release(lr_options *o); /* NULL is welcome */
/* Works out `plain`. */
void lr_options_finish(lr_options *o);

#endif
