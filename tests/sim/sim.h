/* tests/sim/sim.h - the simulator: whole clusters of the real sched code in virtual time, in a seeded world.
 *
 * A world has nodes; each has a mesh (with its broker), a node machine and a small model of the runtime around them: task
 * records with counts, a queue, workers, what runtime/cluster.c does in a turn. Links between them carry encoded
 * messages, in order, each with its delay; they end, nodes die, join, stop for a while, are slow, their clocks jump. What runs is
 * a program made of the seed: each task's body is a function of its id and its arguments, so that it does the same wherever
 * and however often it runs.
 *
 *   world.c    time, events                 node.c     the mesh's hooks, turns, the machine     task.c  records, values
 *   link.c     connections: how they come to be, what travels, how they end
 *   program.c  what bodies do               faults.c   what befalls nodes and links             check_*.c  one invariant each
 *   pool.c     the queue and the workers    main.c     seeds, options
 *   public.c   agents and drivers           store.c    the control store, and connections to it (public.h)
 *
 * The same seed gives the same world, event by event: nothing here looks at a clock, an address or an environment.
 * Owns: all of it; sim_free gives it back. */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "runtime/allocator.h"
#include "sched/mesh.h"
#include "sched/node.h"

#include <stdio.h>
#include <stdlib.h>

#define SIM_FUTURES 3
#define SIM_ARGS 8
#define SIM_KNOWN 16
#define SIM_SPANS 2048 /* 32 to a doubling */
#define US 1000u
#define MS 1000000u
#define S 1000000000ull

typedef struct sim sim;
typedef struct sim_node sim_node;
typedef struct sim_task sim_task;
typedef struct sim_link sim_link;
typedef struct sim_origin sim_origin;
typedef struct sim_follower sim_follower;
typedef struct sim_message sim_message;

/* ---- values and tasks ------------------------------------------------------------------------------- */

typedef struct sim_value {
    lr_task_state state;
    lr_err err;
    bool poisoned; /* something on the way was lost that nobody can rebuild yet, or there was no memory: not compared */
    uint64_t number;
    unsigned future_count;
    sim_task *futures[SIM_FUTURES]; /* one count each */
} sim_value;

/* What a task is called with. */
typedef struct sim_call {
    uint32_t size; /* so many tasks in all below it, itself included */
    uint64_t number;
    bool poisoned;
    uint64_t work_ns;
    unsigned input_count, arg_count;
    sim_task *inputs[SIM_FUTURES], *args[SIM_ARGS]; /* must be there first; futures that it is given. One count each */
    lr_resources need;
    lr_affinity affinity;
    lr_id node;
    uint32_t retries;
    bool risky, asks; /* asks: goes to the machine */
    uint64_t deadline_ns; /* relative; 0: none */
} sim_call;

typedef enum sim_phase {
    PHASE_WAITING, /* for inputs */
    PHASE_QUEUED,  /* in the node's queue */
    PHASE_MACHINE, /* with the node machine */
    PHASE_MESH,    /* with the mesh: seeks, is away, lost */
    PHASE_RUNNING, PHASE_PARKED,
    PHASE_OVER,
    PHASE_ELSEWHERE /* a stand-in */
} sim_phase;

typedef struct sim_guest { /* a task here whose end a peer is told */
    sim_task *t; /* one count */
    lr_crossing *crossing;
    struct sim_guest *next;
} sim_guest;

typedef struct sim_waiter {
    struct sim_waiter *next;
    sim_task *dependent, *parked;
    sim_guest *guest;
    sim_follower *follower;
} sim_waiter;

/* A task's body while it runs. */
typedef struct sim_body {
    lr_prng random;
    uint32_t left;     /* tasks that it may still start */
    uint64_t children, number;
    bool poisoned, returning;
    unsigned known_count;
    sim_task *known[SIM_KNOWN]; /* futures that it has; one count each */
    bool secret[SIM_KNOWN];     /* its end depends on the weather: never looked into, never passed on */
    bool got[SIM_KNOWN];
    unsigned gets;              /* which it waits for; SIM_KNOWN: none */
} sim_body;

/* Whose cancel is whose: not the record, so that a result which holds a child's future is no cycle. */
typedef struct sim_family {
    uint32_t refs;
    bool cancelled;
    struct sim_family *parent; /* one count */
} sim_family;

struct sim_task {
    sim_node *home;
    lr_link link; /* node's records */
    lr_id id;
    uint32_t refs, attempt, sent_attempt, left_attempt;
    sim_family *family; /* one count */
    sim_origin *origin; /* of a stand-in: what returned it; one count */
    sim_phase phase;
    bool ended, claimed, guest, secret;
    sim_call call;
    sim_value value;
    lr_spec *spec;
    bool spec_in;       /* the machine has it */
    bool started_told;
    unsigned missing;
    sim_waiter *waiters;
    lr_link queue_link, place_link; /* in the queue; on its way to the mesh */
    sim_body *body;
    uint64_t pushed_ns, left_ns, stop_by_ns; /* left: its node, for this one; 0: it has not */
};

/* ---- nodes and links -------------------------------------------------------------------------------- */

typedef struct sim_memory {
    sim *world;
    size_t bytes, peak;
} sim_memory;

struct sim_node {
    sim *world;
    unsigned number;
    lr_id id;
    bool dead, is_broker, can_die, welcome; /* welcome: the driver has told it who is there */
    lr_mesh mesh;
    lr_node *machine;
    lr_resource_names names;
    lr_allocator allocator;
    sim_memory memory;
    char offers[96];
    lr_resources total, free_told, held; /* held: the world's own books */
    unsigned workers, busy;
    lr_list queue, injected, woken; /* plain tasks of its own, the newest first to begin; guests and others; parked ones that go on */
    lr_list records, placing, links;
    size_t queue_count, woken_count, record_count; /* queue: all three */
    bool others_hungry, idle, ringing, sleeps; /* sleeps: some worker has been idle before */
    bool cancels;         /* the epoch has moved */
    sim_guest *ended;     /* oldest first */
    lr_list origins, followers; /* lineage.c */
    sim_origin *to_run, *taking;
    sim_follower *followed;
    sim_task *returned_by; /* while its result is taken in */
    sim_message *inbox, **inbox_end;
    uint64_t turn_at_ns, less_ns, expect_until_ns, timer_ns;
    uint64_t paused_until_ns, clock_offset_ns;
    unsigned slow; /* 1: as fast as others */
    lr_action items[64];
    uint8_t action_bytes[LR_ACTION_BYTES_MIN];
    lr_actions out;
    bool feeding;
    unsigned expected;
    uint64_t turns, asked_in_turn;
    struct sim_hosted *hosted; /* whose process it is, in a public cluster */
    bool well;                 /* it ended by itself */
    uint64_t said, heard; /* messages */
    uint64_t taken;       /* tasks that its workers took */
    unsigned link_count, most_links;
};

struct sim_message {
    sim_message *next;
    sim_link *link;
    unsigned side; /* that takes it */
    uint16_t kind;
    size_t size_bytes;
    uint8_t bytes[];
};

typedef enum sim_stage { STAGE_SHAKING, STAGE_SURE, STAGE_UP } sim_stage; /* sure: it has proved itself, or promised */

typedef struct sim_end { /* in the links of a node, until it is over there */
    lr_link link;
    sim_link *of;
} sim_end;

struct sim_link {
    lr_link link; /* world's */
    sim_node *end[2]; /* the first has dialed */
    sim_end at[2];
    sim_link *other;  /* between the same two nodes */
    sim_stage stage[2];
    uint64_t up_ns[2];
    unsigned step;    /* of the handshake */
    bool twice;       /* it was refused: there is another */
    lr_mesh_peer *peer[2]; /* as that side has it; NULL: not up, or told that it is over */
    bool over[2];          /* that side has been told */
    bool cut;              /* nothing that is sent from now on comes */
    uint64_t cut_at_ns[2]; /* what would come to that side later does not; 0: no cut */
    uint64_t last_ns[2];   /* when the last message comes to that side */
    uint64_t delay_ns, jitter_ns;
    unsigned flying;
    unsigned refs;         /* events that name it, messages in inboxes, one for each side */
};

/* ---- the world ---------------------------------------------------------------------------------------- */

typedef enum sim_event_kind {
    EVENT_TURN, EVENT_ARRIVE, EVENT_DOWN, EVENT_SHAKE, EVENT_BODY, EVENT_FAULT, EVENT_JOIN, EVENT_LOOK,
    EVENT_STORE, EVENT_LINE, EVENT_PARTY, EVENT_PUBLIC /* tests/sim/public.h */
} sim_event_kind;

typedef struct sim_event {
    uint64_t at_ns, seq;
    sim_event_kind kind;
    unsigned side;
    sim_node *node;
    void *what;
} sim_event;

typedef struct sim_config {
    uint64_t seed;
    unsigned nodes, tasks, workers, brokers;
    bool alone;       /* one node that has everything, no faults: what the program gives */
    bool big;         /* for scale: plain work, no faults */
    unsigned shards;  /* of the control store; 0: some */
    bool public;      /* nodes come as in a cluster that many use (public.h) */
    bool says;        /* tells what happens */
    bool may_fail;    /* there is no memory now and then: errors are fine */
    const lr_map *expected; /* what bodies made alone: they must make the same here; NULL: not known */
    uint64_t fail_at; /* the n-th allocation fails; 0: none */
} sim_config;

typedef struct sim_stats {
    uint64_t events, messages, bodies, bodies_done, faults, deaths, partitions, joins, allocations, records, poisoned, sent, bytes, remade;
    uint64_t kinds[LR_MESSAGE_COUNT]; /* messages */
    uint64_t store_ops, store_most, swept; /* most: of one shard */
    uint64_t done_ns, last_body_ns, work_ns;
    uint32_t *delays, *hops; /* SIM_SPANS counts each, in a large world: from being started to its begin; of those that went
                                to another node, from its leaving to that */
} sim_stats;

struct sim {
    sim_config config;
    lr_prng chance;   /* the weather's */
    uint64_t now_ns, hash, seq;
    sim_event *heap;
    size_t heap_count, heap_capacity;
    sim_node **nodes;
    unsigned node_count, node_capacity, alive;
    lr_list links;
    lr_map linked; /* the two nodes' numbers -> the first link between them */
    lr_id blocked; /* two nodes that cannot connect for a while */
    uint64_t blocked_until_ns;
    bool walls, ahead; /* some pairs never can; nodes connect to all others at once */
    unsigned brokers;  /* so many, the driver among them */
    struct sim_public *public; /* NULL: nodes are just there */
    sim_task *root;
    bool root_ended, over, safe; /* safe: the faults are over */
    unsigned faults_left;
    uint64_t safe_ns, safe_messages, safe_events;
    bool excused;     /* something was lost for good, as fault-tolerance.md says */
    bool strict;      /* nothing is poisoned: no future is returned */
    bool failed;
    char why[400];
    lr_map computed;  /* task -> what its body made: check 2 */
    sim_memory memory;
    sim_stats stats;
};

/* world.c */
void sim_at(sim *w, uint64_t at_ns, sim_event_kind kind, sim_node *node, void *what, unsigned side);
uint64_t sim_below(sim *w, uint64_t bound);
bool sim_chance(sim *w, unsigned percent);
void sim_mix(sim *w, const sim_node *n, unsigned what, lr_id id, uint64_t more);
__attribute__((format(printf, 2, 3))) void sim_violation(sim *w, const char *format, ...);
__attribute__((format(printf, 2, 3))) void sim_say(sim *w, const char *format, ...);
sim *sim_new(const sim_config *config);
void sim_run(sim *w);
void sim_free(sim *w, char *why, size_t why_bytes); /* why: what is wrong with the end, or empty */
int sim_store_scale(unsigned nodes, unsigned shards, uint64_t seed);
int sim_scale(sim_config config);
void sim_span(uint32_t *counts, uint64_t ns);
bool lr_fault_plant(const char *name);
int lr_fault_list(void);

/* link.c */
sim_link *sim_link_open(sim *w, sim_node *a, sim_node *b);
void sim_link_dial(sim *w, sim_node *from, sim_node *to);
void sim_link_shake(sim *w, sim_link *l, unsigned side);
void sim_link_arrive(sim *w, sim_message *m);
void sim_link_down(sim_link *l, unsigned side);
void sim_block(sim *w, const sim_node *a, const sim_node *b, uint64_t for_ns);
void sim_link_send(sim_link *l, sim_node *from, const lr_message *m);
void sim_link_break(sim *w, sim_link *l, uint64_t soon_ns);
void sim_link_release(sim_link *l);
void sim_link_over(sim *w, sim_link *l, unsigned side);
sim_link *sim_link_between(sim *w, const sim_node *a, const sim_node *b);

lr_allocator sim_allocator(sim_memory *memory);

/* node.c */
sim_node *sim_node_new(sim *w, bool broker, unsigned workers, const char *offers);
void sim_node_kill(sim_node *n);
void sim_node_free(sim_node *n);
void sim_node_turn(sim_node *n);
void sim_node_ring(sim_node *n);
void sim_node_down(sim_node *n, sim_link *l, unsigned side);
uint64_t sim_node_now(const sim_node *n);
void sim_node_feed(sim_node *n, lr_event event);
bool sim_node_wants(const sim_node *n, const sim_task *t);
void sim_node_place(sim_node *n, sim_task *t);
void sim_node_submit(sim_node *n, sim_task *t);

/* task.c */
sim_task *sim_task_new(sim_node *n, lr_id id, sim_task *parent, unsigned refs);
void sim_family_release(sim_family *f);
void sim_task_retain(sim_task *t);
void sim_task_release(sim_task *t);
void sim_task_end(sim_task *t, sim_value *v); /* moved from; nothing where it has ended */
void sim_task_fail(sim_task *t, lr_err err, bool poisoned);
void sim_task_over(sim_task *t);               /* its body is over: the queue's count goes */
bool sim_task_cancelled(sim_task *t);
bool sim_task_is_cancelled(const sim_task *t); /* changes nothing */
void sim_task_cancel(sim_task *t);
bool sim_task_watch(sim_task *t, sim_task *dependent, sim_task *parked, sim_guest *guest); /* false: it has ended */
bool sim_task_follow(sim_task *t, sim_follower *f); /* false: it has ended */
void sim_task_unwatch(sim_task *t, const sim_task *parked);
void sim_task_submit(sim_task *t, uint64_t started_ns); /* its call is filled in */
void sim_call_clear(sim_call *c);
void sim_value_clear(sim_value *v);

/* pool.c */
void sim_pool_push(sim_node *n, sim_task *t, bool first);
void sim_pool_dispatch(sim_node *n);
size_t sim_pool_take(sim_node *n, sim_task **out, size_t max);
bool sim_pool_claim(sim_task *t);
void sim_pool_resume(sim_task *t);
void sim_pool_unqueue(sim_task *t); /* it is in one of the lists */
void sim_pool_leave(sim_task *t); /* its worker is free again */

/* lineage.c */
sim_origin *sim_origin_of(sim_node *n); /* of what is taken in; NULL: of an argument */
void sim_origin_retain(sim_origin *o);
void sim_origin_release(sim_origin *o);
void sim_origin_keep(sim_origin *o, const sim_task *t);
void sim_stand_in_free(sim_task *t);
bool sim_lineage_orphan(sim_task *t); /* false: it cannot be made again */
void sim_lineage_ended(sim_node *n, sim_follower *f);
void sim_lineage_turn(sim_node *n);
void sim_lineage_cancelled(sim_node *n);
bool sim_lineage_has(const sim_node *n, const sim_task *t);
void sim_lineage_vanish(sim_node *n);

/* program.c */
void sim_program_root(sim *w);
void sim_program_begin(sim_task *t);
void sim_program_step(sim_task *t);
void sim_body_free(sim_task *t);

/* public.c: a cluster that many use, where config.public says so */
void sim_public_open(sim *w);
void sim_public_free(sim *w);
void sim_public_event(sim *w, const struct sim_event *e);
void sim_public_drop(const struct sim_event *e);
void sim_public_fault(sim *w);
void sim_public_mend(sim *w);
void sim_public_process(sim_node *n); /* it has ended */

/* faults.c */
sim_node *sim_node_add(sim *w, const char *extra);
void sim_faults_plan(sim *w);
void sim_fault(sim *w);
void sim_faults_over(sim *w);
void sim_join(sim *w);                    /* a node comes */
void sim_welcome(sim *w, sim_node *n);    /* the driver says to whom it shall connect */

/* checkers, one file each */
void check_resolves(sim *w);                              /* 1 */
void check_value_computed(sim_task *t, const sim_value *v); /* 2 */
void check_value_seen(const sim_task *t);
lr_map check_value_take(sim *w); /* what was computed; the caller's now */
void check_attempt(sim_task *t, uint32_t attempt);
void check_start(const sim_task *t);                      /* 3 */
void check_machine_fail(const sim_task *t, lr_err err);
void check_run_here(const sim_node *n, const lr_crossing *c);
void check_given_up(const sim_node *n, const lr_crossing *c, lr_err err);
void check_machine_start(const sim_task *t);
void check_resources(sim *w);                             /* 4 */
void check_reachable(sim *w);                             /* 5 */
void check_freed_node(const sim_node *n);                 /* 6: nothing is held */
void check_freed_memory(const sim_node *n);               /* after the mesh's end */
void check_unwanted(sim *w);
void check_progress(sim *w);                              /* 8 */
void check_idle_known(sim *w);
void check_turn(sim_node *n);
void check_end(sim *w); /* all of it, when nothing is left to happen */

#endif
