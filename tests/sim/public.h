/* tests/sim/public.h - the simulated public cluster: the control store, who is connected to it, agents and drivers.
 *
 * In some of the seeds the job's nodes are not just there: a store in memory, in shards as on Redis, stands behind
 * connections that are slow and break; agents hold leases and rosters (the real ones) and start a process for each job
 * whose row they see, as the real hosting says; the driver of the world's job, and others that have only a row, join, leave and
 * die. What runtime/agent.c, member.c and control_redis.c do around that is modelled in public.c and store.c: where they
 * change, these must. Owns: all of it, given back by sim_public_free. */
#ifndef TESTS_SIM_PUBLIC_H
#define TESTS_SIM_PUBLIC_H

#include "sched/control_memory.h"
#include "sched/hosting.h"
#include "sched/lease.h"
#include "sched/leftover.h"
#include "sched/roster.h"
#include "tests/sim/sim.h"

#define SHARDS_MAX 10

typedef struct sim_party sim_party;

/* A server of the store. */
typedef struct sim_shard {
    lr_control_memory memory;
    bool up;
    uint64_t slow_ns, slow_until_ns; /* answers take that much longer */
    uint64_t down_at_ns, down_ns;    /* since when it is away; how long it was in all */
    uint64_t ops;
} sim_shard;

typedef struct sim_gather { /* a request that goes to every shard */
    unsigned left;
    lr_control_status status;
    uint64_t count;
} sim_gather;

typedef struct sim_ask {
    lr_link link; /* its line's, until it is answered */
    sim_party *from;
    unsigned shard, refs;
    uint64_t epoch;   /* of the line that it was sent on; 0: not sent */
    bool applied, dropped;
    lr_control_request ask; /* key and value point into this and at value */
    uint8_t key[LR_CONTROL_KEY_MAX], *value;
    sim_gather *gather;
    lr_control_reply reply;
    lr_control_row *rows; /* copied, with what they name behind them */
} sim_ask;

typedef struct sim_delivery { /* what lies at a party until its next turn: an answer, or a wake-up */
    struct sim_delivery *next;
    sim_ask *ask; /* NULL: a wake-up */
    lr_control_status status;
    lr_control_table table;
} sim_delivery;

/* A party's connection to a shard. */
typedef struct sim_line {
    bool up;
    uint64_t epoch, made, made_at_ns, to_ns, from_ns, pause_ns;
    bool told[LR_CONTROL_TABLE_COUNT]; /* subscriptions that the server has */
    lr_list asks;
} sim_line;

typedef struct sim_client {
    lr_control control; /* first */
    sim_line line[SHARDS_MAX];
    bool wanted[LR_CONTROL_TABLE_COUNT];
    uint64_t delay_ns;
    sim_delivery *inbox, **inbox_end;
} sim_client;

/* Who has a row in the store: an agent or a driver. */
struct sim_party {
    sim *world;
    unsigned number;
    bool dead, agent, left, begun, begun_job; /* left: it has said good-bye; begun: it watches; begun_job: its row is written */
    sim_client client;
    lr_lease lease;
    lr_roster jobs, nodes;
    lr_leftover leftover;
    lr_hosting hosting;
    lr_allocator allocator;
    sim_memory memory;
    char offers[64];
    bool ringing;
    uint64_t turn_at_ns, paused_until_ns, clock_offset_ns;
    uint64_t wrote_ns, wrote_down_ns; /* its last renewal that was applied; the shard's down_ns then */
    uint64_t joined_ns, jumped_ns, new_keys;
};

typedef struct sim_hosted { /* a job as an agent has it */
    lr_hosted hosted; /* first */
    sim_party *at, *driver;
    sim_node *node; /* the process, where the job is the world's own */
    int pid;
    bool alive, well; /* the process; it ended by itself */
} sim_hosted;

typedef struct sim_public {
    sim_shard shards[SHARDS_MAX];
    unsigned shard_count;
    sim_party **parties;
    unsigned count, capacity;
    unsigned lost_percent, doubled_percent; /* of wake-ups */
    bool closes;                            /* the script has ended, the job will */
    int last_pid;
    sim_ask *applying;
    bool looking, lives;           /* store_row_lives asks; its answer */
    sim_party *late_agent, *late;  /* both come at the end, at nearly the same time */
} sim_public;

/* store.c */
void store_open(sim *w);
void store_free(sim *w);
void client_open(sim_party *p);
void client_close(sim_party *p);
void client_event(void *what, unsigned side); /* EVENT_STORE */
void client_line(void *what);                 /* EVENT_LINE */
void client_release(sim_ask *a);
uint32_t client_deliver(sim_party *p);
void client_break(sim_party *p, unsigned shard, bool silent);
void store_away(sim *w, unsigned shard);
void store_back(sim *w, unsigned shard, bool empty);
uint64_t store_down_ns(const sim *w, unsigned shard);
unsigned store_shard_of(const sim *w, lr_bytes key);
bool store_row_lives(sim *w, unsigned shard, lr_control_table table, lr_id key); /* it is there and not swept */
uint64_t client_connections(const lr_control *control);

/* public.c */
void party_ring(sim_party *p, uint64_t after_ns);
uint64_t party_now(const sim_party *p);
sim_party *party_of_key(sim *w, lr_control_table table, lr_bytes key); /* who lives and has that key; NULL: nobody */

/* checkers */
void check_store_left(sim *w);                            /* 6: nothing is left of what is over */
void check_rosters(sim *w);                               /* 8: who is there is known, who is not is not */
void check_seen(sim *w);                                  /* 8: a job's row is seen at once */
void check_renews(sim *w);                                /* 8: who can renew does */
sim_party *check_sweep_before(sim *w, const sim_ask *a); /* 8: nobody living is taken for dead; before and after it is done */
void check_sweep_after(sim *w, const sim_ask *a, const sim_party *p);

#endif
