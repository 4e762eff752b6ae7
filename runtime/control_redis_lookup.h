/* runtime/control_redis_lookup.h - the address of a host name, asked of the system on a thread of its own.
 *
 * getaddrinfo blocks as long as it likes and cannot be called off, and the node thread may not wait for it. So a
 * short-lived thread asks; the record is counted and freed by whoever of the two lets go last. A number
 * ("127.0.0.1", "::1") needs no thread. Owns: the record, its eventfd. Thread: the caller's, and one each. */
#ifndef RUNTIME_CONTROL_REDIS_LOOKUP_H
#define RUNTIME_CONTROL_REDIS_LOOKUP_H

#include "sched/base.h"

#define LR_REDIS_NUMBER_TEXT 64 /* of an address as a number */

typedef struct lr_redis_lookup lr_redis_lookup;

/* Whether host is a number already. */
bool lr_redis_is_number(const char *host);
/* Begins to ask; NULL where no thread or memory can be had. */
lr_redis_lookup *lr_redis_lookup_start(const char *host);
/* Readable when the answer is there. */
int lr_redis_lookup_fd(const lr_redis_lookup *lookup);
/* True when it is there: number is the address, or empty with a reason in error. */
bool lr_redis_lookup_done(lr_redis_lookup *lookup, char number[LR_REDIS_NUMBER_TEXT], const char **error);
/* Lets go of it, answered or not; NULL does nothing. */
void lr_redis_lookup_drop(lr_redis_lookup *lookup);

#endif
