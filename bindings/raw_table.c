#include "bindings/raw_table.h"

#include <lauxlib.h>

static const double probes[3] = {1.25, -2.5, 1e300};

/* A table of count elements, the last left nil. */
static bool array_is_known(lua_State *L, int count)
{
    uint32_t size;
    lua_createtable(L, count, 0);
    for (int i = 1; i < count; i++) {
        if (i == 4)
            lua_pushboolean(L, true);
        else
            lua_pushnumber(L, probes[i % 3]);
        lua_rawseti(L, -2, i);
    }
    uint64_t *array = lr_raw_array(lua_topointer(L, -1), &size), bits;
    if (size != (uint32_t)count + 1 || !array || array[0] != LR_RAW_NIL || array[count] != LR_RAW_NIL) return false;
    for (int i = 1; i < count; i++) {
        memcpy(&bits, &probes[i % 3], 8);
        bool right = i == 4 ? lr_raw_tag(array[i]) == LR_RAW_TAG_TRUE : array[i] == bits && lr_raw_is_double(bits);
        if (!right) return false;
    }
    memcpy(&array[count], &probes[2], 8);
    lua_rawgeti(L, -1, count);
    return lua_tonumber(L, -1) == probes[2];
}

static bool string_is_known(uint64_t bits, const char *text)
{
    uint32_t length;
    if (lr_raw_tag(bits) != LR_RAW_TAG_STRING) return false;
    const char *s = lr_raw_string(lr_raw_address(bits), &length);
    return length == strlen(text) && memcmp(s, text, length) == 0;
}

/* {alpha = 1.25, beta_of_some_length = {}, [0.5] = false}, in whatever order. */
static bool nodes_are_known(lua_State *L)
{
    uint32_t count, found = 0;
    lua_createtable(L, 0, 3);
    const char *table = lua_topointer(L, -1);
    lua_pushnumber(L, probes[0]);
    lua_setfield(L, -2, "alpha");
    lua_newtable(L);
    const char *inner = lua_topointer(L, -1);
    lua_setfield(L, -2, "beta_of_some_length");
    lua_pushnumber(L, 0.5);
    lua_pushboolean(L, false);
    lua_rawset(L, -3);
    const lr_raw_node *nodes = lr_raw_nodes(table, &count);
    if (count != 4 || lr_raw_has_metatable(table)) return false;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = nodes[i].value, key = nodes[i].key, bits;
        if (value == LR_RAW_NIL) continue;
        memcpy(&bits, &probes[0], 8);
        if (value == bits)
            found |= string_is_known(key, "alpha") ? 1 : 0;
        else if (lr_raw_tag(value) == LR_RAW_TAG_TABLE && lr_raw_address(value) == inner)
            found |= string_is_known(key, "beta_of_some_length") ? 2 : 0;
        else if (lr_raw_tag(value) == LR_RAW_TAG_FALSE && lr_raw_is_double(key))
            found |= 4;
    }
    lua_pushvalue(L, -1);
    lua_setmetatable(L, -2);
    return found == 7 && lr_raw_has_metatable(table) && (lr_raw_nodes(inner, &count), count == 1);
}

bool lr_raw_is_known(lua_State *L)
{
    int top = lua_gettop(L);
    luaL_checkstack(L, 8, "a look at tables");
    /* an array behind the table's head, and one apart from it */
    bool known = sizeof(void *) == 8 && array_is_known(L, 6) && array_is_known(L, 1000) && nodes_are_known(L);
    lua_settop(L, top);
    return known;
}
