/* runtime/tables.h - a cluster's tables for a command: asked, waited for, answered, one question at a time.
 *
 * The tables of sched/control.h over Redis, without a node thread: for `up`, `status`, `list`, which have nothing else
 * to do. Beside them, over a plain connection of its own, what the tables have no word for: how the servers are, and
 * the removal of a whole cluster.
 * Owns: the connections. Thread: one. Blocks: all but close, up to ANSWER_NS. */
#ifndef RUNTIME_TABLES_H
#define RUNTIME_TABLES_H

#include "runtime/control_redis.h"

#define LR_TABLES_TEXT 512
#define LR_TABLES_WAIT_NS (800 * 1000000ull) /* for the connection: a command says within a second what is wrong */

typedef struct lr_tables lr_tables;
typedef void lr_tables_row(void *user, const lr_control_row *row);

/* Connects within wait_ns; what fails is told at once. NULL: text says why not, in one line. */
lr_tables *lr_tables_open(const char *url, uint64_t wait_ns, char text[LR_TABLES_TEXT]);
void lr_tables_close(lr_tables *tables);
/* "redis at /path version 7.0.15: connected, cluster 'default'" */
void lr_tables_status(const lr_tables *tables, char text[LR_TABLES_TEXT]);
/* Every row of a table, each once. False: text says why it is not all. */
LR_MUST_USE bool lr_tables_scan(lr_tables *tables, lr_control_table table, lr_tables_row *on_row, void *user,
                                char text[LR_TABLES_TEXT]);
/* The entries of a log, oldest first; the row's version is the entry's number. */
LR_MUST_USE bool lr_tables_log(lr_tables *tables, lr_control_table table, const char *key, lr_tables_row *on_row,
                               void *user, char text[LR_TABLES_TEXT]);
/* Writes a row whether it is there or not; deletes one. */
LR_MUST_USE bool lr_tables_put(lr_tables *tables, lr_control_table table, lr_bytes key, lr_bytes value,
                               char text[LR_TABLES_TEXT]);
LR_MUST_USE bool lr_tables_delete(lr_tables *tables, lr_control_table table, lr_bytes key, char text[LR_TABLES_TEXT]);
/* Wakes who has subscribed. */
LR_MUST_USE bool lr_tables_publish(lr_tables *tables, lr_control_table table, lr_bytes key, char text[LR_TABLES_TEXT]);

uint32_t lr_tables_shards(const lr_tables *tables);
/* A shard's INFO; free() it. NULL: text says why not. */
char *lr_tables_info(lr_tables *tables, uint32_t shard, char text[LR_TABLES_TEXT]);
/* Removes every key of the cluster, and nothing else. */
LR_MUST_USE bool lr_tables_purge(lr_tables *tables, char text[LR_TABLES_TEXT]);

#endif
