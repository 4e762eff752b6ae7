/* tests/fuzz/codec_fuzz.c - the codec's way in, with any bytes and the references of a good message.
 *
 * The first byte of an input says whose references (a sample of tests/unit/codec_kit.h), the rest is the
 * message. What decodes must encode again, and decode again to as many values. */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/codec_kit.h"

#define MEMORY_BYTES ((size_t)256 << 20) /* beyond this, something was believed that should not be */

static kit k;
static lr_value samples[KIT_SAMPLES + 1];

static void open_once(void)
{
    if (k.L) return;
    kit_open(&k);
    for (int i = 1; i <= KIT_SAMPLES; i++) {
        bool made = kit_message(&k, i, &samples[i]);
        LR_ASSERT(made);
    }
}

size_t lr_fuzz_seed(unsigned index, uint8_t *bytes, size_t room)
{
    open_once();
    if (index >= KIT_SAMPLES) return 0;
    const lr_value *v = &samples[index + 1];
    size_t size_bytes = v->size_bytes < room ? v->size_bytes : room - 1;
    bytes[0] = (uint8_t)index;
    memcpy(bytes + 1, lr_value_bytes(v), size_bytes);
    return size_bytes + 1;
}

/* The values on the stack go out and in once more. A class that is none of the samples' may be refused. */
static void again(int count)
{
    lr_value message;
    lr_err code;
    if (!lr_encode(k.S, k.L, 1, count, LR_ROOT_VALUE, 0, &code)) return;
    bool done = lr_builder_finish(&k.S->builder, &message);
    LR_ASSERT(done);
    lua_settop(k.L, 0);
    LR_ASSERT(kit_decode(&k, &message) == count);
    lr_value_clear(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    open_once();
    if (size_bytes < 1) return 0;
    lr_value message;
    kit_forge(bytes + 1, size_bytes - 1, &samples[1 + bytes[0] % KIT_SAMPLES], &message);
    k.peak_bytes = k.used_bytes;
    int count = kit_decode(&k, &message);
    lr_value_clear(&message);
    if (count >= 0) again(count);
    lua_settop(k.L, 0);
    LR_ASSERT(k.peak_bytes < MEMORY_BYTES);
    return 0;
}
