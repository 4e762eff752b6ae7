/* sched/value.h - the wire format of values: tags, bounds-checked reading, plain writing.
 *
 * A message is  version (1 byte, LR_VALUE_VERSION) · count (varint) · count values.  A value is a tag
 * byte and what the table below says. Numbers are little-endian. Things that are not data (futures,
 * buffers in the object store, functions) are not in the bytes: the bytes hold an index into the
 * message's table of references, which the carrier (runtime/value.h) keeps beside them; between
 * nodes the references travel as ids.
 *
 *   tag        followed by
 *   NIL FALSE TRUE
 *   NUMBER     f64 (8 bytes)
 *   SMALL|n    nothing: the number n, 0..127, is in the tag's low seven bits
 *   INT64/UINT64  8 bytes: a cdata integer
 *   STRING     varint length · bytes
 *   TABLE      u32 array count · u32 pair count · values · (key value)*
 *   OBJECT     class (MODULE | CLASS | BACK) then TABLE: a table with a metatable
 *   CLASS      varint ref (an lr_fn whose body is the metatable) + 1 · STRING registered name
 *   BACK       varint n: the n-th table, error or function spelled out in this message, counted from 0
 *              in the order of their first byte (keeps sharing and cycles); MODULE and CLASS have no number
 *   FUNCTION   varint ref (an lr_code) · u8 upvalue count · for each upvalue a value, or CELL
 *   CELL       varint n: the n-th upvalue cell of this message, numbered in the order met, from 0
 *              (keeps upvalues that two closures share)
 *   MODULE     two STRING values: module, field ('' for the module itself): resolved by require
 *   FUTURE     varint ref · varint index of the wanted result, from 0
 *   REMOTE     varint ref (an lr_fn) + 1, or 0: the function whose body this is · options TABLE or NIL
 *   TENSOR     u8 dtype · u8 rank · varint shape[rank] · varint offset in elements · varint ref (buffer)
 *   BLOB       varint ref (buffer) · varint size: a long string, its bytes in the buffer
 *   ERROR      u8 lr_err · STRING message, traceback, function · 16 bytes task id · varint attempts
 *              · cause (a value: ERROR or NIL) · value (what was raised, when not a string, or NIL)
 *
 * The reader never reads outside [p, end) and never trusts a count. It decodes no nesting itself, so
 * it needs no memory. Thread: any. Blocks: never. */
#ifndef SCHED_VALUE_H
#define SCHED_VALUE_H

#include "sched/base.h"

#define LR_VALUE_VERSION 1u
#define LR_VALUE_SHARED 0x80u /* or-ed into the version: BACK or CELL occur */
#define LR_VALUE_DEPTH_MAX 5000 /* nesting beyond this is refused on both sides */

typedef enum lr_tag {
    LR_TAG_NIL = 0,
    LR_TAG_FALSE,
    LR_TAG_TRUE,
    LR_TAG_NUMBER,
    LR_TAG_INT64,
    LR_TAG_UINT64,
    LR_TAG_STRING,
    LR_TAG_TABLE,
    LR_TAG_OBJECT,
    LR_TAG_BACK,
    LR_TAG_CLASS,
    LR_TAG_FUNCTION,
    LR_TAG_CELL,
    LR_TAG_MODULE,
    LR_TAG_FUTURE,
    LR_TAG_REMOTE,
    LR_TAG_TENSOR,
    LR_TAG_BLOB,
    LR_TAG_ERROR,
    LR_TAG_COUNT,
    LR_TAG_SMALL = 0x80
} lr_tag;

/* A cursor over a message's bytes. ok turns false at the first malformed byte and stays so; reads
 * after that return zeros, so that a caller may check once at the end of a group. */
typedef struct lr_reader {
    const uint8_t *p, *end;
    bool ok;
} lr_reader;

static inline lr_reader lr_reader_of(const void *bytes, size_t size_bytes)
{
    return (lr_reader){bytes, (const uint8_t *)bytes + size_bytes, true};
}

/* The next n bytes, or NULL (and ok = false) when fewer are left. */
static inline const uint8_t *lr_read_bytes(lr_reader *r, uint64_t n)
{
    if (!r->ok || (uint64_t)(r->end - r->p) < n) {
        r->ok = false;
        return NULL;
    }
    const uint8_t *at = r->p;
    r->p += n;
    return at;
}

static inline uint8_t lr_read_u8(lr_reader *r)
{
    const uint8_t *at = lr_read_bytes(r, 1);
    return at ? *at : 0;
}

static inline uint32_t lr_read_u32(lr_reader *r)
{
    uint32_t v = 0;
    const uint8_t *at = lr_read_bytes(r, sizeof v);
    if (at) memcpy(&v, at, sizeof v);
    return v;
}

static inline uint64_t lr_read_u64(lr_reader *r)
{
    uint64_t v = 0;
    const uint8_t *at = lr_read_bytes(r, sizeof v);
    if (at) memcpy(&v, at, sizeof v);
    return v;
}

static inline double lr_read_f64(lr_reader *r)
{
    double v = 0;
    const uint8_t *at = lr_read_bytes(r, sizeof v);
    if (at) memcpy(&v, at, sizeof v);
    return v;
}

/* LEB128, at most ten bytes. */
uint64_t lr_read_varint_slow(lr_reader *r);
static inline uint64_t lr_read_varint(lr_reader *r)
{
    if (r->ok && r->p < r->end && *r->p < 0x80) return *r->p++;
    return lr_read_varint_slow(r);
}

/* The version byte and the count. 0 and ok = false for another version. A count is never larger than
 * the bytes that follow it. */
uint64_t lr_read_header(lr_reader *r);
/* Skips one whole value, nested ones too. False (and ok = false) when malformed. Needs no recursion:
 * it counts what is still owed. */
bool lr_skip_value(lr_reader *r);

/* Writes at p and returns the place behind; the caller has made room (LR_VARINT_MAX bytes at most). */
#define LR_VARINT_MAX 10
static inline uint8_t *lr_write_varint(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

/* The tag's name for messages ("string"); "?" for none. */
const char *lr_tag_name(uint8_t tag);

#endif
