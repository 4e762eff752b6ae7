/* runtime/value.h - a message on its way: its bytes and the references they name.
 *
 * An lr_value owns its bytes and one count of every reference. Small ones (most arguments and
 * results) lie inside the struct, larger ones in one allocation. Values move (the struct is copied and the
 * source cleared) and are never shared: an lr_value has one owner.
 * An lr_builder is where a message is made: a growing pair of arrays, one for each thread or state,
 * reused from message to message. The format of the bytes is sched/value.h's.
 * Thread: the owner's. Blocks: never. */
#ifndef RUNTIME_VALUE_H
#define RUNTIME_VALUE_H

#include "runtime/object.h"
#include "sched/error.h"
#include "sched/id.h"
#include "sched/value.h"

#define LR_PLAIN_COUNT_MAX 8 /* values in a plain message: fewer than Lua guarantees to have room for */
#define LR_VALUE_INLINE 40 /* bytes for references (8 each) and data together */

typedef struct lr_value {
    uint32_t size_bytes;
    uint16_t ref_count_small; /* the references when inline */
    uint8_t form;             /* 0 empty, 1 inline, 2 heap */
    bool plain;               /* inline, no references, made by bindings/plain.c or a kernel: read without checks */
    union {
        uint8_t bytes[LR_VALUE_INLINE]; /* references first (aligned), then data */
        struct {
            uint8_t *data; /* one allocation: references, then data */
            lr_object **refs;
            uint32_t ref_count;
        } heap;
        lr_object *align_;
    } u;
} lr_value;

_Static_assert(sizeof(lr_value) == 48, "two of them and the rest of a task make three cache lines");

static inline bool lr_value_is_empty(const lr_value *v) { return v->form == 0; }

static inline uint32_t lr_value_ref_count(const lr_value *v)
{
    return v->form == 2 ? v->u.heap.ref_count : v->ref_count_small;
}

/* The same of one that may be empty. */
static inline uint32_t lr_value_refs_in(const lr_value *v) { return v->form ? lr_value_ref_count(v) : 0; }

static inline lr_object *const *lr_value_refs(const lr_value *v)
{
    return v->form == 2 ? v->u.heap.refs : (lr_object *const *)(const void *)v->u.bytes;
}

static inline const uint8_t *lr_value_bytes(const lr_value *v)
{
    return v->form == 2 ? v->u.heap.data : v->u.bytes + 8u * v->ref_count_small;
}

static inline lr_reader lr_value_reader(const lr_value *v)
{
    return lr_reader_of(lr_value_bytes(v), v->size_bytes);
}

/* Releases the references and the memory; v is empty afterwards. Empty values are welcome. */
void lr_value_clear(lr_value *v);
/* An independent copy (references counted again). v must be empty or uninitialised. False: no memory. */
LR_MUST_USE bool lr_value_copy(lr_value *v, const lr_value *from);

/* ---- builder ----------------------------------------------------------------------------------- */

typedef struct lr_builder {
    uint8_t *data;
    size_t size_bytes, capacity_bytes;
    lr_object **refs; /* each holds one count */
    uint32_t ref_count, ref_capacity;
    bool failed; /* an allocation failed; what follows is ignored, finish says so */
} lr_builder;

void lr_builder_init(lr_builder *b);
void lr_builder_fini(lr_builder *b);
/* Forgets what was built (releasing its references) and keeps the memory for the next message, unless it
 * has grown beyond 1 MiB. */
void lr_builder_reset(lr_builder *b);

bool lr_builder_grow(lr_builder *b, size_t extra_bytes);

/* Room for n more bytes, or NULL when there is no memory (failed is set). The bytes are counted by
 * lr_builder_commit. */
static inline uint8_t *lr_builder_room(lr_builder *b, size_t n)
{
    if (__builtin_expect(b->capacity_bytes - b->size_bytes < n, 0) && !lr_builder_grow(b, n)) return NULL;
    return b->data + b->size_bytes;
}

static inline void lr_builder_commit(lr_builder *b, const uint8_t *end)
{
    b->size_bytes = (size_t)(end - b->data);
}

/* Adds a reference (taking one more count of o) and returns its index; the same object gets the same
 * index when it was the last one added. */
uint32_t lr_builder_ref(lr_builder *b, lr_object *o);

/* Plain pieces. Each fails only by b->failed. */
void lr_builder_u8(lr_builder *b, uint8_t v);
void lr_builder_varint(lr_builder *b, uint64_t v);
void lr_builder_bytes(lr_builder *b, const void *bytes, size_t size_bytes);
void lr_builder_header(lr_builder *b, uint64_t count);
void lr_builder_number(lr_builder *b, double v); /* tag and value; small whole numbers in one byte */
void lr_builder_string(lr_builder *b, const char *s, size_t size_bytes); /* tag, length, bytes */
/* A whole ERROR value (tag included). Strings may be NULL. cause: a message whose first value is an error, or
 * NULL; what is kept of it is its innermost cause. */
void lr_builder_error(lr_builder *b, lr_err code, const char *message, const char *traceback,
                      const char *function_name, lr_id task, unsigned attempts, const lr_value *cause);

/* Moves what was built into *v (empty before) and resets b. False: no memory; v stays empty. */
LR_MUST_USE bool lr_builder_finish(lr_builder *b, lr_value *v);

#endif
