#include "bindings/objects.h"

#include "runtime/lending.h"
#include "runtime/store.h"

#include <lauxlib.h>
#include <stdlib.h>

#define MORE 64u /* that may come between counting and listing */

static void set_number(lua_State *L, const char *name, uint64_t value)
{
    lua_pushnumber(L, (lua_Number)value);
    lua_setfield(L, -2, name);
}

void lr_push_store_stats(lua_State *L)
{
    struct lr_store_stats s;
    lr_lending_stats x;
    lr_store_stats(&s);
    lr_lending_count(&x);
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {{"capacity", s.capacity_bytes}, {"used", s.used_bytes}, {"peak", s.peak_bytes}, {"idle", s.idle_bytes},
                {"count", s.count}, {"spilled", s.spilled_bytes}, {"spilled_count", s.spilled_count},
                {"held", s.limbo_bytes}, {"held_count", s.limbo_count},
                {"elsewhere", s.view_bytes}, {"elsewhere_count", s.view_count},
                {"lent_count", x.lent}, {"waiting_messages", x.parked}, {"coming", x.pulls}, {"going", x.sendings},
                {"bytes_in", x.bytes_in}, {"bytes_out", x.bytes_out}, {"mapped", x.mapped}, {"found", x.found},
                {"fetched", x.fetched}, {"refused_chunks", x.refused}};
    lua_createtable(L, 0, LR_COUNT(rows));
    for (size_t i = 0; i < LR_COUNT(rows); i++)
        set_number(L, rows[i].name, rows[i].value);
}

static void push_object(lua_State *L, const lr_object_info *o)
{
    lua_createtable(L, 0, 6);
    set_number(L, "bytes", o->size_bytes);
    set_number(L, "references", o->holders);
    lua_pushstring(L, o->site);
    lua_setfield(L, -2, "site");
    lua_pushstring(L, lr_object_place(o->where));
    lua_setfield(L, -2, "where");
    if (o->pid) set_number(L, "pid", o->pid);
    if (lr_id_is_nil(o->id)) return;
    char id[LR_ID_TEXT];
    lr_id_format(o->id, id);
    lua_pushstring(L, id);
    lua_setfield(L, -2, "id");
}

size_t lr_push_objects(lua_State *L, size_t limit)
{
    size_t room = lr_shared_list(NULL, 0) + MORE;
    lr_object_info *list = lua_newuserdata(L, room * sizeof *list);
    size_t count = lr_shared_list(list, room);
    if (count > room) count = room;
    if (count > limit) count = limit;
    lua_createtable(L, (int)count, 5);
    for (size_t i = 0; i < count; i++) {
        push_object(L, &list[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_remove(L, -2);
    return count;
}
