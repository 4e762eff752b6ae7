/* runtime/crash.h - a last word when the process dies of a signal: which kernel ran, which signal.
 *
 * Handlers for SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT write one line on standard error,
 *     luarun: kernel go.playout crashed: SIGSEGV (invalid memory access) at 0x10
 * and a backtrace, then let the signal take its default course (core file, exit by signal). A signal
 * that already has a handler (a sanitizer's, the host program's) is left alone.
 * Owns: the handlers it installed, one alternate stack for each thread that ran a kernel.
 * Thread: any. Blocks: never. */
#ifndef RUNTIME_CRASH_H
#define RUNTIME_CRASH_H

#include "sched/base.h"

/* Installs the handlers, once a process; later calls do nothing. Loading a kernel library calls it:
 * a program without kernels pays nothing. */
void lr_crash_install(void);

/* What runs on this thread from now on: a name that lives until lr_crash_leave (NULL: no kernel).
 * Returns the name it replaces, for lr_crash_leave. The first call of a thread makes its alternate
 * stack, which goes with the thread. */
const char *lr_crash_enter(const char *kernel_name);
void lr_crash_leave(const char *before);

#endif
