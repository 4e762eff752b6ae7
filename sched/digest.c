#include "sched/digest.h"

#include "sched/id.h"

typedef struct digest {
    lr_reader r;
    unsigned depth;
    bool none;
} digest;

static uint64_t one(digest *d);

static uint64_t mix(uint64_t a, uint64_t b) { return lr_id_child((lr_id){a, b}, a ^ b).lo; }

static uint64_t bytes(digest *d, uint64_t seed, uint64_t size)
{
    const uint8_t *at = lr_read_bytes(&d->r, size);
    return at ? mix(seed + size, lr_id_from_bytes(at, (size_t)size).lo) : 0;
}

static uint64_t text(digest *d, uint64_t seed)
{
    uint64_t size = lr_read_varint(&d->r);
    return bytes(d, seed, size);
}

/* So many values, in order. */
static uint64_t row(digest *d, uint64_t sum, uint64_t count)
{
    for (uint64_t i = 0; d->r.ok && !d->none && i < count; i++)
        sum = mix(sum, one(d));
    return sum;
}

static uint64_t number(double value)
{
    return mix(LR_TAG_NUMBER, mix(2 + 8, lr_id_from_bytes(&value, sizeof value).lo));
}

/* In whatever order, and wherever its integer keys lie. */
static uint64_t table(digest *d)
{
    uint64_t array = lr_read_u32(&d->r), pairs = lr_read_u32(&d->r), sum = 0;
    for (uint64_t i = 0; d->r.ok && !d->none && i < array; i++) {
        uint64_t key = mix(1, number((double)(i + 1)));
        bool is_nil = d->r.p < d->r.end && *d->r.p == LR_TAG_NIL;
        uint64_t pair = mix(key, one(d));
        if (!is_nil) sum += pair;
    }
    for (uint64_t i = 0; d->r.ok && !d->none && i < pairs; i++)
        sum += row(d, 1, 2);
    return sum;
}

static uint64_t tensor(digest *d)
{
    uint64_t sum = lr_read_u8(&d->r);
    uint8_t rank = lr_read_u8(&d->r);
    for (int i = 0; i < rank + 1; i++) /* the shape, the offset; not the reference */
        sum = mix(sum, lr_read_varint(&d->r));
    lr_read_varint(&d->r);
    return sum;
}

static uint64_t tagged(digest *d, lr_tag tag)
{
    switch (tag) {
    case LR_TAG_NIL:
    case LR_TAG_FALSE:
    case LR_TAG_TRUE: return 1;
    case LR_TAG_NUMBER:
    case LR_TAG_INT64:
    case LR_TAG_UINT64: return bytes(d, 2, 8);
    case LR_TAG_STRING: return text(d, 3);
    case LR_TAG_TABLE: return table(d);
    case LR_TAG_OBJECT:
    case LR_TAG_MODULE: return row(d, 4, 2);
    case LR_TAG_CLASS:
    case LR_TAG_REMOTE: lr_read_varint(&d->r); return row(d, 1, 1);
    case LR_TAG_FUTURE: /* which of its results */
    case LR_TAG_BLOB: lr_read_varint(&d->r); return lr_read_varint(&d->r); /* its size */
    case LR_TAG_FUNCTION: lr_read_varint(&d->r); return row(d, 5, lr_read_u8(&d->r));
    case LR_TAG_TENSOR: return tensor(d);
    case LR_TAG_ERROR: /* tracebacks and attempts differ */
    case LR_TAG_BACK:  /* what it stands for depends on an order */
    case LR_TAG_CELL:
    case LR_TAG_COUNT:
    case LR_TAG_SMALL: break;
    }
    d->none = true;
    return 0;
}

static uint64_t one(digest *d)
{
    uint8_t tag = lr_read_u8(&d->r);
    if (tag & LR_TAG_SMALL) return number(tag & 0x7f);
    if (!d->r.ok || ++d->depth > LR_DIGEST_DEPTH) {
        d->none = true;
        return 0;
    }
    uint64_t sum = mix(tag, tagged(d, (lr_tag)tag));
    d->depth--;
    return sum;
}

uint64_t lr_digest(lr_reader message)
{
    digest d = {.r = message};
    uint64_t count = lr_read_header(&d.r);
    uint64_t sum = row(&d, count, count);
    if (!d.r.ok || d.none || (message.p < message.end && *message.p & LR_VALUE_SHARED)) return 0;
    return sum ? sum : 1;
}
