/* runtime/segment.h - memory files of this host: this process's as others open it, and others' as they are mapped here.
 *
 * A place says where an object lies: which process has which memory file open under which descriptor, and where in
 * the file. Opening believes nothing: the file must be a memory file that cannot shrink (so that reading it is never a
 * deadly signal, whoever dies), as large as it says, with that segment's id in its header. Files are opened for reading
 * only, and stay mapped as long as a range is locked, or their process lives.
 *
 * A range that is locked here is not reused by its owner. Locks are those of the open file description (fcntl,
 * F_OFD_SETLK): the kernel takes them away with the process. They do not count: each range is locked once.
 *
 * Owns: mappings, descriptors and locks of others' files. Thread: any, one at a time: under the lock of shared.c.
 * Blocks: never for long; a file that is being freed is waited for up to WAIT_NS. */
#ifndef RUNTIME_SEGMENT_H
#define RUNTIME_SEGMENT_H

#include "sched/id.h"

typedef struct lr_segment lr_segment;

typedef struct lr_place {
    uint64_t pid; /* 0: nowhere that others could open */
    uint64_t fd;
    lr_id segment;
    uint64_t span_bytes;
    uint64_t offset;
    uint64_t serial; /* the stamp at offset */
} lr_place;

/* Boot, pid namespace and user: processes with the same can open each other's memory files. Nil where LUARUN_SHARE=0,
 * or the system does not tell. */
lr_id lr_host_id(void);

/* ---- this process's file: the arena ---- */

/* Fills in all but offset and serial. False: the arena cannot be opened by others. */
bool lr_segment_own(lr_place *place);
/* Is any byte of the range locked by another process? */
bool lr_segment_is_locked(uint64_t offset, uint64_t bytes);
/* Says that the object of that serial begins there (0: none). Before it is shown to others. */
void lr_segment_stamp(uint64_t offset, uint64_t serial);
/* Takes the stamp away, unless the range is locked. False: it is. */
LR_MUST_USE bool lr_segment_withdraw(uint64_t offset, uint64_t bytes, uint64_t serial);

/* ---- others' ---- */

/* The mapped file of that place, made when there is none yet. NULL: it cannot be opened, or is not what it says. */
lr_segment *lr_segment_open(const lr_place *place);
/* Locks the range of the object at that place and says where it lies. NULL: it is not there any more. */
const void *lr_segment_lock(lr_segment *s, const lr_place *place, uint64_t size_bytes);
/* True: nothing of that file is locked any more. */
bool lr_segment_unlock(lr_segment *s, uint64_t offset, uint64_t size_bytes);
/* How others open the same file: by this process. */
void lr_segment_name(const lr_segment *s, lr_place *place);
/* Unmaps the files of processes that have gone, where nothing of them is locked. */
void lr_segment_drop_gone(void);
unsigned lr_segment_count(void);

#endif
