/* tests/unit/test.h - what every unit test includes: cmocka with what it needs before it.
 *
 * Link tests/unit/assert_hook.c: a failed LR_ASSERT then fails the test, or satisfies
 * expect_assert_failure(). */
#ifndef TESTS_UNIT_TEST_H
#define TESTS_UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RUN_ALL(tests) cmocka_run_group_tests(tests, NULL, NULL)

#endif
