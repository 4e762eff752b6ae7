#include "bindings/plain.h"

#include "bindings/handles.h"

#include <math.h>

#define NUMBER_BYTES 9

static uint8_t *write_number(uint8_t *p, double v)
{
    if (v >= 0 && v < 128 && v == (int)v && !signbit(v)) {
        *p = (uint8_t)(LR_TAG_SMALL | (int)v);
        return p + 1;
    }
    *p = LR_TAG_NUMBER;
    memcpy(p + 1, &v, sizeof v);
    return p + NUMBER_BYTES;
}

/* NULL: it does not fit. The length is below 128, so that one byte tells it. */
static uint8_t *write_string(uint8_t *p, const uint8_t *end, lua_State *L, int index)
{
    size_t length;
    const char *s = lua_tolstring(L, index, &length);
    if (length + 2 > (size_t)(end - p)) return NULL;
    p[0] = LR_TAG_STRING;
    p[1] = (uint8_t)length;
    memcpy(p + 2, s, length);
    return p + 2 + length;
}

/* NULL: it is no plain value, or does not fit. */
static inline uint8_t *write_plain(uint8_t *p, const uint8_t *end, lua_State *L, int index, int type)
{
    if (end - p < NUMBER_BYTES) return NULL;
    if (type == LUA_TNUMBER) return write_number(p, lua_tonumber(L, index));
    if (type == LUA_TSTRING) return write_string(p, end, L, index);
    if (type == LUA_TBOOLEAN) {
        *p = lua_toboolean(L, index) ? LR_TAG_TRUE : LR_TAG_FALSE;
        return p + 1;
    }
    if (type != LUA_TNIL) return NULL;
    *p = LR_TAG_NIL;
    return p + 1;
}

/* NULL: it does not fit. */
static uint8_t *write_tensor(uint8_t *p, const uint8_t *end, const lr_tensor_ud *t, unsigned ref)
{
    static const uint8_t element_bytes[LR_DTYPE_COUNT] = {4, 8, 1, 1, 4, 8};
    int64_t offset_bytes = t->view.count ? (const char *)t->view.data - (const char *)t->buffer->data : 0;
    if (end - p < 4 + LR_VARINT_MAX * (t->view.rank + 1)) return NULL;
    *p++ = LR_TAG_TENSOR;
    *p++ = (uint8_t)t->view.dtype;
    *p++ = (uint8_t)t->view.rank;
    for (int i = 0; i < t->view.rank; i++)
        p = lr_write_varint(p, (uint64_t)t->view.shape[i]);
    p = lr_write_varint(p, (uint64_t)(offset_bytes / element_bytes[t->view.dtype]));
    *p++ = (uint8_t)ref;
    return p;
}

/* Moves what was written to bytes into *out, behind its references. False: it does not fit. */
static bool place(lr_value *out, const uint8_t *bytes, size_t size_bytes, lr_object *const *refs, unsigned ref_count)
{
    size_t ref_bytes = ref_count * sizeof refs[0];
    if (ref_bytes + size_bytes > LR_VALUE_INLINE) return false;
    memcpy(out->u.bytes, (const void *)refs, ref_bytes);
    memcpy(out->u.bytes + ref_bytes, bytes, size_bytes);
    for (unsigned i = 0; i < ref_count; i++)
        lr_object_retain(refs[i]);
    out->size_bytes = (uint32_t)size_bytes;
    out->ref_count_small = (uint16_t)ref_count;
    out->form = 1;
    out->plain = false;
    return true;
}

/* The same with tensors among the values that are shared already, so that only a reference goes. */
static bool encode_tensors(lua_State *L, int first, int count, lr_value *out)
{
    uint8_t bytes[128], *p = bytes;
    const uint8_t *end = bytes + sizeof bytes;
    lr_object *refs[LR_PLAIN_COUNT_MAX];
    unsigned ref_count = 0;
    *p++ = LR_VALUE_VERSION;
    *p++ = (uint8_t)count;
    for (int i = first; i < first + count; i++) {
        int type = lua_type(L, i);
        lr_tensor_ud *t = type == LUA_TUSERDATA ? lr_test_tensor(L, i) : NULL;
        if (!t) {
            p = write_plain(p, end, L, i, type);
        } else if (lr_buffer_is_sealed(t->buffer)) {
            p = write_tensor(p, end, t, ref_count);
            refs[ref_count++] = &t->buffer->base;
        } else {
            return false; /* it will be copied */
        }
        if (!p) return false;
    }
    return place(out, bytes, (size_t)(p - bytes), refs, ref_count);
}

bool lr_plain_encode(lua_State *L, int first, int count, lr_value *out)
{
    uint8_t *p = out->u.bytes;
    const uint8_t *end = p + LR_VALUE_INLINE;
    if (count > LR_PLAIN_COUNT_MAX) return false;
    *p++ = LR_VALUE_VERSION;
    *p++ = (uint8_t)count;
    for (int i = first; i < first + count; i++) {
        int type = lua_type(L, i);
        if (type == LUA_TUSERDATA) return encode_tensors(L, first, count, out);
        p = write_plain(p, end, L, i, type);
        if (!p) return false;
    }
    out->size_bytes = (uint32_t)(p - out->u.bytes);
    out->ref_count_small = 0;
    out->form = 1;
    out->plain = true;
    return true;
}

void lr_plain_numbers(lr_value *out, int count, const double *numbers)
{
    uint8_t *p = out->u.bytes;
    _Static_assert(2 + LR_PLAIN_NUMBERS_MAX * NUMBER_BYTES <= LR_VALUE_INLINE, "they fit");
    *p++ = LR_VALUE_VERSION;
    *p++ = (uint8_t)count;
    for (int i = 0; i < count; i++)
        p = write_number(p, numbers[i]);
    out->size_bytes = (uint32_t)(p - out->u.bytes);
    out->ref_count_small = 0;
    out->form = 1;
    out->plain = true;
}

bool lr_plain_is_number(const lr_value *message, double *number)
{
    const uint8_t *p = message->u.bytes + 1;
    if (p[0] != 1) return false;
    if (p[1] & LR_TAG_SMALL) {
        *number = p[1] & 0x7f;
        return true;
    }
    if (p[1] != LR_TAG_NUMBER) return false;
    memcpy(number, p + 2, sizeof *number);
    return true;
}

/* Pushes the value at p and returns the place behind it. */
static const uint8_t *push_one(lua_State *L, const uint8_t *p)
{
    uint8_t tag = *p++;
    if (tag & LR_TAG_SMALL) {
        lua_pushnumber(L, tag & 0x7f);
    } else if (tag == LR_TAG_NUMBER) {
        double v;
        memcpy(&v, p, sizeof v);
        p += sizeof v;
        lua_pushnumber(L, v);
    } else if (tag == LR_TAG_STRING) {
        lua_pushlstring(L, (const char *)p + 1, *p);
        p += 1 + *p;
    } else if (tag == LR_TAG_NIL) {
        lua_pushnil(L);
    } else {
        lua_pushboolean(L, tag == LR_TAG_TRUE);
    }
    return p;
}

int lr_plain_decode(lua_State *L, const lr_value *message)
{
    const uint8_t *p = message->u.bytes + 1;
    int count = *p++;
    for (int i = 0; i < count; i++)
        p = push_one(L, p);
    return count;
}
