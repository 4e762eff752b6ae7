#include "sched/message.h"

#include "sched/value.h"

static const char *const names[] = {
    "?",
#define LR_MESSAGE(id, name, meaning) #name,
#define LR_MESSAGE_END(id, name)
#define LR_FIELD_ID(field)
#define LR_FIELD_UINT(field)
#define LR_FIELD_BYTES(field)
#include "sched/messages.def"
};

static const char *const meanings[] = {
    "?",
#define LR_MESSAGE(id, name, meaning) meaning,
#define LR_MESSAGE_END(id, name)
#define LR_FIELD_ID(field)
#define LR_FIELD_UINT(field)
#define LR_FIELD_BYTES(field)
#include "sched/messages.def"
};

const char *lr_message_name(lr_message_kind kind) { return names[kind < LR_MESSAGE_COUNT ? kind : 0]; }
const char *lr_message_meaning(lr_message_kind kind) { return meanings[kind < LR_MESSAGE_COUNT ? kind : 0]; }

static size_t varint_size(uint64_t v)
{
    size_t size = 1;
    for (; v >= 0x80; v >>= 7)
        size++;
    return size;
}

size_t lr_message_size(const lr_message *m)
{
    size_t size = 0;
    switch (m->kind) {
#define LR_MESSAGE(id, name, meaning) case LR_MESSAGE_##id: { const __typeof__(m->name) *f = &m->name;
#define LR_MESSAGE_END(id, name) break; }
#define LR_FIELD_ID(field) size += sizeof f->field;
#define LR_FIELD_UINT(field) size += varint_size(f->field);
#define LR_FIELD_BYTES(field) size += varint_size(f->field.size_bytes) + f->field.size_bytes;
#include "sched/messages.def"
    case LR_MESSAGE_NONE:
    case LR_MESSAGE_COUNT: LR_ASSERT(!"a message of no kind");
    }
    return size;
}

static uint8_t *write_bytes(uint8_t *p, lr_bytes bytes)
{
    p = lr_write_varint(p, bytes.size_bytes);
    if (bytes.size_bytes) memcpy(p, bytes.at, bytes.size_bytes);
    return p + bytes.size_bytes;
}

void lr_message_encode(const lr_message *m, uint8_t *to)
{
    uint8_t *p = to;
    switch (m->kind) {
#define LR_MESSAGE(id, name, meaning) case LR_MESSAGE_##id: { const __typeof__(m->name) *f = &m->name;
#define LR_MESSAGE_END(id, name) break; }
#define LR_FIELD_ID(field) memcpy(p, &f->field, sizeof f->field); p += sizeof f->field;
#define LR_FIELD_UINT(field) p = lr_write_varint(p, f->field);
#define LR_FIELD_BYTES(field) p = write_bytes(p, f->field);
#include "sched/messages.def"
    case LR_MESSAGE_NONE:
    case LR_MESSAGE_COUNT: LR_ASSERT(!"a message of no kind");
    }
    (void)p;
}

static lr_id read_id(lr_reader *r)
{
    lr_id id = LR_ID_NIL;
    const uint8_t *at = lr_read_bytes(r, sizeof id);
    if (at) memcpy(&id, at, sizeof id);
    return id;
}

static lr_bytes read_bytes(lr_reader *r)
{
    uint64_t size = lr_read_varint(r);
    const uint8_t *at = lr_read_bytes(r, size);
    return (lr_bytes){at, at ? (size_t)size : 0};
}

bool lr_message_decode(uint16_t kind, const void *bytes, size_t size_bytes, lr_message *out)
{
    static const uint8_t nothing;
    lr_reader r = lr_reader_of(size_bytes ? bytes : &nothing, size_bytes);
    memset(out, 0, sizeof *out);
    if (kind == LR_MESSAGE_NONE || kind >= LR_MESSAGE_COUNT) return false;
    out->kind = (lr_message_kind)kind;
    switch (out->kind) {
#define LR_MESSAGE(id, name, meaning) case LR_MESSAGE_##id: { __typeof__(out->name) *f = &out->name;
#define LR_MESSAGE_END(id, name) break; }
#define LR_FIELD_ID(field) f->field = read_id(&r);
#define LR_FIELD_UINT(field) f->field = lr_read_varint(&r);
#define LR_FIELD_BYTES(field) f->field = read_bytes(&r);
#include "sched/messages.def"
    case LR_MESSAGE_NONE:
    case LR_MESSAGE_COUNT: return false;
    }
    return r.ok && r.p == r.end;
}
