#include "bindings/codec_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define FUNCTION_BYTES_MAX (16u << 20) /* a function with its upvalues: beyond this, data was caught by mistake */
#define PATH_BYTES 512
#define TYPE_CDATA 10 /* LuaJIT's own type, without a name in lua.h */

/* Where in a message a value is: a step for each table or function around it, innermost first. */
typedef struct step {
    const struct step *up;
    int key;             /* stack index of the key, or 0 */
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
    bool shared; /* a BACK or CELL was written */
    lr_err code;
} encoder;

static bool encode_value(encoder *e, int index, const step *at);

/* ---- refusals ------------------------------------------------------------------------------------- */

static void add_key(lua_State *L, int key, char *path, size_t *used)
{
    size_t room = PATH_BYTES - *used;
    int n;
    if (lua_type(L, key) == LUA_TSTRING) {
        const char *s = lua_tostring(L, key);
        bool word = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || *s == '_';
        for (const char *p = s; *p; p++)
            word = word && ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                            *p == '_');
        n = snprintf(path + *used, room, word ? ".%.60s" : "[\"%.60s\"]", s);
    } else if (lua_type(L, key) == LUA_TNUMBER) {
        n = snprintf(path + *used, room, "[%.14g]", lua_tonumber(L, key));
    } else {
        n = snprintf(path + *used, room, "[a %s]", luaL_typename(L, key));
    }
    if (n > 0) *used += (size_t)n < room ? (size_t)n : room - 1;
}

static void add_step(encoder *e, const step *s, char *path, size_t *used)
{
    if (!s) return;
    add_step(e, s->up, path, used);
    if (s->key) {
        add_key(e->L, s->key, path, used);
        return;
    }
    lua_Debug ar;
    lua_pushvalue(e->L, s->function);
    lua_getinfo(e->L, ">S", &ar);
    size_t room = PATH_BYTES - *used;
    int n = snprintf(path + *used, room, "%supvalue '%.60s' of function <%.80s:%d>", *used ? ": " : "", s->upvalue,
                     ar.short_src, ar.linedefined);
    if (n > 0) *used += (size_t)n < room ? (size_t)n : room - 1;
}

/* Pushes "argument 2: t.env.reset: WHY" in the place of everything the encoder has on the stack; false. */
static bool refuse(encoder *e, const step *at, lr_err code, const char *why)
{
    static const char *const roots[] = {"argument", "result", "", "value"};
    char path[PATH_BYTES] = "", *shown = path;
    size_t used = 0;
    luaL_checkstack(e->L, 8, "refusal");
    add_step(e, at, path, &used);
    if (*shown == '.') shown++;
    e->code = code;
    const char *colon = *shown ? ": " : "";
    if (e->root == LR_ROOT_UPVALUE)
        lua_pushfstring(e->L, "%s%s%s", shown, colon, why);
    else if (e->root == LR_ROOT_VALUE)
        lua_pushfstring(e->L, "value: %s%s%s", shown, colon, why);
    else
        lua_pushfstring(e->L, "%s %d: %s%s%s", roots[e->root], e->number, shown, colon, why);
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
    lr_buffer *buffer = lr_buffer_new(size_bytes, "string", message, sizeof message);
    if (!buffer) return refuse(e, at, LR_ERR_OUT_OF_MEMORY, message);
    memcpy(buffer->data, bytes, size_bytes);
    lr_buffer_seal(buffer);
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
    lua_getglobal(L, "tostring");
    lua_pushvalue(L, index);
    lua_call(L, 1, 1);
    size_t length;
    const char *text = lua_tolstring(L, -1, &length);
    bool number = text && length > 2 && strcmp(text + length - 2, "LL") == 0;
    bool is_unsigned = number && length > 3 && text[length - 3] == 'U';
    if (!number) {
        char what[120];
        snprintf(what, sizeof what, "C data (%.80s)", text ? text : "cdata");
        return cannot(e, at, what, "send numbers, a string of its bytes, or a tensor");
    }
    lua_pop(L, 1);
    lr_builder_u8(e->b, is_unsigned ? LR_TAG_UINT64 : LR_TAG_INT64);
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
        buffer = lr_buffer_new((uint64_t)(t->view.count * size), "tensor sent", message, sizeof message);
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

static bool encode_remote(encoder *e, int index, const step *at)
{
    lr_err code;
    lr_fn *fn = lr_remote_fn(e->S, e->L, index, &code);
    if (!fn) return refuse(e, at, code, lua_tostring(e->L, -1));
    lr_builder_u8(e->b, LR_TAG_REMOTE);
    lr_builder_varint(e->b, fn == e->S->encoding_fn ? 0 : (uint64_t)lr_builder_ref(e->b, &fn->base) + 1);
    lr_options_push(e->L, ((lr_remote_ud *)lua_touserdata(e->L, index))->options);
    bool done = encode_value(e, lua_gettop(e->L), at);
    if (done) lua_pop(e->L, 1);
    return done;
}

static bool encode_userdata(encoder *e, int index, const step *at)
{
    lr_state *S = e->S;
    lua_State *L = e->L;
    lr_future_ud *f = lr_test_future(S, L, index);
    if (f) {
        lr_builder_u8(e->b, LR_TAG_FUTURE);
        lr_builder_varint(e->b, lr_builder_ref(e->b, (lr_object *)f->task));
        lr_builder_varint(e->b, f->index);
        return true;
    }
    if (lr_test_remote(S, L, index)) return encode_remote(e, index, at);
    lr_tensor_ud *t = lr_test_tensor(S, L, index);
    if (t) return encode_tensor(e, t, at);
    return cannot(e, at, "a userdata", "send what it was made of, and make it again in the task");
}

/* ---- tables --------------------------------------------------------------------------------------- */

static bool encode_fields(encoder *e, int index, const step *at)
{
    lua_State *L = e->L;
    uint8_t *p = lr_builder_room(e->b, 9);
    if (!p) return no_memory(e, at);
    *p = LR_TAG_TABLE;
    lr_builder_commit(e->b, p + 9);
    size_t counts_at = e->b->size_bytes - 8;
    uint32_t counts[2] = {0, 0}; /* in the array, pairs */
    step below = {.up = at, .key = lua_gettop(L) + 1};
    lua_pushnil(L);
    while (lua_next(L, index)) {
        int value = below.key + 1;
        if (counts[1] == 0 && lua_type(L, below.key) == LUA_TNUMBER && lua_tonumber(L, below.key) == counts[0] + 1) {
            counts[0]++;
        } else {
            counts[1]++;
            if (!encode_value(e, below.key, &below)) return false;
        }
        if (lua_type(L, value) == LUA_TNUMBER) { /* without a call for the most common */
            double v = lua_tonumber(L, value);
            if (!(p = lr_builder_room(e->b, 9))) return no_memory(e, at);
            *p = LR_TAG_NUMBER;
            memcpy(p + 1, &v, 8);
            lr_builder_commit(e->b, p + 9);
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
    step below = {.up = at, .key = lua_gettop(e->L)};
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

/* A class that lr.class knows: its metatable travels as the body of an lr_fn, made once for each
 * state. name is on the top. */
static bool encode_class(encoder *e, int metatable, const step *at)
{
    lr_err code;
    lr_fn *fn = lr_codec_class_fn(e->S, e->L, metatable, &code);
    if (!fn) return refuse(e, at, code, lua_tostring(e->L, -1));
    lr_builder_u8(e->b, LR_TAG_CLASS);
    lr_builder_varint(e->b, fn == e->S->encoding_fn ? 0 : (uint64_t)lr_builder_ref(e->b, &fn->base) + 1);
    size_t length;
    const char *name = lua_tolstring(e->L, -1, &length);
    lr_builder_string(e->b, name, length);
    return true;
}

/* The class of the table at index, whose metatable is on the top. The stack is as before afterwards. */
static bool encode_metatable(encoder *e, const step *at)
{
    lua_State *L = e->L;
    int metatable = lua_gettop(L);
    lr_module_name name;
    lr_builder_u8(e->b, LR_TAG_OBJECT);
    lua_rawgeti(L, LUA_REGISTRYINDEX, e->codec->ref_class_names);
    lua_pushvalue(L, metatable);
    lua_rawget(L, -2);
    if (lua_type(L, -1) == LUA_TSTRING) {
        if (!encode_class(e, metatable, at)) return false;
    } else if (lr_codec_module_of(e->S, L, metatable, &name)) {
        encode_module(e, &name);
    } else {
        return cannot(e, at, "a table with a metatable that is neither a loaded module's nor registered",
                      "register it with lr.class(name, metatable)");
    }
    lua_settop(L, metatable);
    return true;
}

static bool encode_table(encoder *e, int index, const step *at)
{
    lua_State *L = e->L;
    uint32_t number;
    int known = lr_idmap_add(&e->codec->tables, lua_topointer(L, index), &number);
    if (known < 0) return no_memory(e, at);
    if (known) {
        e->shared = true;
        lr_builder_u8(e->b, LR_TAG_BACK);
        lr_builder_varint(e->b, number);
        return true;
    }
    if (lua_getmetatable(L, index)) {
        if (lua_topointer(L, -1) == e->S->mt_error) {
            lua_pop(L, 1);
            return encode_error(e, index, at);
        }
        lr_module_name name;
        if (lr_codec_module_of(e->S, L, index, &name)) {
            lua_pop(L, 1);
            encode_module(e, &name);
            return true;
        }
        if (!encode_metatable(e, at)) return false;
        lua_pop(L, 1);
    } else if (e->in_function) { /* data that a function holds on to may be a module */
        lr_module_name name;
        if (lr_codec_module_of(e->S, L, index, &name)) {
            encode_module(e, &name);
            return true;
        }
    }
    return encode_fields(e, index, at);
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
    size_t before = e->b->size_bytes;
    step below = {.up = at, .upvalue = name && *name ? name : "?", .function = function};
    if (!encode_value(e, lua_gettop(L), &below)) return false;
    lua_pop(L, 1);
    if (e->b->size_bytes - before > *largest) {
        *largest = e->b->size_bytes - before;
        *fattest = below.upvalue;
    }
    return true;
}

static bool encode_lua_function(encoder *e, int index, const step *at)
{
    lua_State *L = e->L;
    lua_Debug ar;
    lua_pushvalue(L, index);
    lua_getinfo(L, ">u", &ar);
    lr_code *code = dump(L, index);
    if (!code) return no_memory(e, at);
    size_t start = e->b->size_bytes, largest = 0;
    const char *fattest = "?";
    lr_builder_u8(e->b, LR_TAG_FUNCTION);
    lr_builder_varint(e->b, lr_builder_ref(e->b, &code->base));
    lr_builder_u8(e->b, (uint8_t)ar.nups);
    lr_object_release(&code->base);
    e->in_function++;
    for (int i = 1; i <= ar.nups; i++)
        if (!encode_upvalue(e, index, i, at, &largest, &fattest)) return false;
    e->in_function--;
    if (e->b->size_bytes - start <= FUNCTION_BYTES_MAX) return true;
    char what[200];
    snprintf(what, sizeof what, "a function of %.1f MB, most of it upvalue '%.60s' (%.1f MB),",
             (double)(e->b->size_bytes - start) / 1e6, fattest, (double)largest / 1e6);
    return cannot(e, at, what, "lr.put the data once and pass the future as an argument");
}

static bool encode_function(encoder *e, int index, const step *at)
{
    lua_State *L = e->L;
    lr_module_name name;
    bool in_module = lr_codec_module_of(e->S, L, index, &name);
    if (in_module && (e->in_function || !lua_iscfunction(L, index))) {
        encode_module(e, &name);
        return true;
    }
    if (lua_iscfunction(L, index)) {
        char what[160] = "a C function";
        if (in_module)
            snprintf(what, sizeof what, "a C function (%.60s%s%.60s)", strcmp(name.module, "_G") ? name.module : "",
                     *name.field && strcmp(name.module, "_G") ? "." : "", name.field);
        return cannot(e, at, what, "pass its name or a module function instead");
    }
    uint32_t number;
    int known = lr_idmap_add(&e->codec->tables, lua_topointer(L, index), &number);
    if (known < 0) return no_memory(e, at);
    if (!known) return encode_lua_function(e, index, at);
    e->shared = true;
    lr_builder_u8(e->b, LR_TAG_BACK);
    lr_builder_varint(e->b, number);
    return true;
}

/* ---- any value ------------------------------------------------------------------------------------ */

static bool encode_nested(encoder *e, int index, const step *at)
{
    if (++e->depth > LR_VALUE_DEPTH_MAX)
        return refuse(e, NULL, LR_ERR_NOT_SERIALIZABLE, "it is nested more than 5000 deep; send it in parts");
    if (!lua_checkstack(e->L, 16)) return no_memory(e, NULL);
    bool done = lua_type(e->L, index) == LUA_TTABLE ? encode_table(e, index, at) : encode_function(e, index, at);
    e->depth--;
    return done;
}

static bool encode_value(encoder *e, int index, const step *at)
{
    lua_State *L = e->L;
    switch (lua_type(L, index)) {
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

/* The maps are in use when a remote function among the values is made at that moment: a message inside a message. */
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
    }
    bool done = encode_roots(e, first, count);
    c->nesting--;
    if (inner) {
        free(c->tables.entries);
        free(c->cells.entries);
        c->tables = tables;
        c->cells = cells;
    }
    return done;
}

bool lr_encode(lr_state *S, lua_State *L, int first, int count, lr_root root, unsigned flags, lr_err *code)
{
    encoder e = {.S = S, .L = L, .b = &S->builder, .codec = S->codec, .root = root, .flags = flags};
    if (flags & LR_ENCODE_CODE) e.in_function = 1;
    int top = lua_gettop(L);
    LR_ASSERT(S->builder.size_bytes == 0);
    bool done = is_simple(L, first, count) ? encode_roots(&e, first, count) : encode_with_maps(&e, first, count);
    if (!done) {
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
    int top = lua_gettop(L);
    lr_builder_init(&S->builder);
    S->encoding_fn = fn;
    luaL_checkstack(L, 16, "a function to send");
    bool done = lr_encode(S, L, index, 1, LR_ROOT_UPVALUE, LR_ENCODE_CODE, code);
    if (done && !lr_builder_finish(&S->builder, &fn->body)) {
        lua_pushliteral(L, "not enough memory");
        *code = LR_ERR_OUT_OF_MEMORY;
        done = false;
    }
    lr_builder_fini(&S->builder);
    S->builder = outer;
    S->encoding_fn = outer_fn;
    LR_ASSERT(lua_gettop(L) == top + !done);
    return done;
}
