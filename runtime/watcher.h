/* runtime/watcher.h - a thread that waits for descriptors on behalf of the node's loop, and rings when one is ready.
 *
 * Whoever leads the loop sleeps where other threads and processes can ring (bell.h), and there no descriptor is seen.
 * Of a public cluster there are some: the connections to its store. The thread waits for them, rings once, and waits
 * again after the loop has turned.
 * Owns: the thread. Thread: start, turned and stop by whoever leads. Blocks: stop. */
#ifndef RUNTIME_WATCHER_H
#define RUNTIME_WATCHER_H

#include "sched/base.h"

#include <poll.h>

#define LR_WATCHER_FDS 64u

/* False: no thread, or no descriptor, can be had. */
LR_MUST_USE bool lr_watcher_start(void (*ring)(void));
/* The loop has turned: these are waited for from here on. Nothing where no watcher runs. */
void lr_watcher_turned(const struct pollfd *fds, uint32_t count);
void lr_watcher_stop(void);

#endif
