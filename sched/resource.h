/* sched/resource.h - what a node offers and a task asks: vectors of amounts.
 *
 * An amount is a fixed-point number of 1/10,000 (so 0.1 + 0.2 is 0.3 on every machine): cpu in cpus, gpu
 * in gpus, memory in bytes, and up to LR_RESOURCE_NAMED_MAX others that have a name on this node.
 * Amounts never go below zero, with one exception: cpu, which a resumed task takes again even
 * where none is free (see node.h).
 *
 * The name table (lr_resource_names) says which index a name has. It is filled before the node starts
 * (from --resources) and only read afterwards, so that any thread may look names up. Names that tasks
 * ask for and the node does not know are not entered (see lr_spec.unknown_resource): what scripts
 * ask cannot fill the table.
 *
 * Owns: nothing; plain values. Units: 1/10,000. Thread: any (names: any, once filled). Blocks: never. */
#ifndef SCHED_RESOURCE_H
#define SCHED_RESOURCE_H

#include "sched/base.h"

#define LR_AMOUNT_ONE 10000                         /* the amount 1 */
#define LR_AMOUNT_MAX ((int64_t)1 << 62)            /* larger numbers are refused */
#define LR_RESOURCE_NAMED_MAX 13
#define LR_RESOURCE_NAME_MAX 31                     /* bytes of a name, without the 0 */

enum {
    LR_RESOURCE_CPU = 0,
    LR_RESOURCE_GPU = 1,
    LR_RESOURCE_MEMORY = 2,
    LR_RESOURCE_NAMED = 3, /* the first named one */
    LR_RESOURCE_COUNT = LR_RESOURCE_NAMED + LR_RESOURCE_NAMED_MAX
};

typedef struct lr_resources {
    int64_t amount[LR_RESOURCE_COUNT];
} lr_resources;

typedef struct lr_resource_names {
    char name[LR_RESOURCE_COUNT][LR_RESOURCE_NAME_MAX + 1];
    int count; /* LR_RESOURCE_NAMED at least */
} lr_resource_names;

/* A table that knows cpu, gpu and memory. */
void lr_resource_names_init(lr_resource_names *names);
/* The index of a name, or -1 where the node does not know it. */
int lr_resource_find(const lr_resource_names *names, const char *name);
/* The index of a name, entered when it is new; -1 where the table is full, -2 where the text cannot be a
 * name (1 to 31 letters, digits, '_', '-', '.', not starting with a digit). */
int lr_resource_intern(lr_resource_names *names, const char *name);
/* The name of an index; "?" for an index that has none. */
const char *lr_resource_name(const lr_resource_names *names, int index);

/* The amount nearest to a number; a positive number below 1/10,000 gives 1/10,000. False, with *out
 * untouched, for a negative number, one that is no number, or one too large. */
bool lr_amount_from_double(double number, int64_t *out) LR_MUST_USE;
double lr_amount_to_double(int64_t amount);
/* "2", "0.5", "-1": as short as it is exact. Always ends with a 0. Returns the length it would need. */
size_t lr_amount_format(int64_t amount, char *text, size_t size_bytes);

/* Reads "gpu=2,tpu=0.5" into *out (added to nothing: what is not named becomes 0; empty text is all
 * zeros), entering new names. False with a sentence in error (ends with a 0, cut at error_size) and *out
 * untouched, where the text is malformed, names one twice or there is no room for another name. */
bool lr_resources_parse(const char *text, lr_resource_names *names, lr_resources *out, char *error,
                        size_t error_size) LR_MUST_USE;
/* Writes "cpu=2,gpu=1": what is not zero, in the order of indices. Always ends with a 0. Returns the length it
 * would need. */
size_t lr_resources_format(const lr_resources *r, const lr_resource_names *names, char *text,
                           size_t size_bytes);

bool lr_resources_equal(const lr_resources *a, const lr_resources *b);
/* True where need can be taken from available. A need of nothing always fits. */
bool lr_resources_fit(const lr_resources *available, const lr_resources *need);
/* The index of the first resource that is short, or -1 where need fits. */
int lr_resources_short(const lr_resources *available, const lr_resources *need);
/* available -= need. Asserts that nothing but cpu goes below zero. */
void lr_resources_take(lr_resources *available, const lr_resources *need);
/* available += need. Asserts that nothing grows beyond total. */
void lr_resources_give(lr_resources *available, const lr_resources *need, const lr_resources *total);

#endif
