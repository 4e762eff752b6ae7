/* What both ways of the codec share: identity maps, the index of modules, classes, errors, 64-bit integers. */
#include "bindings/codec_internal.h"

#include <stdlib.h>

#define FIRST_CAPACITY 64

/* ---- identity maps -------------------------------------------------------------------------------- */

void lr_idmap_reset(lr_idmap *m)
{
    m->count = 0;
    if (++m->generation != 0) return;
    memset(m->entries, 0, m->capacity * sizeof *m->entries);
    m->generation = 1;
}

static lr_idmap_entry *slot_of(const lr_idmap *m, const void *key)
{
    size_t i = (size_t)lr_mix64((uint64_t)(uintptr_t)key) & (m->capacity - 1);
    while (m->entries[i].generation == m->generation && m->entries[i].key != key)
        i = (i + 1) & (m->capacity - 1);
    return &m->entries[i];
}

static bool grow(lr_idmap *m)
{
    lr_idmap bigger = {.capacity = m->capacity ? 2 * m->capacity : FIRST_CAPACITY, .generation = 1};
    bigger.entries = calloc(bigger.capacity, sizeof *bigger.entries);
    if (!bigger.entries) return false;
    for (size_t i = 0; i < m->capacity; i++)
        if (m->entries[i].generation == m->generation) {
            lr_idmap_entry *e = slot_of(&bigger, m->entries[i].key);
            *e = m->entries[i];
            e->generation = 1;
        }
    bigger.count = m->count;
    free(m->entries);
    *m = bigger;
    return true;
}

int lr_idmap_add(lr_idmap *m, const void *key, uint32_t *number)
{
    if (2 * (m->count + 1) > m->capacity && !grow(m)) return -1;
    lr_idmap_entry *e = slot_of(m, key);
    if (e->generation == m->generation) {
        *number = e->number;
        return 1;
    }
    *e = (lr_idmap_entry){key, m->count, m->generation};
    *number = m->count++;
    return 0;
}

bool lr_idmap_find(const lr_idmap *m, const void *key, uint32_t *number)
{
    if (m->count == 0) return false;
    const lr_idmap_entry *e = slot_of(m, key);
    *number = e->number;
    return e->generation == m->generation;
}

/* ---- the module index ----------------------------------------------------------------------------- */

/* index[value] = "module\0field" for the value on the top, which is popped. The first name found stays. */
static void index_one(lua_State *L, int index, const char *module, const char *field)
{
    lua_pushvalue(L, -1);
    lua_rawget(L, index);
    bool known = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (known) {
        lua_pop(L, 1);
        return;
    }
    lua_pushstring(L, module);
    lua_pushlstring(L, "", 1);
    lua_pushstring(L, field);
    lua_concat(L, 3);
    lua_rawset(L, index);
}

/* Whether a global may travel by its name: what is C, and what lua/luarun/worker.lua puts in the place
 * of C functions. What a script or a module sets does not exist elsewhere. */
static bool is_standard_global(lua_State *L, int value, const char *name, bool is_script)
{
    if (lua_iscfunction(L, value)) return true;
    if (is_script || !lua_isfunction(L, value)) return false;
    return strcmp(name, "require") == 0 || strcmp(name, "print") == 0;
}

/* The fields of the module on the top that are functions or tables. */
static void index_fields(lua_State *L, int index, const char *module, bool is_script)
{
    bool globals = strcmp(module, "_G") == 0;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        bool wanted = lua_isfunction(L, -1) || lua_istable(L, -1);
        if (name && (globals ? is_standard_global(L, -1, name, is_script) : wanted)) {
            lua_pushvalue(L, -1);
            index_one(L, index, module, name);
        }
        lua_pop(L, 1);
    }
}

/* Changes when a module is loaded, taken out or put in the place of another. */
static uint64_t fingerprint(lua_State *L)
{
    uint64_t print = 0;
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        print += lr_mix64((uint64_t)(uintptr_t)lua_topointer(L, -1) ^ (uint64_t)(uintptr_t)lua_topointer(L, -2));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return print;
}

/* Two passes: a module's own name for itself goes before another module's field. */
static void build_index(lr_codec *c, lua_State *L, bool is_script)
{
    lua_newtable(L);
    int index = lua_gettop(L);
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    for (int pass = 0; pass < 2; pass++) {
        lua_pushnil(L);
        while (lua_next(L, index + 1)) {
            const char *module = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
            if (module && pass == 0 && (lua_istable(L, -1) || lua_isfunction(L, -1))) {
                lua_pushvalue(L, -1);
                index_one(L, index, module, "");
            } else if (module && pass == 1 && lua_istable(L, -1)) {
                index_fields(L, index, module, is_script);
            }
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, c->ref_index);
    c->ref_index = luaL_ref(L, LUA_REGISTRYINDEX);
    c->loaded_print = fingerprint(L);
}

static bool look_up(lr_codec *c, lua_State *L, int value)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->ref_index);
    lua_pushvalue(L, value);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    if (!lua_isnil(L, -1)) return true;
    lua_pop(L, 1);
    return false;
}

bool lr_codec_module_of(lr_state *S, lua_State *L, int value, lr_module_name *out)
{
    lr_codec *c = S->codec;
    luaL_checkstack(L, 12, "module index");
    if (value < 0) value += lua_gettop(L) + 1;
    if (c->ref_index == LUA_NOREF || (!c->index_checked && fingerprint(L) != c->loaded_print))
        build_index(c, L, S->is_script);
    c->index_checked = true;
    if (!look_up(c, L, value)) return false;
    out->module = lua_tolstring(L, -1, &out->size_bytes);
    out->module_bytes = strlen(out->module);
    out->field = out->module + out->module_bytes + 1;
    out->field_bytes = out->size_bytes - out->module_bytes - 1;
    lua_pop(L, 1); /* the index keeps the string */
    return true;
}

/* ---- classes -------------------------------------------------------------------------------------- */

/* registry tables: class_names: metatable -> name; class_by_name: name -> metatable */
int lr_codec_class(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    if (lua_type(L, 1) != LUA_TSTRING)
        return luaL_error(L, "class: a name (string) wanted, %s given", luaL_typename(L, 1));
    if (!lua_istable(L, 2))
        return luaL_error(L, "class: a metatable wanted, %s given", lua_isnone(L, 2) ? "nothing" : luaL_typename(L, 2));
    lua_settop(L, 2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, S->codec->ref_class_names);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 1);
    lua_rawset(L, -3);
    lua_rawgeti(L, LUA_REGISTRYINDEX, S->codec->ref_class_by_name);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_rawset(L, -3);
    S->codec->has_classes = true;
    lua_pushvalue(L, 2);
    return 1;
}

lr_fn *lr_codec_class_fn(lr_state *S, lua_State *L, int metatable, lr_err *code)
{
    int top = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, S->codec->ref_class_fns);
    lua_pushvalue(L, metatable);
    lua_rawget(L, -2);
    lr_remote_ud *carrier = lua_touserdata(L, -1);
    if (carrier) {
        lua_settop(L, top);
        return carrier->fn;
    }
    lua_pop(L, 1);
    lr_value empty = {0};
    lr_fn *fn = lr_fn_new_lua("class", &empty);
    *code = LR_ERR_OUT_OF_MEMORY;
    if (!fn) {
        lua_pushliteral(L, "not enough memory");
        return NULL;
    }
    lua_pushvalue(L, metatable);
    lr_push_remote(S, L, fn, NULL); /* known before its body is made: its methods may name the class */
    lr_object_release(&fn->base);
    lua_rawset(L, -3);
    if (lr_encode_body(S, L, metatable, fn, code)) {
        lua_settop(L, top);
        return fn;
    }
    lua_pushvalue(L, metatable);
    lua_pushnil(L);
    lua_rawset(L, top + 1);
    return NULL;
}

int lr_codec_roundtrip(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    lr_err code;
    lr_value message;
    lua_settop(L, 1);
    if (!lr_encode(S, L, 1, 1, LR_ROOT_VALUE, 0, &code)) return lua_error(L);
    if (!lr_builder_finish(&S->builder, &message)) return luaL_error(L, "not enough memory");
    int count = lr_decode(S, L, &message);
    lr_value_clear(&message);
    return count == 1 ? 1 : lua_error(L);
}

/* ---- errors --------------------------------------------------------------------------------------- */

void lr_error_push(lr_state *S, lua_State *L, lr_err code, const char *message)
{
    lua_pushstring(L, message ? message : lr_err_meaning(code)); /* first: message may lie on the stack */
    lua_createtable(L, 0, 8);
    lua_insert(L, -2);
    lua_setfield(L, -2, "message");
    lua_pushstring(L, lr_err_code(code));
    lua_setfield(L, -2, "code");
    lua_rawgeti(L, LUA_REGISTRYINDEX, S->ref_mt_error);
    lua_setmetatable(L, -2);
}

/* ---- 64-bit integers ------------------------------------------------------------------------------ */

static const char integer_chunk[] =
    "local ffi = require 'ffi'\n"
    "local i64, u64 = ffi.typeof 'int64_t', ffi.typeof 'uint64_t'\n"
    "local i, u = ffi.typeof 'int64_t[1]', ffi.typeof 'uint64_t[1]'\n"
    "local istype, copy, typeof, tostring = ffi.istype, ffi.copy, ffi.typeof, tostring\n"
    "local function kind(v)\n"
    "  if istype(i64, v) then return 1 end\n"
    "  if istype(u64, v) then return 2 end\n"
    /* not tostring(v): that may be anything */
    "  return 0, ('C data (%s)'):format(tostring(typeof(v)):match('<(.*)>'))\n"
    "end\n"
    "local function make(unsigned, bytes)\n"
    "  local v = unsigned and u() or i()\n"
    "  copy(v, bytes, 8)\n"
    "  return v[0]\n"
    "end\n"
    "return { kind = kind, make = make }\n";

void lr_codec_push_integer(lua_State *L, const char *name)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "luarun.integer");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        if (luaL_loadbuffer(L, integer_chunk, sizeof integer_chunk - 1, "=luarun.integer") != 0) lua_error(L);
        lua_call(L, 0, 1);
        lua_pushvalue(L, -1);
        lua_setfield(L, LUA_REGISTRYINDEX, "luarun.integer");
    }
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

/* ---- life ----------------------------------------------------------------------------------------- */

bool lr_codec_open(lr_state *S)
{
    lr_codec *c = calloc(1, sizeof *c);
    if (!c) return false;
    c->tables.generation = c->cells.generation = 1;
    c->ref_index = LUA_NOREF;
    lua_newtable(S->L);
    c->ref_class_names = luaL_ref(S->L, LUA_REGISTRYINDEX);
    lua_newtable(S->L);
    c->ref_class_by_name = luaL_ref(S->L, LUA_REGISTRYINDEX);
    lua_newtable(S->L);
    c->ref_class_fns = luaL_ref(S->L, LUA_REGISTRYINDEX);
    S->codec = c;
    c->knows_tables = lr_raw_is_known(S->L);
    lr_encode_open(S);
    lr_decode_open(S);
    return true;
}

void lr_codec_close(lr_state *S)
{
    if (!S->codec) return;
    free(S->codec->tables.entries);
    free(S->codec->cells.entries);
    free(S->codec);
    S->codec = NULL;
}
