/* tests/fuzz/driver.c - the main of a fuzzed entry point: a seeded loop of mutations, without libFuzzer.
 *
 *   NAME [--seconds S | --count N] [--seed N] [FILE...]
 *
 * Without files it mutates the entry's own seeds, 2 seconds unless told; the same seed and count give
 * the same inputs. What was being tried at a crash is left in NAME.input in the current folder. With
 * files it tries those, once each. The last line is as a test suite's: "N passed, 0 failed". */
#include "tests/fuzz/fuzz.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define INPUT_BYTES (64u * 1024u)
#define SEEDS_MAX 64
#define SHOW_EVERY 4096 /* inputs between two looks at the clock */

static uint64_t state;

static uint64_t next_random(void)
{
    uint64_t z = (state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static size_t below(size_t n) { return n ? (size_t)(next_random() % n) : 0; }

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

typedef struct input {
    uint8_t bytes[INPUT_BYTES];
    size_t size_bytes;
} input;

static input seeds[SEEDS_MAX];
static unsigned seed_count;
static input current;
static char crash_file[256];

/* What was being tried is written where it can be tried again. */
static void on_crash(int signal_number)
{
    FILE *f = fopen(crash_file, "wb"); /* the process is lost anyway: better a file than none */
    if (f) {
        fwrite(current.bytes, 1, current.size_bytes, f);
        fclose(f);
    }
    fprintf(stderr, "signal %d; the input is in %s\n", signal_number, crash_file);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void copy_piece(input *to, const input *from)
{
    if (from->size_bytes == 0 || to->size_bytes == 0) return;
    size_t at = below(to->size_bytes), start = below(from->size_bytes);
    size_t n = 1 + below(32);
    if (n > from->size_bytes - start) n = from->size_bytes - start;
    if (n > to->size_bytes - at) n = to->size_bytes - at;
    memmove(to->bytes + at, from->bytes + start, n);
}

static void cut_piece(input *x)
{
    size_t at = below(x->size_bytes), n = 1 + below(16);
    if (n > x->size_bytes - at) n = x->size_bytes - at;
    memmove(x->bytes + at, x->bytes + at + n, x->size_bytes - at - n);
    x->size_bytes -= n;
}

static void insert_piece(input *x)
{
    size_t at = below(x->size_bytes + 1), n = 1 + below(16);
    if (n > INPUT_BYTES - x->size_bytes) return;
    memmove(x->bytes + at + n, x->bytes + at, x->size_bytes - at);
    for (size_t i = 0; i < n; i++)
        x->bytes[at + i] = (uint8_t)(next_random() % 3 ? next_random() % 20 : next_random());
    x->size_bytes += n;
}

static void mutate(input *x)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0x81, 0xfe, 0xff};
    if (x->size_bytes == 0) {
        insert_piece(x);
        return;
    }
    switch (next_random() % 7) {
    case 0: x->bytes[below(x->size_bytes)] ^= (uint8_t)(1u << (next_random() % 8)); break;
    case 1: x->bytes[below(x->size_bytes)] = (uint8_t)next_random(); break;
    case 2: x->bytes[below(x->size_bytes)] = edges[below(sizeof edges)]; break;
    case 3: x->bytes[below(x->size_bytes)] = (uint8_t)(next_random() % 20); break;
    case 4: copy_piece(x, &seeds[below(seed_count)]); break;
    case 5: cut_piece(x); break;
    default: insert_piece(x); break;
    }
}

static void try_mutated(void)
{
    current = seeds[below(seed_count)];
    for (size_t i = 1 + below(6); i > 0; i--)
        mutate(&current);
    LLVMFuzzerTestOneInput(current.bytes, current.size_bytes);
}

static int try_file(const char *name)
{
    FILE *f = fopen(name, "rb");
    if (!f) {
        fprintf(stderr, "%s cannot be read\n", name);
        return 1;
    }
    current.size_bytes = fread(current.bytes, 1, sizeof current.bytes, f);
    fclose(f);
    LLVMFuzzerTestOneInput(current.bytes, current.size_bytes);
    return 0;
}

static void take_seeds(void)
{
    while (seed_count < SEEDS_MAX) {
        input *s = &seeds[seed_count];
        s->size_bytes = lr_fuzz_seed(seed_count, s->bytes, sizeof s->bytes);
        if (s->size_bytes == 0) break;
        seed_count++;
    }
    if (seed_count == 0) seed_count = 1; /* an empty one */
}

int main(int argc, char **argv)
{
    double seconds = 2;
    uint64_t count = UINT64_MAX, done = 0;
    int files = 0, failed = 0;
    state = 1;
    const char *name = strrchr(argv[0], '/');
    snprintf(crash_file, sizeof crash_file, "%s.input", name ? name + 1 : argv[0]);
    signal(SIGSEGV, on_crash);
    signal(SIGBUS, on_crash);
    signal(SIGABRT, on_crash);
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--seconds") == 0 && value) seconds = strtod(argv[++i], NULL);
        else if (strcmp(argv[i], "--count") == 0 && value) count = strtoull(argv[++i], NULL, 10), seconds = 1e9;
        else if (strcmp(argv[i], "--seed") == 0 && value) state = strtoull(argv[++i], NULL, 10);
        else files++, failed += try_file(argv[i]);
    }
    double until = now_s() + seconds;
    if (files == 0) take_seeds();
    while (files == 0 && done < count && (done % SHOW_EVERY != 0 || now_s() < until)) {
        try_mutated();
        done++;
    }
    printf("%llu passed, %d failed\n", (unsigned long long)(files ? (unsigned)(files - failed) : done), failed);
    return failed != 0;
}
