/* sched/roster.h - a table of leased rows (sched/lease.h), watched: who came, who is gone, who has died.
 *
 * It subscribes, reads the whole table, reads it again when it is known that the subscription holds (which may go by
 * another connection than what is read), when woken, and every third of a lease: wake-ups may be lost. A row whose
 * version stays the same for its lease has no living owner. Time counts from reading to reading, by this process's
 * clock alone, and of each pause no more than a usual one: the process may have been stopped, the store away, a clock
 * set. Who sees it first claims it by compare-and-set (the row then says `swept`); the claimer deletes all that its key
 * owns, then the row, and says so in the history. A claimer that dies or is answered late leaves a row that expires
 * like any other.
 *
 * A job whose row a store has lost, and whose driver does not write it again, is as good as swept: what it owns may lie
 * on another shard.
 *
 * Tables of many rows, or on many shards, are read less often, so that a thousand nodes that watch each other do not
 * fill the store with reading: a second for each 16 rows, a quarter for each request that a reading takes.
 * Owns: its entries, by the allocator given. Thread: the store's. Blocks: never. */
#ifndef SCHED_ROSTER_H
#define SCHED_ROSTER_H

#include "sched/list.h"
#include "sched/map.h"
#include "sched/row.h"

typedef struct lr_roster_entry {
    lr_link link;               /* the roster's: by when they came */
    lr_id key;
    uint64_t version, seen_ns;  /* the version, and when it was read last */
    uint64_t silent_ns;         /* for how long it has been the same */
    uint64_t lease_ns;
    uint64_t round;             /* the last reading that had it */
    bool swept;                 /* not told of (any more) */
    bool missed;                /* the store was away since it was read last */
    void *user;                 /* the watcher's */
} lr_roster_entry;

typedef struct lr_roster_handler {
    void (*on_row)(void *user, lr_roster_entry *entry, lr_bytes row); /* a new one; the row lasts until it returns */
    void (*on_gone)(void *user, lr_roster_entry *entry);
    void (*on_swept)(void *user, lr_id key); /* by us; may be NULL */
    void *user;
} lr_roster_handler;

typedef struct lr_roster {
    lr_control *control;
    const lr_allocator *allocator;
    lr_control_table table;
    uint64_t tokens;   /* base of its tokens: LR_ROSTER_TOKEN and a byte of the watcher's choice */
    bool subscribes;
    lr_roster_handler handler;
    uint64_t (*connections)(const lr_control *control); /* a larger number: the store was away */
    uint64_t (*wall_ms)(void);                          /* for people, in what a sweep leaves */
    lr_list entries;
    lr_map by_key;
    uint64_t now_ns; /* of the last turn */
    uint64_t round, next_ns, cursor, connections_seen;
    lr_id sweeps;      /* the row that is claimed, or whose rest is being deleted; one at a time. Nil: none */
    uint64_t claimed_ns;
    uint64_t pages, pages_read; /* requests of the last whole reading; of this one */
    uint64_t believe_ns; /* until then nobody is gone: the store may be a new one, which owners fill again */
    bool reading, again, subscribed;
    bool read;         /* the whole table, once */
} lr_roster;

#define LR_ROSTER_TOKEN(byte) (0xb0ull << 56 | (uint64_t)(byte) << 48)

/* The fields above entries are set. */
void lr_roster_begin(lr_roster *roster);
void lr_roster_turn(lr_roster *roster, uint64_t now_ns);
uint64_t lr_roster_deadline(const lr_roster *roster);
bool lr_roster_reply(lr_roster *roster, const lr_control_reply *reply);
void lr_roster_wake(lr_roster *roster, lr_control_table table);
/* Who is there by what it has read, or NULL. */
const lr_roster_entry *lr_roster_find(const lr_roster *roster, lr_id key);
void lr_roster_end(lr_roster *roster);

#endif
