/* runtime/nodeloop.h - the node's loop, which feeds the node machine and performs what it says; and the node thread,
 * which turns it when no other thread does (bell.h).
 *
 * Started by the first task that is not plain; a script without such tasks never has it. Events come
 * from any thread through one queue; each that names a task holds a count of it. Actions are performed
 * here (one function each). The control store is in this process's memory, or, for a job in a public cluster, on Redis
 * (member.h); then another thread waits for its connections (watcher.h).
 * Owns: the machine, the control store, the queue. Thread: the functions below by any. Blocks: stop only. */
#ifndef RUNTIME_NODELOOP_H
#define RUNTIME_NODELOOP_H

#include "runtime/cluster.h"
#include "runtime/member.h"
#include "runtime/pool.h"
#include "sched/node.h"

typedef struct lr_nodeloop_config {
    lr_id node, job;
    const char *job_name;
    lr_resources capacity;
    const lr_resource_names *names; /* the caller's, filled */
    const lr_member_config *member; /* NULL: not in a public cluster; the caller's, with its texts */
} lr_nodeloop_config;

/* Connects the pool's hooks. The thread starts with the first event. */
void lr_nodeloop_init(lr_pool *pool, const lr_nodeloop_config *config);
/* Starts the thread with a cluster (cluster.h; its ring is set here, and its url where there is a member) and waits
 * until that is open. False: text says why. */
LR_MUST_USE bool lr_nodeloop_open_cluster(const lr_cluster_config *config, char text[LR_CLUSTER_TEXT]);
/* The pool runs: the cluster's work may begin. */
void lr_nodeloop_start_cluster(void);
/* Ends the thread, when there is one, and frees everything. No worker may run any more. */
void lr_nodeloop_stop(void);
/* Tells the machine's error log of a failed task nobody looked at. Nothing where the thread never started. */
void lr_nodeloop_report(const lr_task *t, lr_err err, const char *message);

#endif
