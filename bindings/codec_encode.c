/* The codec's way out: values on a Lua stack become a message in the state's builder.
 *
 * It walks a value once, writes what it meets and numbers tables, functions and upvalue cells; the
 * decoder numbers in the same order. It runs under a pcall, so that out of memory at any point leaves
 * the state as it was. */
#include "bindings/codec_internal.h"
#include "bindings/reclaim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FUNCTION_BYTES_MAX (16u << 20) /* a function with its upvalues: beyond this, data was caught by mistake */
#define PATH_BYTES 512
#define PLAIN_LEVELS 100      /* what is nested deeper is encoded protected */
#define LEVELS_PER_STACK 1500 /* a C function may use 8,000 Lua stack slots; a level uses 4 at most */
#define TYPE_CDATA 10 /* LuaJIT's own type, without a name in lua.h */

/* Where in a message a value is: a step for each table or function around it, innermost first. */
typedef struct step {
    const struct step *up;
    lua_State *L;        /* whose stack the indices are of */
    int key;             /* stack index of the key, or 0 */
    bool is_key;         /* the value is the key itself */
    const char *upvalue; /* name of the upvalue, or NULL */
    int function;        /* whose: stack index */
} step;

typedef struct encoder {
    lr_state *S;
    lua_State *L;
    lr_builder *b;
    lr_codec *codec;
    lr_root root;
    int number; /* of the root value, 1-based */
    unsigned flags, depth, in_function;
    size_t stored_bytes; /* of strings that went to the object store */
    bool shared; /* a BACK or CELL was written */
    bool plain;  /* unprotected: what may raise, or is refused, ends the attempt */
    bool keeps;  /* registry[e] is a list of what was made for the message */
    lr_err code;
} encoder;

static bool encode_value(encoder *e, int index, const step *at);
static bool encode_level(encoder *e, int index, const step *at);

/* ---- refusals ------------------------------------------------------------------------------------- */

static void add_text(char *path, size_t *used, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void add_text(char *path, size_t *used, const char *format, ...)
{
    va_list arguments;
    size_t room = PATH_BYTES - *used;
    va_start(arguments, format);
    int n = vsnprintf(path + *used, room, format, arguments);
    va_end(arguments);
    if (n > 0) *used += (size_t)n < room ? (size_t)n : room - 1;
}

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static bool is_word(const char *s)
{
    if (!is_letter(*s)) return false;
    while (is_letter(*s) || (*s >= '0' && *s <= '9'))
        s++;
    return *s == 0;
}

/* ".name", "[1]", "[\"two words\"]", "[a table]". `first`: at the start of a path, where a name has no dot. */
static void add_key(const step *s, bool first, char *path, size_t *used)
{
    int type = lua_type(s->L, s->key);
    if (type == LUA_TSTRING) {
        const char *name = lua_tostring(s->L, s->key);
        if (is_word(name))
            add_text(path, used, first ? "%.60s" : ".%.60s", name);
        else
            add_text(path, used, "[\"%.60s\"]", name);
    } else if (type == LUA_TNUMBER) {
        add_text(path, used, "[%.14g]", lua_tonumber(s->L, s->key));
    } else if (type == LUA_TBOOLEAN) {
        add_text(path, used, "[%s]", lua_toboolean(s->L, s->key) ? "true" : "false");
    } else {
        add_text(path, used, s->is_key ? "[a key]" : "[a %s]", luaL_typename(s->L, s->key));
    }
}

static void add_step(const step *s, char *path, size_t *used)
{
    if (!s) return;
    add_step(s->up, path, used);
    if (s->key) {
        bool after_upvalue = s->up && !s->up->key;
        if (after_upvalue) add_text(path, used, ": ");
        add_key(s, !s->up || after_upvalue, path, used);
        return;
    }
    lua_Debug ar;
    lua_pushvalue(s->L, s->function);
    lua_getinfo(s->L, ">S", &ar);
    add_text(path, used, "%supvalue '%.60s' of function <%.80s:%d>", *used ? ": " : "", s->upvalue, ar.short_src,
             ar.linedefined);
}

/* Pushes "argument 2: t.env.reset: WHY" in the place of everything the encoder has on the stack; false. */
static bool refuse(encoder *e, const step *at, lr_err code, const char *why)
{
    static const char *const roots[] = {"argument", "result", "", "value"};
    if (e->plain) return false;
    char path[PATH_BYTES] = "";
    size_t used = 0;
    luaL_checkstack(e->L, 8, "refusal");
    add_step(at, path, &used);
    e->code = code;
    const char *colon = *path ? ": " : "";
    if (e->root == LR_ROOT_UPVALUE)
        lua_pushfstring(e->L, "%s%s%s", path, colon, why);
    else if (e->root == LR_ROOT_VALUE)
        lua_pushfstring(e->L, "value: %s%s%s", path, colon, why);
    else
        lua_pushfstring(e->L, "%s %d: %s%s%s", roots[e->root], e->number, path, colon, why);
    return false;
}

static bool cannot(encoder *e, const step *at, const char *what, const char *instead)
{
    char why[300];
    snprintf(why, sizeof why, "%s cannot be sent; %s", what, instead);
    return refuse(e, at, LR_ERR_NOT_SERIALIZABLE, why);
}

static bool no_memory(encoder *e, const step *at)
{
    return refuse(e, at, LR_ERR_OUT_OF_MEMORY, "not enough memory");
}

/* ---- leaves --------------------------------------------------------------------------------------- */

static bool encode_bytes(encoder *e, const step *at, const char *bytes, size_t size_bytes)
{
    if (size_bytes < LR_BLOB_BYTES) {
        uint8_t *p = lr_builder_room(e->b, 1 + LR_VARINT_MAX + size_bytes);
        if (!p) return no_memory(e, at);
        *p++ = LR_TAG_STRING;
        p = lr_write_varint(p, size_bytes);
        memcpy(p, bytes, size_bytes);
        lr_builder_commit(e->b, p + size_bytes);
        return true;
    }
    char message[512];
    lr_buffer *buffer = lr_buffer_make(e->S, e->L, size_bytes, "string", message, sizeof message);
    if (!buffer) return refuse(e, at, LR_ERR_OUT_OF_MEMORY, message);
    memcpy(buffer->data, bytes, size_bytes);
    lr_buffer_seal(buffer);
    e->stored_bytes += size_bytes;
    lr_builder_u8(e->b, LR_TAG_BLOB);
    lr_builder_varint(e->b, lr_builder_ref(e->b, &buffer->base));
    lr_builder_varint(e->b, size_bytes);
    lr_buffer_release(buffer);
    return true;
}

static void encode_module(encoder *e, const lr_module_name *name)
{
    lr_builder_u8(e->b, LR_TAG_MODULE);
    lr_builder_string(e->b, name->module, name->module_bytes);
    lr_builder_string(e->b, name->field, name->field_bytes);
}

static bool encode_cdata(encoder *e, int index, const step *at)
{
    lua_State *L = e->L;
    lr_codec_push_integer(L, "kind");
    lua_pushvalue(L, index);
    lua_call(L, 1, 2);
    int kind = (int)lua_tointeger(L, -2);
    if (kind == 0) {
        char what[120];
        snprintf(what, sizeof what, "%.100s", lua_tostring(L, -1));
        return cannot(e, at, what, "send numbers, a string of its bytes, or a tensor");
    }
    lua_pop(L, 2);
    lr_builder_u8(e->b, kind == 2 ? LR_TAG_UINT64 : LR_TAG_INT64);
    lr_builder_bytes(e->b, lua_topointer(L, index), 8);
    return true;
}

static const int64_t element_bytes[LR_DTYPE_COUNT] = {4, 8, 1, 1, 4, 8};

static bool encode_tensor(encoder *e, const lr_tensor_ud *t, const step *at)
{
    lr_buffer *buffer = t->buffer;
    int64_t size = element_bytes[t->view.dtype], offset = 0;
    if (!lr_buffer_is_sealed(buffer) && !(e->flags & LR_ENCODE_SEAL)) {
        char message[512];
        buffer = lr_buffer_make(e->S, e->L, (uint64_t)(t->view.count * size), "tensor sent", message, sizeof message);
        if (!buffer) return refuse(e, at, LR_ERR_OUT_OF_MEMORY, message);
        if (t->view.count) memcpy(buffer->data, t->view.data, (size_t)(t->view.count * size));
    } else {
        lr_object_retain(&buffer->base);
        offset = t->view.count ? ((const char *)t->view.data - (const char *)buffer->data) / size : 0;
    }
    lr_buffer_seal(buffer);
    lr_builder_u8(e->b, LR_TAG_TENSOR);
    lr_builder_u8(e->b, (uint8_t)t->view.dtype);
    lr_builder_u8(e->b, (uint8_t)t->view.rank);
    for (int i = 0; i < t->view.rank; i++)
        lr_builder_varint(e->b, (uint64_t)t->view.shape[i]);
    lr_builder_varint(e->b, (uint64_t)offset);
    lr_builder_varint(e->b, lr_builder_ref(e->b, &buffer->base));
    lr_buffer_release(buffer);
    return true;
}

/* What is on top was made for the message. It lives until that is written, for it is known by its address, and another
 * one at the same address would be taken for it. */
static void keep(encoder *e)
{
    lua_State *L = e->L;
    lua_pushlightuserdata(L, e);
    lua_rawget(L, LUA_REGISTRYINDEX);
    if (!e->keeps) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushlightuserdata(L, e);
        lua_pushvalue(L, -2);
        lua_rawset(L, LUA_REGISTRYINDEX);
        e->keeps = true;
    }
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
    lua_pop(L, 1);
}

static void let_go(encoder *e)
{
    if (!e->keeps) return;
    lua_pushlightuserdata(e->L, e);
    lua_pushnil(e->L);
    lua_rawset(e->L, LUA_REGISTRYINDEX);
    e->keeps = false;
}

static bool encode_remote(encoder *e, int index, const step *at)
{
    lr_err code;
    lr_fn *fn = lr_remote_fn(e->S, e->L, index, &code);
    if (!fn) return refuse(e, at, code, lua_tostring(e->L, -1));
    lr_builder_u8(e->b, LR_TAG_REMOTE);
    lr_builder_varint(e->b, fn == e->S->encoding_fn ? 0 : (uint64_t)lr_builder_ref(e->b, &fn->base) + 1);
    lr_options_push(e->L, ((lr_remote_ud *)lua_touserdata(e->L, index))->options);
    if (!lua_isnil(e->L, -1)) keep(e);
    bool done = encode_value(e, lua_gettop(e->L), at);
    if (done) lua_pop(e->L, 1);
    return done;
}

static bool encode_userdata(encoder *e, int index, const step *at)
{
    lua_State *L = e->L;
    lr_future_ud *f = lr_test_future(L, index);
    if (f) {
        lr_builder_u8(e->b, LR_TAG_FUTURE);
        lr_builder_varint(e->b, lr_builder_ref(e->b, (lr_object *)f->task));
        lr_builder_varint(e->b, f->index);
        return true;
    }
    if (lr_test_remote(L, index)) return encode_remote(e, index, at);
    lr_tensor_ud *t = lr_test_tensor(L, index);
    if (t) return encode_tensor(e, t, at);
    return cannot(e, at, "a userdata", "send what it was made of, and make it again in the task");
}

/* ---- tables --------------------------------------------------------------------------------------- */

/* A number by its bits, nine bytes at most; whole ones below 128 in one. */
static inline uint8_t *write_number(uint8_t *p, uint64_t bits)
{
    double v;
    memcpy(&v, &bits, 8);
    if (v >= 0 && v < 128 && v == (int)v && bits >> 63 == 0) {
        *p = (uint8_t)(LR_TAG_SMALL | (int)v);
        return p + 1;
    }
    *p = LR_TAG_NUMBER;
    memcpy(p + 1, &bits, 8);
    return p + 9;
}

/* The numbers at the head of the table's array; *count: how many. False: no memory. */
static bool encode_numbers(encoder *e, int index, uint32_t *count)
{
    uint32_t size = 0, n = 0;
    const uint64_t *array = e->codec->knows_tables ? lr_raw_array(lua_topointer(e->L, index), &size) : NULL;
    bool has_zero = size > 0 && array[0] != LR_RAW_NIL; /* [0], which comes before them */
    while (!has_zero && n + 1 < size && lr_raw_is_double(array[n + 1]))
        n++;
    *count = n;
    uint8_t *p = lr_builder_room(e->b, 9 * (size_t)n);
    if (!p) return false;
    for (uint32_t i = 1; i <= n; i++)
        p = write_number(p, array[i]);
    lr_builder_commit(e->b, p);
    return true;
}

static bool encode_back(encoder *e, uint32_t number)
{
    e->shared = true;
    lr_builder_u8(e->b, LR_TAG_BACK);
    lr_builder_varint(e->b, number);
    return true;
}

/* ---- tables of plain data, as they lie in memory ---- */

static bool raw_table(encoder *e, const char *table);

static bool raw_string(encoder *e, const char *string)
{
    uint32_t length;
    const char *bytes = lr_raw_string(string, &length);
    if (length >= LR_BLOB_BYTES) return false;
    uint8_t *p = lr_builder_room(e->b, 1 + LR_VARINT_MAX + length);
    if (!p) return false;
    *p++ = LR_TAG_STRING;
    p = lr_write_varint(p, length);
    memcpy(p, bytes, length);
    lr_builder_commit(e->b, p + length);
    return true;
}

static bool raw_value(encoder *e, uint64_t bits)
{
    uint32_t tag = lr_raw_tag(bits);
    if (tag == LR_RAW_TAG_STRING) return raw_string(e, lr_raw_address(bits));
    if (tag == LR_RAW_TAG_TABLE) return raw_table(e, lr_raw_address(bits));
    uint8_t *p = lr_builder_room(e->b, 9);
    if (!p) return false;
    if (lr_raw_is_double(bits)) {
        p = write_number(p, bits);
    } else if (tag == LR_RAW_TAG_TRUE || tag == LR_RAW_TAG_FALSE) {
        *p++ = tag == LR_RAW_TAG_TRUE ? LR_TAG_TRUE : LR_TAG_FALSE;
    } else {
        return false;
    }
    lr_builder_commit(e->b, p);
    return true;
}

/* The doubles in a row from *i on, which moves behind them. */
static bool raw_numbers(encoder *e, const uint64_t *array, uint32_t *i, uint32_t size)
{
    uint32_t end = *i;
    while (end < size && lr_raw_is_double(array[end]))
        end++;
    uint8_t *p = lr_builder_room(e->b, 9 * (size_t)(end - *i));
    if (!p) return false;
    for (; *i < end; ++*i)
        p = write_number(p, array[*i]);
    lr_builder_commit(e->b, p);
    return true;
}

/* A key above what the table's array has in a row: its bits, those of a whole number. */
static bool raw_index(encoder *e, uint32_t index)
{
    double v = index;
    uint64_t bits;
    memcpy(&bits, &v, 8);
    return raw_value(e, bits);
}

/* What is no plain data, or too deep, ends the attempt; so does a lack of memory. */
static bool raw_table(encoder *e, const char *table)
{
    uint32_t number, size, node_count, counts[2] = {0, 0}; /* in the array, pairs */
    if (lr_raw_has_metatable(table) || e->depth >= PLAIN_LEVELS) return false;
    int known = lr_idmap_add(&e->codec->tables, table, &number);
    if (known != 0) return known > 0 && encode_back(e, number);
    uint8_t *p = lr_builder_room(e->b, 9);
    if (!p) return false;
    *p = LR_TAG_TABLE;
    lr_builder_commit(e->b, p + 9);
    size_t counts_at = e->b->size_bytes - 8;
    e->depth++;
    const uint64_t *array = lr_raw_array(table, &size);
    uint32_t i = 1;
    while (i < size && array[i] != LR_RAW_NIL) {
        if (!raw_numbers(e, array, &i, size)) return false;
        if (i < size && array[i] != LR_RAW_NIL && !raw_value(e, array[i++])) return false;
    }
    counts[0] = i - 1;
    if (size > 0 && array[0] != LR_RAW_NIL) {
        counts[1]++;
        if (!raw_index(e, 0) || !raw_value(e, array[0])) return false;
    }
    for (; i < size; i++) {
        if (array[i] == LR_RAW_NIL) continue;
        counts[1]++;
        if (!raw_index(e, i) || !raw_value(e, array[i])) return false;
    }
    const lr_raw_node *nodes = lr_raw_nodes(table, &node_count);
    for (i = 0; i < node_count; i++) {
        if (nodes[i].value == LR_RAW_NIL) continue;
        counts[1]++;
        if (!raw_value(e, nodes[i].key) || !raw_value(e, nodes[i].value)) return false;
    }
    e->depth--;
    memcpy(e->b->data + counts_at, counts, sizeof counts);
    return true;
}

static bool encode_fields(encoder *e, int index, const step *at)
{
    lua_State *L = e->L;
    uint8_t *p = lr_builder_room(e->b, 9);
    if (!p) return no_memory(e, at);
    *p = LR_TAG_TABLE;
    lr_builder_commit(e->b, p + 9);
    size_t counts_at = e->b->size_bytes - 8;
    uint32_t counts[2] = {0, 0}; /* in the array, pairs */
    step below = {.up = at, .L = L, .key = lua_gettop(L) + 1};
    if (!encode_numbers(e, index, &counts[0])) return no_memory(e, at);
    if (counts[0] > 0)
        lua_pushnumber(L, counts[0]); /* the key after which to go on */
    else
        lua_pushnil(L);
    while (lua_next(L, index)) {
        int value = below.key + 1;
        if (counts[1] == 0 && lua_type(L, below.key) == LUA_TNUMBER && lua_tonumber(L, below.key) == counts[0] + 1) {
            counts[0]++;
        } else {
            counts[1]++;
            below.is_key = true;
            if (!encode_value(e, below.key, &below)) return false;
            below.is_key = false;
        }
        if (lua_type(L, value) == LUA_TNUMBER) { /* without a call for the most common */
            double v = lua_tonumber(L, value);
            uint64_t bits;
            memcpy(&bits, &v, 8);
            if (!(p = lr_builder_room(e->b, 9))) return no_memory(e, at);
            lr_builder_commit(e->b, write_number(p, bits));
        } else if (!encode_value(e, value, &below)) {
            return false;
        }
        lua_settop(L, below.key);
    }
    if (e->b->failed) return no_memory(e, at);
    memcpy(e->b->data + counts_at, counts, sizeof counts);
    return true;
}

static void encode_text_field(encoder *e, int index, const char *name)
{
    size_t length = 0;
    lua_getfield(e->L, index, name);
    const char *text = lua_type(e->L, -1) == LUA_TSTRING ? lua_tolstring(e->L, -1, &length) : "";
    lr_builder_varint(e->b, length);
    lr_builder_bytes(e->b, text, length);
    lua_pop(e->L, 1);
}

static bool encode_field(encoder *e, int index, const char *name, const step *at)
{
    lua_pushstring(e->L, name);
    step below = {.up = at, .L = e->L, .key = lua_gettop(e->L)};
    lua_getfield(e->L, index, name);
    if (!encode_value(e, below.key + 1, &below)) return false;
    lua_settop(e->L, below.key - 1);
    return true;
}

/* An error value: see the ERROR tag. */
static bool encode_error(encoder *e, int index, const step *at)
{
    lua_State *L = e->L;
    lua_getfield(L, index, "code");
    lr_err code = lua_type(L, -1) == LUA_TSTRING ? lr_err_from_code(lua_tostring(L, -1)) : LR_ERR_NONE;
    lua_getfield(L, index, "task");
    lr_id task = LR_ID_NIL;
    if (lua_type(L, -1) == LUA_TSTRING) lr_id_parse(lua_tostring(L, -1), &task);
    lua_getfield(L, index, "attempts");
    uint64_t attempts = lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) >= 1 ? (uint64_t)lua_tonumber(L, -1) : 1;
    lua_pop(L, 3);
    lr_builder_u8(e->b, LR_TAG_ERROR);
    lr_builder_u8(e->b, (uint8_t)(code == LR_ERR_NONE ? LR_ERR_ERROR : code));
    encode_text_field(e, index, "message");
    encode_text_field(e, index, "traceback");
    encode_text_field(e, index, "function_name");
    lr_builder_bytes(e->b, &task, sizeof task);
    lr_builder_varint(e->b, attempts);
    return encode_field(e, index, "cause", at) && encode_field(e, index, "value", at);
}

/* Pushes the name under which the metatable is registered (lr.class), or nothing. */
static bool push_class_name(encoder *e, int metatable)
{
    lua_State *L = e->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, e->codec->ref_class_names);
    lua_pushvalue(L, metatable);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    if (lua_type(L, -1) == LUA_TSTRING) return true;
    lua_pop(L, 1);
    return false;
}

/* A class that lr.class knows, its name on the top (popped): its metatable travels as the body of an
 * lr_fn, made once for each state. Inside that very body the class is the table met first. */
static bool encode_class(encoder *e, int metatable, const step *at)
{
    lua_State *L = e->L;
    uint32_t number;
    lr_err code;
    if (lr_idmap_find(&e->codec->tables, lua_topointer(L, metatable), &number)) {
        lua_pop(L, 1);
        return encode_back(e, number);
    }
    lr_fn *fn = lr_codec_class_fn(e->S, L, metatable, &code);
    if (!fn) return refuse(e, at, code, lua_tostring(L, -1));
    lr_builder_u8(e->b, LR_TAG_CLASS);
    lr_builder_varint(e->b, fn == e->S->encoding_fn ? 0 : (uint64_t)lr_builder_ref(e->b, &fn->base) + 1);
    size_t length;
    const char *name = lua_tolstring(L, -1, &length);
    lr_builder_string(e->b, name, length);
    lua_pop(L, 1);
    return true;
}

/* The class of the table at index, whose metatable is on the top. The stack is as before afterwards. */
static bool encode_metatable(encoder *e, const step *at)
{
    int metatable = lua_gettop(e->L);
    lr_module_name name;
    lr_builder_u8(e->b, LR_TAG_OBJECT);
    if (push_class_name(e, metatable)) return encode_class(e, metatable, at);
    if (!lr_codec_module_of(e->S, e->L, metatable, &name))
        return cannot(e, at, "a table with a metatable that is neither a loaded module's nor registered",
                      "register it with lr.class(name, metatable)");
    encode_module(e, &name);
    return true;
}

/* True when the table goes by its name, as a module (where code holds on to it, or it has a metatable)
 * or as a class. *done: whether that went well. Named tables have no number in the message. */
static bool encode_named(encoder *e, int index, bool maybe_module, const step *at, bool *done)
{
    lr_module_name name;
    *done = true;
    if (maybe_module && lr_codec_module_of(e->S, e->L, index, &name)) {
        encode_module(e, &name);
        return true;
    }
    bool is_body = at == NULL && (e->flags & LR_ENCODE_CODE); /* of a class: here it is spelled out */
    if (is_body || !e->codec->has_classes || !push_class_name(e, index)) return false;
    if (e->plain) {
        *done = false;
        return true;
    }
    *done = encode_class(e, index, at);
    return true;
}

static bool encode_table(encoder *e, int index, const step *at)
{
    lua_State *L = e->L;
    const void *address = lua_topointer(L, index);
    bool done, object = lua_getmetatable(L, index);
    if (object && e->plain) return false;
    bool error = object && lua_topointer(L, -1) == e->S->mt_error;
    uint32_t number;
    if (!error && (object || e->in_function || e->codec->has_classes)) {
        if (lr_idmap_find(&e->codec->tables, address, &number)) {
            if (object) lua_pop(L, 1);
            return encode_back(e, number);
        }
        if (encode_named(e, index, object || e->in_function, at, &done)) {
            if (done && object) lua_pop(L, 1);
            return done;
        }
    }
    int known = lr_idmap_add(&e->codec->tables, address, &number);
    if (known < 0) return no_memory(e, at);
    if (object && !known && !error && !encode_metatable(e, at)) return false;
    if (object) lua_pop(L, 1);
    if (known) return encode_back(e, number);
    return error ? encode_error(e, index, at) : encode_fields(e, index, at);
}

/* ---- functions ------------------------------------------------------------------------------------ */

static int write_dump(lua_State *L, const void *bytes, size_t size_bytes, void *builder)
{
    (void)L;
    lr_builder_bytes(builder, bytes, size_bytes);
    return ((lr_builder *)builder)->failed;
}

static lr_code *dump(lua_State *L, int index)
{
    lr_builder b;
    lr_code *code = NULL;
    lr_builder_init(&b);
    lua_pushvalue(L, index);
    if (lua_dump(L, write_dump, &b) == 0 && !b.failed) code = lr_code_new(b.data, b.size_bytes);
    lua_pop(L, 1);
    lr_builder_fini(&b);
    return code;
}

static bool encode_upvalue(encoder *e, int function, int i, const step *at, size_t *largest, const char **fattest)
{
    lua_State *L = e->L;
    uint32_t cell;
    const char *name = lua_getupvalue(L, function, i);
    int known = lr_idmap_add(&e->codec->cells, lua_upvalueid(L, function, i), &cell);
    if (known < 0) return no_memory(e, at);
    if (known) {
        e->shared = true;
        lr_builder_u8(e->b, LR_TAG_CELL);
        lr_builder_varint(e->b, cell);
        lua_pop(L, 1);
        return true;
    }
    size_t before = e->b->size_bytes + e->stored_bytes;
    step below = {.up = at, .L = L, .upvalue = name && *name ? name : "?", .function = function};
    if (!encode_value(e, lua_gettop(L), &below)) return false;
    lua_pop(L, 1);
    size_t size_bytes = e->b->size_bytes + e->stored_bytes - before;
    if (size_bytes > *largest) {
        *largest = size_bytes;
        *fattest = below.upvalue;
    }
    return true;
}

/* Everything that a function drags along counts, strings in the store too. */
static bool check_function_size(encoder *e, size_t size_bytes, size_t largest, const char *fattest, const step *at)
{
    if (size_bytes <= FUNCTION_BYTES_MAX) return true;
    char what[200];
    snprintf(what, sizeof what, "a function of %.1f MB, most of it upvalue '%.60s' (%.1f MB),",
             (double)size_bytes / 1e6, fattest, (double)largest / 1e6);
    return cannot(e, at, what, "lr.put the data once and pass the future as an argument");
}

static bool encode_lua_function(encoder *e, int index, const step *at)
{
    lua_State *L = e->L;
    lua_Debug ar;
    lua_pushvalue(L, index);
    lua_getinfo(L, ">u", &ar);
    lr_code *code = dump(L, index);
    if (!code) return no_memory(e, at);
    size_t start = e->b->size_bytes + e->stored_bytes, code_bytes = code->size_bytes, largest = 0;
    const char *fattest = "?";
    lr_builder_u8(e->b, LR_TAG_FUNCTION);
    lr_builder_varint(e->b, lr_builder_ref(e->b, &code->base));
    lr_builder_u8(e->b, (uint8_t)ar.nups);
    lr_object_release(&code->base);
    e->in_function++;
    for (int i = 1; i <= ar.nups; i++)
        if (!encode_upvalue(e, index, i, at, &largest, &fattest)) return false;
    e->in_function--;
    return check_function_size(e, e->b->size_bytes + e->stored_bytes - start + code_bytes, largest, fattest, at);
}

static bool encode_function(encoder *e, int index, const step *at)
{
    lua_State *L = e->L;
    lr_module_name name;
    bool in_module = lr_codec_module_of(e->S, L, index, &name);
    bool global = in_module && strcmp(name.module, "_G") == 0;
    bool by_name_only = global || lua_iscfunction(L, index); /* a worker's print is in Lua, to users it is the same */
    if (in_module && (e->in_function || !by_name_only)) {
        encode_module(e, &name);
        return true;
    }
    if (by_name_only) {
        char what[160] = "a C function";
        if (in_module)
            snprintf(what, sizeof what, "a C function (%.60s%s%.60s)", global ? "" : name.module,
                     *name.field && !global ? "." : "", name.field);
        return cannot(e, at, what, "pass its name or a module function instead");
    }
    uint32_t number;
    int known = lr_idmap_add(&e->codec->tables, lua_topointer(L, index), &number);
    if (known < 0) return no_memory(e, at);
    return known ? encode_back(e, number) : encode_lua_function(e, index, at);
}

/* ---- any value ------------------------------------------------------------------------------------ */

typedef struct fresh_stack {
    encoder *e;
    const step *at;
    bool done;
} fresh_stack;

static int on_fresh_stack(lua_State *L)
{
    fresh_stack *f = lua_touserdata(L, 2);
    f->e->L = L;
    f->done = encode_level(f->e, 1, f->at);
    return f->done ? 0 : 1;
}

/* Goes on in a coroutine made for it: the steps keep their indices into the stacks they were made on. */
static bool encode_deeper(encoder *e, int index, const step *at)
{
    fresh_stack f = {.e = e, .at = at};
    lua_State *outer = e->L, *L = lua_newthread(outer);
    lua_pushcfunction(outer, on_fresh_stack); /* made here: only here may out of memory be raised */
    lua_pushvalue(outer, index);
    lua_pushlightuserdata(outer, &f);
    lua_xmove(outer, L, 3);
    int status = lua_pcall(L, 2, 1, 0);
    e->L = outer;
    lua_xmove(L, outer, 1); /* a sentence, or nil */
    lua_remove(outer, -2);
    if (status != 0) lua_error(outer);
    if (f.done) lua_pop(outer, 1);
    return f.done;
}

static bool encode_level(encoder *e, int index, const step *at)
{
    if (e->depth % 4 == 1 && !lua_checkstack(e->L, 36)) return no_memory(e, at); /* for four levels */
    return lua_type(e->L, index) == LUA_TTABLE ? encode_table(e, index, at) : encode_function(e, index, at);
}

static bool encode_nested(encoder *e, int index, const step *at)
{
    if (++e->depth > LR_VALUE_DEPTH_MAX)
        return refuse(e, NULL, LR_ERR_NOT_SERIALIZABLE, "it is nested more than 5000 deep; send it in parts");
    if (e->plain && (e->depth > PLAIN_LEVELS || lua_type(e->L, index) != LUA_TTABLE)) return false;
    bool done = e->depth % LEVELS_PER_STACK ? encode_level(e, index, at) : encode_deeper(e, index, at);
    e->depth--;
    return done;
}

static bool encode_value(encoder *e, int index, const step *at)
{
    lua_State *L = e->L;
    int type = lua_type(L, index);
    if (e->plain && type > LUA_TTABLE) return false;
    switch (type) {
    case LUA_TNIL: lr_builder_u8(e->b, LR_TAG_NIL); return true;
    case LUA_TBOOLEAN: lr_builder_u8(e->b, lua_toboolean(L, index) ? LR_TAG_TRUE : LR_TAG_FALSE); return true;
    case LUA_TNUMBER: lr_builder_number(e->b, lua_tonumber(L, index)); return true;
    case LUA_TSTRING: {
        size_t length;
        const char *s = lua_tolstring(L, index, &length);
        return encode_bytes(e, at, s, length);
    }
    case LUA_TTABLE:
    case LUA_TFUNCTION: return encode_nested(e, index, at);
    case LUA_TUSERDATA: return encode_userdata(e, index, at);
    case LUA_TTHREAD: return cannot(e, at, "a coroutine", "send what it would produce, or run it in the task");
    case LUA_TLIGHTUSERDATA:
        return cannot(e, at, "a pointer (light userdata)", "it means nothing elsewhere; send the data");
    case TYPE_CDATA: return encode_cdata(e, index, at);
    default: return cannot(e, at, luaL_typename(L, index), "send plain data");
    }
}

static bool is_simple(lua_State *L, int first, int count)
{
    for (int i = first; i < first + count; i++) {
        int type = lua_type(L, i);
        if (type != LUA_TNUMBER && type != LUA_TSTRING && type != LUA_TBOOLEAN && type != LUA_TNIL) return false;
    }
    return true;
}

static bool encode_roots(encoder *e, int first, int count)
{
    lr_builder_header(e->b, (uint64_t)count);
    for (int i = 0; i < count; i++) {
        e->number = i + 1;
        if (!encode_value(e, first + i, NULL)) return false;
    }
    return !e->b->failed || no_memory(e, NULL);
}

/* Arguments: the encoder, the values. Nothing, or the sentence of a refusal. */
static int encode_protected(lua_State *L)
{
    encoder *e = lua_touserdata(L, 1);
    e->L = L;
    return encode_roots(e, 2, lua_gettop(L) - 1) ? 0 : 1;
}

/* Out of memory that a pcall in between has caught and raised again is no longer LUA_ERRMEM. */
static bool is_no_memory(lua_State *L, int status)
{
    return status == LUA_ERRMEM || (lua_type(L, -1) == LUA_TSTRING && strstr(lua_tostring(L, -1), "not enough memory"));
}

/* Whatever Lua raises meanwhile (it is out of memory) becomes a refusal. */
static bool encode_caught(encoder *e, int first, int count)
{
    lua_State *L = e->L;
    if (lua_gettop(L) + count + 20 > LUAI_MAXCSTACK)
        return refuse(e, NULL, LR_ERR_NOT_SERIALIZABLE, "too many values at once; send them in a table");
    if (!lua_checkstack(L, count + 20)) return no_memory(e, NULL);
    lua_rawgeti(L, LUA_REGISTRYINDEX, e->codec->ref_encode);
    lua_pushlightuserdata(L, e);
    for (int i = 0; i < count; i++)
        lua_pushvalue(L, first + i);
    int status = lua_pcall(L, count + 1, 1, 0);
    e->L = L;
    if (status != 0) e->code = is_no_memory(L, status) ? LR_ERR_OUT_OF_MEMORY : LR_ERR_NOT_SERIALIZABLE;
    if (status != 0 || !lua_isnil(L, -1)) return false;
    lua_pop(L, 1);
    return true;
}

static bool encode_raw(encoder *e, int first, int count)
{
    lr_builder_header(e->b, (uint64_t)count);
    for (int i = first; i < first + count; i++) {
        bool done = lua_type(e->L, i) == LUA_TTABLE ? raw_table(e, lua_topointer(e->L, i)) : encode_value(e, i, NULL);
        if (!done) return false;
    }
    return !e->b->failed;
}

/* Plain data makes Lua allocate nothing, so that nothing is raised. False: it is not plain, or it is refused. */
static bool encode_plain(encoder *e, int first, int count)
{
    int top = lua_gettop(e->L);
    if (e->codec->knows_tables && !e->codec->has_classes && encode_raw(e, first, count)) return true;
    lr_builder_reset(e->b);
    lr_idmap_reset(&e->codec->tables);
    e->depth = 0;
    e->shared = false;
    bool done = lua_checkstack(e->L, 20) && encode_roots(e, first, count);
    lua_settop(e->L, top);
    return done;
}

/* The maps are in use when a remote function among the values is made just now: a message inside a
 * message. */
static bool encode_with_maps(encoder *e, int first, int count)
{
    lr_codec *c = e->codec;
    lr_idmap tables = c->tables, cells = c->cells;
    bool inner = c->nesting++ > 0;
    if (inner) {
        c->tables = c->cells = (lr_idmap){.generation = 1};
    } else {
        lr_idmap_reset(&c->tables);
        lr_idmap_reset(&c->cells);
        c->index_checked = false;
    }
    bool done = e->plain ? encode_plain(e, first, count) : encode_caught(e, first, count);
    let_go(e);
    c->nesting--;
    if (inner) {
        free(c->tables.entries);
        free(c->cells.entries);
        c->tables = tables;
        c->cells = cells;
    }
    return done;
}

static bool encode_any(encoder *e, int first, int count)
{
    if (is_simple(e->L, first, count)) return encode_roots(e, first, count);
    e->plain = !(e->flags & LR_ENCODE_CODE);
    if (e->plain && encode_with_maps(e, first, count)) return true;
    lr_builder_reset(e->b);
    *e = (encoder){.S = e->S, .L = e->L, .b = e->b, .codec = e->codec, .root = e->root, .flags = e->flags};
    e->in_function = e->flags & LR_ENCODE_CODE ? 1 : 0;
    return encode_with_maps(e, first, count);
}

bool lr_encode(lr_state *S, lua_State *L, int first, int count, lr_root root, unsigned flags, lr_err *code)
{
    encoder e = {.S = S, .L = L, .b = &S->builder, .codec = S->codec, .root = root, .flags = flags};
    int top = lua_gettop(L);
    LR_ASSERT(S->builder.size_bytes == 0);
    if (!encode_any(&e, first, count)) {
        lua_insert(L, top + 1); /* the sentence */
        lua_settop(L, top + 1);
        lr_builder_reset(&S->builder);
        *code = e.code;
        return false;
    }
    if (e.shared) S->builder.data[0] |= LR_VALUE_SHARED;
    return true;
}

bool lr_encode_body(lr_state *S, lua_State *L, int index, lr_fn *fn, lr_err *code)
{
    lr_builder outer = S->builder;
    lr_fn *outer_fn = S->encoding_fn;
    lr_builder_init(&S->builder);
    S->encoding_fn = fn;
    bool refused = !lr_encode(S, L, index, 1, LR_ROOT_UPVALUE, LR_ENCODE_CODE, code);
    bool done = !refused && lr_builder_finish(&S->builder, &fn->body);
    lr_builder_fini(&S->builder);
    S->builder = outer;
    S->encoding_fn = outer_fn;
    if (done || refused) return done;
    *code = LR_ERR_OUT_OF_MEMORY;
    lua_pushliteral(L, "not enough memory");
    return false;
}

void lr_encode_open(lr_state *S)
{
    lua_pushcfunction(S->L, encode_protected);
    S->codec->ref_encode = luaL_ref(S->L, LUA_REGISTRYINDEX);
}
