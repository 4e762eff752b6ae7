#include "bindings/collector.h"

#include "bindings/core.h"
#include "bindings/handles.h"
#include "bindings/session.h"

#include <sched.h>
#include <stdlib.h>

typedef struct entry {
    lr_waiter waiter;
    struct lr_collector *collector;
    struct entry *next; /* in the queue of ended ones */
    lr_task *task;
    uint32_t index; /* 1-based */
} entry;

typedef struct lr_collector {
    atomic_flag lock;
    entry *first, *last;
    lr_park *waiting;
    uint32_t count, left;
    entry *entries;
} lr_collector;

static void lock(lr_collector *c)
{
    for (unsigned spins = 1; atomic_flag_test_and_set_explicit(&c->lock, memory_order_acquire); spins++) {
        lr_cpu_pause();
        if (spins % 64 == 0) sched_yield(); /* its holder may have lost its processor */
    }
}

static void unlock(lr_collector *c)
{
    atomic_flag_clear_explicit(&c->lock, memory_order_release);
}

static void append(lr_collector *c, entry *e)
{
    e->next = NULL;
    if (c->last)
        c->last->next = e;
    else
        c->first = e;
    c->last = e;
}

static void ended(lr_waiter *w, lr_task *t, lr_wake *wake)
{
    (void)t;
    entry *e = LR_CONTAINER(w, entry, waiter);
    lr_collector *c = e->collector;
    lock(c);
    append(c, e);
    lr_park *p = c->waiting;
    c->waiting = NULL;
    if (p && lr_park_wake(p, LR_PARK_READY)) lr_pool_deliver_later(p, wake);
    unlock(c);
}

void lr_collector_park(lr_collector *c, lr_park *p)
{
    lock(c);
    if (c->first)
        atomic_fetch_sub(&p->wanted, 1); /* lr_park_armed will find it ready */
    else
        c->waiting = p;
    unlock(c);
}

void lr_collector_unpark(lr_collector *c)
{
    lock(c);
    c->waiting = NULL;
    unlock(c);
}

static lr_collector *check(lua_State *L)
{
    return lua_touserdata(L, 1);
}

/* collector(list): entry i watches list[i]. */
static int collector_new(lua_State *L)
{
    lr_state *S = lr_state_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    uint32_t count = (uint32_t)lua_objlen(L, 1);
    lr_session_worker(S, L);
    lr_collector *c = lua_newuserdata(L, sizeof *c);
    memset(c, 0, sizeof *c);
    atomic_flag_clear(&c->lock);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_setmetatable(L, -2);
    c->entries = calloc(count + 1, sizeof *c->entries);
    if (!c->entries) return luaL_error(L, "not enough memory");
    for (uint32_t i = 0; i < count; i++) {
        entry *e = &c->entries[i];
        lua_rawgeti(L, 1, (int)i + 1);
        e->task = ((lr_future_ud *)lua_touserdata(L, -1))->task; /* the caller has checked */
        lua_pop(L, 1);
        lr_task_retain(e->task);
        c->count = c->left = i + 1;
        e->collector = c;
        e->index = i + 1;
        e->waiter.notify = ended;
        if (lr_task_watch(e->task, &e->waiter)) continue;
        lock(c);
        append(c, e);
        unlock(c);
    }
    return 1;
}

static int collector_gc(lua_State *L)
{
    lr_collector *c = check(L);
    for (uint32_t i = 0; i < c->count; i++) {
        entry *e = &c->entries[i];
        lr_task_unwatch(e->task, &e->waiter);
        lr_task_release(e->task);
    }
    free(c->entries);
    c->entries = NULL;
    c->count = 0;
    return 0;
}

/* next(collector): the index of one that has ended; nil: none now; false: none left. */
static int collector_next(lua_State *L)
{
    lr_collector *c = check(L);
    lock(c);
    entry *e = c->first;
    if (e) {
        c->first = e->next;
        if (!c->first) c->last = NULL;
        c->left--;
    }
    uint32_t left = c->left;
    unlock(c);
    if (e)
        lua_pushinteger(L, e->index);
    else if (left > 0)
        lua_pushnil(L);
    else
        lua_pushboolean(L, false);
    return 1;
}

/* wait(collector, seconds|nil): as core.await. */
static int collector_wait(lua_State *L)
{
    uint64_t deadline = lua_isnoneornil(L, 2) ? LR_NEVER : lr_clock_deadline(lua_tonumber(L, 2));
    lr_state *S = lr_state_of(L);
    lr_session_worker(S, L);
    return lr_wait_collector(S, L, check(L), deadline);
}

void lr_collector_open(lr_state *S, lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"collector_next", collector_next}, {"collector_wait", collector_wait}, {NULL, NULL}};
    lr_state_register(S, L, functions);
    lua_pushlightuserdata(L, S);
    lua_newtable(L);
    lua_pushcfunction(L, collector_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushcclosure(L, collector_new, 2);
    lua_setfield(L, -2, "collector");
}
