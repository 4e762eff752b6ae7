#include "bindings/options.h"

#include <math.h>
#include <stdlib.h>

static const lr_resource_names *node_names;

void lr_options_names(const lr_resource_names *names)
{
    node_names = names;
}

static double number(lua_State *L, const char *name, int index, double least, const char *wanted)
{
    if (lua_type(L, index) != LUA_TNUMBER)
        luaL_error(L, "option '%s': %s wanted, %s given", name, wanted, luaL_typename(L, index));
    double v = lua_tonumber(L, index);
    if (!(v >= least) || isinf(v)) luaL_error(L, "option '%s': %s wanted, %f given", name, wanted, v);
    return v;
}

static uint32_t whole(lua_State *L, const char *name, double least, const char *wanted)
{
    double v = number(L, name, -1, least, wanted);
    if (v != floor(v)) luaL_error(L, "option '%s': %s wanted, %f given", name, wanted, v);
    if (v > 1e9) luaL_error(L, "option '%s': the number is too large", name);
    return (uint32_t)v;
}

static bool boolean(lua_State *L, const char *name)
{
    if (!lua_isboolean(L, -1)) luaL_error(L, "option '%s': true or false wanted, %s given", name, luaL_typename(L, -1));
    return lua_toboolean(L, -1);
}

static int64_t amount(lua_State *L, const char *name, int index)
{
    int64_t units;
    if (!lr_amount_from_double(number(L, name, index, 0, "a number, 0 or more,"), &units))
        luaL_error(L, "option '%s': the number is too large", name);
    return units;
}

static void set_cpu(lua_State *L, lr_options *o)
{
    o->cpu = number(L, "cpu", -1, 0, "a number, 0 or more,");
    o->need.amount[LR_RESOURCE_CPU] = amount(L, "cpu", -1);
}
static void set_gpu(lua_State *L, lr_options *o) { o->need.amount[LR_RESOURCE_GPU] = amount(L, "gpu", -1); }
static void set_memory(lua_State *L, lr_options *o) { o->need.amount[LR_RESOURCE_MEMORY] = amount(L, "memory", -1); }

static char *copy_of(lua_State *L, const char *text)
{
    char *copy = strdup(text);
    if (!copy) luaL_error(L, "not enough memory");
    return copy;
}

static void add_unknown(lua_State *L, lr_options *o, const char *name, int64_t units)
{
    uint32_t i = 0;
    while (i < o->unknown_count && strcmp(o->unknown[i].name, name) != 0)
        i++;
    if (strlen(name) > LR_RESOURCE_NAME_MAX)
        luaL_error(L, "option 'resources': a name has at most %d characters: '%s'", LR_RESOURCE_NAME_MAX, name);
    if (i == LR_COUNT(o->unknown))
        luaL_error(L, "option 'resources': more than %d names that this node does not have", LR_RESOURCE_NAMED_MAX);
    strcpy(o->unknown[i].name, name);
    o->unknown[i].amount = units;
    if (i == o->unknown_count) o->unknown_count++;
}

static void set_resources(lua_State *L, lr_options *o)
{
    if (!lua_istable(L, -1))
        luaL_error(L, "option 'resources': a table of names and amounts wanted, %s given", luaL_typename(L, -1));
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "option 'resources': a name is a string, %s given", luaL_typename(L, -2));
        const char *name = lua_tostring(L, -2);
        int64_t units = amount(L, lua_pushfstring(L, "resources.%s", name), -2);
        lua_pop(L, 1);
        int index = lr_resource_find(node_names, name);
        if (index >= 0) {
            o->need.amount[index] = units;
        } else if (units > 0) {
            add_unknown(L, o, name, units);
        }
        lua_pop(L, 1);
    }
}

static void set_name(lua_State *L, lr_options *o)
{
    if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "option 'name': a string wanted, %s given", luaL_typename(L, -1));
    free(o->name);
    o->name = copy_of(L, lua_tostring(L, -1));
}

static void set_node(lua_State *L, lr_options *o)
{
    const char *text = lua_tostring(L, -1);
    o->spread = text && strcmp(text, "spread") == 0;
    if (o->spread) return;
    if (!text || !lr_id_parse(text, &o->node))
        luaL_error(L, "option 'node': a node's id (32 hex digits) or \"spread\" wanted, %s given",
            text ? text : luaL_typename(L, -1));
}

static void set_priority(lua_State *L, lr_options *o) { o->priority = number(L, "priority", -1, -1e300, "a number"); }
static void set_timeout(lua_State *L, lr_options *o)
{
    o->timeout_s = number(L, "timeout", -1, 1e-9, "seconds, more than 0,");
}

static void set_deadline(lua_State *L, lr_options *o)
{
    o->deadline_s = number(L, "deadline", -1, 1e-9, "seconds, more than 0,");
}

static void set_retries(lua_State *L, lr_options *o)
{
    o->retries = whole(L, "retries", 0, "a whole number, 0 or more,");
}

static void set_pure(lua_State *L, lr_options *o) { o->pure = boolean(L, "pure"); }
static void set_returns(lua_State *L, lr_options *o)
{
    o->returns = whole(L, "returns", 1, "a whole number from 1 to 200,");
    if (o->returns > 200)
        luaL_error(L, "option 'returns': a whole number from 1 to 200, wanted, %d given", (int)o->returns);
}
static void set_retry_on_error(lua_State *L, lr_options *o)
{
    if (lua_isboolean(L, -1) && !lua_toboolean(L, -1))
        o->retry_on_error = 0;
    else
        o->retry_on_error = whole(L, "retry_on_error", 0, "false or a whole number, 0 or more,");
}

static const struct {
    const char *name;
    void (*set)(lua_State *L, lr_options *o);
} rows[] = {
    {"cpu", set_cpu},           {"deadline", set_deadline}, {"gpu", set_gpu},         {"memory", set_memory},
    {"name", set_name},         {"node", set_node},         {"priority", set_priority}, {"pure", set_pure},
    {"resources", set_resources}, {"retries", set_retries}, {"retry_on_error", set_retry_on_error},
    {"returns", set_returns},   {"timeout", set_timeout},
};

static void set_one(lua_State *L, lr_options *o)
{
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
    for (size_t i = 0; name && i < LR_COUNT(rows); i++)
        if (strcmp(name, rows[i].name) == 0) {
            rows[i].set(L, o);
            return;
        }
    if (name && (strcmp(name, "stream") == 0)) luaL_error(L, "option 'stream': streams are not in this version");
    if (!name) luaL_error(L, "options: the name of an option is a string, %s given", luaL_typename(L, -2));
    luaL_error(L, "unknown option '%s'; there are: cpu, deadline, gpu, memory, name, node, priority, pure, resources, "
                  "retries, retry_on_error, returns, timeout", name);
}

/* Protected, so that a refusal frees the half-made options. Stack: options, table. */
static int set_all(lua_State *L)
{
    lr_options *o = lua_touserdata(L, 1);
    lua_pushnil(L);
    while (lua_next(L, 2)) {
        set_one(L, o);
        lua_settop(L, 3);
    }
    return 0;
}

lr_options *lr_options_from(lr_state *S, lua_State *L, int index, const lr_options *base)
{
    (void)S;
    if (lua_isnoneornil(L, index)) {
        lr_options_retain((lr_options *)base);
        return (lr_options *)base;
    }
    if (!lua_istable(L, index)) luaL_error(L, "options: a table wanted, %s given", luaL_typename(L, index));
    lua_pushvalue(L, index);
    lua_pushcfunction(L, set_all); /* may raise: before there is anything to lose */
    lr_options *o = base ? lr_options_copy(base) : lr_options_new();
    if (!o) luaL_error(L, "not enough memory");
    lua_pushlightuserdata(L, o);
    lua_pushvalue(L, -3);
    if (lua_pcall(L, 2, 0, 0) != 0) {
        lr_options_release(o);
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
        lua_error(L);
    }
    lua_pop(L, 1);
    lr_options_finish(o);
    return o;
}

static void field(lua_State *L, const char *name, double v, double usual)
{
    if (v == usual) return;
    lua_pushnumber(L, v);
    lua_setfield(L, -2, name);
}

static void push_named(lua_State *L, const lr_options *o)
{
    lua_newtable(L);
    for (int i = LR_RESOURCE_NAMED; node_names && i < node_names->count; i++)
        field(L, lr_resource_name(node_names, i), lr_amount_to_double(o->need.amount[i]), 0);
    for (uint32_t i = 0; i < o->unknown_count; i++)
        field(L, o->unknown[i].name, lr_amount_to_double(o->unknown[i].amount), 0);
    lua_setfield(L, -2, "resources");
}

void lr_options_push(lua_State *L, const lr_options *o)
{
    if (!o) {
        lua_pushnil(L);
        return;
    }
    lua_newtable(L);
    field(L, "cpu", o->cpu, 1);
    field(L, "gpu", lr_amount_to_double(o->need.amount[LR_RESOURCE_GPU]), 0);
    field(L, "memory", lr_amount_to_double(o->need.amount[LR_RESOURCE_MEMORY]), 0);
    field(L, "priority", o->priority, 0);
    field(L, "timeout", o->timeout_s, 0);
    field(L, "deadline", o->deadline_s, 0);
    field(L, "retries", o->retries, 3);
    field(L, "retry_on_error", o->retry_on_error, 0);
    field(L, "returns", o->returns, 1);
    push_named(L, o);
    if (o->pure) {
        lua_pushboolean(L, true);
        lua_setfield(L, -2, "pure");
    }
    if (o->name) {
        lua_pushstring(L, o->name);
        lua_setfield(L, -2, "name");
    }
    char id[LR_ID_TEXT];
    lr_id_format(o->node, id);
    if (o->spread || !lr_id_is_nil(o->node)) {
        lua_pushstring(L, o->spread ? "spread" : id);
        lua_setfield(L, -2, "node");
    }
}
