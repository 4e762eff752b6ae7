/* sched/id.h - 128-bit identities and how they derive from each other.
 *
 * A task's id is a function of its parent's id and its number among the parent's children, an
 * object's of its task's id and its index. A re-run parent therefore names the same children, and
 * replay finds what exists instead of doubling it. Addresses, times and bytes of dumped functions are
 * never part of an id (they differ from process to process).
 * Owns: nothing; ids are values. Thread: any. Blocks: never. */
#ifndef SCHED_ID_H
#define SCHED_ID_H

#include "sched/base.h"

typedef struct lr_id {
    uint64_t hi, lo;
} lr_id;

#define LR_ID_TEXT 33 /* bytes of the text form with its 0 */
#define LR_ID_NIL ((lr_id){0, 0})

/* The id of a parent's number-th child. number counts from 0. */
lr_id lr_id_child(lr_id parent, uint64_t number);
/* The root id of a job with that seed. */
lr_id lr_id_from_seed(uint64_t seed);
/* An id from the hash of bytes: for content (functions, kernel sources), never for tasks. */
lr_id lr_id_from_bytes(const void *bytes, size_t size_bytes);
/* 32 lower-case hex digits and a 0. */
void lr_id_format(lr_id id, char text[LR_ID_TEXT]);
/* Parses 32 hex digits; false, with *out untouched, for anything else. */
bool lr_id_parse(const char *text, lr_id *out);

static inline bool lr_id_equal(lr_id a, lr_id b) { return a.hi == b.hi && a.lo == b.lo; }
static inline bool lr_id_is_nil(lr_id a) { return (a.hi | a.lo) == 0; }

/* A strong 64-bit mixer (splitmix64's finaliser, Steele et al., OOPSLA 2014). */
static inline uint64_t lr_mix64(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

#endif
