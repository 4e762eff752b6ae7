/* bindings/interrupt.h - ^C: a script ends at once, with status 130 and with what it wrote written; at the console it
 * ends a wait, then what runs.
 *
 * A script: three steps, each for when the one before could not be taken: a Lua hook ends the job between two
 * instructions; where Lua does not come to its hooks (a compiled loop, a wait, a C function) a timer ends
 * the process 50 ms later, standard output flushed; where even that hangs (a reader that does not read) a
 * second one does, 50 ms later, with no flush. A second ^C ends the process on the spot. Nothing
 * has to be cleaned up: the store's memory has no name, threads go with the process.
 *
 * The console, while a chunk runs: the first ^C ends the wait it is in, or the next it comes to (the tasks go on); the
 * second raises an error in the chunk, by a hook; one more, half a second after the second at the earliest, is for
 * what cannot be stopped so, and ends the program as above. While no chunk runs a ^C drops the line.
 * Owns: the handlers of SIGINT and, after a SIGINT, of SIGALRM. Thread: the script's. */
#ifndef BINDINGS_INTERRUPT_H
#define BINDINGS_INTERRUPT_H

#include <stdbool.h>

struct lua_State;

void lr_interrupt_install(struct lua_State *script);

/* From now on ^C is the console's, or again the script's. */
void lr_interrupt_console(bool on);
/* A chunk of the console begins or is over. */
void lr_interrupt_chunk(bool runs);
/* Whether a ^C came while no chunk ran; it is then forgotten. */
bool lr_interrupt_take(void);

#endif
