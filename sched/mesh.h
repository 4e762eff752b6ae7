/* sched/mesh.h - the nodes of a job, and the tasks that cross between them.
 *
 * Each node has a mesh; together they are a cluster. A mesh decides: which tasks leave this node and when, what comes
 * back from a node that was lost, whom to tell an end. It knows no socket, no thread, no clock and no Lua: what happens
 * goes in by the functions below, what is to be done comes out by the hooks, and the same calls give the
 * same hooks. So the simulator runs thousands of them in virtual time.
 *
 * Crossings. A task that crosses has a record on each side of the link:
 *
 *      here                                     there
 *      SEEKING   a broker was asked where       -
 *      LOST      its node is gone               -
 *      AWAY      runs at the peer               GUEST    runs here for the peer        TASK ▶ ◀ RESULT (attempt > 0)
 *      LOAN      a future of it went there      -                                      (inside any value)
 *      WATCH     the peer will be told the end  BORROW   a stand-in waits for the end  ◀ WANT, RESULT (attempt 0) ▶
 *
 *   place ─▶ SEEKING ─placed, connected─▶ AWAY ─RESULT─▶ (over)         give ─▶ AWAY
 *               ▲                │ peer down, attempts left
 *               └────── LOST ◀───┘        none left: the task fails with node_died
 *
 * What travels. Plain tasks go where a broker (broker.h: the global scheduler, a role of some nodes) has brought
 * together this node, that has a surplus, and one that is idle. Tasks that ask for something this node lacks (place)
 * go where a broker says. Those bound to a node go there. A guest never travels on. Attempts are numbered; the first
 * end of a task stands, and a RESULT of an attempt that was given up is ignored.
 *
 * One id twice. A parent that was started again may come to a node where its first run is not stopped yet, and submit
 * the same children there. Of two records with one id the younger is the one that is wanted: it takes the place of the
 * older among those that seek or are lent, waits while the older is away at the peer it would go to, and whoever
 * borrowed hears its end.
 *
 * Nodes that are not connected. Each has links to the brokers; to another node one is made when a broker names that
 * node (way.h): what was placed or granted there waits meanwhile. Where it cannot be made, the brokers are told, and
 * what waits goes back to them; a task that could go nowhere else fails with unreachable after a few tries.
 *
 * A peer that is gone. Its guests here are stopped: whoever wanted them is no more. Ours that were there are tried
 * again elsewhere, up to their retries; with nobody left they run here. Risky ones (kernels: they may have been why)
 * never run in the script's process after that: they fail when nobody else is left, nor expected. Stand-ins for its
 * tasks fail.
 *
 * Owns: peers, crossings. What `runtime` points to is the caller's. Errors: no memory makes a task run here, or fail.
 * Units: ns of one clock. Thread: one. Blocks: never. */
#ifndef SCHED_MESH_H
#define SCHED_MESH_H

#include "sched/broker.h"
#include "sched/message.h"
#include "sched/text.h"
#include "sched/way.h"

/* What a node is to the others. The script's process is a broker, from the start, and is spared risky tasks. */
typedef enum lr_mesh_role { LR_MESH_PLAIN, LR_MESH_BROKER, LR_MESH_SCRIPT } lr_mesh_role;

typedef struct lr_mesh_peer {
    lr_broker_node node; /* first */
    bool is_broker;
    bool hungry;         /* a broker, for which work is wanted */
    uint32_t granted;    /* tasks to send to it, by grants of this node's own broker not worked off */
    lr_link broker_link, granted_link; /* while it is one; while there are some */
    lr_map away, guests, loans, borrows, watches; /* task -> lr_crossing */
    void *runtime;       /* NULL: this node itself */
} lr_mesh_peer;

typedef enum lr_crossing_kind {
    LR_CROSSING_SEEKING, LR_CROSSING_LOST, LR_CROSSING_AWAY, LR_CROSSING_GUEST,
    LR_CROSSING_LOAN, LR_CROSSING_WATCH, LR_CROSSING_BORROW
} lr_crossing_kind;

/* A task as it leaves. */
typedef struct lr_mesh_task {
    lr_id id;
    uint32_t attempt;     /* from 1 */
    uint16_t retries;     /* losses that it may survive */
    bool risky;           /* a kernel */
    uint64_t deadline_ns; /* must have been sent by then; 0: none */
    void *runtime;
} lr_mesh_task;

typedef struct lr_crossing {
    lr_mesh_task task;
    lr_crossing_kind kind;
    bool own;            /* LOAN, WATCH: no stand-in for a task elsewhere */
    uint32_t count;      /* LOAN: times in a row, a WANT comes for each. SEEKING: brokers that said NOWHERE */
    uint32_t tries;      /* SEEKING: connections to nodes that it was placed on that failed */
    lr_link link;        /* unasked, paused, settled, lost, or waiting for a way */
    struct lr_crossing *next; /* WATCH: an older one of the task. LOAN: another record of it, lent later */
    uint64_t serial;     /* in the order in which they were made */
    lr_mesh_peer *peer;  /* GUEST, WATCH: NULL when that is gone */
    lr_place_ask *ask;   /* NULL: plain */
    lr_id broker;        /* that was asked for it, and keeps room for it; nil: none is */
} lr_crossing;

typedef struct lr_mesh_hooks {
    /* m to the peer, in order. */
    void (*send)(void *user, lr_mesh_peer *to, const lr_message *m);
    /* The task to the peer, as c->attempt. False: it has ended meanwhile (cancelled), and is let go of. */
    bool (*send_task)(void *user, lr_mesh_peer *to, lr_crossing *c);
    /* How the task ended (GUEST, WATCH), to the peer. */
    void (*send_end)(void *user, lr_mesh_peer *to, const lr_crossing *c);
    /* How many tasks wait here that may go. What is pushed from now on is told by lr_mesh_left. */
    size_t (*count_left)(void *user);
    /* Takes up to max of them: lr_mesh_give for each. */
    void (*take_left)(void *user, lr_mesh_peer *for_peer, size_t max);
    /* It runs here: for good (the caller lets go of it). */
    void (*run_here)(void *user, const lr_crossing *c);
    /* It fails (AWAY, SEEKING, LOST; BORROW): for good. */
    void (*fail)(void *user, const lr_crossing *c, lr_err code, const char *why);
    /* A GUEST that nobody wants any more, or a WATCHed task that the peer has cancelled, shall stop. Its end is still
     * to be told (lr_mesh_ended). */
    void (*stop)(void *user, lr_crossing *c);
    /* A WATCH begins: its end is told by lr_mesh_ended, even within this call. */
    void (*watch)(void *user, lr_crossing *c);
    /* The record is freed: what it held is let go of. */
    void (*forget)(void *user, const lr_crossing *c);
    /* Connect to that node: lr_mesh_peer_up or lr_mesh_unreached follows, later. Or why it cannot even begin. */
    const char *(*reach)(void *user, lr_id node, const char *address);
    /* Where others connect to that peer, until this is called again; empty: nowhere. */
    const char *(*address)(void *user, const lr_mesh_peer *peer);
    void *user;
} lr_mesh_hooks;

typedef struct lr_mesh_stats {
    uint64_t sent, came_back, lost, run_again, guests, failed;
} lr_mesh_stats;

typedef struct lr_mesh {
    lr_mesh_hooks hooks;
    const lr_allocator *allocator;
    lr_resource_names names;  /* of all nodes' resources, as they become known */
    lr_mesh_peer self;
    lr_map peers;             /* node -> lr_mesh_peer, self too */
    lr_broker broker;         /* idle unless self.is_broker */
    lr_map seeking;           /* task -> lr_crossing */
    lr_ways ways;             /* SEEKING, placed on nodes that are not connected */
    lr_list unasked, paused;  /* SEEKING, no broker has it: to be asked for now; later, or when a node has come */
    lr_list settled;          /* SEEKING, with a peer: to be sent there */
    uint64_t ask_again_ns, pause_ns; /* the end of the pause; 0: there is none. Its length, doubled each time */
    lr_list lost;             /* plain, oldest first */
    size_t lost_count;
    lr_list brokers;          /* self too, if it is one */
    lr_list granted;          /* peers with grants to work off */
    lr_mesh_peer *asked;      /* the broker that this node asks; NULL: there is none */
    uint64_t deadline_ns;     /* no later than the first of those that seek; 0: none */
    uint32_t idle_told;       /* what the brokers know of this node; UINT32_MAX: perhaps nothing */
    uint64_t serial;          /* of crossings */
    bool busy, ending;        /* working off: no deeper */
    bool left;                /* tasks may have become left */
    uint64_t now_ns;
    uint64_t quiet_until_ns;  /* nothing could be taken: not before that again */
    uint64_t quiet_ns;
    uint64_t away_count, guest_count;
    lr_mesh_stats stats;
} lr_mesh;

/* offers: "cpu=2,gpu=1", whole. False: no memory, or offers makes no sense. */
LR_MUST_USE bool lr_mesh_init(lr_mesh *m, lr_id self, lr_mesh_role role, const char *offers, const lr_allocator *a,
                              const lr_mesh_hooks *hooks, uint64_t seed);
/* Everything is let go of; tasks that are away or seek fail. */
void lr_mesh_fini(lr_mesh *m);
/* The time of what follows; tasks whose deadline has passed fail. */
void lr_mesh_now(lr_mesh *m, uint64_t now_ns);
/* When to call lr_mesh_left though nothing has happened; UINT64_MAX: not. */
uint64_t lr_mesh_deadline(const lr_mesh *m);
/* This node is a broker from now on; before its peers come up. */
void lr_mesh_become_broker(lr_mesh *m);
lr_mesh_role lr_mesh_role_of(const lr_mesh *m);
/* Whether more nodes are on their way. */
void lr_mesh_expect(lr_mesh *m, bool more);

/* ---- peers --- */

/* NULL: no memory, offers makes no sense, or it is up already; the connection should end. */
lr_mesh_peer *lr_mesh_peer_up(lr_mesh *m, lr_id node, lr_mesh_role role, const char *offers, void *runtime);
/* why: how it ended, for the errors of what cannot be tried again. The peer is gone when it returns. */
void lr_mesh_peer_down(lr_mesh *m, lr_mesh_peer *peer, const char *why);
/* Connects to a node that has not been named yet. broker: it is one, and is tried again and again. */
void lr_mesh_reach(lr_mesh *m, lr_id node, const char *address, bool broker);
/* What `reach` asked for has failed. Nothing where it is connected by now. */
void lr_mesh_unreached(lr_mesh *m, lr_id node, const char *why);
/* False: no message that the mesh knows (the caller's own kinds: TASK, RESULT, ...). */
LR_MUST_USE bool lr_mesh_message(lr_mesh *m, lr_mesh_peer *peer, const lr_message *message);

/* ---- this node's work --- */

/* So many tasks could begin here at once. */
void lr_mesh_idle(lr_mesh *m, uint32_t count);
/* What this node's own scheduler has free now, as "cpu=1,gpu=0.5". */
void lr_mesh_free(lr_mesh *m, const char *free);
/* Work may wait here that nobody begins. */
void lr_mesh_left(lr_mesh *m);
/* From take_left: this one goes. */
void lr_mesh_give(lr_mesh *m, lr_mesh_peer *to, const lr_mesh_task *task);
/* A task that cannot run here, or need not. */
void lr_mesh_place(lr_mesh *m, const lr_mesh_task *task, const lr_place_ask *ask);
/* It was cancelled: the peer that runs it is told, one that seeks is let go of. */
void lr_mesh_cancelled(lr_mesh *m, lr_mesh_peer *peer, lr_id task);

/* ---- ends --- */

/* A RESULT came: the AWAY (attempt > 0) or BORROW it is of. The caller takes its value in, ends the task with it, then
 * calls lr_mesh_over. NULL when it is of none: the value is to be taken in all the same, and dropped, for the futures
 * in it are lent until they are asked for. */
lr_crossing *lr_mesh_result(lr_mesh *m, lr_mesh_peer *peer, lr_id task, uint32_t attempt);
void lr_mesh_over(lr_mesh *m, lr_crossing *c);
/* A TASK came. NULL: no memory, or it is here already. */
lr_crossing *lr_mesh_guest(lr_mesh *m, lr_mesh_peer *peer, lr_id task, uint32_t attempt, void *runtime);
/* A GUEST or a WATCH has ended: the peer is told, c is freed. ready: with a value; else a peer that waits for another
 * one of the same id, too, hears the end of that, for this one may be of a run that is not wanted any more. */
void lr_mesh_ended(lr_mesh *m, lr_crossing *c, bool ready);

/* ---- futures in values --- */

/* A future of the task goes to the peer. own: runtime is no stand-in for a task elsewhere. True: the LOAN holds
 * runtime from now on. A node may have several records of one task, of which one waits for the peer, or for what runs
 * again: each time that one of them is lent is answered by that one, and the peer takes the first value. */
LR_MUST_USE bool lr_mesh_lend(lr_mesh *m, lr_mesh_peer *peer, lr_id task, bool own, void *runtime);
/* One has come from the peer, which is told that its end is wanted: what stands for it (its runtime), or NULL: make
 * one, with lr_mesh_borrow. */
void *lr_mesh_borrowed(lr_mesh *m, lr_mesh_peer *peer, lr_id task);
LR_MUST_USE bool lr_mesh_borrow(lr_mesh *m, lr_mesh_peer *peer, lr_id task, void *runtime);

/* Every task that is away, for the caller to look which were cancelled. */
void lr_mesh_each_away(lr_mesh *m, void (*look)(void *user, lr_mesh_peer *peer, lr_crossing *c), void *user);

#endif
