/* runtime/allocator.h - the process's heap, as the parts of sched that must grow ask for it (sched/allocator.h).
 *
 * Owns: nothing. Thread: any. Blocks: never. */
#ifndef RUNTIME_ALLOCATOR_H
#define RUNTIME_ALLOCATOR_H

#include "sched/allocator.h"

/* malloc and free. */
extern const lr_allocator lr_process_allocator;

#endif
