/* bindings/interrupt.h - ^C: the program ends at once, with status 130 and with what it wrote written.
 *
 * Three steps, each for when the one before could not be taken: a Lua hook ends the job between two
 * instructions; where Lua does not come to its hooks (a compiled loop, a wait, a C function) a timer ends
 * the process 50 ms later, standard output flushed; where even that hangs (a reader that does not read) a
 * second one does, 50 ms later, with no flush. A second ^C ends the process on the spot. Nothing
 * has to be cleaned up: the store's memory has no name, threads go with the process.
 * Owns: the handlers of SIGINT and, after a SIGINT, of SIGALRM. Thread: the script's. */
#ifndef BINDINGS_INTERRUPT_H
#define BINDINGS_INTERRUPT_H

struct lua_State;

void lr_interrupt_install(struct lua_State *script);

#endif
