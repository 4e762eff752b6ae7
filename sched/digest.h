/* sched/digest.h - is this the value that it was? A number of a message that says so for equal values.
 *
 * The bytes of equal values differ from process to process: the order of a table's pairs, dumped functions, which of
 * two references comes first. The digest looks at none of these: pairs are added up, a function counts as a function,
 * futures and objects by their place. So equal values have equal digests; different ones have different ones unless
 * they differ only there, or by chance (2^-64). Values that share parts (LR_VALUE_SHARED), hold functions of two
 * upvalues that are one, or are nested deeper than LR_DIGEST_DEPTH have none.
 * Owns: nothing. Thread: any. Blocks: never. */
#ifndef SCHED_DIGEST_H
#define SCHED_DIGEST_H

#include "sched/value.h"

#define LR_DIGEST_DEPTH 200u

/* 0: there is none; the bytes may be malformed. */
uint64_t lr_digest(lr_reader message);

#endif
