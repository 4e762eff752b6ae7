#include "bindings/plain.h"

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

bool lr_plain_encode(lua_State *L, int first, int count, lr_value *out)
{
    uint8_t *p = out->u.bytes;
    const uint8_t *end = p + LR_VALUE_INLINE;
    if (count > LR_PLAIN_COUNT_MAX) return false;
    *p++ = LR_VALUE_VERSION;
    *p++ = (uint8_t)count;
    for (int i = first; i < first + count; i++) {
        if (end - p < NUMBER_BYTES) return false;
        int type = lua_type(L, i);
        if (type == LUA_TNUMBER) {
            p = write_number(p, lua_tonumber(L, i));
        } else if (type == LUA_TSTRING) {
            if (!(p = write_string(p, end, L, i))) return false;
        } else if (type == LUA_TBOOLEAN) {
            *p++ = lua_toboolean(L, i) ? LR_TAG_TRUE : LR_TAG_FALSE;
        } else if (type == LUA_TNIL) {
            *p++ = LR_TAG_NIL;
        } else {
            return false;
        }
    }
    out->size_bytes = (uint32_t)(p - out->u.bytes);
    out->ref_count_small = 0;
    out->form = 1;
    out->plain = true;
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
