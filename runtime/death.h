/* runtime/death.h - how the process of a lost node ended, which is known a moment after its connection has.
 *
 * A killed process closes its connections first and can be waited for later: when its memory is gone, when its parent
 * has run, for a cluster's machine when its agent has written it into the tables. Nobody waits for that: the node's
 * tasks are run again at once. What wants the words waits here without holding up anything: the line on the terminal,
 * the errors of tasks that were lost too often, the process that takes its place. Words that do not come within
 * LR_DEATH_NS are replaced by those of the connection's end.
 *
 *     connection ends ─▶ begin ─▶ its tasks run elsewhere; those that may not: fail ─▶ look, look ... ─▶ line, errors
 *
 * Owns: deaths, and a count of each task in them. Thread: whoever leads the node's loop. Blocks: never. */
#ifndef RUNTIME_DEATH_H
#define RUNTIME_DEATH_H

#include "runtime/pool.h"

#define LR_DEATH_NS 500000000u
#define LR_DEATH_TEXT 300

typedef struct lr_death lr_death;

/* how_ended: how a process ended; false: not known (yet). fail: ends a task that was given to lr_death_fail. */
void lr_deaths_open(bool (*how_ended)(int pid, char *text, size_t text_bytes),
                    void (*fail)(lr_task *t, const char *why));
/* Of a node whose process is pid (0: it has not said), with so many tasks of this one; text: how its connection
 * ended. NULL: no memory. */
lr_death *lr_death_begin(lr_id node, int pid, size_t tasks, const char *text);
/* The task fails with why and the words behind it, once they are known. Takes over a count. False: no memory. */
LR_MUST_USE bool lr_death_fail(lr_death *d, lr_task *t, const char *why);
/* Says, and fails, what is known by now or never will be. True: of some node. */
LR_MUST_USE bool lr_deaths_turn(uint64_t now_ns);
/* When to look again. */
uint64_t lr_deaths_deadline(void);
/* Of how many nodes it is not known; tasks that wait for it. */
size_t lr_deaths_count(void);
size_t lr_deaths_tasks(void);
/* All are over, whatever is known. */
void lr_deaths_close(void);

#endif
