/* bindings/tensor.c - tensors in Lua: lr.tensor and the methods of what it makes.
 *
 * A tensor is a contiguous row-major view of a buffer in the object store. narrow and select give a
 * view of the same memory wherever that is contiguous (always on the first dimension); elsewhere
 * they give a copy, read-only so that nobody writes to it in the belief that it is a view. A sealed buffer
 * (it came from a future, or was sent as a result) can only be read. Elements of type i64 are Lua numbers as far as
 * those are exact, int64_t cdata beyond; what needs the FFI is a small Lua chunk, loaded at its first use.
 * Memory behind tensors is not Lua's: bindings/reclaim.h makes the collector run in time.
 * Thread: the state's. */
#include "bindings/core.h"
#include "bindings/reclaim.h"
#include "bindings/handles.h"
#include "runtime/store.h"

#include <math.h>
#include <stdio.h>

#define EXACT 9007199254740992.0          /* 2^53 */
#define SHOWN 10                          /* rows and columns in tostring */

typedef struct tensor {
    lr_tensor_ud ud; /* first: what others see */
    bool is_copy;    /* of an inner dimension: read-only */
} tensor;

static const struct {
    const char *name;
    uint8_t bytes;
    double least, most; /* whole numbers; 0, 0: any number */
} dtypes[LR_DTYPE_COUNT] = {
    {"f32", 4, 0, 0},       {"f64", 8, 0, 0},
    {"i8", 1, -128, 127},   {"u8", 1, 0, 255},
    {"i32", 4, -0x1p31, 0x1p31 - 1}, {"i64", 8, -0x1p63, 0x1p63},
};

/* ---- words ---------------------------------------------------------------------------------- */

/* "nil", "a table", "an int64": what stands at index, for refusals. */
static const char *given(lua_State *L, int index)
{
    if (lua_isnoneornil(L, index)) return "nil";
    return lua_pushfstring(L, "a %s", luaL_typename(L, index));
}

/* Pushes "(2, 3)" and returns it. */
static const char *shape_text(lua_State *L, int rank, const int64_t *shape)
{
    luaL_Buffer b;
    char number[32];
    luaL_buffinit(L, &b);
    luaL_addchar(&b, '(');
    for (int i = 0; i < rank; i++) {
        snprintf(number, sizeof number, "%s%lld", i ? ", " : "", (long long)shape[i]);
        luaL_addstring(&b, number);
    }
    luaL_addchar(&b, ')');
    luaL_pushresult(&b);
    return lua_tostring(L, -1);
}

/* Pushes a whole number as text: Lua's own formats stop at int. */
static const char *number_text(lua_State *L, int64_t v)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)v);
    lua_pushstring(L, text);
    return lua_tostring(L, -1);
}

/* ---- the chunk that knows the FFI ------------------------------------------------------------- */

static const char ffi_chunk[] =
    "local ffi = ...\n"
    "local int64, uint64, p64 = ffi.typeof('int64_t'), ffi.typeof('uint64_t'), ffi.typeof('int64_t *')\n"
    "local pointers = {}\n"
    "for i, name in ipairs{'float', 'double', 'int8_t', 'uint8_t', 'int32_t', 'int64_t'} do\n"
    "  pointers[i] = ffi.typeof(name .. ' *')\n"
    "  pointers[-i] = ffi.typeof('const ' .. name .. ' *')\n"
    "end\n"
    "return {\n"
    "  load = function(p) return ffi.cast(p64, p)[0] end,\n"
    "  store = function(p, v)\n"
    "    if ffi.istype(uint64, v) and v >= 0x8000000000000000ULL then return false end\n"
    "    if not ffi.istype(int64, v) and not ffi.istype(uint64, v) then return false end\n"
    "    ffi.cast(p64, p)[0] = v\n"
    "    return true\n"
    "  end,\n"
    /* the finalizer's only work is to hold the tensor for as long as the pointer lives */
    "  pointer = function(p, type, tensor)\n"
    "    return ffi.gc(ffi.cast(pointers[type], p), function() tensor = nil end)\n"
    "  end,\n"
    "}\n";

/* Pushes the FFI library, loading it as require would. */
static void push_ffi(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_getfield(L, -1, "ffi");
    if (!lua_istable(L, -1)) {
        lua_pop(L, 1);
        lua_pushcfunction(L, luaopen_ffi);
        lua_pushliteral(L, "ffi");
        lua_call(L, 1, 1);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, "ffi");
    }
    lua_remove(L, -2);
}

/* Pushes one of the chunk's functions. */
static void push_helper(lr_state *S, lua_State *L, const char *name)
{
    luaL_checkstack(L, 8, "too many values");
    lua_rawgeti(L, LUA_REGISTRYINDEX, S->ref_mt_tensor);
    lua_getfield(L, -1, "ffi");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        if (luaL_loadbuffer(L, ffi_chunk, sizeof ffi_chunk - 1, "=luarun.tensor") != 0) lua_error(L);
        push_ffi(L);
        lua_call(L, 1, 1);
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, "ffi");
    }
    lua_getfield(L, -1, name);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

/* ---- elements --------------------------------------------------------------------------------- */

static double read_number(int32_t dtype, const void *p)
{
    switch ((lr_dtype)dtype) {
    case LR_F32: return *(const float *)p;
    case LR_F64: return *(const double *)p;
    case LR_I8: return *(const int8_t *)p;
    case LR_U8: return *(const uint8_t *)p;
    case LR_I32: return *(const int32_t *)p;
    case LR_I64: return (double)*(const int64_t *)p;
    case LR_DTYPE_COUNT: break;
    }
    return 0;
}

static bool is_exact(int64_t v) { return v >= -(int64_t)EXACT && v <= (int64_t)EXACT; }

static void push_element(lr_state *S, lua_State *L, int32_t dtype, const void *p)
{
    if (dtype != LR_I64 || is_exact(*(const int64_t *)p)) {
        lua_pushnumber(L, read_number(dtype, p));
        return;
    }
    push_helper(S, L, "load");
    lua_pushlightuserdata(L, (void *)(uintptr_t)p);
    lua_call(L, 1, 1);
}

/* Why v is no element of that type, as a pushed sentence; NULL: it is one. */
static const char *unfit(lua_State *L, int32_t dtype, double v)
{
    double least = dtypes[dtype].least, most = dtypes[dtype].most;
    if (most == 0) return NULL;
    if (v != floor(v))
        return lua_pushfstring(L, "%f is not a whole number, as %s wants", v, dtypes[dtype].name);
    if (v >= least && (dtype == LR_I64 ? v < most : v <= most)) return NULL;
    if (dtype == LR_I64) return lua_pushfstring(L, "%f does not fit i64", v);
    return lua_pushfstring(L, "%f does not fit %s (%f..%f)", v, dtypes[dtype].name, least, most);
}

static void write_number(int32_t dtype, void *p, double v)
{
    switch ((lr_dtype)dtype) {
    case LR_F32: *(float *)p = (float)v; break;
    case LR_F64: *(double *)p = v; break;
    case LR_I8: *(int8_t *)p = (int8_t)v; break;
    case LR_U8: *(uint8_t *)p = (uint8_t)v; break;
    case LR_I32: *(int32_t *)p = (int32_t)v; break;
    case LR_I64: *(int64_t *)p = (int64_t)v; break;
    case LR_DTYPE_COUNT: break;
    }
}

#define LUA_TCDATA_ 10 /* lua_type of FFI values, which lua.h has no name for */

/* An int64 or uint64 cdata at index, as an int64; false: something else, or too large. */
static bool cdata_integer(lr_state *S, lua_State *L, int index, int64_t *v)
{
    push_helper(S, L, "store");
    lua_pushlightuserdata(L, v);
    lua_pushvalue(L, index);
    lua_call(L, 2, 1);
    bool ok = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return ok;
}

/* Stores the value at index (absolute). NULL: done; else a pushed sentence that says why not. */
static const char *store_element(lr_state *S, lua_State *L, int index, int32_t dtype, void *p)
{
    int type = lua_type(L, index);
    if (type == LUA_TNUMBER) {
        double v = lua_tonumber(L, index);
        const char *why = unfit(L, dtype, v);
        if (!why) write_number(dtype, p, v);
        return why;
    }
    int64_t v;
    if (type == LUA_TCDATA_ && dtype == LR_I64) {
        if (!cdata_integer(S, L, index, &v)) return lua_pushfstring(L, "an integer that fits i64 wanted");
        *(int64_t *)p = v;
        return NULL;
    }
    return lua_pushfstring(L, "a number wanted, %s given", given(L, index));
}

/* ---- making ----------------------------------------------------------------------------------- */

/* Who makes it, for the store's list of the largest: only worth a string where it can be large. */
static const char *site_of(lua_State *L, uint64_t bytes)
{
    char text[128];
    if (bytes < LR_STORE_SMALL_BYTES) return "tensor";
    luaL_where(L, 1);
    size_t length;
    const char *where = lua_tolstring(L, -1, &length);
    int n = length > 2 ? snprintf(text, sizeof text, "tensor made at %.*s", (int)length - 2, where) : 0;
    lua_pop(L, 1);
    return n > 0 ? lr_store_site(text, "tensor") : "tensor";
}

/* A buffer, after a collection where there is no room otherwise. Raises. */
static lr_buffer *buffer_new(lr_state *S, lua_State *L, uint64_t bytes)
{
    char message[512] = "";
    const char *site = site_of(L, bytes);
    lr_buffer *b = lr_buffer_make(S, L, bytes, site, message, sizeof message);
    if (!b) luaL_error(L, "%s", message);
    return b;
}

const char lr_kind_tensor;

/* Pushes a tensor without a buffer yet: from here on the collector owns what it will get. */
static tensor *push_empty(lr_state *S, lua_State *L)
{
    tensor *t = lua_newuserdata(L, sizeof *t);
    t->ud.kind = &lr_kind_tensor;
    t->ud.buffer = NULL;
    t->is_copy = false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, S->ref_mt_tensor);
    lua_setmetatable(L, -2);
    return t;
}

void lr_push_tensor(lr_state *S, lua_State *L, lr_buffer *buffer, const lr_tensor *view)
{
    tensor *t = push_empty(S, L);
    lr_object_retain(&buffer->base);
    t->ud.buffer = buffer;
    t->ud.view = *view;
    lr_reclaim_in_time(S, L);
}

/* Pushes a view of the same buffer. */
static tensor *push_view(lr_state *S, lua_State *L, const tensor *of, const lr_tensor *view)
{
    tensor *t = push_empty(S, L);
    lr_object_retain(&of->ud.buffer->base);
    t->ud.buffer = of->ud.buffer;
    t->ud.view = *view;
    t->is_copy = of->is_copy;
    return t;
}

/* Multiplies the shape out; raises when it is beyond any memory. */
static int64_t count_of(lua_State *L, int32_t dtype, int rank, const int64_t *shape)
{
    int64_t count = 1, bytes;
    bool overflow = false;
    for (int i = 0; i < rank; i++)
        overflow = overflow || __builtin_mul_overflow(count, shape[i], &count);
    if (overflow || __builtin_mul_overflow(count, (int64_t)dtypes[dtype].bytes, &bytes))
        luaL_error(L, "the shape %s has more elements than memory can hold", shape_text(L, rank, shape));
    return count;
}

/* Pushes a new tensor, its memory not yet set. Raises. */
static tensor *push_new(lr_state *S, lua_State *L, int32_t dtype, int rank, const int64_t *shape)
{
    int64_t count = count_of(L, dtype, rank, shape);
    uint64_t bytes = (uint64_t)count * dtypes[dtype].bytes;
    lr_reclaim_in_time(S, L);
    tensor *t = push_empty(S, L);
    t->ud.buffer = buffer_new(S, L, bytes);
    t->ud.view = (lr_tensor){t->ud.buffer->data, count, rank, dtype, {0}};
    for (int i = 0; i < rank; i++)
        t->ud.view.shape[i] = shape[i];
    return t;
}

/* ---- arguments ---------------------------------------------------------------------------------- */

/* The tensor a method was called on. */
static tensor *self(lua_State *L)
{
    lr_tensor_ud *ud = lr_test_tensor(L, 1);
    if (!ud)
        luaL_error(L, "a tensor wanted before the method's name, %s given (methods are called with a colon)",
                   given(L, 1));
    return (tensor *)(void *)ud;
}

static bool is_readonly(const tensor *t) { return t->is_copy || lr_buffer_is_sealed(t->ud.buffer); }

static tensor *writable_self(lua_State *L)
{
    tensor *t = self(L);
    if (t->is_copy)
        luaL_error(L, "the tensor is read-only (it is a copy: narrow and select on an inner dimension "
                      "cannot share memory); t:copy() is writable");
    if (is_readonly(t))
        luaL_error(L, "the tensor is read-only (it came from a future or was sent as a result); "
                      "t:copy() is writable");
    return t;
}

static int32_t check_dtype(lua_State *L, int index)
{
    const char *name = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : NULL;
    for (int32_t i = 0; name && i < LR_DTYPE_COUNT; i++)
        if (strcmp(name, dtypes[i].name) == 0) return i;
    if (!name) luaL_error(L, "dtype: f32, f64, i8, u8, i32 or i64 wanted, %s given", given(L, index));
    luaL_error(L, "dtype: f32, f64, i8, u8, i32 or i64 wanted, '%s' given", name);
    return 0;
}

/* One dimension of a shape, the value at index. */
static int64_t check_extent(lua_State *L, int index, int dimension)
{
    if (lua_type(L, index) != LUA_TNUMBER)
        luaL_error(L, "shape: dimension %d: a whole number from 0 wanted, %s given", dimension,
                   given(L, index));
    double v = lua_tonumber(L, index);
    if (!(v >= 0 && v <= EXACT && v == floor(v)))
        luaL_error(L, "shape: dimension %d: a whole number from 0 wanted, %f given", dimension, v);
    return (int64_t)v;
}

static void check_rank(lua_State *L, size_t rank)
{
    if (rank > LR_MAX_RANK)
        luaL_error(L, "shape: at most %d dimensions, %d given", LR_MAX_RANK, (int)rank);
}

/* A shape from the arguments first..last: numbers, or one table of them. Returns the rank. */
static int check_shape(lua_State *L, int first, int last, int64_t shape[LR_MAX_RANK])
{
    if (first == last && lua_istable(L, first)) {
        size_t rank = lua_objlen(L, first);
        check_rank(L, rank);
        for (int i = 0; i < (int)rank; i++) {
            lua_rawgeti(L, first, i + 1);
            shape[i] = check_extent(L, lua_gettop(L), i + 1);
            lua_pop(L, 1);
        }
        return (int)rank;
    }
    check_rank(L, (size_t)(last - first + 1));
    for (int i = first; i <= last; i++)
        shape[i - first] = check_extent(L, i, i - first + 1);
    return last - first + 1;
}

/* A dimension, from 0. */
static int check_dimension(lua_State *L, const tensor *t, int index)
{
    if (lua_type(L, index) != LUA_TNUMBER)
        luaL_error(L, "a dimension of 1..%d wanted, %s given", t->ud.view.rank, given(L, index));
    double v = lua_tonumber(L, index);
    if (!(v >= 1 && v <= t->ud.view.rank && v == floor(v)))
        luaL_error(L, "dimension %f is outside 1..%d", v, t->ud.view.rank);
    return (int)v - 1;
}

/* The argument at index as a 1-based index into a dimension (from 0); returned from 0. */
static int64_t check_index(lua_State *L, const tensor *t, int index, int dimension)
{
    int64_t size = t->ud.view.shape[dimension];
    if (lua_type(L, index) != LUA_TNUMBER)
        luaL_error(L, "an index into dimension %d wanted, %s given", dimension + 1, given(L, index));
    double v = lua_tonumber(L, index);
    if (v != floor(v))
        luaL_error(L, "index %f of dimension %d is not a whole number", v, dimension + 1);
    if (!(v >= 1 && v <= (double)size))
        luaL_error(L, "index %f is outside 1..%s of dimension %d", v, number_text(L, size),
                   dimension + 1);
    return (int64_t)v - 1;
}

/* The element that the indices from argument 2 on name. */
static void *check_place(lua_State *L, const tensor *t)
{
    int64_t at = 0;
    for (int i = 0; i < t->ud.view.rank; i++)
        at = at * t->ud.view.shape[i] + check_index(L, t, i + 2, i);
    return (char *)t->ud.view.data + at * dtypes[t->ud.view.dtype].bytes;
}

/* ---- data for a new tensor ------------------------------------------------------------------------ */

typedef struct filler { /* walks a table beside the memory it goes to */
    lr_state *S;
    lua_State *L;
    tensor *t;
    char *at;
    int depth;
    int64_t path[LR_MAX_RANK];
} filler;

/* Pushes "data[2][3]". */
static const char *path_text(const filler *f)
{
    luaL_Buffer b;
    char number[32];
    luaL_buffinit(f->L, &b);
    luaL_addstring(&b, "data");
    for (int i = 0; i < f->depth; i++) {
        snprintf(number, sizeof number, "[%lld]", (long long)f->path[i]);
        luaL_addstring(&b, number);
    }
    luaL_pushresult(&b);
    return lua_tostring(f->L, -1);
}

/* The elements of the table on the top go to the next places. */
static void fill_row(filler *f, int64_t count)
{
    int32_t dtype = f->t->ud.view.dtype;
    int depth = f->depth++;
    for (int64_t i = 1; i <= count; i++) {
        lua_rawgeti(f->L, -1, (int)i);
        const char *why = store_element(f->S, f->L, lua_gettop(f->L), dtype, f->at);
        f->path[depth] = i;
        if (why) luaL_error(f->L, "%s: %s", path_text(f), why);
        f->at += dtypes[dtype].bytes;
        lua_pop(f->L, 1);
    }
    f->depth = depth;
}

static void fill_nested(filler *f)
{
    const lr_tensor *v = &f->t->ud.view;
    int64_t count = v->shape[f->depth];
    if (!lua_istable(f->L, -1)) {
        const char *what = given(f->L, lua_gettop(f->L));
        luaL_error(f->L, "%s: a table of %s elements wanted, %s given", path_text(f),
                   number_text(f->L, count), what);
    }
    int64_t have = (int64_t)lua_objlen(f->L, -1);
    if (have != count)
        luaL_error(f->L, "%s: %s elements wanted, %s given", path_text(f), number_text(f->L, count),
                   number_text(f->L, have));
    if (f->depth == v->rank - 1) {
        fill_row(f, count);
        return;
    }
    int depth = f->depth;
    for (int64_t i = 1; i <= count; i++) {
        f->path[depth] = i;
        f->depth = depth + 1;
        lua_rawgeti(f->L, -1, (int)i);
        fill_nested(f);
        lua_pop(f->L, 1);
    }
    f->depth = depth;
}

static bool is_nested(lua_State *L, int index)
{
    lua_rawgeti(L, index, 1);
    bool nested = lua_istable(L, -1);
    lua_pop(L, 1);
    return nested;
}

static void wrong_count(lua_State *L, const tensor *t, int64_t have)
{
    const lr_tensor *v = &t->ud.view;
    luaL_error(L, "data: %s elements wanted for the shape %s, %s given", number_text(L, v->count),
               shape_text(L, v->rank, v->shape), number_text(L, have));
}

static void fill_from_table(lr_state *S, lua_State *L, tensor *t, int index)
{
    filler f = {.S = S, .L = L, .t = t, .at = t->ud.view.data};
    luaL_checkstack(L, 2 * LR_MAX_RANK + 16, "too many values");
    lua_pushvalue(L, index);
    if (is_nested(L, index) && t->ud.view.rank > 0) {
        fill_nested(&f);
    } else if ((int64_t)lua_objlen(L, index) == t->ud.view.count) {
        fill_row(&f, t->ud.view.count);
    } else if (t->ud.view.count == 0 && t->ud.view.rank > 1) {
        fill_nested(&f); /* {{}, {}} for the shape (2, 0) */
    } else {
        wrong_count(L, t, (int64_t)lua_objlen(L, index));
    }
    lua_pop(L, 1);
}

static void fill_from_tensor(lua_State *L, tensor *t, const lr_tensor *from)
{
    lr_tensor *to = &t->ud.view;
    if (from->count != to->count) wrong_count(L, t, from->count);
    size_t from_bytes = dtypes[from->dtype].bytes, to_bytes = dtypes[to->dtype].bytes;
    if (from->dtype == to->dtype) {
        memcpy(to->data, from->data, (size_t)to->count * to_bytes);
        return;
    }
    for (int64_t i = 0; i < to->count; i++) {
        double v = read_number(from->dtype, (const char *)from->data + (size_t)i * from_bytes);
        const char *why = unfit(L, to->dtype, v);
        if (why) luaL_error(L, "data: element %s: %s", number_text(L, i + 1), why);
        write_number(to->dtype, (char *)to->data + (size_t)i * to_bytes, v);
    }
}

static void fill_from_bytes(lua_State *L, tensor *t, int index)
{
    size_t have;
    const char *bytes = lua_tolstring(L, index, &have);
    const lr_tensor *v = &t->ud.view;
    uint64_t wanted = (uint64_t)v->count * dtypes[v->dtype].bytes;
    if (have != wanted)
        luaL_error(L, "data: a string of %s bytes wanted for %s of the shape %s, %s given",
                   number_text(L, (int64_t)wanted), dtypes[v->dtype].name,
                   shape_text(L, v->rank, v->shape), number_text(L, (int64_t)have));
    memcpy(v->data, bytes, have);
}

/* lr.tensor(dtype, shape[, data]) */
int lr_tensor_new(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    int64_t shape[LR_MAX_RANK];
    lua_settop(L, 3);
    int32_t dtype = check_dtype(L, 1);
    if (!lua_istable(L, 2) && lua_type(L, 2) != LUA_TNUMBER)
        luaL_error(L, "shape: a number or a table of numbers wanted, %s given", given(L, 2));
    int rank = check_shape(L, 2, 2, shape);
    tensor *t = push_new(S, L, dtype, rank, shape);
    const lr_tensor_ud *from = lr_test_tensor(L, 3);
    if (lua_isnil(L, 3))
        memset(t->ud.view.data, 0, (size_t)t->ud.view.count * dtypes[dtype].bytes);
    else if (from)
        fill_from_tensor(L, t, &from->view);
    else if (lua_istable(L, 3))
        fill_from_table(S, L, t, 3);
    else if (lua_type(L, 3) == LUA_TSTRING)
        fill_from_bytes(L, t, 3);
    else
        luaL_error(L, "data: a table, a tensor or a string of bytes wanted, %s given", given(L, 3));
    lua_settop(L, 4);
    return 1;
}

/* ---- methods ------------------------------------------------------------------------------------------ */

static int tensor_size(lua_State *L)
{
    tensor *t = self(L);
    lua_pushnumber(L, (lua_Number)t->ud.view.shape[check_dimension(L, t, 2)]);
    return 1;
}

static int tensor_shape(lua_State *L)
{
    const lr_tensor *v = &self(L)->ud.view;
    lua_createtable(L, v->rank, 0);
    for (int i = 0; i < v->rank; i++) {
        lua_pushnumber(L, (lua_Number)v->shape[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int tensor_rank(lua_State *L)
{
    lua_pushinteger(L, self(L)->ud.view.rank);
    return 1;
}

static int tensor_dtype(lua_State *L)
{
    lua_pushstring(L, dtypes[self(L)->ud.view.dtype].name);
    return 1;
}

static int tensor_is_readonly(lua_State *L)
{
    lua_pushboolean(L, is_readonly(self(L)));
    return 1;
}

static int tensor_len(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)self(L)->ud.view.count);
    return 1;
}

static int tensor_get(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    tensor *t = self(L);
    const lr_tensor *v = &t->ud.view;
    int given_count = lua_gettop(L) - 1;
    if (given_count != v->rank)
        luaL_error(L, "%d indices wanted for the shape %s, %d given", v->rank,
                   shape_text(L, v->rank, v->shape), given_count);
    push_element(S, L, v->dtype, check_place(L, t));
    return 1;
}

static int tensor_set(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    tensor *t = writable_self(L);
    const lr_tensor *v = &t->ud.view;
    int given_count = lua_gettop(L) - 1;
    if (given_count != v->rank + 1)
        luaL_error(L, "%d indices and a value wanted for the shape %s, %d arguments given", v->rank,
                   shape_text(L, v->rank, v->shape), given_count);
    const char *why = store_element(S, L, v->rank + 2, v->dtype, check_place(L, t));
    if (why) luaL_error(L, "value: %s", why);
    lua_settop(L, 1);
    return 1;
}

static int tensor_fill(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    tensor *t = writable_self(L);
    const lr_tensor *v = &t->ud.view;
    size_t bytes = dtypes[v->dtype].bytes;
    union {
        int64_t align;
        char bytes[8];
    } one;
    const char *why = store_element(S, L, 2, v->dtype, one.bytes);
    if (why) luaL_error(L, "value: %s", why);
    for (int64_t i = 0; i < v->count; i++)
        memcpy((char *)v->data + (size_t)i * bytes, one.bytes, bytes);
    lua_settop(L, 1);
    return 1;
}

static int tensor_copy(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    const lr_tensor *v = &self(L)->ud.view;
    tensor *t = push_new(S, L, v->dtype, v->rank, v->shape);
    memcpy(t->ud.view.data, v->data, (size_t)v->count * dtypes[v->dtype].bytes);
    return 1;
}

static int tensor_reshape(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    tensor *t = self(L);
    lr_tensor view = t->ud.view;
    view.rank = check_shape(L, 2, lua_gettop(L), view.shape);
    int64_t count = count_of(L, view.dtype, view.rank, view.shape);
    if (count != view.count)
        luaL_error(L, "%s elements cannot take the shape %s, which has %s", number_text(L, view.count),
                   shape_text(L, view.rank, view.shape), number_text(L, count));
    push_view(S, L, t, &view);
    return 1;
}

static int64_t product(const int64_t *shape, int from, int to)
{
    int64_t p = 1;
    for (int i = from; i < to; i++)
        p *= shape[i];
    return p;
}

/* Pushes the part first..first+n-1 (from 0) of dimension d, as a view where that is contiguous. */
static tensor *push_part(lr_state *S, lua_State *L, const tensor *t, int d, int64_t first, int64_t n)
{
    lr_tensor view = t->ud.view;
    int64_t outer = product(view.shape, 0, d), inner = product(view.shape, d + 1, view.rank);
    int64_t whole = view.shape[d], bytes = inner * dtypes[view.dtype].bytes;
    const char *from = (const char *)view.data + first * bytes;
    view.shape[d] = n;
    view.count = outer * n * inner;
    if (outer <= 1 || n == whole) {
        if (view.count > 0) view.data = (void *)(uintptr_t)from;
        return push_view(S, L, t, &view);
    }
    tensor *part = push_new(S, L, view.dtype, view.rank, view.shape);
    for (int64_t i = 0; i < outer; i++)
        memcpy((char *)part->ud.view.data + i * n * bytes, from + i * whole * bytes, (size_t)(n * bytes));
    part->is_copy = true;
    return part;
}

static int tensor_narrow(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    tensor *t = self(L);
    int d = check_dimension(L, t, 2);
    int64_t size = t->ud.view.shape[d];
    double first = luaL_checknumber(L, 3), n = luaL_checknumber(L, 4);
    if (first != floor(first) || n != floor(n) || n < 0)
        luaL_error(L, "a whole index and a count from 0 wanted, %f and %f given", first, n);
    if (!(first >= 1 && first + n - 1 <= (double)size))
        luaL_error(L, "%f..%f is outside 1..%s of dimension %d", first, first + n - 1,
                   number_text(L, size), d + 1);
    push_part(S, L, t, d, (int64_t)first - 1, (int64_t)n);
    return 1;
}

static int tensor_select(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    tensor *t = self(L);
    int d = check_dimension(L, t, 2);
    tensor *part = push_part(S, L, t, d, check_index(L, t, 3, d), 1);
    lr_tensor *v = &part->ud.view;
    for (int i = d; i + 1 < v->rank; i++)
        v->shape[i] = v->shape[i + 1];
    v->rank--;
    return 1;
}

/* A pointer of the element's type (const when read-only) to the first element. It keeps the tensor alive. */
static int tensor_data(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    tensor *t = self(L);
    push_helper(S, L, "pointer");
    lua_pushlightuserdata(L, t->ud.view.data);
    lua_pushinteger(L, is_readonly(t) ? -1 - t->ud.view.dtype : 1 + t->ud.view.dtype);
    lua_pushvalue(L, 1);
    lua_call(L, 3, 1);
    return 1;
}

/* Pushes the part of the tensor from dimension d on that begins at *at, as nested tables. */
static void push_table(lr_state *S, lua_State *L, const lr_tensor *v, int d, const char **at)
{
    if (d == v->rank) {
        push_element(S, L, v->dtype, *at);
        *at += dtypes[v->dtype].bytes;
        return;
    }
    lua_createtable(L, v->shape[d] < INT32_MAX ? (int)v->shape[d] : 0, 0);
    for (int64_t i = 1; i <= v->shape[d]; i++) {
        push_table(S, L, v, d + 1, at);
        lua_rawseti(L, -2, (int)i);
    }
}

static int tensor_totable(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    const lr_tensor *v = &self(L)->ud.view;
    const char *at = v->data;
    luaL_checkstack(L, LR_MAX_RANK + 16, "too many values");
    push_table(S, L, v, 0, &at);
    return 1;
}

/* ---- tostring ------------------------------------------------------------------------------------------- */

static int format_element(char *text, size_t bytes, int32_t dtype, const void *p)
{
    if (dtype == LR_I64) return snprintf(text, bytes, "%lld", (long long)*(const int64_t *)p);
    return snprintf(text, bytes, dtype == LR_F32 ? "%.7g" : "%.10g", read_number(dtype, p));
}

typedef struct picture {
    const lr_tensor *v;
    int64_t rows, columns; /* of the whole; a row is the last dimension */
    int64_t plane;         /* rows between blank lines; 0: none */
    int width;
} picture;

static const void *element(const picture *p, int64_t row, int64_t column)
{
    return (const char *)p->v->data + (size_t)(row * p->columns + column) * dtypes[p->v->dtype].bytes;
}

static int64_t shown(int64_t count) { return count < SHOWN ? count : SHOWN; }

static picture picture_of(const lr_tensor *v)
{
    picture p = {.v = v, .columns = v->rank > 0 ? v->shape[v->rank - 1] : 1};
    p.rows = p.columns > 0 ? v->count / p.columns : 0;
    p.plane = v->rank > 2 ? v->shape[v->rank - 2] : 0;
    char text[40];
    for (int64_t r = 0; r < shown(p.rows); r++) {
        for (int64_t c = 0; c < shown(p.columns); c++) {
            int n = format_element(text, sizeof text, v->dtype, element(&p, r, c));
            if (n > p.width) p.width = n;
        }
    }
    return p;
}

static void add_row(luaL_Buffer *b, const picture *p, int64_t row)
{
    char text[40], padded[48];
    for (int64_t c = 0; c < shown(p->columns); c++) {
        format_element(text, sizeof text, p->v->dtype, element(p, row, c));
        snprintf(padded, sizeof padded, " %*s", p->v->rank > 1 ? p->width : 0, text);
        luaL_addstring(b, padded);
    }
    if (p->columns > SHOWN) luaL_addstring(b, " ...");
}

/* "f64 tensor (2, 3)", then its rows: ten of ten elements at most. */
static int tensor_tostring(lua_State *L)
{
    const lr_tensor *v = &self(L)->ud.view;
    picture p = picture_of(v);
    luaL_Buffer b;
    const char *shape = shape_text(L, v->rank, v->shape);
    luaL_buffinit(L, &b);
    luaL_addstring(&b, dtypes[v->dtype].name);
    luaL_addstring(&b, " tensor ");
    luaL_addstring(&b, shape);
    if (v->count > 0) luaL_addchar(&b, ':');
    for (int64_t r = 0; r < shown(p.rows); r++) {
        if (v->rank > 1) luaL_addchar(&b, '\n');
        if (p.plane > 0 && r > 0 && r % p.plane == 0) luaL_addchar(&b, '\n');
        add_row(&b, &p, r);
    }
    if (p.rows > SHOWN) luaL_addstring(&b, "\n ...");
    luaL_pushresult(&b);
    return 1;
}

static int tensor_gc(lua_State *L)
{
    tensor *t = lua_touserdata(L, 1);
    if (t->ud.buffer) lr_buffer_release(t->ud.buffer);
    t->ud.buffer = NULL;
    return 0;
}

static const luaL_Reg methods[] = {
    {"size", tensor_size},       {"shape", tensor_shape},     {"rank", tensor_rank},
    {"dtype", tensor_dtype},     {"get", tensor_get},         {"set", tensor_set},
    {"narrow", tensor_narrow},   {"select", tensor_select},   {"reshape", tensor_reshape},
    {"copy", tensor_copy},       {"fill", tensor_fill},       {"data", tensor_data},
    {"totable", tensor_totable}, {"is_readonly", tensor_is_readonly}, {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__len", tensor_len}, {"__tostring", tensor_tostring}, {"__gc", tensor_gc}, {NULL, NULL},
};

/* Makes the metatable. The stack stays as it was. */
int lr_tensor_open(lr_state *S)
{
    int top = lua_gettop(S->L);
    lr_metatable_new(S, S->L, meta, methods, &S->ref_mt_tensor);
    lua_settop(S->L, top);
    return 0;
}
