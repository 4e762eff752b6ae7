#include "sched/value.h"

uint64_t lr_read_varint_slow(lr_reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte = lr_read_u8(r);
        if (!r->ok) return 0;
        if (shift == 63 && byte > 1) break;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return v;
    }
    r->ok = false;
    return 0;
}

uint64_t lr_read_header(lr_reader *r)
{
    if ((lr_read_u8(r) & ~LR_VALUE_SHARED) != LR_VALUE_VERSION) r->ok = false;
    uint64_t count = lr_read_varint(r);
    if (count > (uint64_t)(r->end - r->p)) r->ok = false; /* a value is a byte at least */
    return r->ok ? count : 0;
}

static void skip_counted(lr_reader *r)
{
    uint64_t length = lr_read_varint(r);
    lr_read_bytes(r, length);
}

/* Skips a value's own bytes and returns how many values nested in it follow. */
static uint64_t skip_head(lr_reader *r)
{
    uint8_t tag = lr_read_u8(r);
    if (tag & LR_TAG_SMALL) return 0;
    switch ((lr_tag)tag) {
    case LR_TAG_NIL:
    case LR_TAG_FALSE:
    case LR_TAG_TRUE: return 0;
    case LR_TAG_NUMBER:
    case LR_TAG_INT64:
    case LR_TAG_UINT64: lr_read_bytes(r, 8); return 0;
    case LR_TAG_STRING: skip_counted(r); return 0;
    case LR_TAG_TABLE: {
        uint64_t array = lr_read_u32(r), pairs = lr_read_u32(r);
        return array + 2 * pairs;
    }
    case LR_TAG_OBJECT: return 2;
    case LR_TAG_BACK: lr_read_varint(r); return 0;
    case LR_TAG_MODULE: return 2;
    case LR_TAG_FUTURE:
    case LR_TAG_BLOB: lr_read_varint(r); lr_read_varint(r); return 0;
    case LR_TAG_REMOTE: lr_read_varint(r); return 1;
    case LR_TAG_TENSOR: {
        lr_read_u8(r);
        uint8_t rank = lr_read_u8(r);
        for (int i = 0; i < rank + 2; i++)
            lr_read_varint(r);
        return 0;
    }
    case LR_TAG_ERROR:
        lr_read_u8(r);
        for (int i = 0; i < 3; i++)
            skip_counted(r);
        lr_read_bytes(r, 16);
        lr_read_varint(r);
        return 2;
    case LR_TAG_CLASS: lr_read_varint(r); return 1;
    case LR_TAG_FUNCTION: lr_read_varint(r); return lr_read_u8(r);
    case LR_TAG_CELL: lr_read_varint(r); return 0;
    case LR_TAG_COUNT:
    case LR_TAG_SMALL: break;
    }
    r->ok = false;
    return 0;
}

bool lr_skip_value(lr_reader *r)
{
    uint64_t owed = 1;
    while (owed > 0 && r->ok) {
        owed--;
        uint64_t nested = skip_head(r);
        if (nested > (uint64_t)(r->end - r->p)) r->ok = false;
        owed += nested;
    }
    return r->ok;
}

const char *lr_tag_name(uint8_t tag)
{
    static const char *const names[LR_TAG_COUNT] = {
        "nil",   "boolean", "boolean",  "number", "int64",  "uint64",          "string", "table",  "object",
        "table", "class",    "function", "upvalue", "function", "future", "remote function", "tensor",
        "string", "error"};
    if (tag & LR_TAG_SMALL) return "number";
    return tag < LR_TAG_COUNT ? names[tag] : "?";
}
