/* sched/lease.h - a row of ours in the tables, which others delete when we are dead.
 *
 *     start ──▶ compare-and-set, no row yet ──▶ held ──▶ compare-and-set of a renewed row, every third of the lease
 *                                                 │
 *             somebody took us for dead: lost() ◀─┘  and the row is written again
 *
 *     end ──▶ the row says `swept` ──▶ clear ──▶ what its key owns is deleted ──▶ the row is, at last
 *
 * The row goes last, and only when the rest is known to be gone: whoever fails on the way leaves a row that expires,
 * and whoever sweeps it (sched/roster.h) begins again. So the row is not owned by its own key.
 *
 * A renewal changes the row's version and wakes nobody; the first writing and the end wake who watches the table. A
 * store that does not answer is asked again; the row is written anew if it has lost it. Keys are random ids, so that a
 * row under ours is ours or says that we were swept.
 * A row that says `swept` is deleted by who swept it; where that is dead, too, and nobody else is there, it is taken
 * back after a lease.
 * Owns: nothing; the struct is the caller's. Thread: the store's. Blocks: never. */
#ifndef SCHED_LEASE_H
#define SCHED_LEASE_H

#include "sched/row.h"

#define LR_LEASE_TOKEN (0xa0ull << 56) /* of its requests; the machine's tokens are smaller */
#define LR_LEASE_NS (3 * LR_NS_PER_S)  /* the usual one */

typedef struct lr_lease {
    lr_control *control;
    lr_control_table table;
    lr_id key;
    uint64_t lease_ns;
    size_t (*write)(void *user, char text[LR_ROW_MAX]); /* the row as it is now */
    void (*lost)(void *user); /* it was swept; may change the key; NULL: nothing to say */
    void *user;
    uint64_t version, next_ns, token, now_ns; /* now: of the last turn */
    uint64_t swept_version, swept_ns; /* the row that says that we are dead, and when it was seen first; 0: none */
    bool started, asked;
    bool clearing;         /* clear() waits for the store */
    bool held;             /* the store has it, as far as is known */
    lr_control_status status; /* of the last answer */
} lr_lease;

/* The fields above version are the caller's. */
void lr_lease_begin(lr_lease *lease);
/* Renews when it is time. */
void lr_lease_turn(lr_lease *lease, uint64_t now_ns);
uint64_t lr_lease_deadline(const lr_lease *lease);
/* True where the reply was this lease's. */
bool lr_lease_reply(lr_lease *lease, const lr_control_reply *reply);
/* Whoever watches is told that it is over. The answer is nobody's. wall_ms is for people. */
void lr_lease_end(lr_lease *lease, uint64_t wall_ms);
/* Deletes what the key owns, then the row. Until clearing is false, or the caller has no more time. */
void lr_lease_clear(lr_lease *lease);

#endif
