/* runtime/supervisor.h - the process that a cluster hangs on: it starts redis-server and agents, again and again.
 *
 * Without Lua and without threads. A process that has ended is started again after a pause that grows from 0.1 s to
 * 2 s; redis-server reads its append-only file, so that the tables are as they were. The end of all is in the order:
 * agents (which delete their rows), the keys on a Redis that is not ours, redis-server.
 * Owns: its children. Thread: one. Blocks. */
#ifndef RUNTIME_SUPERVISOR_H
#define RUNTIME_SUPERVISOR_H

#include "runtime/statedir.h"
#include "runtime/up.h"

#define LR_SUPERVISOR_TEXT 600

typedef struct lr_supervisor_config {
    const lr_config *config;
    unsigned nodes;
    const char *redis_conf; /* NULL: Redis is not ours */
    const char *log;        /* its last line says why a process ended; NULL: standard error is not a file */
    const char *url;
    const char *secret_entry; /* "LUARUN_SECRET=..." */
} lr_supervisor_config;

/* Starts everything, and returns when every node is registered. False: text says why; nothing is left running. */
LR_MUST_USE bool lr_supervisor_start(const lr_supervisor_config *config, char text[LR_SUPERVISOR_TEXT]);
/* Until SIGTERM or SIGINT; then ends everything. */
void lr_supervisor_run(void);

#endif
