#include "runtime/export.h"

#include "runtime/buffer.h"
#include "runtime/task.h"

#include <stdio.h>

#define OBJECT 5u /* behind the kinds of objects: a buffer by reference */

static void export_bytes(lr_builder *b, const void *bytes, size_t size_bytes)
{
    lr_builder_varint(b, size_bytes);
    lr_builder_bytes(b, bytes, size_bytes);
}

static void export_object(lr_builder *b, const lr_reference *o)
{
    lr_builder_bytes(b, &o->id, sizeof o->id);
    lr_builder_varint(b, o->size_bytes);
    export_bytes(b, o->site, o->site_bytes);
    lr_builder_bytes(b, &o->holder, sizeof o->holder);
    lr_builder_varint(b, o->place.pid);
    if (o->place.pid == 0) return;
    lr_builder_varint(b, o->place.fd);
    lr_builder_bytes(b, &o->place.segment, sizeof o->place.segment);
    lr_builder_varint(b, o->place.span_bytes);
    lr_builder_varint(b, o->place.offset);
    lr_builder_varint(b, o->place.serial);
}

static void export_buffer(lr_builder *b, lr_buffer *buffer, const lr_export_to *to)
{
    lr_reference object;
    lr_buffer *here = lr_buffer_here(buffer);
    if (here) buffer = here;
    if (to->offer && (buffer->is_absent || lr_shared_is_object(buffer)) && to->offer(to->user, buffer, &object)) {
        lr_builder_u8(b, OBJECT);
        export_object(b, &object);
        return;
    }
    b->failed |= buffer->is_absent; /* no memory to name it */
    lr_builder_u8(b, LR_OBJECT_BUFFER);
    if (!buffer->is_absent) export_bytes(b, buffer->data, (size_t)buffer->size_bytes);
}

static void export_ref(lr_builder *b, lr_object *o, const lr_export_to *to)
{
    if (o->kind != LR_OBJECT_BUFFER) lr_builder_u8(b, o->kind);
    switch ((lr_object_kind)o->kind) {
    case LR_OBJECT_TASK:
        lr_builder_bytes(b, &((lr_task *)o)->id, sizeof(lr_id));
        to->lend(to->user, (lr_task *)o);
        return;
    case LR_OBJECT_BUFFER:
        export_buffer(b, (lr_buffer *)o, to);
        return;
    case LR_OBJECT_CODE:
        export_bytes(b, ((lr_code *)o)->bytes, ((lr_code *)o)->size_bytes);
        return;
    case LR_OBJECT_FN: {
        lr_id id = to->know(to->user, (lr_fn *)o);
        lr_builder_bytes(b, &id, sizeof id);
        return;
    }
    }
    LR_ASSERT(!"an object of no kind");
}

void lr_export(lr_builder *b, const lr_value *v, const lr_export_to *to)
{
    export_bytes(b, lr_value_bytes(v), v->size_bytes);
    uint32_t count = lr_value_ref_count(v);
    lr_object *const *refs = lr_value_refs(v);
    lr_builder_varint(b, count);
    for (uint32_t i = 0; i < count; i++)
        export_ref(b, refs[i], to);
}

static lr_object *import_buffer(lr_reader *r, char *text, size_t text_bytes)
{
    uint64_t size = lr_read_varint(r);
    const uint8_t *bytes = lr_read_bytes(r, size);
    if (!bytes) return NULL;
    lr_buffer *buffer = lr_buffer_new(size, "from another node", text, text_bytes);
    if (!buffer) return NULL;
    if (size) memcpy(buffer->data, bytes, (size_t)size);
    lr_buffer_seal(buffer);
    return &buffer->base;
}

static lr_object *import_code(lr_reader *r)
{
    uint64_t size = lr_read_varint(r);
    const uint8_t *bytes = lr_read_bytes(r, size);
    return bytes ? (lr_object *)lr_code_new(bytes, (size_t)size) : NULL;
}

static lr_id read_id(lr_reader *r)
{
    lr_id id = LR_ID_NIL;
    const uint8_t *at = lr_read_bytes(r, sizeof id);
    if (at) memcpy(&id, at, sizeof id);
    return id;
}

static bool read_object(lr_reader *r, lr_reference *o)
{
    *o = (lr_reference){.id = read_id(r), .size_bytes = lr_read_varint(r)};
    uint64_t site_bytes = lr_read_varint(r);
    o->site = (const char *)lr_read_bytes(r, site_bytes);
    o->site_bytes = o->site ? (size_t)site_bytes : 0;
    o->holder = read_id(r);
    o->place.pid = lr_read_varint(r);
    if (o->place.pid == 0) return r->ok;
    o->place.fd = lr_read_varint(r);
    o->place.segment = read_id(r);
    o->place.span_bytes = lr_read_varint(r);
    o->place.offset = lr_read_varint(r);
    o->place.serial = lr_read_varint(r);
    return r->ok;
}

/* It was brought before, and is held; or it stays where it is. */
static lr_object *import_object(lr_reader *r, const lr_import_from *from, uint32_t index, char *text, size_t text_bytes)
{
    lr_reference o;
    if (!read_object(r, &o)) return NULL;
    lr_buffer *b = lr_shared_find(o.id);
    if (b && b->size_bytes == o.size_bytes) return &b->base;
    if (b) lr_buffer_release(b);
    b = from->absent && o.size_bytes > 0 ? from->absent(from->user, &o, index) : NULL;
    if (b) return &b->base;
    lr_shared_why(o.id, text, text_bytes);
    return NULL;
}

/* Passes over one reference; *is_object: it was one, and is in *o. */
static bool skip_ref(lr_reader *r, lr_reference *o, bool *is_object)
{
    uint8_t kind = lr_read_u8(r);
    *is_object = kind == OBJECT;
    if (kind == OBJECT) return read_object(r, o);
    if (kind == LR_OBJECT_TASK || kind == LR_OBJECT_FN) return lr_read_bytes(r, sizeof(lr_id)) != NULL;
    if (kind == LR_OBJECT_BUFFER || kind == LR_OBJECT_CODE) return lr_read_bytes(r, lr_read_varint(r)) != NULL;
    return false;
}

size_t lr_export_objects(lr_reader r, lr_reference *out, size_t max)
{
    size_t found = 0;
    lr_read_bytes(&r, lr_read_varint(&r));
    uint64_t count = lr_read_varint(&r);
    for (uint64_t i = 0; r.ok && i < count; i++) {
        lr_reference o;
        bool is_object;
        if (!skip_ref(&r, &o, &is_object)) break;
        if (is_object && found < max) out[found] = o;
        found += is_object;
    }
    return found;
}

/* One count, the caller's; NULL: malformed, or no room. */
static lr_object *import_ref(lr_reader *r, const lr_import_from *from, uint32_t index, char *text, size_t text_bytes)
{
    uint8_t kind = lr_read_u8(r);
    if (kind == LR_OBJECT_BUFFER) return import_buffer(r, text, text_bytes);
    if (kind == OBJECT) return import_object(r, from, index, text, text_bytes);
    if (kind == LR_OBJECT_CODE) return import_code(r);
    const uint8_t *at = lr_read_bytes(r, sizeof(lr_id));
    lr_id id;
    if (!at || (kind != LR_OBJECT_TASK && kind != LR_OBJECT_FN)) return NULL;
    memcpy(&id, at, sizeof id);
    if (kind == LR_OBJECT_TASK) return (lr_object *)from->borrow(from->user, id);
    lr_fn *fn = from->find(from->user, id);
    if (fn) lr_object_retain(&fn->base);
    return fn ? &fn->base : NULL;
}

bool lr_import(lr_reader *r, lr_value *v, const lr_import_from *from, char *text, size_t text_bytes)
{
    snprintf(text, text_bytes, "a value that is malformed");
    uint64_t size = lr_read_varint(r);
    const uint8_t *bytes = lr_read_bytes(r, size);
    uint64_t count = lr_read_varint(r);
    if (!bytes || count > (uint64_t)(r->end - r->p)) return false; /* each takes a byte at least */
    lr_builder b;
    lr_builder_init(&b);
    lr_builder_bytes(&b, bytes, (size_t)size);
    bool done = r->ok;
    for (uint64_t i = 0; done && i < count; i++) {
        lr_object *o = import_ref(r, from, (uint32_t)i, text, text_bytes);
        /* where two in a row are the same object the builder would give them one index: the message has two */
        uint32_t index = o ? lr_builder_ref(&b, o) : 0;
        done = o && index == i;
        if (o) lr_object_release(o);
    }
    done = done && !b.failed && lr_builder_finish(&b, v);
    lr_builder_fini(&b);
    return done;
}
