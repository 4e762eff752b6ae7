/* runtime/room.h - a machine's gpus, memory and named resources, promised once among the jobs that share it.
 *
 * Each job has a process of its own on a machine, and each such process's scheduler holds what the machine offers. What
 * is held across processes is a lock: the room is a memory file of the agent's that every job process inherits; each
 * resource is a stretch of its bytes, as long as there are units of it, and who holds some has locked as many of them
 * (open-file-description locks). So nothing need be told, and what a process held that was killed is free at once.
 * cpus are not in it: the kernel shares them.
 *
 * A task that the scheduler has let start waits for its room in line, oldest first, and looks again every LOOK_NS.
 * Owns: the file, this process's locks. Thread: the node thread. Blocks: never. */
#ifndef RUNTIME_ROOM_H
#define RUNTIME_ROOM_H

#include "sched/resource.h"

#define LR_ROOM_LOOK_NS 5000000u
#define LR_ROOM_VARIABLE "LUARUN_ROOM"

/* At the agent: a room that the processes it starts inherit; its descriptor, or -1 (they share unguarded). */
int lr_room_make(void);
/* In a job process: the inherited room, named by the environment. None: everything is this process's own. */
void lr_room_open(void);
bool lr_room_is_open(void);

typedef struct lr_room_hold lr_room_hold;
/* Locks what need has beside cpus, of so much in all. False: it is not free now, nothing is locked. True with *hold
 * NULL: nothing is asked, or there is no room to share. */
LR_MUST_USE bool lr_room_take(const lr_resources *need, const lr_resources *total, lr_room_hold **hold);
/* Gives it back. NULL is welcome. */
void lr_room_give(lr_room_hold *hold);

#endif
