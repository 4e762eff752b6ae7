/* bindings/objects.h - what Lua sees of the object store: lr.objects, and the store's part of lr.stats.
 *
 * Owns: nothing. Thread: the state's. Blocks: for the store's locks. */
#ifndef BINDINGS_OBJECTS_H
#define BINDINGS_OBJECTS_H

#include <lua.h>
#include <stddef.h>

/* Pushes a list of tables, largest first, limit at most, and returns how many: bytes, references (in this process),
 * site (who made it), where ("memory", "disk", "elsewhere": another process's memory, "held": gone here, another
 * process has it mapped); id where other nodes know it, pid of the process in whose memory it is. */
size_t lr_push_objects(lua_State *L, size_t limit);
/* Pushes the totals of this node's store and of what it has exchanged with others. */
void lr_push_store_stats(lua_State *L);

#endif
