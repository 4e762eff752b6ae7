/* runtime/task_list.h - the tasks that live in this process, looked at without stopping anybody.
 *
 * Nobody keeps a list of tasks: it would cost every one of them. The records lie in the slab's chunks, and whoever
 * wants to know walks over those while the tasks go on. What a row says was so a moment ago; a record that is being
 * made or freed at that moment may be missed, or have a field of its former life.
 * Thread: any. Blocks: for the locks of the slab and of functions, shortly. */
#ifndef RUNTIME_TASK_LIST_H
#define RUNTIME_TASK_LIST_H

#include "runtime/task.h"

typedef struct lr_task_row {
    lr_id id;
    lr_task_state state;
    uint64_t submitted_ticks;
    uint32_t children;
    uint16_t attempt, progress; /* progress in 1/65535 of the whole */
    bool guest;                 /* another node's, which tells it, too */
    const lr_fn *fn;            /* to compare, not to look at: it may be gone */
    char name[80];              /* its function's; "?" where that is gone */
} lr_task_row;

typedef struct lr_task_query {
    int state;        /* an lr_task_state; negative: any */
    const char *name; /* of the function; NULL: any */
    size_t limit;
    uint64_t *guests; /* set, where it is not NULL: how many of the total are guests */
} lr_task_query;

/* The newest first; *count of them, of *total that fit. Values that were put are no tasks. To be freed; NULL: no
 * memory. */
lr_task_row *lr_task_list(const lr_task_query *query, size_t *count, uint64_t *total);

#endif
