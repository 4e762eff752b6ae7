/* sched/prng.h - a seeded stream of random numbers: the only randomness that sched knows.
 *
 * xoshiro256** (Blackman, Vigna: Scrambled Linear Pseudorandom Number Generators, 2021), its state filled
 * by splitmix64. The same seed gives the same stream on every machine. Not for secrets.
 * Owns: nothing; a stream is a value. Thread: one at a time. Blocks: never. */
#ifndef SCHED_PRNG_H
#define SCHED_PRNG_H

#include "sched/id.h"

typedef struct lr_prng {
    uint64_t s[4];
} lr_prng;

void lr_prng_seed(lr_prng *p, uint64_t seed);
/* The stream of one task of a job: a function of the job's seed and the task's id only. */
void lr_prng_seed_task(lr_prng *p, uint64_t job_seed, lr_id task);
uint64_t lr_prng_next(lr_prng *p);
/* Uniform in [0, bound), without bias; bound is not 0. */
uint64_t lr_prng_below(lr_prng *p, uint64_t bound);
/* Uniform in [0, 1), 53 bits. */
double lr_prng_double(lr_prng *p);

#endif
