/* runtime/log.c - the last words of a broken assertion.
 *
 * Owns nothing. Thread: any. It never returns and never allocates: the heap may be what is broken. */
#include "sched/base.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void lr_assert_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "luarun: %s:%d: assertion failed: %s\n", file, line, expression);
    fflush(stderr);
    abort();
}
