/* runtime/cluster.h - this node's part in a private cluster: the tasks that it gives to others and those that it
 * runs for them.
 *
 * One node drives: it listens, and the script is there. The others serve: each connects to the driver, is told by a
 * WELCOME what to work for, and asks for work whenever a worker of it has none (ASK). Tasks born on a node that
 * serves are that node's own and run there; what comes back is the end of the task that it was given.
 *
 *     driver                                  node that serves
 *       ◀──────────────── connects, proves who it is
 *     WELCOME  ────────────▶                  starts its workers
 *       ◀──────────────── ASK 4               they have nothing to do
 *     FUNCTION, TASK, TASK ▶                  guests: queued like any task
 *       ◀──────────────── RESULT              as each ends
 *
 * A future among the values of a message is lent: whoever gets it has a task of that id that is not his, and asks
 * for the end (WANT, answered by a RESULT of attempt 0).
 *
 * When a connection ends, the tasks that were there go to the next node that asks, one attempt more: never to the
 * driver's own workers, for they may be why the node died. After the fourth node that was lost with it a task fails
 * with node_died, and says how that one ended. The driver starts another process for each that ended. A node that
 * serves ends when its driver is gone.
 *
 * Owns: the transport, the links, what is away, lent, borrowed, and the guests. Thread: the node thread, but for
 * what says so. Blocks: open and close. */
#ifndef RUNTIME_CLUSTER_H
#define RUNTIME_CLUSTER_H

#include "runtime/pool.h"
#include "runtime/secret.h"

#define LR_CLUSTER_TEXT 512

typedef struct lr_cluster_config {
    bool serves;         /* connects to url; else listens on it */
    const char *url;
    lr_id node;
    lr_secret secret;
    void (*ring)(void);  /* from any thread: the node thread shall call lr_cluster_turn */
    /* driver: what a WELCOME says; serving: what it said, when welcomed is called */
    lr_id job;
    uint64_t seed;
    const char *paths[3]; /* package.path, package.cpath, the script's directory; may be NULL */
    /* serving; on the node thread */
    void (*welcomed)(const struct lr_cluster_config *config);
    void (*lost)(const char *why); /* the driver is gone, or never was there */
    /* driver: a line printed by a task elsewhere, without its end */
    void (*print)(const char *line, size_t size_bytes);
    /* driver: how the process ended, into text (false: unknown); and a new one in its place (false: no more) */
    bool (*how_ended)(int pid, char *text, size_t text_bytes);
    bool (*replace)(void);
} lr_cluster_config;

/* False: text says why. *config is copied; its texts stay the caller's. */
LR_MUST_USE bool lr_cluster_open(lr_pool *pool, const lr_cluster_config *config, char text[LR_CLUSTER_TEXT]);
const char *lr_cluster_address(void);
/* The pool runs: work may be asked for. */
void lr_cluster_start(void);
/* Works off what has happened. */
void lr_cluster_turn(void);
/* When to call turn without a ring. */
uint64_t lr_cluster_deadline(void);
void lr_cluster_close(void);

/* From any thread. */
bool lr_cluster_is_open(void);
bool lr_cluster_serves(void);
/* Nothing is away, and nothing is being run for others. */
bool lr_cluster_rests(void);
/* Serving: a line for the script's terminal. */
void lr_cluster_print(const char *line, size_t size_bytes);

#endif
