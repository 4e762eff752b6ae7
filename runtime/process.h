/* runtime/process.h - starting another program that dies with this process, and telling in words how one has ended.
 *
 * The child asks the kernel for its death with its parent before the program is run, so that any program can be a
 * child, redis-server too. It begins with default signal handlers and an empty mask. Nothing of this process's memory
 * is copied (vfork), so that it is quick from a process with gigabytes, and allowed where there are threads.
 * "Parent" is the thread that starts it: one that lasts as long as the child may.
 * Owns: nothing; the process is the caller's, to be waited for. Thread: any. Blocks: until the program is run. */
#ifndef RUNTIME_PROCESS_H
#define RUNTIME_PROCESS_H

#include "sched/base.h"

#define LR_PROCESS_TEXT 160

typedef struct lr_process_start {
    const char *program;      /* a path, or a name that is searched in PATH; NULL: this very program */
    const char *const *words; /* argv; ends with NULL */
    char *const *environment; /* NULL: ours */
    int output_fd;            /* its standard output and error; -1: ours */
    bool outlives;            /* it does not die with its parent */
} lr_process_start;

/* 0, or errno. The child leads a process group of its own: ^C at a terminal is its parent's to pass on. */
int lr_process_begin(const lr_process_start *start, int *pid) LR_MUST_USE;
/* The environment with some variables changed: "NAME=value" sets one, "NAME" takes it away. The texts stay the
 * caller's; free() the list. NULL: no memory. */
char **lr_process_environment(char *const *changes, size_t count);
/* Blocks the signals that end a supervisor or tell of its children (SIGTERM, SIGINT, SIGHUP, SIGCHLD) and returns a
 * descriptor from which they are read, without waiting; -1: errno. */
int lr_process_signals(void);
/* A waitpid status: "was killed by signal 9 (Killed)", "ended with exit status 3". */
void lr_process_explain(int status, char text[LR_PROCESS_TEXT]);

#endif
