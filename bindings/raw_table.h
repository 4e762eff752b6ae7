/* bindings/raw_table.h - the inside of LuaJIT's tables and strings, read as they lie in memory.
 *
 * Tables are what is sent most, and Lua's API wants three calls for each element. So the codec looks into them
 * itself, where lr_raw_is_known has found what is expected: the layout of 64-bit GC builds of LuaJIT 2.1 (lj_obj.h:
 * GCtab, Node, GCstr, TValue). Where it has not, the codec goes by the API. Values are seen by their bits: a double,
 * or a tag above 47 bits of address.
 * Owns: nothing. Never allocates, and holds no address while Lua runs. Thread: the state's. */
#ifndef BINDINGS_RAW_TABLE_H
#define BINDINGS_RAW_TABLE_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define LR_RAW_NIL UINT64_MAX
/* The tags: the upper 17 bits as a signed number, inverted. */
#define LR_RAW_TAG_FALSE 1
#define LR_RAW_TAG_TRUE 2
#define LR_RAW_TAG_STRING 4
#define LR_RAW_TAG_TABLE 11
#define LR_RAW_TAG_INTEGER 13 /* where numbers may be those; also the largest that is no double */

static inline uint32_t lr_raw_tag(uint64_t bits) { return ~(uint32_t)((int64_t)bits >> 47); }
static inline bool lr_raw_is_double(uint64_t bits) { return lr_raw_tag(bits) > LR_RAW_TAG_INTEGER; }
static inline const char *lr_raw_address(uint64_t bits)
{
    return (const char *)(uintptr_t)(bits & ((1ull << 47) - 1));
}

typedef struct lr_raw_node {
    uint64_t value, key; /* bits; the value is nil: free */
    uint64_t next;
} lr_raw_node;

/* A table by the address that lua_topointer gives. */
static inline uint64_t *lr_raw_array(const char *table, uint32_t *size) /* from index 0 */
{
    uint64_t *array;
    memcpy(&array, table + 16, sizeof array);
    memcpy(size, table + 48, sizeof *size);
    return array;
}
static inline const lr_raw_node *lr_raw_nodes(const char *table, uint32_t *count) /* one free node at least */
{
    const lr_raw_node *nodes;
    uint32_t mask;
    memcpy(&nodes, table + 40, sizeof nodes);
    memcpy(&mask, table + 52, sizeof mask);
    *count = mask + 1;
    return nodes;
}
static inline bool lr_raw_has_metatable(const char *table)
{
    uint64_t metatable;
    memcpy(&metatable, table + 32, sizeof metatable);
    return metatable != 0;
}

/* A string's bytes. */
static inline const char *lr_raw_string(const char *string, uint32_t *length)
{
    memcpy(length, string + 20, sizeof *length);
    return string + 24;
}

/* True when tables and strings made for it look as all of the above expects, and what is written to an array is read
 * by Lua. Leaves L as it was. Raises Lua's out of memory. */
bool lr_raw_is_known(lua_State *L);

#endif
