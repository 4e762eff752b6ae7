/* sched/rival.h - two connections between the same two nodes, each made by one of them: which of them stays.
 *
 * Two nodes that dial each other at once must come to keep the same connection, so one of them decides: the one with
 * the smaller id. It proves itself as dialer only if it has promised nothing as listener, and promises as listener
 * only if it has not proved itself as dialer; the other one follows. A node that dials although there is a connection
 * has lost it; unless that is so young that both dials were under way at once. Asked in the handshake, before either
 * is used.
 * Owns: nothing. Thread: any. Blocks: never. */
#ifndef SCHED_RIVAL_H
#define SCHED_RIVAL_H

#include "sched/id.h"

/* The other connection to the same node, as this side has it. */
typedef struct lr_rival {
    bool dialed; /* by this side, which has proved itself on it, or it is up */
    bool promised; /* dialed by the other side, which was told yes, or it is up */
    bool young;  /* not up, or for so short a time that both dials may have been under way at once */
} lr_rival;

/* Whether a connection to `other`, dialed by this side (self) or not, ends because of the rival. */
bool lr_rival_stays(lr_id self, lr_id other, bool dialed, const lr_rival *rival);

#endif
