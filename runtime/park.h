/* runtime/park.h - one blocked waiter: a parked coroutine, or a thread that waits.
 *
 * A park belongs to one worker and is woken once, by whoever comes first: the ends it counts
 * (`wanted` of them), its deadline, or a cancel. Waking puts it into its owner's inbox; the owner
 * does the rest. The memory is the owner's (part of a coroutine's slot, or on a stack).
 * Thread: lr_park_wake and lr_park_count_down by any, the rest by the owner. Blocks: never. */
#ifndef RUNTIME_PARK_H
#define RUNTIME_PARK_H

#include "runtime/task.h"

typedef enum lr_park_reason {
    LR_PARKED = 0,
    LR_PARK_READY,
    LR_PARK_TIMEOUT,
    LR_PARK_CANCELLED,
    LR_PARK_AGAIN,
    LR_PARK_STUCK,      /* the script only: nothing will ever come */
    LR_PARK_INTERRUPTED /* the script only: ^C at the console */
} lr_park_reason;

typedef struct lr_park {
    struct lr_worker *owner;
    struct lr_park *next;        /* in an inbox or a list of woken ones */
    _Atomic uint32_t reason;     /* LR_PARKED until woken */
    _Atomic int64_t wanted;      /* ends still to come; 1 more while it is being armed */
    uint64_t deadline_ns;        /* LR_NEVER: none */
    size_t timer;                /* place in the owner's timers + 1; 0: not there */
    struct lr_park *list_next, *list_prev; /* the owner's parked coroutines */
    lr_task *task;               /* who waits; NULL: the script */
    bool on_stack, delivered;    /* a stack waits and not a coroutine; its owner has found it in the inbox */
    struct lr_fiber *fiber;      /* on_stack in a worker: what to switch to */
} lr_park;

/* One watched task of a park. */
typedef struct lr_watch {
    lr_waiter waiter;
    lr_park *park;
} lr_watch;

/* wanted counts ends; armed by lr_park_armed once every watch is in place. */
void lr_park_init(lr_park *p, struct lr_worker *owner, lr_task *task, int64_t wanted, uint64_t deadline_ns);
/* Counts t's end for p: now, if it has ended, else when it does. */
void lr_park_watch(lr_park *p, lr_watch *watch, lr_task *t);
/* The last step of arming. True: nothing left to wait for (p is not, and will not be, in an inbox). */
bool lr_park_armed(lr_park *p);
/* First waker wins: true, and the caller must put p into its owner's inbox (lr_pool_deliver). */
bool lr_park_wake(lr_park *p, lr_park_reason reason);

#endif
