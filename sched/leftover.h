/* sched/leftover.h - rows of jobs that are over, which nobody has deleted.
 *
 * What a job owns goes with it: its driver deletes it, or whoever sweeps its row. A row may stay all the same. An agent
 * writes how a process died after the driver has deleted the rest, and is killed before it has taken that back; a store
 * that was killed comes back without its last second, with rows that had been deleted and without the job's own. So an
 * agent looks through the tables of what is said about jobs, now and then, and deletes what belongs to nobody at two
 * looks one after the other. The more agents, the more seldom each of them looks.
 *
 * Owns: nothing. Thread: the store's. Blocks: never. */
#ifndef SCHED_LEFTOVER_H
#define SCHED_LEFTOVER_H

#include "sched/control.h"

#define LR_LEFTOVER_SUSPECTS 64 /* more are found at later looks */
#define LR_LEFTOVER_LEAST_NS (10 * LR_NS_PER_S) /* between two looks of an agent */

typedef struct lr_leftover {
    lr_control *control;
    uint64_t token;                       /* of its requests: one that nobody else uses */
    bool (*lives)(void *user, lr_id job); /* its row is there, or is not known not to be */
    unsigned (*agents)(void *user);       /* that look, about */
    void *user;
    uint64_t next_ns, cursor;
    unsigned table;
    bool looks;
    lr_id before[LR_LEFTOVER_SUSPECTS], now[LR_LEFTOVER_SUSPECTS]; /* without a living owner, at two looks */
    unsigned before_count, now_count;
} lr_leftover;

/* The fields up to user are set. */
void lr_leftover_begin(lr_leftover *l, uint64_t now_ns);
void lr_leftover_turn(lr_leftover *l, uint64_t now_ns);
uint64_t lr_leftover_deadline(const lr_leftover *l);
/* True where the reply was this one's. */
bool lr_leftover_reply(lr_leftover *l, const lr_control_reply *reply);

#endif
