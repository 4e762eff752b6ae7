/* runtime/clock.h - the one place where time is read.
 *
 * lr_clock_ns is CLOCK_MONOTONIC in nanoseconds: what deadlines and timers are in. lr_clock_ticks is
 * a cheaper counter for short spans (the time stamp counter on x86-64); lr_clock_ticks_ns turns a
 * difference of ticks into nanoseconds. Thread: any. Blocks: never. */
#ifndef RUNTIME_CLOCK_H
#define RUNTIME_CLOCK_H

#include "sched/base.h"

#include <time.h>

static inline uint64_t lr_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * LR_NS_PER_S + (uint64_t)t.tv_nsec;
}

#if defined(__x86_64__)
static inline uint64_t lr_clock_ticks(void) { return __builtin_ia32_rdtsc(); }
#elif defined(__aarch64__)
static inline uint64_t lr_clock_ticks(void)
{
    uint64_t t;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
    return t;
}
#else
static inline uint64_t lr_clock_ticks(void) { return lr_clock_ns(); }
#endif

/* Nanoseconds of so many ticks. The rate is measured between the first call in the process and now,
 * so it is rough for the first milliseconds and exact later. */
uint64_t lr_clock_ticks_ns(uint64_t ticks);
void lr_clock_init(void); /* notes the reference; called once when the runtime starts */

/* now + seconds as a deadline; LR_NEVER for what is beyond 100 years or not a number; now for negatives. */
static inline uint64_t lr_clock_deadline(double seconds)
{
    if (!(seconds < 3e9)) return LR_NEVER;
    return lr_clock_ns() + (seconds > 0 ? (uint64_t)(seconds * 1e9) : 0);
}

#endif
