#include "bindings/short.h"

#include "bindings/handles.h"
#include "bindings/plain.h"
#include "bindings/run.h"
#include "bindings/session.h"
#include "bindings/worker_state.h"
#include "runtime/pool.h"

/* Whether the call of r now, in S, is an ordinary one. */
static bool is_short(const lr_state *S, const lr_remote_ud *r)
{
    const lr_worker *w = S->worker;
    if (!r->fn || r->making || r->options || r->ref_upvalues != LUA_NOREF || !w) return false;
    lr_pool *p = w->pool;
    if (w->allowance == 0 || p->worker_count == 0) return false;
    if (atomic_load_explicit(&w->collect, memory_order_relaxed)) return false;
    return atomic_load_explicit(&p->cancel_epoch, memory_order_relaxed) == 0 || !S->current ||
           !lr_pool_cancelled(p, S->current->task);
}

/* rf(a, b, ...): submits a task of count numbers and makes the empty future its. False: not done. */
static bool short_call(lr_state *S, lr_remote_ud *r, lr_future_ud *f, int count, double a, double b, double c, double d)
{
    if (!is_short(S, r)) return false;
    lr_worker *w = S->worker;
    lr_family *family = S->current ? lr_family_of(S->current->task) : NULL;
    if (S->current && !family) return false; /* for want of memory */
    lr_value args;
    const double numbers[LR_PLAIN_NUMBERS_MAX] = {a, b, c, d};
    lr_plain_numbers(&args, count, numbers);
    lr_task *t = lr_task_new(r->fn, family, lr_session_next_id(S), &args, 2); /* the future's count and the queue's */
    if (!t) return false; /* no memory: the long way says so */
    f->task = t;
    w->allowance--;
    lr_pool_submit(w, t);
    return true;
}

/* f:get() of a single number that is there. False: not that. */
static bool short_get(lr_state *S, lr_future_ud *f, double *number)
{
    if (f->kind != &lr_kind_future || f->index != LR_RESULT_ALL) return false;
    const lr_task *t = f->task;
    if (lr_task_state_of(t) != LR_TASK_READY || !t->result.plain) return false;
    if (S->current && atomic_load_explicit(&S->worker->pool->cancel_epoch, memory_order_relaxed) &&
        lr_pool_cancelled(S->worker->pool, S->current->task))
        return false;
    return lr_plain_is_number(&t->result, number);
}

/* Whether the future's task has ended: 1, 0; -1: it is no future. */
static int short_ended(const lr_future_ud *f)
{
    if (f->kind != &lr_kind_future) return -1;
    return lr_task_ended(f->task);
}

/* short_stock(list, count) */
static int short_stock(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    int count = (int)lua_tointeger(L, 2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, S->ref_mt_future);
    for (int i = 1; i <= count; i++) {
        lr_future_ud *f = lua_newuserdata(L, sizeof *f);
        *f = (lr_future_ud){.kind = &lr_kind_future, .task = NULL, .index = LR_RESULT_ALL};
        lua_pushvalue(L, 3);
        lua_setmetatable(L, -2);
        if (S->tracks_futures) lr_track_future(S, L);
        lua_rawseti(L, 1, i);
    }
    return 0;
}

static void set_address(lua_State *L, const char *name, void *address)
{
    lua_pushlightuserdata(L, address);
    lua_setfield(L, -2, name);
}

void lr_short_open(lr_state *S, lua_State *L)
{
    static const luaL_Reg functions[] = {{"short_stock", short_stock}, {NULL, NULL}};
    lr_state_register(S, L, functions);
    set_address(L, "short_state", S);
    set_address(L, "short_call", (void *)(uintptr_t)short_call);
    set_address(L, "short_get", (void *)(uintptr_t)short_get);
    set_address(L, "short_ended", (void *)(uintptr_t)short_ended);
}
