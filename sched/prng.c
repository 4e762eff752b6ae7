#include "sched/prng.h"

static uint64_t splitmix(uint64_t *x)
{
    *x += 0x9e3779b97f4a7c15u;
    return lr_mix64(*x);
}

void lr_prng_seed(lr_prng *p, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        p->s[i] = splitmix(&seed);
}

void lr_prng_seed_task(lr_prng *p, uint64_t job_seed, lr_id task)
{
    lr_prng_seed(p, lr_mix64(lr_mix64(task.hi + job_seed) ^ task.lo));
}

static uint64_t rotate(uint64_t x, int k) { return x << k | x >> (64 - k); }

uint64_t lr_prng_next(lr_prng *p)
{
    uint64_t *s = p->s;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t lr_prng_below(lr_prng *p, uint64_t bound)
{
    LR_ASSERT(bound > 0);
    uint64_t reject = (0 - bound) % bound; /* 2^64 mod bound: numbers below it would be too many */
    for (;;) {
        uint64_t x = lr_prng_next(p);
        if (x >= reject) return x % bound;
    }
}

double lr_prng_double(lr_prng *p)
{
    return (double)(lr_prng_next(p) >> 11) * (1.0 / 9007199254740992.0);
}
