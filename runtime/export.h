/* runtime/export.h - values on their way between nodes: an lr_value with everything it refers to, as bytes and back.
 *
 * An exported value is
 *     varint size · bytes (a message, sched/value.h) · varint count · count references
 * and a reference, in the order of the message's table,
 *     TASK    u8 1 · 16 bytes id       a future: whoever gets it asks its sender for the end (WANT)
 *     BUFFER  u8 2 · varint size · bytes
 *     CODE    u8 3 · varint size · bytes
 *     FN      u8 4 · 16 bytes id       a remote function that was sent before (FUNCTION)
 *     OBJECT  u8 5 · 16 bytes id · varint size · varint length, site · 16 bytes holder · varint pid, and where it is
 *             not 0 varint fd · 16 bytes segment · varint span, offset, serial     a buffer by reference (shared.h)
 * Small buffers travel with the message that names them; large ones of arguments and functions are brought before it
 * is imported (runtime/lending.h), those of results stay where they are until they are needed (absent, runtime/far.h).
 *
 * The importer believes nothing: sizes, counts and kinds are checked, and the message itself is checked by whoever
 * decodes it. Owns: nothing. Thread: the node thread. Blocks: never. */
#ifndef RUNTIME_EXPORT_H
#define RUNTIME_EXPORT_H

#include "runtime/fn.h"
#include "runtime/shared.h"
#include "runtime/value.h"

struct lr_task;

typedef struct lr_export_to {
    void (*lend)(void *user, struct lr_task *t); /* a future of it goes out: its end will be asked for */
    lr_id (*know)(void *user, lr_fn *fn);        /* the other side must know fn before; its id there */
    void *user;
    /* an object goes out by reference; false, or NULL: as bytes */
    bool (*offer)(void *user, lr_buffer *b, lr_reference *out);
} lr_export_to;

/* Appends v to b, which is no builder of a message: it has no references. Fails by b->failed. */
void lr_export(lr_builder *b, const lr_value *v, const lr_export_to *to);

typedef struct lr_import_from {
    struct lr_task *(*borrow)(void *user, lr_id id); /* one count, the caller's; NULL: no memory */
    lr_fn *(*find)(void *user, lr_id id);            /* not counted; NULL: it was never sent */
    /* an object that is not here, the index-th reference: what stands for it, one count. NULL, as hook too: it fails */
    lr_buffer *(*absent)(void *user, const lr_reference *ref, uint32_t index);
    void *user;
} lr_import_from;

/* The objects that the exported value at r refers to, into out, as far as there is room: how many there are. Fewer
 * where it is malformed: lr_import will say so. What out points to is in the bytes. */
size_t lr_export_objects(lr_reader r, lr_reference *out, size_t max);
/* Makes *v (empty before) of what is at r. False: it is malformed, or there is no room; text says which. */
LR_MUST_USE bool lr_import(lr_reader *r, lr_value *v, const lr_import_from *from, char *text, size_t text_bytes);

#endif
