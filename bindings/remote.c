/* Remote functions in Lua: made, given options, called. */
#include "bindings/codec.h"
#include "bindings/core.h"
#include "bindings/handles.h"
#include "bindings/options.h"
#include "bindings/plain.h"
#include "bindings/run.h"
#include "bindings/session.h"
#include "bindings/worker_state.h"
#include "runtime/cluster.h"
#include "runtime/extra.h"

#include <stdio.h>
#include <stdlib.h>

const char lr_kind_remote;

static lr_remote_ud *push_ud(lr_state *S, lua_State *L)
{
    lr_remote_ud *r = lua_newuserdata(L, sizeof *r);
    memset(r, 0, sizeof *r);
    r->kind = &lr_kind_remote;
    r->ref_function = r->ref_upvalues = LUA_NOREF;
    lua_rawgeti(L, LUA_REGISTRYINDEX, S->ref_mt_remote);
    lua_setmetatable(L, -2);
    return r;
}

void lr_push_remote(lr_state *S, lua_State *L, lr_fn *fn, const struct lr_options *options)
{
    lr_remote_ud *r = push_ud(S, L);
    lr_object_retain(&fn->base);
    r->fn = fn;
    lr_options_retain((struct lr_options *)options);
    r->options = (struct lr_options *)options;
}

static lr_remote_ud *check(lua_State *L, int index)
{
    lr_remote_ud *r = lr_test_remote(L, index);
    if (!r)
        luaL_error(L, "a remote function wanted, %s given (call it with a colon: rf:with{...})",
                   lr_given(L, index));
    return r;
}

static int remote_gc(lua_State *L)
{
    lr_remote_ud *r = lua_touserdata(L, 1);
    if (r->fn) lr_object_release(&r->fn->base);
    r->fn = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, r->ref_function);
    luaL_unref(L, LUA_REGISTRYINDEX, r->ref_upvalues);
    lr_options_release(r->options);
    r->options = NULL;
    return 0;
}

/* ---- making the lr_fn of a Lua function -------------------------------------------------------------- */

/* "fib": the name by which it is called, or the place where it was written. */
static void name_of(lua_State *L, const lr_remote_ud *r, char *name, size_t size_bytes)
{
    lua_Debug ar;
    if (r->options && r->options->name) {
        snprintf(name, size_bytes, "%s", r->options->name);
        return;
    }
    if (lua_getstack(L, 0, &ar) && lua_getinfo(L, "n", &ar) && ar.name && strcmp(ar.name, "?") != 0 &&
        strcmp(ar.name, "(for generator)") != 0 && *ar.namewhat && strcmp(ar.namewhat, "metamethod") != 0 &&
        strcmp(ar.namewhat, "method") != 0) {
        snprintf(name, size_bytes, "%s", ar.name);
        return;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->ref_function);
    lua_getinfo(L, ">S", &ar);
    snprintf(name, size_bytes, "%s:%d", ar.short_src, ar.linedefined);
}

/* A reference to a table of the function's upvalues as they are now, to see later whether one was assigned. */
static int note_upvalues(lua_State *L, const lr_remote_ud *r)
{
    int ref = LUA_NOREF;
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->ref_function);
    int function = lua_gettop(L);
    if (lua_getupvalue(L, function, 1)) {
        lua_pop(L, 1);
        lua_newtable(L);
        for (int i = 1; lua_getupvalue(L, function, i); i++)
            lua_rawseti(L, -2, i);
        ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_settop(L, function - 1);
    return ref;
}

/* The same value; NaN is the same as NaN here. */
static bool same(lua_State *L, int a, int b)
{
    if (lua_rawequal(L, a, b)) return true;
    return lua_type(L, a) == LUA_TNUMBER && lua_type(L, b) == LUA_TNUMBER && lua_tonumber(L, a) != lua_tonumber(L, a) &&
           lua_tonumber(L, b) != lua_tonumber(L, b);
}

static bool upvalues_same(lua_State *L, const lr_remote_ud *r)
{
    if (r->ref_upvalues == LUA_NOREF) return true;
    int top = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->ref_function);
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->ref_upvalues);
    bool all = true;
    for (int i = 1; all && lua_getupvalue(L, top + 1, i); i++) {
        lua_rawgeti(L, top + 2, i);
        all = same(L, top + 3, top + 4);
        lua_settop(L, top + 2);
    }
    lua_settop(L, top);
    return all;
}

static void set_fn(lua_State *L, lr_remote_ud *r, lr_fn *fn, int ref_upvalues)
{
    if (r->fn) lr_object_release(&r->fn->base);
    r->fn = fn;
    luaL_unref(L, LUA_REGISTRYINDEX, r->ref_upvalues);
    r->ref_upvalues = ref_upvalues;
}

/* Encodes the function of r into fn. What was made on the way may hold on to fn: it goes too when fn cannot be made. */
static bool fill_fn(lr_state *S, lua_State *L, lr_remote_ud *r, lr_fn *fn, lr_err *code)
{
    lr_remote_ud *made_before = S->made;
    lr_fn *before = r->fn;
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->ref_function);
    int function = lua_gettop(L);
    r->fn = fn; /* from now on what refers to it finds it */
    r->making = true;
    S->makes++;
    bool done = lr_encode_body(S, L, function, fn, code);
    S->makes--;
    r->making = false;
    r->fn = before;
    lua_remove(L, function);
    for (; !done && S->made != made_before; S->made = S->made->made_next)
        set_fn(L, S->made, NULL, LUA_NOREF);
    if (S->makes == 0) S->made = NULL;
    return done;
}

/* NULL with a sentence pushed. */
static lr_fn *make_fn(lr_state *S, lua_State *L, lr_remote_ud *r, lr_err *code)
{
    char name[128];
    lr_value empty = {0};
    name_of(L, r, name, sizeof name);
    int ref_upvalues = note_upvalues(L, r);
    lr_fn *fn = lr_fn_new_lua(r->fn ? r->fn->name : name, &empty);
    if (fn && fill_fn(S, L, r, fn, code)) {
        set_fn(L, r, fn, ref_upvalues);
        if (S->makes > 0) {
            r->made_next = S->made;
            S->made = r;
        }
        return fn;
    }
    luaL_unref(L, LUA_REGISTRYINDEX, ref_upvalues);
    if (fn) {
        lr_object_release(&fn->base);
    } else {
        *code = LR_ERR_OUT_OF_MEMORY;
        lua_pushliteral(L, "not enough memory");
    }
    return NULL;
}

lr_fn *lr_remote_fn(lr_state *S, lua_State *L, int index, lr_err *code)
{
    lr_remote_ud *r = lua_touserdata(L, index);
    if (r->ref_function == LUA_NOREF) return r->fn;
    if (r->fn && (r->making || upvalues_same(L, r))) return r->fn;
    return make_fn(S, L, r, code);
}

/* ---- lr.remote ------------------------------------------------------------------------------------ */

static int remote_module(lr_state *S, lua_State *L)
{
    const char *module = lua_tostring(L, 1);
    if (lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "remote: the name of a function in module '%s' wanted, %s given", module,
                          lr_given(L, 2));
    const char *field = lua_tostring(L, 2);
    lr_options *options = lr_options_from(S, L, 3, NULL);
    char name[200];
    snprintf(name, sizeof name, "%s.%s", module, field);
    lr_fn *fn = lr_fn_new_module(options && options->name ? options->name : name, module, field);
    if (!fn) return luaL_error(L, "not enough memory");
    lr_push_remote(S, L, fn, options);
    lr_object_release(&fn->base);
    lr_options_release(options);
    return 1;
}

/* remote(fn[, options]) | remote(module, name[, options]) */
static int core_remote(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    if (lua_type(L, 1) == LUA_TSTRING) return remote_module(S, L);
    if (!lua_isfunction(L, 1))
        return luaL_error(L, "remote: a function, or a module's name and a function's, wanted, %s given",
                          lr_given(L, 1));
    if (lua_iscfunction(L, 1))
        return luaL_error(L, "remote: a C function cannot be sent; give a module's name and the function's: "
                             "lr.remote(\"math\", \"sin\")");
    lua_settop(L, 2);
    lr_remote_ud *r = push_ud(S, L); /* first, so that the options have an owner */
    r->options = lr_options_from(S, L, 2, NULL);
    lua_pushvalue(L, 1);
    r->ref_function = luaL_ref(L, LUA_REGISTRYINDEX);
    return 1;
}

/* rf:with{options} */
static int remote_with(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    lr_remote_ud *r = check(L, 1);
    if (!lua_istable(L, 2)) return luaL_error(L, "with: a table of options wanted, %s given", lr_given(L, 2));
    lr_remote_ud *copy = push_ud(S, L);
    copy->options = lr_options_from(S, L, 2, r->options);
    if (r->fn) lr_object_retain(&r->fn->base);
    copy->fn = r->fn;
    if (r->ref_function == LUA_NOREF) return 1;
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->ref_function);
    copy->ref_function = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->ref_upvalues);
    if (lua_isnil(L, -1))
        lua_pop(L, 1);
    else
        copy->ref_upvalues = luaL_ref(L, LUA_REGISTRYINDEX);
    return 1;
}

static int remote_tostring(lua_State *L)
{
    lr_remote_ud *r = check(L, 1);
    lua_Debug ar;
    if (r->fn) {
        lua_pushfstring(L, "remote function: %s", r->options && r->options->name ? r->options->name : r->fn->name);
        return 1;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->ref_function);
    lua_getinfo(L, ">S", &ar);
    lua_pushfstring(L, "remote function: %s:%d", ar.short_src, ar.linedefined);
    return 1;
}

/* ---- calling -------------------------------------------------------------------------------------- */

static uint32_t count_inputs(lua_State *L, int top)
{
    uint32_t count = 0;
    for (int i = 2; i <= top; i++)
        if (lua_type(L, i) == LUA_TUSERDATA && lr_test_future(L, i)) count++;
    return count;
}

static void set_inputs(lua_State *L, int top, lr_extra *extra)
{
    uint32_t count = 0;
    for (int i = 2; i <= top; i++) {
        lr_future_ud *f = lr_test_future(L, i);
        if (!f) continue;
        lr_input *in = &extra->inputs[count++];
        in->input = f->task;
        in->argument = (uint32_t)i - 1;
        in->index = f->index;
    }
}

/* What a task has beside a plain one's. False: no memory. */
static bool add_extra(lua_State *L, lr_task *t, lr_options *options, uint32_t inputs, int top)
{
    lr_extra *extra = t->extra = lr_extra_new(options, inputs);
    if (!extra) return false;
    set_inputs(L, top, extra);
    return lr_extra_attach(t, lr_session_job());
}

/* As lr_push_future, but takes over a count; in remote_call, whose second upvalue is the metatable. */
static void push_own_future(lr_state *S, lua_State *L, lr_task *t, uint32_t index)
{
    lr_future_ud *f = lua_newuserdata(L, sizeof *f);
    f->kind = &lr_kind_future;
    f->task = t;
    f->index = index;
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_setmetatable(L, -2);
    if (S->tracks_futures) lr_track_future(S, L);
}

static int push_futures(lr_state *S, lua_State *L, lr_task *t, uint32_t count)
{
    if (count == 1) {
        push_own_future(S, L, t, LR_RESULT_ALL);
        return 1;
    }
    luaL_checkstack(L, (int)count, "returns");
    for (uint32_t i = 0; i < count; i++)
        push_own_future(S, L, t, i);
    return (int)count;
}

static _Noreturn void refuse_none(lua_State *L)
{
    luaL_error(L, "there is no worker to run tasks (--workers 0)");
    abort();
}

/* rf(...): submits, and gives the future. */
static int remote_call(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    lr_remote_ud *r = lua_touserdata(L, 1);
    int top = lua_gettop(L);
    lr_check_cancelled(S, L);
    lr_worker *w = lr_session_worker(S, L);
    if (w->pool->worker_count == 0 && !lr_cluster_is_open()) refuse_none(L);
    lr_err code;
    lr_fn *fn = r->ref_function == LUA_NOREF ? r->fn : lr_remote_fn(S, L, 1, &code);
    lr_value args;
    bool plain = fn && lr_plain_encode(L, 2, top - 1, &args);
    if (!plain && (!fn || !lr_encode(S, L, 2, top - 1, LR_ROOT_ARGUMENT, 0, &code))) {
        lr_error_push(S, L, code, lua_tostring(L, -1));
        return lua_error(L);
    }
    if (!plain && !lr_builder_finish(&S->builder, &args)) return luaL_error(L, "not enough memory");
    uint32_t returns = r->options ? r->options->returns : 1;
    lr_family *family = S->current ? lr_family_of(S->current->task) : NULL;
    bool orphan = S->current && !family; /* for want of memory */
    /* so many counts: the futures' and the queue's */
    lr_task *t = orphan ? NULL : lr_task_new(fn, family, lr_session_next_id(S), &args, returns + 1);
    if (orphan) lr_value_clear(&args);
    if (!t) return luaL_error(L, "not enough memory");
    uint32_t inputs = plain ? 0 : count_inputs(L, top);
    if ((inputs || r->options) && !add_extra(L, t, r->options, inputs, top)) {
        lr_task_drop(t);
        return luaL_error(L, "not enough memory");
    }
    int count = push_futures(S, L, t, returns);
    lr_pool_submit(w, t);
    if (__builtin_expect(lr_pool_is_full(w), 0)) return lr_wait_room(S, L, count);
    /* the script may never wait, but it comes by here */
    if (__builtin_expect(atomic_load_explicit(&w->collect, memory_order_relaxed), 0)) lr_pool_look_at_parked(w);
    return count;
}

/* rf:here(...): the same function in this very place. Pushes what it will call, for the Lua side: here_function(rf). */
static int here_function(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    lr_remote_ud *r = check(L, 1);
    if (r->ref_function != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, r->ref_function);
        return 1;
    }
    if (r->fn->kind == LR_FN_KERNEL) {
        lua_pushnil(L);
        return 1;
    }
    if (!lr_push_function(S, L, r->fn)) return lua_error(L);
    return 1;
}

/* here_kernel(rf, ...): runs a kernel on this thread. */
static int here_kernel(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    lr_remote_ud *r = check(L, 1);
    lr_worker *w = lr_session_worker(S, L);
    lr_err code;
    if (!lr_encode(S, L, 2, lua_gettop(L) - 1, LR_ROOT_ARGUMENT, 0, &code)) {
        lr_error_push(S, L, code, lua_tostring(L, -1));
        return lua_error(L);
    }
    lr_value args, result = {0};
    if (!lr_builder_finish(&S->builder, &args)) return luaL_error(L, "not enough memory");
    lr_kernel_fault fault;
    lr_task *t = S->current ? S->current->task : NULL;
    lr_err err = lr_pool_call_kernel(w, t, r->fn->kernel, lr_session_next_id(S), &args, &result, &fault);
    lr_value_clear(&args);
    if (err != LR_ERR_NONE) {
        lr_error_push(S, L, err, fault.message);
        return lua_error(L);
    }
    int before = lua_gettop(L), count = lr_decode(S, L, &result);
    lr_value_clear(&result);
    if (count < 0) return lua_error(L);
    return lua_gettop(L) - before;
}

static int is_remote(lua_State *L)
{
    lua_pushboolean(L, lr_test_remote(L, 1) != NULL);
    return 1;
}

void lr_remote_open(lr_state *S, lua_State *L)
{
    static const luaL_Reg meta[] = {
        {"__gc", remote_gc}, {"__tostring", remote_tostring}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"with", remote_with}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"remote", core_remote}, {"here_function", here_function},
        {"here_kernel", here_kernel}, {"is_remote", is_remote}, {NULL, NULL}};
    lr_state_register(S, L, functions);
    lr_metatable_new(S, L, meta, methods, &S->ref_mt_remote);
    lua_pushlightuserdata(L, S);
    lua_rawgeti(L, LUA_REGISTRYINDEX, S->ref_mt_future);
    lua_pushcclosure(L, remote_call, 2);
    lua_pushvalue(L, -1);
    lua_setfield(L, -5, "remote_call"); /* for whoever sets another __call before it (lua/luarun/init.lua) */
    lua_setfield(L, -2, "__call");
    lua_setfield(L, -3, "remote_meta");
    lua_setfield(L, -2, "remote_methods");
}
