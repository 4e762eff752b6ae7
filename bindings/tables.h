/* bindings/tables.h - the module luarun.tables: a cluster's tables for commands written in Lua (runtime/tables.h).
 *
 *     tables.open(url) -> t, or nil and why       t:scan(table) -> { { key=, value=, version= }, ... }, or nil and why
 *     tables.state_url(name) -> url or nil        t:log(table, key) -> { { value=, number= }, ... }, or nil and why
 *     tables.wall() -> seconds since 1970         t:put(table, key, value), t:delete(table, key): as scan
 *     tables.sleep(seconds)                       t:shards() -> count; t:info(shard) -> text, or nil and why
 *     tables.is_terminal()                        t:status() -> a line; t:close()
 *
 * Ids are 32 hex digits in Lua. Owns: the connection of an open t, closed with it. Thread: the state's. Blocks. */
#ifndef BINDINGS_TABLES_H
#define BINDINGS_TABLES_H

struct lua_State;

/* Makes it known to require, in the program only. */
void lr_tables_preload(struct lua_State *L);
/* Appends the nodes of the cluster at a URL to the list on the top: { id, state, host, pid, workers, resources };
 * returns how many. Raises where the tables cannot be asked. */
unsigned lr_tables_add_nodes(struct lua_State *L, const char *url);

#endif
