/* bindings/embedded.h - the Lua files that the program carries in itself.
 *
 * The table is generated from lua/ by cmake/embed.cmake; in luarun/core.so and in the unit tests it is
 * empty (cmake/embedded_none.c), and the files are found on package.path.
 * Owns: constant bytes only. Thread: any; a lua_State is its thread's. */
#ifndef BINDINGS_EMBEDDED_H
#define BINDINGS_EMBEDDED_H

#include <stddef.h>

struct lua_State;

struct lr_embedded {
    const char *module; /* "luarun.errors" */
    const char *chunk;  /* "@luarun/errors.lua": what tracebacks show */
    const unsigned char *bytes;
    size_t size;
};

/* Ends with a row whose module is NULL. */
extern const struct lr_embedded lr_embedded_modules[];

/* Makes every embedded file known to `require` (package.preload), unread until it is asked for. */
void lr_embedded_preload(struct lua_State *L);

#endif
