/* runtime/fiber.h - a C stack of its own, and switching to it.
 *
 * A worker whose task waits where Lua cannot yield (in a table.sort comparator, in a coroutine of the
 * user's) leaves that stack as it is and goes on with its loop on another one; once the wait is over
 * it switches back. So no wait lies buried under another, in whatever order they end.
 *
 * Owns: the stacks (mapped, with a guard page below; the record lies at the stack's upper end). A switch saves what the
 * ABI calls preserved; nothing of the kernel is touched. Thread: a fiber stays with the thread that
 * made it. Blocks: never. */
#ifndef RUNTIME_FIBER_H
#define RUNTIME_FIBER_H

#include "sched/base.h"

typedef struct lr_fiber {
    void *saved; /* the stack pointer while another one runs */
    struct lr_fiber *next;
    void (*body)(void *argument);
    void *argument;
    char *stack; /* lowest byte; NULL: a thread's own stack */
    size_t stack_bytes;
    void *fake_stack, *sanitizer; /* for AddressSanitizer, for ThreadSanitizer */
} lr_fiber;

/* body must not return: it switches away for good. NULL: no memory, or too many of this process. */
lr_fiber *lr_fiber_new(void (*body)(void *argument), void *argument);
/* Not the one that runs. */
void lr_fiber_free(lr_fiber *f);
/* A record for the stack the calling thread was started with. */
void lr_fiber_of_thread(lr_fiber *f);
/* Saves the running one in `from` and goes on with `to`; returns when somebody switches back. */
void lr_fiber_switch(lr_fiber *from, lr_fiber *to);

#endif
