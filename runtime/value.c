#include "runtime/value.h"

#include <math.h>
#include <stdlib.h>

void lr_value_clear(lr_value *v)
{
    if (v->form == 0) return;
    if (v->plain) {
        v->form = 0;
        return;
    }
    uint32_t count = lr_value_ref_count(v);
    lr_object *const *refs = lr_value_refs(v);
    for (uint32_t i = 0; i < count; i++)
        lr_object_release(refs[i]);
    if (v->form == 2) free((void *)v->u.heap.refs);
    v->form = 0;
    v->size_bytes = 0;
    v->ref_count_small = 0;
}

/* Lays references and data into *v. The counts of the references are the caller's business. */
static bool fill(lr_value *v, lr_object *const *refs, uint32_t ref_count, const uint8_t *data, size_t size_bytes)
{
    size_t ref_bytes = sizeof(lr_object *) * ref_count;
    if (size_bytes > UINT32_MAX) return false;
    v->size_bytes = (uint32_t)size_bytes;
    v->ref_count_small = 0;
    v->plain = false;
    if (ref_bytes + size_bytes <= LR_VALUE_INLINE) {
        v->form = 1;
        v->ref_count_small = (uint16_t)ref_count;
        if (ref_count) memcpy(v->u.bytes, (const void *)refs, ref_bytes);
        if (size_bytes) memcpy(v->u.bytes + ref_bytes, data, size_bytes); /* data may be NULL */
        return true;
    }
    uint8_t *block = malloc(ref_bytes + size_bytes);
    if (!block) return false;
    if (ref_count) memcpy(block, (const void *)refs, ref_bytes);
    if (size_bytes) memcpy(block + ref_bytes, data, size_bytes);
    v->form = 2;
    v->u.heap.refs = (lr_object **)(void *)block;
    v->u.heap.data = block + ref_bytes;
    v->u.heap.ref_count = ref_count;
    return true;
}

bool lr_value_copy(lr_value *v, const lr_value *from)
{
    v->form = 0;
    v->size_bytes = 0;
    v->ref_count_small = 0;
    if (lr_value_is_empty(from)) return true;
    uint32_t count = lr_value_ref_count(from);
    lr_object *const *refs = lr_value_refs(from);
    if (!fill(v, refs, count, lr_value_bytes(from), from->size_bytes)) return false;
    for (uint32_t i = 0; i < count; i++)
        lr_object_retain(refs[i]);
    return true;
}

#define KEEP_BYTES (1u << 20)

void lr_builder_init(lr_builder *b)
{
    *b = (lr_builder){0};
}

void lr_builder_fini(lr_builder *b)
{
    lr_builder_reset(b);
    free(b->data);
    free((void *)b->refs);
    *b = (lr_builder){0};
}

static void shrink(lr_builder *b)
{
    b->size_bytes = 0;
    b->ref_count = 0;
    b->failed = false;
    if (b->capacity_bytes > KEEP_BYTES) {
        free(b->data);
        b->data = NULL;
        b->capacity_bytes = 0;
    }
}

void lr_builder_reset(lr_builder *b)
{
    for (uint32_t i = 0; i < b->ref_count; i++)
        lr_object_release(b->refs[i]);
    shrink(b);
}

bool lr_builder_grow(lr_builder *b, size_t extra_bytes)
{
    if (b->failed || extra_bytes > SIZE_MAX / 2 - b->size_bytes) {
        b->failed = true;
        return false;
    }
    size_t want = b->size_bytes + extra_bytes;
    size_t capacity = b->capacity_bytes ? b->capacity_bytes : 256;
    while (capacity < want)
        capacity *= 2;
    uint8_t *data = realloc(b->data, capacity);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->capacity_bytes = capacity;
    return true;
}

uint32_t lr_builder_ref(lr_builder *b, lr_object *o)
{
    if (b->ref_count > 0 && b->refs[b->ref_count - 1] == o) return b->ref_count - 1;
    if (b->ref_count == b->ref_capacity) {
        uint32_t capacity = b->ref_capacity ? 2 * b->ref_capacity : 16;
        lr_object **refs = (lr_object **)realloc((void *)b->refs, capacity * sizeof *refs);
        if (!refs) {
            b->failed = true;
            return 0;
        }
        b->refs = refs;
        b->ref_capacity = capacity;
    }
    lr_object_retain(o);
    b->refs[b->ref_count] = o;
    return b->ref_count++;
}

void lr_builder_u8(lr_builder *b, uint8_t v)
{
    uint8_t *p = lr_builder_room(b, 1);
    if (!p) return;
    *p = v;
    lr_builder_commit(b, p + 1);
}

void lr_builder_varint(lr_builder *b, uint64_t v)
{
    uint8_t *p = lr_builder_room(b, LR_VARINT_MAX);
    if (p) lr_builder_commit(b, lr_write_varint(p, v));
}

void lr_builder_bytes(lr_builder *b, const void *bytes, size_t size_bytes)
{
    uint8_t *p = lr_builder_room(b, size_bytes);
    if (!p) return;
    if (size_bytes) memcpy(p, bytes, size_bytes);
    lr_builder_commit(b, p + size_bytes);
}

void lr_builder_header(lr_builder *b, uint64_t count)
{
    uint8_t *p = lr_builder_room(b, 1 + LR_VARINT_MAX);
    if (!p) return;
    *p = LR_VALUE_VERSION;
    lr_builder_commit(b, lr_write_varint(p + 1, count));
}

void lr_builder_number(lr_builder *b, double v)
{
    uint8_t *p = lr_builder_room(b, 9);
    if (!p) return;
    if (v >= 0 && v < 128 && v == (int)v && !signbit(v)) {
        *p = (uint8_t)(LR_TAG_SMALL | (int)v);
        lr_builder_commit(b, p + 1);
        return;
    }
    *p = LR_TAG_NUMBER;
    memcpy(p + 1, &v, 8);
    lr_builder_commit(b, p + 9);
}

static void length_and_bytes(lr_builder *b, const char *s, size_t size_bytes)
{
    lr_builder_varint(b, size_bytes);
    lr_builder_bytes(b, s, size_bytes);
}

void lr_builder_string(lr_builder *b, const char *s, size_t size_bytes)
{
    lr_builder_u8(b, LR_TAG_STRING);
    length_and_bytes(b, s, size_bytes);
}

/* Where the innermost cause of an ERROR begins that is at r: r itself, when it has no cause. */
static const uint8_t *root_cause(lr_reader r)
{
    const uint8_t *root = r.p;
    while (r.ok && lr_read_u8(&r) == LR_TAG_ERROR) {
        root = r.p - 1;
        lr_read_u8(&r);
        for (int i = 0; i < 3; i++)
            lr_read_bytes(&r, lr_read_varint(&r));
        lr_read_bytes(&r, sizeof(lr_id));
        lr_read_varint(&r);
    }
    return root;
}

/* Appends the root of a chain of errors, not the chain: a failure that passes through a million dependents stays
 * small. Its references (a raised value's) would have to be renumbered; with others before them the
 * cause is left out. */
static void append_cause(lr_builder *b, const lr_value *message)
{
    lr_reader r = lr_value_reader(message);
    lr_read_header(&r);
    const uint8_t *from = r.p = root_cause(r);
    if ((b->ref_count != 0 && lr_value_ref_count(message) != 0) || !lr_skip_value(&r)) {
        lr_builder_u8(b, LR_TAG_NIL);
        return;
    }
    lr_object *const *refs = lr_value_refs(message);
    for (uint32_t i = 0; i < lr_value_ref_count(message); i++)
        lr_builder_ref(b, refs[i]);
    lr_builder_bytes(b, from, (size_t)(r.p - from));
}

void lr_builder_error(lr_builder *b, lr_err code, const char *message, const char *traceback,
                      const char *function_name, lr_id task, unsigned attempts, const lr_value *cause)
{
    const char *texts[3] = {message ? message : lr_err_meaning(code), traceback ? traceback : "",
                            function_name ? function_name : ""};
    lr_builder_u8(b, LR_TAG_ERROR);
    lr_builder_u8(b, (uint8_t)code);
    for (int i = 0; i < 3; i++)
        length_and_bytes(b, texts[i], strlen(texts[i]));
    lr_builder_bytes(b, &task, sizeof task);
    lr_builder_varint(b, attempts);
    if (cause && !lr_value_is_empty(cause))
        append_cause(b, cause);
    else
        lr_builder_u8(b, LR_TAG_NIL);
    lr_builder_u8(b, LR_TAG_NIL);
}

bool lr_builder_finish(lr_builder *b, lr_value *v)
{
    v->form = 0;
    v->size_bytes = 0;
    v->ref_count_small = 0;
    if (b->failed || !fill(v, b->refs, b->ref_count, b->data, b->size_bytes)) {
        lr_builder_reset(b);
        return false;
    }
    shrink(b); /* the references now belong to v */
    return true;
}
