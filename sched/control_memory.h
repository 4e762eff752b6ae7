/* sched/control_memory.h - the control store of an embedded node: tables in this process's memory.
 *
 * The whole of it is freed by lr_control_fini. It never takes more than capacity_bytes for rows and
 * logs: beyond that, writes are answered `full` and everything else goes on, so that a runaway job
 * cannot eat the machine. (Waiting requests may take LR_CONTROL_MEMORY_RESERVE more, so that a full
 * store can still be read and emptied.) A page of a scan or of a log costs a walk from its beginning.
 * Owns: its rows, through the allocator given. Thread: one. Blocks: never; turn does not wait. */
#ifndef SCHED_CONTROL_MEMORY_H
#define SCHED_CONTROL_MEMORY_H

#include "sched/allocator.h"
#include "sched/control.h"
#include "sched/list.h"
#include "sched/map.h"

#define LR_CONTROL_MEMORY_RESERVE (1u << 20) /* bytes */

/* Private; in the header so that the store can lie in the caller's memory. */
typedef struct lr_control_subscription {
    bool used;
    lr_control_table table;
    uint32_t prefix_bytes;
    uint8_t prefix[LR_CONTROL_KEY_MAX];
} lr_control_subscription;

typedef struct lr_control_memory {
    lr_control control; /* first */
    lr_allocator allocator;
    size_t capacity_bytes, used_bytes;
    uint64_t version;                           /* the last one given */
    uint64_t serial;                            /* the last one given: the order of scans */
    lr_map rows, logs;                          /* hash of table and key -> first of that hash */
    lr_map owners;                              /* owner -> its rows */
    lr_list table_rows[LR_CONTROL_TABLE_COUNT]; /* by serial */
    lr_list requests;                           /* not yet worked off */
    size_t request_count;
    lr_control_subscription subscription[LR_CONTROL_SUBSCRIPTIONS_MAX];
} lr_control_memory;

/* An empty store. OUT_OF_MEMORY where its first hash tables (a few KiB) cannot be had. */
lr_err lr_control_memory_init(lr_control_memory *m, const lr_allocator *allocator,
                              size_t capacity_bytes, const lr_control_handler *handler) LR_MUST_USE;
/* Bytes held now. Without rows, logs and requests only the three hash tables are left. */
size_t lr_control_memory_used_bytes(const lr_control_memory *m);

#endif
