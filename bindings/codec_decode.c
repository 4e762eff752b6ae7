/* The codec's way in: a message becomes values on a Lua stack.
 *
 * Nothing in a message is believed: counts, numbers and references are checked, and all tables together
 * are given no more room at once than the message has bytes. Numbers and strings are pushed at once;
 * whatever holds more than itself is made under a pcall. */
#include "bindings/codec_internal.h"

#include "bindings/worker_state.h"
#include "bindings/session.h"
#include "runtime/task.h"

#include <stdio.h>
#include <stdlib.h>

#define LEVELS_PER_STACK 1500 /* a C function may use 8,000 Lua stack slots; a level uses 3 at most */

#define PLAIN_BYTES 4096   /* a message so small is worth an attempt without a pcall */
#define PLAIN_LEVELS 100
#define RESULTS_MAX 255 /* of one task */
#define CLASSES_DEEP_MAX 32 /* classes being made inside each other */

typedef struct cell {
    int function; /* its number in `met` */
    int upvalue;
} cell;

typedef struct decoder {
    lr_state *S;
    lua_State *L;
    lr_reader r;
    lr_object *const *refs;
    uint32_t ref_count;
    unsigned depth;
    uint64_t left; /* values to be made at most: each is a byte at least */
    uint64_t first, count; /* what the protected part makes: values first..count-1 */
    bool shared;   /* BACK and CELL occur: what is met is kept in the table `met` */
    int met;       /* index in the stack in use */
    int met_count;
    cell *cells;
    uint32_t cell_count, cell_capacity;
    bool plain;      /* unprotected: what is no plain data ends the attempt */
    const char *why; /* of a refusal */
    char *text;      /* room for one that is made: TEXT_BYTES */
} decoder;

#define TEXT_BYTES 800

static bool decode_value(decoder *d);

static bool bad(decoder *d, const char *why)
{
    d->r.ok = false;
    if (!d->why) d->why = why;
    return false;
}

static lr_object *ref(decoder *d, uint64_t index, lr_object_kind kind)
{
    if (d->r.ok && index < d->ref_count && d->refs[index]->kind == kind) return d->refs[index];
    bad(d, "a reference that the message does not have");
    return NULL;
}

/* ---- leaves --------------------------------------------------------------------------------------- */

static bool decode_string(decoder *d)
{
    uint64_t length = lr_read_varint(&d->r);
    const uint8_t *bytes = lr_read_bytes(&d->r, length);
    if (!bytes) return bad(d, "a string beyond the end");
    lua_pushlstring(d->L, (const char *)bytes, (size_t)length);
    return true;
}

/* Whoever decodes has waited for what was on another node. */
static lr_buffer *buffer_ref(decoder *d)
{
    lr_buffer *b = (lr_buffer *)ref(d, lr_read_varint(&d->r), LR_OBJECT_BUFFER);
    if (!b || !b->is_absent) return b;
    b = lr_buffer_here(b);
    if (!b) bad(d, "an object that lies on another node");
    return b;
}

static bool decode_blob(decoder *d)
{
    lr_buffer *b = buffer_ref(d);
    uint64_t size = lr_read_varint(&d->r);
    if (!b || !d->r.ok || size > b->size_bytes) return bad(d, "a string beyond its buffer");
    lr_buffer_use(b);
    lua_pushlstring(d->L, b->data, (size_t)size);
    return true;
}

/* 64-bit integers are cdata. */
static bool decode_integer(decoder *d, bool is_unsigned)
{
    const uint8_t *bytes = lr_read_bytes(&d->r, 8);
    if (!bytes) return bad(d, "an integer beyond the end");
    lr_codec_push_integer(d->L, "make");
    lua_pushboolean(d->L, is_unsigned);
    lua_pushlstring(d->L, (const char *)bytes, 8);
    lua_call(d->L, 2, 1);
    return true;
}

static bool decode_future(decoder *d)
{
    lr_object *o = ref(d, lr_read_varint(&d->r), LR_OBJECT_TASK);
    uint64_t index = lr_read_varint(&d->r);
    if (!o || !d->r.ok || (index > RESULTS_MAX && index != LR_RESULT_ALL)) return bad(d, "a future without a task");
    lr_push_future(d->S, d->L, (struct lr_task *)o, (uint32_t)index);
    return true;
}

static lr_fn *fn_or_self(decoder *d)
{
    uint64_t index = lr_read_varint(&d->r);
    if (index > 0) return (lr_fn *)ref(d, index - 1, LR_OBJECT_FN);
    if (d->S->decoding_fn && d->r.ok) return d->S->decoding_fn;
    bad(d, "a function that refers to itself outside itself");
    return NULL;
}

static bool decode_remote(decoder *d)
{
    lua_State *L = d->L;
    lr_fn *fn = fn_or_self(d);
    if (!fn || !decode_value(d)) return bad(d, "a remote function without a function");
    if (!lua_isnil(L, -1) && !lua_istable(L, -1)) return bad(d, "options that are no table");
    lr_push_remote(d->S, L, fn, NULL); /* first, so that the options have an owner */
    lr_remote_ud *r = lua_touserdata(L, -1);
    r->options = lr_options_from(d->S, L, lua_gettop(L) - 1, NULL);
    lua_remove(L, -2);
    return true;
}

static bool decode_tensor(decoder *d)
{
    static const uint64_t element_bytes[LR_DTYPE_COUNT] = {4, 8, 1, 1, 4, 8};
    lr_tensor view = {.count = 1};
    view.dtype = lr_read_u8(&d->r);
    view.rank = lr_read_u8(&d->r);
    if (!d->r.ok || view.dtype >= LR_DTYPE_COUNT || view.rank > LR_MAX_RANK) return bad(d, "a tensor of no kind");
    for (int i = 0; i < view.rank; i++) {
        uint64_t n = lr_read_varint(&d->r);
        if (n > INT64_MAX || __builtin_mul_overflow(view.count, (int64_t)n, &view.count))
            return bad(d, "a tensor too large");
        view.shape[i] = (int64_t)n;
    }
    uint64_t offset = lr_read_varint(&d->r), size = element_bytes[view.dtype], end;
    lr_buffer *b = buffer_ref(d);
    if (!b || __builtin_add_overflow(offset, (uint64_t)view.count, &end) || end > b->size_bytes / size)
        return bad(d, "a tensor beyond its buffer");
    lr_buffer_use(b);
    view.data = (char *)b->data + offset * size;
    lr_push_tensor(d->S, d->L, b, &view);
    return true;
}

/* ---- tables --------------------------------------------------------------------------------------- */

/* Notes the table or function on the top under the next number. */
static void meet(decoder *d)
{
    if (!d->shared) return;
    lua_pushvalue(d->L, -1);
    lua_rawseti(d->L, d->met, ++d->met_count);
}

static bool decode_back(decoder *d)
{
    uint64_t number = lr_read_varint(&d->r);
    if (!d->r.ok || !d->shared || number >= (uint64_t)d->met_count) return bad(d, "a reference to nothing met yet");
    lua_rawgeti(d->L, d->met, (int)number + 1);
    return true;
}

static bool decode_item(decoder *d)
{
    if (d->r.end - d->r.p >= 9 && *d->r.p == LR_TAG_NUMBER) { /* without a call for the most common */
        double v;
        memcpy(&v, d->r.p + 1, 8);
        d->r.p += 9;
        lua_pushnumber(d->L, v);
        return true;
    }
    return decode_value(d);
}

#define NAN_BITS 0xfff8000000000000ull /* the one NaN that LuaJIT takes for a number */

/* The numbers at the head of an array part just made (room for array elements); returns how many. */
static uint32_t decode_numbers(decoder *d, uint32_t array)
{
    uint32_t size, n = 0;
    if (!d->S->codec->knows_tables) return 0;
    uint64_t *to = lr_raw_array(lua_topointer(d->L, -1), &size);
    if (!to || size < array + 1) return 0;
    const uint8_t *p = d->r.p;
    for (; n < array && p < d->r.end; n++) {
        double v;
        uint64_t bits = NAN_BITS;
        if (*p & LR_TAG_SMALL) {
            v = *p++ & 0x7f;
        } else if (*p == LR_TAG_NUMBER && d->r.end - p >= 9) {
            memcpy(&v, p + 1, 8);
            p += 9;
        } else {
            break;
        }
        if (v == v) memcpy(&bits, &v, 8);
        to[n + 1] = bits;
    }
    d->r.p = p;
    return n;
}

static bool decode_fields(decoder *d)
{
    lua_State *L = d->L;
    uint32_t array = lr_read_u32(&d->r), pairs = lr_read_u32(&d->r);
    uint64_t values = (uint64_t)array + 2 * (uint64_t)pairs;
    uint64_t end = (uint64_t)(d->r.end - d->r.p);
    if (!d->r.ok || values > d->left || values > end || array > INT32_MAX) return bad(d, "a table beyond the end");
    d->left -= values;
    lua_createtable(L, (int)array, (int)pairs);
    meet(d);
    uint32_t first = array > 0 ? decode_numbers(d, array) + 1 : 1;
    for (uint32_t i = first; i <= array; i++) {
        if (!decode_item(d)) return false;
        lua_rawseti(L, -2, (int)i);
    }
    for (uint32_t i = 0; i < pairs; i++) {
        if (!decode_value(d) || !decode_item(d)) return false;
        int type = lua_type(L, -2);
        if (type == LUA_TNIL || (type == LUA_TNUMBER && lua_tonumber(L, -2) != lua_tonumber(L, -2)))
            return bad(d, "a key that is nil or not a number");
        lua_rawset(L, -3);
    }
    return true;
}

/* Pushes the module of that name, the value at index. */
static bool push_module(decoder *d, int name)
{
    lua_State *L = d->L;
    const char *text = lua_tostring(L, name);
    if (strcmp(text, "_G") == 0) {
        lua_pushvalue(L, LUA_GLOBALSINDEX);
        return true;
    }
    lua_getglobal(L, "require");
    lua_pushvalue(L, name);
    if (lua_pcall(L, 1, 1, 0) == 0) return true;
    const char *why = lua_tostring(L, -1);
    if (!why) why = luaL_typename(L, -1);
    snprintf(d->text, (size_t)TEXT_BYTES, "module '%.60s' cannot be loaded here: %.600s", text, why);
    return bad(d, d->text);
}

static bool decode_module(decoder *d)
{
    lua_State *L = d->L;
    int name = lua_gettop(L) + 1, field = name + 1;
    if (!decode_value(d) || !decode_value(d)) return false;
    if (lua_type(L, name) != LUA_TSTRING || lua_type(L, field) != LUA_TSTRING) return bad(d, "a module without a name");
    if (!push_module(d, name)) return false;
    bool whole = lua_objlen(L, field) == 0;
    if (!whole && lua_istable(L, -1)) {
        lua_pushvalue(L, field);
        lua_rawget(L, -2);
        lua_replace(L, -2);
    } else if (!whole) {
        lua_settop(L, field);
        lua_pushnil(L);
    }
    if (!lua_istable(L, -1) && !lua_isfunction(L, -1)) {
        snprintf(d->text, (size_t)TEXT_BYTES, "module '%.60s' has no '%.60s' here", lua_tostring(L, name),
                 lua_tostring(L, field));
        return bad(d, d->text);
    }
    lua_replace(L, name);
    lua_settop(L, name);
    return true;
}

/* Pushes the metatable of a class: the receiver's own registration of the name goes before the shipped one. */
static bool push_class(decoder *d, lr_fn *fn, int name)
{
    lua_State *L = d->L;
    lr_codec *c = d->S->codec;
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->ref_class_by_name);
    lua_pushvalue(L, name);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    if (lua_istable(L, -1)) return true;
    lua_pop(L, 1);
    if (c->classes_deep >= CLASSES_DEEP_MAX) return bad(d, "classes that hold objects of each other");
    c->classes_deep++;
    bool made = lr_push_function(d->S, L, fn);
    c->classes_deep--;
    if (!made) {
        const char *why = lua_tostring(L, -1);
        snprintf(d->text, (size_t)TEXT_BYTES, "%s", why ? why : "its class could not be made");
        return bad(d, d->text);
    }
    if (!lua_istable(L, -1)) return bad(d, "a class that is no table");
    /* objects that are sent on from here travel under the same name */
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->ref_class_names);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, name);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    c->has_classes = true;
    return true;
}

static bool decode_class(decoder *d)
{
    lua_State *L = d->L;
    lr_fn *fn = fn_or_self(d);
    int name = lua_gettop(L) + 1;
    if (!fn || fn == d->S->decoding_fn) return bad(d, "a class without a body");
    if (!decode_value(d) || lua_type(L, name) != LUA_TSTRING) return bad(d, "a class without a name");
    if (!push_class(d, fn, name)) return false;
    lua_replace(L, name);
    return true;
}

static bool decode_object(decoder *d)
{
    uint8_t tag = d->r.p < d->r.end ? *d->r.p : 0;
    bool class = tag == LR_TAG_MODULE || tag == LR_TAG_CLASS || tag == LR_TAG_BACK;
    if (!class || !decode_value(d)) return bad(d, "an object without a class");
    if (!lua_istable(d->L, -1)) return bad(d, "an object whose class is no table");
    tag = d->r.p < d->r.end ? *d->r.p : 0;
    if (tag != LR_TAG_TABLE || !decode_value(d)) return bad(d, "an object without fields");
    lua_insert(d->L, -2);
    lua_setmetatable(d->L, -2);
    return true;
}

static bool decode_text(decoder *d, const char *name)
{
    if (!decode_string(d)) return false;
    lua_setfield(d->L, -2, name);
    return true;
}

static bool decode_error(decoder *d)
{
    lua_State *L = d->L;
    uint8_t code = lr_read_u8(&d->r);
    if (code == 0 || code >= LR_ERR_COUNT) return bad(d, "an error of no kind");
    lr_error_push(d->S, L, (lr_err)code, "");
    meet(d);
    if (!decode_text(d, "message") || !decode_text(d, "traceback") || !decode_text(d, "function_name")) return false;
    lr_id task = LR_ID_NIL;
    const uint8_t *bytes = lr_read_bytes(&d->r, sizeof task);
    if (!bytes) return bad(d, "an error without a task");
    memcpy(&task, bytes, sizeof task);
    if (!lr_id_is_nil(task)) {
        char text[LR_ID_TEXT];
        lr_id_format(task, text);
        lua_pushstring(L, text);
        lua_setfield(L, -2, "task");
        lr_id_format(lr_session_node(), text); /* the only one there is */
        lua_pushstring(L, text);
        lua_setfield(L, -2, "node");
    }
    lua_pushnumber(L, (double)lr_read_varint(&d->r));
    lua_setfield(L, -2, "attempts");
    if (!decode_value(d)) return false;
    lua_setfield(L, -2, "cause");
    if (!decode_value(d)) return false;
    lua_setfield(L, -2, "value");
    return true;
}

/* ---- functions ------------------------------------------------------------------------------------ */

static bool add_cell(decoder *d, int function, int upvalue)
{
    if (d->cell_count == d->cell_capacity) {
        uint32_t capacity = d->cell_capacity ? 2 * d->cell_capacity : 16;
        cell *cells = realloc(d->cells, capacity * sizeof *cells);
        if (!cells) return bad(d, "not enough memory");
        d->cells = cells;
        d->cell_capacity = capacity;
    }
    d->cells[d->cell_count++] = (cell){function, upvalue};
    return true;
}

/* The function is on the top, its number is `number`. */
static bool decode_upvalue(decoder *d, int number, int i)
{
    lua_State *L = d->L;
    if (d->r.p < d->r.end && *d->r.p == LR_TAG_CELL) {
        d->r.p++;
        uint64_t n = lr_read_varint(&d->r);
        if (!d->r.ok || !d->shared || n >= d->cell_count) return bad(d, "an upvalue that was not met yet");
        lua_rawgeti(L, d->met, d->cells[n].function);
        lua_upvaluejoin(L, -2, i, -1, d->cells[n].upvalue);
        lua_pop(L, 1);
        return true;
    }
    if (d->shared && !add_cell(d, number, i)) return false;
    if (!decode_value(d)) return false;
    return lua_setupvalue(L, -2, i) != NULL || bad(d, "more upvalues than the function has");
}

static bool decode_function(decoder *d)
{
    lua_State *L = d->L;
    lr_code *code = (lr_code *)ref(d, lr_read_varint(&d->r), LR_OBJECT_CODE);
    int count = lr_read_u8(&d->r);
    if (!code || !d->r.ok) return bad(d, "a function without code");
    lua_Debug ar;
    if (luaL_loadbuffer(L, (const char *)code->bytes, code->size_bytes, "=function") != 0) {
        snprintf(d->text, (size_t)TEXT_BYTES, "a function cannot be loaded here: %.200s", lua_tostring(L, -1));
        return bad(d, d->text);
    }
    lua_pushvalue(L, -1);
    lua_getinfo(L, ">u", &ar);
    if (ar.nups != count) return bad(d, "a function with other upvalues");
    meet(d);
    int number = d->met_count;
    for (int i = 1; i <= count; i++)
        if (!decode_upvalue(d, number, i)) return false;
    return true;
}

/* ---- any value ------------------------------------------------------------------------------------ */

static bool decode_tag(decoder *d, uint8_t tag)
{
    switch ((lr_tag)tag) {
    case LR_TAG_TABLE: return decode_fields(d);
    case LR_TAG_BLOB: return decode_blob(d);
    case LR_TAG_INT64: return decode_integer(d, false);
    case LR_TAG_UINT64: return decode_integer(d, true);
    case LR_TAG_BACK: return decode_back(d);
    case LR_TAG_FUTURE: return decode_future(d);
    case LR_TAG_REMOTE: return decode_remote(d);
    case LR_TAG_TENSOR: return decode_tensor(d);
    case LR_TAG_OBJECT: return decode_object(d);
    case LR_TAG_CLASS: return decode_class(d);
    case LR_TAG_MODULE: return decode_module(d);
    case LR_TAG_FUNCTION: return decode_function(d);
    case LR_TAG_ERROR: return decode_error(d);
    case LR_TAG_NIL:
    case LR_TAG_FALSE:
    case LR_TAG_TRUE:
    case LR_TAG_NUMBER:
    case LR_TAG_STRING: /* decode_value has them */
    case LR_TAG_CELL:
    case LR_TAG_COUNT:
    case LR_TAG_SMALL: break;
    }
    return bad(d, "a value of no kind");
}

static int on_fresh_stack(lua_State *L)
{
    decoder *d = lua_touserdata(L, 1);
    int tag = (int)lua_tointeger(L, 2);
    d->L = L;
    d->met = 3;
    return decode_tag(d, (uint8_t)tag) ? 1 : 0;
}

/* Goes on in a coroutine made for it. */
static bool decode_deeper(decoder *d, uint8_t tag)
{
    lua_State *outer = d->L, *L = lua_newthread(outer);
    int met = d->met;
    lua_pushcfunction(outer, on_fresh_stack); /* made here: only here may out of memory be raised */
    lua_pushlightuserdata(outer, d);
    lua_pushinteger(outer, tag);
    if (d->shared) lua_pushvalue(outer, met);
    lua_xmove(outer, L, d->shared ? 4 : 3);
    int status = lua_pcall(L, d->shared ? 3 : 2, 1, 0);
    d->L = outer;
    d->met = met;
    lua_xmove(L, outer, 1);
    lua_remove(outer, -2);
    if (status != 0) lua_error(outer);
    return d->r.ok;
}

static bool decode_nested(decoder *d, uint8_t tag)
{
    if (d->plain && (tag != LR_TAG_TABLE || d->depth >= PLAIN_LEVELS)) return bad(d, "no plain data");
    if (++d->depth > LR_VALUE_DEPTH_MAX) return bad(d, "it is nested more than 5000 deep");
    if (d->depth % 4 == 1 && !lua_checkstack(d->L, 32)) return bad(d, "not enough memory"); /* for four levels */
    bool done = d->depth % LEVELS_PER_STACK ? decode_tag(d, tag) : decode_deeper(d, tag);
    d->depth--;
    return done;
}

/* True when the value is one that is pushed at once. *done: whether it was whole. */
static bool decode_simple(decoder *d, uint8_t tag, bool *done)
{
    *done = true;
    if (tag & LR_TAG_SMALL) {
        lua_pushnumber(d->L, tag & 0x7f);
        return true;
    }
    switch (tag) {
    case LR_TAG_NIL: lua_pushnil(d->L); return true;
    case LR_TAG_FALSE:
    case LR_TAG_TRUE: lua_pushboolean(d->L, tag == LR_TAG_TRUE); return true;
    case LR_TAG_NUMBER:
        lua_pushnumber(d->L, lr_read_f64(&d->r));
        *done = d->r.ok || bad(d, "a number beyond the end");
        return true;
    case LR_TAG_STRING: *done = decode_string(d); return true;
    default: return false;
    }
}

static bool decode_value(decoder *d)
{
    bool done;
    uint8_t tag = lr_read_u8(&d->r);
    if (!d->r.ok) return bad(d, "a value beyond the end");
    return decode_simple(d, tag, &done) ? done : decode_nested(d, tag);
}

/* Argument: the decoder. The values from first on. */
static int decode_protected(lua_State *L)
{
    decoder *d = lua_touserdata(L, 1);
    d->L = L;
    if (!lua_checkstack(L, (int)(d->count - d->first) + 20)) return bad(d, "not enough memory");
    if (d->shared) {
        lua_newtable(L);
        d->met = lua_gettop(L);
    }
    for (uint64_t i = d->first; i < d->count; i++)
        if (!decode_value(d)) return 0;
    return (int)(d->count - d->first);
}

/* A coroutine that nothing else uses now. Its place in the registry: *ref. */
static lua_State *take_thread(lr_state *S, int *ref)
{
    lr_codec *c = S->codec;
    lua_State *thread = c->spare;
    *ref = c->ref_spare;
    c->spare = NULL;
    if (thread) return thread;
    thread = lua_newthread(S->L);
    *ref = luaL_ref(S->L, LUA_REGISTRYINDEX);
    return thread;
}

static void give_thread(lr_state *S, lua_State *thread, int ref)
{
    lr_codec *c = S->codec;
    lua_settop(thread, 0);
    if (c->spare) {
        luaL_unref(S->L, LUA_REGISTRYINDEX, ref);
        return;
    }
    c->spare = thread;
    c->ref_spare = ref;
}

/* The values from first on, onto L, or the reason in d. */
static bool decode_caught(decoder *d, lua_State *L)
{
    int top = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, d->S->codec->ref_decode);
    lua_pushlightuserdata(L, d);
    if (lua_pcall(L, 1, LUA_MULTRET, 0) != 0) {
        const char *why = lua_tostring(L, -1);
        snprintf(d->text, (size_t)TEXT_BYTES, "%s", why ? why : luaL_typename(L, -1));
        d->why = NULL;
        bad(d, d->text);
    }
    free(d->cells);
    if (!d->r.ok) lua_settop(L, top);
    return d->r.ok;
}

/* The same where L may be a coroutine that has yielded: an error caught on it would make it forget that. */
static bool decode_rest(decoder *d, lua_State *L)
{
    if (lua_status(L) != LUA_YIELD) return decode_caught(d, L);
    int ref;
    lua_State *thread = take_thread(d->S, &ref);
    bool done = decode_caught(d, thread);
    if (done) lua_xmove(thread, L, lua_gettop(thread));
    give_thread(d->S, thread, ref);
    return done;
}

/* The values from first on where they are plain data and few: nothing but out of memory can be raised then, and nothing
 * would be lost. False, with all as it was: they are not, or they are malformed. */
static bool decode_plain(decoder *d)
{
    if (d->shared || d->ref_count > 0 || d->left > PLAIN_BYTES) return false;
    decoder before = *d;
    int top = lua_gettop(d->L);
    bool done = true;
    d->plain = true;
    for (uint64_t i = d->first; done && i < d->count; i++)
        done = decode_value(d);
    if (done) {
        d->plain = false;
        return true;
    }
    lua_settop(d->L, top);
    *d = before;
    return false;
}

static bool decode_roots(decoder *d, lua_State *L)
{
    if (d->count > LUAI_MAXCSTACK - 20 || !lua_checkstack(L, (int)d->count + 16))
        return bad(d, "too many values for Lua's stack (about 8,000): a table or a tensor holds more");
    for (; d->first < d->count; d->first++) {
        bool done;
        const uint8_t *at = d->r.p;
        uint8_t tag = lr_read_u8(&d->r);
        if (!d->r.ok) return bad(d, "a value beyond the end");
        if (decode_simple(d, tag, &done)) {
            if (!done) return false;
            continue;
        }
        d->r.p = at;
        bool all = decode_plain(d) || decode_rest(d, L);
        d->L = L;
        return all;
    }
    return true;
}

int lr_decode(lr_state *S, lua_State *L, const lr_value *message)
{
    if (lr_value_is_empty(message)) return 0;
    char text[TEXT_BYTES];
    decoder d = {.S = S, .L = L, .text = text, .r = lr_value_reader(message), .refs = lr_value_refs(message),
                 .ref_count = lr_value_ref_count(message), .left = message->size_bytes};
    int top = lua_gettop(L);
    d.shared = d.r.end > d.r.p && (*d.r.p & LR_VALUE_SHARED);
    d.count = lr_read_header(&d.r);
    bool done = d.r.ok && decode_roots(&d, L);
    if (done && d.r.p == d.r.end) return (int)d.count;
    lua_settop(L, top);
    /* said once, where messages lie inside each other */
    const char *head = S->codec->classes_deep == 0 ? "a value could not be taken in: " : "";
    lua_pushfstring(L, "%s%s", head, d.why ? d.why : "it is malformed");
    return -1;
}

void lr_decode_open(lr_state *S)
{
    lua_pushcfunction(S->L, decode_protected);
    S->codec->ref_decode = luaL_ref(S->L, LUA_REGISTRYINDEX);
}
