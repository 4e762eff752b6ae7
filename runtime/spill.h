/* runtime/spill.h - objects on disk, under the addresses that they had in memory.
 *
 * To spill an object is to write it to the spill file and to map that part of the file over its part of the arena
 * (in one step: pointers into it stay good, and readers notice nothing). The kernel reads back what is looked at.
 * The offset in the file is that in the arena, so that there is no index and neither file fragments.
 * What was used longest ago goes first; only sealed objects that no other process has mapped.
 *
 * The file has no name: nothing of it is left, however the process ends. It lies in LUARUN_SPILL_DIR ("off": nothing is
 * spilled), else in $TMPDIR, else in /var/tmp; a directory that is memory itself is passed over unless it was named.
 * Owns: the file. Thread: any. Blocks: for the disk. */
#ifndef RUNTIME_SPILL_H
#define RUNTIME_SPILL_H

#include "runtime/arena.h"
#include "runtime/buffer.h"

#include <stdio.h>

/* Makes room for so many bytes: what nobody has any more is freed, then objects are spilled, then other processes are
 * asked to let go of what they hold and waited for, up to a second. False: nothing could be done. */
LR_MUST_USE bool lr_spill_make_room(uint64_t bytes);
/* The same without waiting for others. */
LR_MUST_USE bool lr_spill_some(uint64_t bytes);
/* The disk took no more when it was last tried: who wants room may wait for it (lr_pool_reclaim does, for a while). */
bool lr_spill_is_full(void);
/* Then: "; the disk of DIRECTORY takes no more (why)". */
void lr_spill_say_full(FILE *out);
/* Reads a spilled object back into the arena. False: it stays where it is, and is as good. */
bool lr_spill_return(lr_buffer *b);
/* store.c: an extent's part of the file is not needed any more. False: its addresses cannot be used again. */
bool lr_spill_forget(lr_extent *e);
/* store.c: the arena is about to be closed. */
void lr_spill_close(void);
/* Called, from any thread, when room is wanted that other processes hold: they should be told. */
void lr_spill_on_need(void (*tell)(void));

#endif
