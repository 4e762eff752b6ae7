/* runtime/here.h - what this process's machine and user are called, in the words that rows of the tables use.
 *
 * Two processes have the same `loopback` when a tcp address of 127.0.0.1 means the same to both: the same boot of the
 * same kernel and the same network namespace. Hosts may share a name (containers), so that names do not tell.
 * Owns: nothing. Thread: any. Blocks: on small files of /proc. */
#ifndef RUNTIME_HERE_H
#define RUNTIME_HERE_H

#include "sched/base.h"

#define LR_HERE_TEXT 65

typedef struct lr_here {
    char host[LR_HERE_TEXT], user[LR_HERE_TEXT]; /* without blanks; "?" where unknown */
    char loopback[33];
} lr_here;

void lr_here_find(lr_here *here);
/* GPUs of this machine: devices /dev/nvidia0 and on, or what the driver lists. */
int64_t lr_here_gpus(void);
uint64_t lr_here_memory_bytes(void); /* all that is built in */
/* The wall clock, for people and other machines: milliseconds since 1970. */
uint64_t lr_here_wall_ms(void);

#endif
