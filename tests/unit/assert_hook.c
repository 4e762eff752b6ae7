/* tests/unit/assert_hook.c - sched's assertion hook in tests: cmocka's. */
#include "sched/base.h"
#include "tests/unit/test.h"

_Noreturn void lr_assert_failed(const char *expression, const char *file, int line)
{
    mock_assert(0, expression, file, line); /* leaves by longjmp when a test expects it */
    abort();
}
