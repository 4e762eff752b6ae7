/* runtime/children.h - the node processes of a private cluster (--procs): started, watched, ended.
 *
 * Each is this very program with the words `node --cluster ADDRESS`. They die with their parent, however it ends:
 * they ask the kernel for that first of all, and the end of their connection ends them too. How one has died is told
 * in words, and another can be started in its place.
 *
 * Owns: the processes, until they were waited for. Thread: any that lasts as long as the children may (its end would
 * be taken for the parent's). Blocks: end, up to a second; then by force. */
#ifndef RUNTIME_CHILDREN_H
#define RUNTIME_CHILDREN_H

#include "sched/base.h"

#define LR_CHILDREN_MAX 64
#define LR_CHILD_TEXT 160

/* Starts count processes that join the address, with a secret in their environment and a store of this process's
 * capacity each. False: text says why; none is left. */
LR_MUST_USE bool lr_children_start(unsigned count, int workers, const char *address, const char *secret, char *text,
                                   size_t text_bytes);
/* The processes that live; returns how many. */
unsigned lr_children_pids(int pids[LR_CHILDREN_MAX]);
/* How process pid ended: "killed by signal 9 (Killed)", "exit status 3"; false: it lives, or is none of ours. */
bool lr_children_look(int pid, char *text, size_t text_bytes);
/* Starts another in the place of each that has ended. False: none was started, or too many have ended already. */
LR_MUST_USE bool lr_children_replace(void);
/* Those that are not connected to us end at once: they would find nobody. */
void lr_children_forsake(bool (*connected)(int pid));
/* Waits until all have ended. */
void lr_children_end(void);
/* For the child: to die with its parent. */
void lr_children_follow_parent(void);

#endif
