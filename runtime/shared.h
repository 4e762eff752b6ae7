/* runtime/shared.h - objects that more than one process has: found by id, shown to others, mapped from them.
 *
 * An object is a buffer over LR_STORE_SMALL_BYTES. The first time that it is shown it gets an id, which it keeps on
 * every node. Here it is found by that id as long as it lives, so that it comes in once however often it is sent.
 *
 *     private ──show──▶ shared ──last reference──▶ limbo ──nobody has it locked──▶ free
 *                         ▲                          │
 *                         └──────────find────────────┘
 *
 * A view is an object whose data lie in another process's memory file; it holds a lock on them there
 * (runtime/segment.h). In limbo are objects of this node that have no reference here and are locked elsewhere: their
 * memory stays, and is looked at again by sweep.
 *
 * Owns: the table of ids (it holds no references), the records in limbo, views. Thread: any. Blocks: for its lock,
 * microseconds at most; map up to 0.1 s where an owner died at a bad moment. */
#ifndef RUNTIME_SHARED_H
#define RUNTIME_SHARED_H

#include "runtime/buffer.h"
#include "runtime/segment.h"

/* An object as it is named between nodes. */
typedef struct lr_reference {
    lr_id id;
    uint64_t size_bytes;
    const char *site; /* site_bytes of it, no 0 */
    size_t site_bytes;
    lr_id holder;   /* the node that has it; nil: whoever names it */
    lr_place place; /* pid 0: none that others could open */
} lr_reference;

#define LR_SITE_MAX 200u /* bytes of a site that travel */

/* The site as buffers have it: interned. Nothing given: from another node. */
const char *lr_reference_site(const lr_reference *ref);
/* Size and site of b as it is named to others; where it is is not filled in. */
lr_reference lr_reference_of(const lr_buffer *b);

/* Is it large enough to go by reference? */
bool lr_shared_is_object(const lr_buffer *b);
/* Names a sealed object that the caller holds. False: no memory. */
LR_MUST_USE bool lr_shared_show(lr_buffer *b, lr_reference *out);
/* The object of that id, if this node has it: one more count. */
lr_buffer *lr_shared_find(lr_id id);
/* The same, or a view of it: one count. NULL: it cannot be mapped. */
lr_buffer *lr_shared_map(const lr_reference *ref);
/* b, which nobody else has yet, is from now on found by that id. */
void lr_shared_adopt(lr_buffer *b, lr_id id);
/* Takes away what lets others map b, which is about to be spilled. False: somebody has it mapped. */
LR_MUST_USE bool lr_shared_withdraw(lr_buffer *b);

/* The destroyers, with no reference left. let_go: true: the caller frees it now. */
LR_MUST_USE bool lr_shared_let_go(lr_buffer *b);
void lr_view_free(lr_buffer *b);

/* Frees what is in limbo and locked by nobody any more; unmaps files of processes that have gone. How many it freed. */
size_t lr_shared_sweep(void);
/* The same for a few of them. */
size_t lr_shared_sweep_some(void);
bool lr_shared_has_limbo(void);
void lr_shared_count(uint64_t *limbo_count, uint64_t *limbo_bytes);
/* From any thread, with no lock held: something came into limbo and nothing was there. Set before anything is shown. */
void lr_shared_on_limbo(void (*ring)(void));
/* What a listing tells of an object. */
typedef struct lr_object_info {
    lr_id id; /* nil: no other node has heard of it */
    uint64_t size_bytes;
    const char *site; /* lasts as long as the process */
    uint64_t holders; /* references in this process: futures, messages, tensors */
    uint64_t pid;     /* view: the process that it was mapped from */
    bool sealed;
    enum lr_object_where {
        LR_IS_IN_MEMORY,
        LR_IS_ON_DISK,
        LR_IS_IN_LIMBO, /* other processes have it mapped, nobody here has it */
        LR_IS_A_VIEW    /* in another process's memory */
    } where;
} lr_object_info;

/* The objects of this process, into out as far as there is room, largest first: how many there are. */
size_t lr_shared_list(lr_object_info *out, size_t max);
const char *lr_object_place(enum lr_object_where where); /* "memory", "disk", "held", "elsewhere" */

/* Why the object of that id could not be brought here: noted, and told in a sentence. The last few are kept. */
void lr_shared_note_failure(lr_id id, const char *text);
void lr_shared_why(lr_id id, char *text, size_t text_bytes);
/* How many objects are found by id, and how many files are mapped: for tests and statistics. */
void lr_shared_look(size_t *objects, unsigned *segments);

#endif
