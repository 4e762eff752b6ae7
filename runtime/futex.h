/* runtime/futex.h - a thread's bed: sleep until woken or a deadline, one sleeper each.
 *
 * lr_bed_wake may come before, during or after the sleep; it is remembered until the next
 * lr_bed_sleep returns. Private to the process. Thread: one sleeper, any wakers. */
#ifndef RUNTIME_FUTEX_H
#define RUNTIME_FUTEX_H

#include "runtime/clock.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct lr_bed {
    _Atomic int32_t state; /* 0 awake, -1 asleep, 1 woken */
} lr_bed;

/* Returns when woken or at deadline_ns (CLOCK_MONOTONIC; LR_NEVER: no deadline), or spuriously. */
static inline void lr_bed_sleep(lr_bed *b, uint64_t deadline_ns)
{
    int32_t expected = 0;
    if (atomic_compare_exchange_strong(&b->state, &expected, -1)) {
        struct timespec t = {(time_t)(deadline_ns / LR_NS_PER_S), (long)(deadline_ns % LR_NS_PER_S)};
        syscall(SYS_futex, &b->state, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, -1,
                deadline_ns == LR_NEVER ? NULL : &t, NULL, FUTEX_BITSET_MATCH_ANY);
    }
    /* an exchange, not a store: it reads what a waker wrote, and so sees what the waker did before */
    atomic_exchange(&b->state, 0);
}

static inline void lr_bed_wake(lr_bed *b)
{
    if (atomic_exchange(&b->state, 1) == -1)
        syscall(SYS_futex, &b->state, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

static inline void lr_cpu_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
