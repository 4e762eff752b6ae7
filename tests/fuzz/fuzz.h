/* tests/fuzz/fuzz.h - what a fuzzed entry point gives to its driver.
 *
 * LLVMFuzzerTestOneInput has libFuzzer's name and meaning, so that an entry links with libFuzzer as well
 * as with driver.c. lr_fuzz_seed gives good inputs to begin with. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Any bytes; a crash or a failed assertion is a finding. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes);
/* Copies the index-th good input, of `room` bytes at most; returns its size, 0: there are no more. */
size_t lr_fuzz_seed(unsigned index, uint8_t *bytes, size_t room);

#endif
