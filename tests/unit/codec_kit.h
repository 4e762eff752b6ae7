/* tests/unit/codec_kit.h - a Lua state with the codec in it, and messages of every kind, for codec_test and the fuzzer.
 *
 * No pool, no session: encoding and decoding need neither. The state's allocator counts, has a limit
 * and can be told to fail. Thread: one. */
#ifndef TESTS_UNIT_CODEC_KIT_H
#define TESTS_UNIT_CODEC_KIT_H

#include "bindings/codec.h"
#include "bindings/codec_internal.h"
#include "bindings/worker_state.h"
#include "runtime/task.h"

#include <stdio.h>
#include <stdlib.h>

#define KIT_SAMPLES 17

typedef struct kit {
    lua_State *L;
    lr_state *S;
    size_t used_bytes, peak_bytes;
    long fail_in; /* allocations until one fails; 0: none does */
    long failed;
} kit;

static void *kit_alloc(void *ud, void *block, size_t old_bytes, size_t new_bytes)
{
    kit *k = ud;
    if (new_bytes == 0) {
        k->used_bytes -= old_bytes;
        free(block);
        return NULL;
    }
    if (new_bytes > old_bytes && k->fail_in > 0 && --k->fail_in == 0) {
        k->failed++;
        return NULL;
    }
    void *moved = realloc(block, new_bytes);
    if (!moved) {
        k->failed++;
        return NULL;
    }
    k->used_bytes += new_bytes - (block ? old_bytes : 0);
    if (k->used_bytes > k->peak_bytes) k->peak_bytes = k->used_bytes;
    return moved;
}

static const char kit_setup[] =
    "local core = ...\n"
    "package.path = ''\n"
    "package.cpath = ''\n"
    "local ffi = require 'ffi'\n"
    "package.loaded.shapes = { Point = {} }\n"
    "local Point, Account = package.loaded.shapes.Point, core.class('Account', {})\n"
    "Account.__index = Account\n"
    "function Account:get() return self.balance, Account end\n"
    "local n, t = 0, { 'shared' }\n"
    "local function inc() n = n + 1; return t end\n"
    "local function get() return n, inc end\n"
    "local rf = core.remote(function(x) return x, n, t, Point end, { name = 'rf', cpu = 2, priority = 1 })\n"
    "local self\n"
    "self = core.remote(function() return self end)\n"
    "local deep = {}\n"
    "for i = 1, 3000 do deep = { i, deep } end\n"
    "local cycle = { 'cycle' }\n"
    "cycle.self, cycle[2], cycle[cycle] = cycle, { cycle }, cycle\n"
    "local big, floats = {}, {}\n"
    "for i = 1, 300 do big[i], big['k' .. i], floats[i] = i, { i }, i + 0.5 end\n"
    "local err = setmetatable({ code = 'error', message = 'm', traceback = 't', function_name = 'f', attempts = 2 },\n"
    "                         core.error_meta)\n"
    "err.cause = setmetatable({ code = 'timeout', message = 'c', traceback = '', function_name = '', attempts = 1 },\n"
    "                         core.error_meta)\n"
    "err.value = { 'raised' }\n"
    "local mt = core.error_meta\n"
    "local point, account = setmetatable({ x = 1, y = 2 }, Point), setmetatable({ balance = 5 }, Account)\n"
    "return {\n"
    "  { nil, true, false, 1, 127, 128, -1, 0.5, 1 / 0, 0 / 0, 2 ^ 60, '', 'string', 'with\\0NUL', n = 14 },\n"
    "  { 'x', n = 1 }, { { }, n = 1 }, { { 1, 2, { x = 3 } }, n = 1 }, { big, floats, n = 2 },\n"
    "  { { { 1.5, 'a', { true } }, x = { y = { z = 1 } }, [2.5] = 1, [false] = 2 }, n = 1 },\n"
    "  { cycle, { cycle, t, t }, n = 2 }, { deep, n = 1 },\n"
    "  { 5LL, 6ULL, { -1LL }, n = 3 }, { ('s'):rep(70000), { ('t'):rep(70000) }, n = 2 },\n"
    "  { err, { err }, n = 2 }, { point, { point, point }, n = 2 }, { account, { account }, Account, n = 3 },\n"
    "  { get, inc, { get, t }, n = 3 }, { function() return core, mt, string, print end, n = 1 },\n"
    "  { rf, { rf = rf }, self, n = 3 },\n"
    "  { core.tensor('f64', { 2, 3 }), { core.tensor('u8', { 0 }), core.tensor('i32', { 4 }) }, n = 2 },\n"
    "}\n";

/* Everything that may raise. Leaves the table of samples in the registry as "samples". */
static int kit_open_protected(lua_State *L)
{
    kit *k = lua_touserdata(L, 1);
    luaL_openlibs(L);
    k->S = lr_state_new(L, NULL, true);
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "luarun.core");
    lua_pop(L, 1);
    if (luaL_loadbuffer(L, kit_setup, sizeof kit_setup - 1, "=kit") != 0) return lua_error(L);
    lua_pushvalue(L, -2);
    lua_call(L, 1, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "samples");
    return 0;
}

static void kit_open(kit *k)
{
    static lr_resource_names names;
    lr_resource_names_init(&names);
    lr_options_names(&names);
    memset(k, 0, sizeof *k);
    k->L = lua_newstate(kit_alloc, k);
    if (!k->L || lua_cpcall(k->L, kit_open_protected, k) != 0) {
        fprintf(stderr, "the kit cannot be made: %s\n", k->L ? lua_tostring(k->L, -1) : "no memory");
        abort();
    }
}

__attribute__((unused)) static void kit_close(kit *k)
{
    lr_state *S = k->S;
    lua_close(k->L);
    lr_state_free(S);
    LR_ASSERT(k->used_bytes == 0 || k->failed > 0); /* LuaJIT itself loses a block where an allocation fails */
}

/* Pushes the values of a sample (from 1); returns how many, or -1 when there is none. */
static int kit_push(kit *k, int sample)
{
    lua_State *L = k->L;
    lua_getfield(L, LUA_REGISTRYINDEX, "samples");
    lua_rawgeti(L, -1, sample);
    lua_remove(L, -2);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return -1;
    }
    int list = lua_gettop(L);
    lua_getfield(L, list, "n");
    int count = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    for (int i = 1; i <= count; i++)
        lua_rawgeti(L, list, i);
    lua_remove(L, list);
    return count;
}

/* The sample's message; false where there is no such sample. */
static bool kit_message(kit *k, int sample, lr_value *message)
{
    lr_err code;
    int top = lua_gettop(k->L), count = kit_push(k, sample);
    if (count < 0) return false;
    if (!lr_encode(k->S, k->L, top + 1, count, LR_ROOT_VALUE, 0, &code)) {
        fprintf(stderr, "sample %d: %s\n", sample, lua_tostring(k->L, -1));
        abort();
    }
    lua_settop(k->L, top);
    bool done = lr_builder_finish(&k->S->builder, message);
    LR_ASSERT(done);
    return true;
}

/* A message of other bytes with the references of `from`. */
static void kit_forge(const uint8_t *bytes, size_t size_bytes, const lr_value *from, lr_value *message)
{
    lr_builder b;
    lr_builder_init(&b);
    lr_builder_bytes(&b, bytes, size_bytes);
    for (uint32_t i = 0; i < lr_value_ref_count(from); i++)
        lr_builder_ref(&b, lr_value_refs(from)[i]);
    bool done = lr_builder_finish(&b, message);
    LR_ASSERT(done);
    lr_builder_fini(&b);
}

/* Decodes what may be anything: values or a sentence, the stack as it should be, not much memory. */
static int kit_decode(kit *k, const lr_value *message)
{
    lua_State *L = k->L;
    int top = lua_gettop(L);
    int count = lr_decode(k->S, L, message);
    if (count >= 0)
        LR_ASSERT(lua_gettop(L) == top + count);
    else
        LR_ASSERT(lua_gettop(L) == top + 1 && lua_type(L, -1) == LUA_TSTRING);
    LR_ASSERT(k->S->codec->classes_deep == 0 && k->S->decoding_fn == NULL);
    return count;
}

#endif
