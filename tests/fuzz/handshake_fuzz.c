/* tests/fuzz/handshake_fuzz.c - what a stranger may send: any bytes to either end of a handshake.
 *
 * The first byte chooses the end and the size of the pieces. Nobody without the secret may come to DONE: the good
 * conversations among the seeds were made with another one. */
#include "runtime/handshake.h"
#include "tests/fuzz/fuzz.h"

static const lr_identity dialer = {{1, 1}, LR_PROTOCOL, "0.1", "build", "tcp://127.0.0.1:1"};
static const lr_identity listener = {{2, 2}, LR_PROTOCOL, "0.1", "build", ""};
static const lr_secret ours = {6, "secret"}, theirs = {5, "other"};
static const uint8_t nonce[LR_NONCE_BYTES] = {1, 2, 3};

static void init(lr_handshake *h, bool dials, const lr_secret *secret)
{
    lr_handshake_init(h, dials, dials ? &dialer : &listener, secret, false, nonce);
}

/* What one end says in a conversation between two that share theirs. */
size_t lr_fuzz_seed(unsigned index, uint8_t *bytes, size_t room)
{
    lr_handshake ends[2];
    size_t at = 1, used;
    if (index > 1 || room < 2 * LR_HANDSHAKE_OUT_MAX) return 0;
    bytes[0] = (uint8_t)index;
    init(&ends[0], true, &theirs);
    init(&ends[1], false, &theirs);
    for (int i = 0; i < 6; i++) {
        lr_handshake *from = &ends[i % 2], *to = &ends[1 - i % 2];
        if (i % 2 == (int)index) { /* index 0: what the dialer says */
            memcpy(bytes + at, from->out, from->out_bytes);
            at += from->out_bytes;
        }
        if (to->state < LR_HANDSHAKE_DONE) lr_handshake_feed(to, from->out, from->out_bytes, &used);
        from->out_bytes = 0;
        if (to->state == LR_HANDSHAKE_ASK) lr_handshake_answer(to, LR_ENDING_OK);
    }
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    if (size_bytes < 1) return 0;
    lr_handshake h;
    init(&h, bytes[0] & 1, &ours);
    size_t piece = bytes[0] & 2 ? 1u + (bytes[0] >> 2) : size_bytes, used;
    for (size_t at = 1; at < size_bytes && h.state < LR_HANDSHAKE_DONE; at += used) {
        size_t n = size_bytes - at < piece ? size_bytes - at : piece;
        lr_handshake_feed(&h, bytes + at, n, &used);
        LR_ASSERT(used > 0 || h.state >= LR_HANDSHAKE_DONE);
        if (h.state == LR_HANDSHAKE_ASK) lr_handshake_answer(&h, LR_ENDING_OK);
        LR_ASSERT(memchr(h.remote.version, 0, LR_WORD_MAX) && memchr(h.remote.address, 0, LR_WORD_MAX));
        h.out_bytes = 0;
    }
    LR_ASSERT(h.state != LR_HANDSHAKE_DONE);
    return 0;
}
