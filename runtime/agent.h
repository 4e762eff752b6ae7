/* runtime/agent.h - a node of a public cluster: registers its machine, and runs a process for each job there is.
 *
 *     agent ── node row, renewed ──▶ Redis ◀── job rows, renewed ── drivers
 *       │  watches the job table
 *       └─▶ luarun node --cluster tcp://DRIVER      one for each live job: connects to that job's driver, works for it
 *
 * It is small and has no Lua: what runs jobs' code is in the job processes, which are apart from each other. One that
 * ends while its job lives is started again, after a pause that grows, and how it ended goes to standard error and to
 * the cluster's log of errors. A job whose row is gone, or whose lease expired, loses its process at once. Job
 * processes die with the agent. Rows of the dead are swept (sched/roster.h).
 * Owns: its job processes, its row. Thread: the program's first; it starts no other but for looking up host
 * names. Blocks: for the node's life. */
#ifndef RUNTIME_AGENT_H
#define RUNTIME_AGENT_H

#include "runtime/config.h"

/* Runs until SIGTERM or SIGINT; the exit status. What is wrong is one line on standard error. */
int lr_agent_run(const lr_config *config);

#endif
