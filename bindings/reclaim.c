/* bindings/reclaim.c - when the collectors run for the store's sake. */
#include "bindings/reclaim.h"

#include "bindings/session.h"
#include "runtime/pool.h"
#include "runtime/spill.h"
#include "runtime/store.h"

#define LEAST_BYTES ((uint64_t)256 << 20) /* below this the store may hold garbage */

static void collect(lr_state *S, lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT, 0);
    uint64_t left = lr_store_used();
    S->store_limit_bytes = left > LEAST_BYTES / 2 ? 2 * left : LEAST_BYTES;
}

void lr_reclaim_in_time(lr_state *S, lua_State *L)
{
    if (lr_store_used() > (S->store_limit_bytes ? S->store_limit_bytes : LEAST_BYTES)) collect(S, L);
}

void lr_reclaim_worker(lr_worker *w)
{
    lr_state *S = w->state, *script = w->has_loop ? NULL : lr_session_script();
    if (S) collect(S, S->L);
    if (script) collect(script, script->L);
}

lr_buffer *lr_buffer_make(lr_state *S, lua_State *L, uint64_t size_bytes, const char *site, char *message,
                          size_t message_bytes)
{
    lr_buffer *b = lr_buffer_new(size_bytes, site, message, message_bytes);
    if (b || size_bytes > lr_store_capacity()) return b;
    collect(S, L);
    unsigned attempt = 1;
    do {
        do {
            b = lr_buffer_new(size_bytes, site, message, message_bytes);
        } while (!b && lr_spill_make_room(size_bytes));
    } while (!b && lr_pool_reclaim(S->worker, attempt++));
    return b;
}
