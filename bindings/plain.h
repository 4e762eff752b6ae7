/* bindings/plain.h - the short way for plain values: numbers, booleans, nils and short strings that fit
 * inside an lr_value. Most arguments and results are such. Shared tensors may be among what is written: such a
 * message fits too, but is read in the usual way.
 *
 * The bytes are those of any message (sched/value.h), so that whoever reads messages reads these too; the mark
 * lr_value.plain says that they were written here, in this process, and can be read without checks.
 * Owns: nothing. Thread: the state's. Blocks: never. */
#ifndef BINDINGS_PLAIN_H
#define BINDINGS_PLAIN_H

#include "bindings/state.h"

/* Writes the count values at L's indices first... False: they are not all plain or shared tensors, or do not fit; *out
 * is then untouched but for its bytes. */
bool lr_plain_encode(lua_State *L, int first, int count, lr_value *out);

/* How many values a plain message has. */
static inline int lr_plain_count(const lr_value *message) { return message->u.bytes[1]; }
/* Pushes a plain message's values and returns how many. */
int lr_plain_decode(lua_State *L, const lr_value *message);

#define LR_PLAIN_NUMBERS_MAX 4
/* A message of so many numbers, LR_PLAIN_NUMBERS_MAX at most. */
void lr_plain_numbers(lr_value *out, int count, const double *numbers);
/* Whether a plain message is one single number, which is then *number. */
bool lr_plain_is_number(const lr_value *message, double *number);

#endif
