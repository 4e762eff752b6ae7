/* runtime/cluster.h - this node's part in a cluster: performs what the mesh (sched/mesh.h) decides.
 *
 * The nodes of a job are processes. One drives: the script is there. The others serve: each connects to the driver,
 * is told by a WELCOME what to work for and who the brokers are, and connects to those; to another one when the mesh
 * wants it. All give and take work alike.
 *
 *     driver                                  node that serves                    another
 *       ◀──────────────── connects, proves who it is
 *     WELCOME, HERE ───────▶
 *       ◀──────────────── HERE                starts its workers; connects  ────▶ HERE
 *       ◀──────────────── IDLE 2              they have nothing to do       ────▶ (brokers only)
 *     FUNCTION, TASK ──────▶                  a guest: queued like any task
 *       ◀──────────────── RESULT              as it ends
 *
 * When a connection ends, the tasks that were there are tried again elsewhere. The driver starts another process for
 * each that ended, where it is the one that starts them. A node that serves ends when its driver is gone.
 *
 * Owns: the transport, the links, the mesh. Thread: whoever leads the node's loop, but for what
 * says so. Blocks: open and close. */
#ifndef RUNTIME_CLUSTER_H
#define RUNTIME_CLUSTER_H

#include "runtime/pool.h"
#include "runtime/secret.h"
#include "sched/message.h"
#include "sched/resource.h"

#define LR_CLUSTER_TEXT 512

/* Environment: PEM files. With a certificate the node's connections are tls+tcp (runtime/tls.h). */
#define LR_CLUSTER_TLS_CA "LUARUN_TLS_CA"
#define LR_CLUSTER_TLS_CERT "LUARUN_TLS_CERT"
#define LR_CLUSTER_TLS_KEY "LUARUN_TLS_KEY"

typedef struct lr_cluster_config {
    bool serves;         /* connects to url; else listens on it */
    const char *url;
    const char *listen;  /* serving: where the others reach this node; NULL or empty: found by the driver's address */
    lr_id node;
    lr_secret secret;
    void (*ring)(void);  /* from any thread: lr_cluster_turn shall be called */
    struct lr_bell *bell; /* what it rings; other processes of this host may, too */
    const lr_resources *offers; /* of this node */
    const lr_resource_names *names;
    unsigned expected;   /* driver: nodes that are on their way as it opens; infeasible is nothing until they are there,
                            or LR_CLUSTER_EXPECT_NS have passed */
    /* driver: what a WELCOME says; serving: what it said, when welcomed is called */
    lr_id job;
    uint64_t seed;
    const char *paths[3]; /* package.path, package.cpath, the script's directory; may be NULL */
    /* serving; by the leader */
    void (*welcomed)(const struct lr_cluster_config *config);
    void (*lost)(const char *why); /* the driver is gone, or never was there */
    /* driver: a line printed by a task elsewhere, without its end */
    void (*print)(const char *line, size_t size_bytes);
    /* driver: how the process ended, into text (false: not known, yet); and a new one in its place (false: no more) */
    bool (*how_ended)(int pid, char *text, size_t text_bytes);
    bool (*replace)(void);
    bool starts; /* by replace, for all that ended, also before they had come */
    /* driver: the job is over; processes that it started and that are not connected (yet) end (connected by pid) */
    void (*forsake)(bool (*connected)(int pid));
    /* to this node's machine with a task that is its own: takes over a count */
    void (*submit)(lr_task *t);
} lr_cluster_config;

#define LR_CLUSTER_EXPECT_NS 5000000000u
#define LR_CLUSTER_ALONE_NS 30000000000u /* all nodes are lost: for agents that start others; Redis may be away, too */

/* False: text says why. *config is copied; its texts stay the caller's. */
LR_MUST_USE bool lr_cluster_open(lr_pool *pool, const lr_cluster_config *config, char text[LR_CLUSTER_TEXT]);
const char *lr_cluster_address(void);
/* The pool runs: work may be asked for. */
void lr_cluster_start(void);
/* Works off what has happened. free: of this node's resources. */
void lr_cluster_turn(const lr_resources *free);
/* When to call turn without a ring. */
uint64_t lr_cluster_deadline(void);
/* Whether a task of the machine's shall be placed by the cluster: it is bound to another node, to be spread, or more
 * than this node has, or nothing runs here. */
bool lr_cluster_wants(const lr_task *t);
/* Takes over such a task, with the machine's count. */
void lr_cluster_place(lr_task *t);
void lr_cluster_close(void);

lr_id lr_cluster_node(void);
/* Nodes that have come. */
unsigned lr_cluster_node_count(void);
/* Another node has it, or it is on its way to one, or looks for one: its record here is `running` all the same. */
bool lr_cluster_has_away(lr_id task);
/* Says it to all of them: to how many. */
unsigned lr_cluster_tell_all(const lr_message *m);

/* From any thread. */
bool lr_cluster_is_open(void);
bool lr_cluster_serves(void);
/* Nothing is away, and nothing is being run for others. */
bool lr_cluster_rests(void);
/* Serving: a module's source from the driver (runtime/modules.h). Blocks. */
struct lr_module_source;
LR_MUST_USE bool lr_cluster_fetch_module(const char *name, struct lr_module_source *out, char why[160]);
/* Serving: a line for the script's terminal. */
void lr_cluster_print(const char *line, size_t size_bytes);

#endif
