/* sched/base.h - the assertion hook and the few macros every file shares.
 *
 * LR_ASSERT states what a programmer must have ensured; it is on in release builds. Everything that
 * can happen in operation is an lr_err instead. The hook is the one function sched asks of its host. */
#ifndef SCHED_BASE_H
#define SCHED_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Supplied by the host (runtime/log.c, tests): prints and aborts. Never returns. */
_Noreturn void lr_assert_failed(const char *expression, const char *file, int line);

#define LR_ASSERT(e) (__builtin_expect(!!(e), 1) ? (void)0 : lr_assert_failed(#e, __FILE__, __LINE__))
#define LR_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define LR_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LR_NS_PER_S 1000000000ull
#define LR_NEVER UINT64_MAX /* a deadline that does not come */
#define LR_MUST_USE __attribute__((warn_unused_result))

#endif
