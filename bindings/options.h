/* bindings/options.h - the options of a remote function, from a Lua table and back.
 *
 * Every refusal names the option, what is wanted and what was given; an unknown name lists the nearest.
 * Thread: the state's. */
#ifndef BINDINGS_OPTIONS_H
#define BINDINGS_OPTIONS_H

#include "bindings/state.h"
#include "runtime/options.h"

/* The table at index, over the defaults in base (NULL: all default), checked. Raises, as an error of the caller at
 * level, on anything it does not know. nil gives base itself (one more count; NULL for NULL). */
lr_options *lr_options_from(lr_state *S, lua_State *L, int index, const lr_options *base);
/* Pushes a table with what differs from the default; nil for NULL. */
void lr_options_push(lua_State *L, const lr_options *options);
/* The node's table of resource names; set once, before any option is read. */
void lr_options_names(const lr_resource_names *names);

#endif
