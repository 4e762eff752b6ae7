/* runtime/control_redis_greeting.h - what a link says first, and what it makes of the answers.
 *
 * To a Sentinel: a password if there is one, and the question for the primary's address. To a server: AUTH, CLIENT
 * SETNAME, SELECT, INFO, and on the link that carries requests the scripts and `hello`. Here stands what may be wrong
 * with a Redis, each with its sentence. Owns: nothing; a part of control_redis_link. Thread: one. Blocks: never. */
#ifndef RUNTIME_CONTROL_REDIS_GREETING_H
#define RUNTIME_CONTROL_REDIS_GREETING_H

#include "runtime/control_redis_link.h"

typedef enum lr_redis_greeting {
    LR_REDIS_GREETING_MORE,    /* answers are to come */
    LR_REDIS_GREETING_DONE,
    LR_REDIS_GREETING_ADDRESS, /* the Sentinel told it */
    LR_REDIS_GREETING_FAILED   /* lr_redis_link_fail was called */
} lr_redis_greeting;

/* Writes all of it into link->greeting. False: out of memory. */
LR_MUST_USE bool lr_redis_greeting_write(lr_redis_link *link);
/* Takes the next answer. */
lr_redis_greeting lr_redis_greeting_read(lr_redis_link *link, const redisReply *reply, lr_redis_address *address);

#endif
