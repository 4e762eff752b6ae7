#include "runtime/handshake.h"

#include <stdio.h>

#include <mbedtls/constant_time.h>
#include <mbedtls/md.h>

#define HAS_SECRET 1u
#define DIALER 'D'
#define LISTENER 'L'
#define PROOF 'P'
#define ACCEPT 'A'
#define REFUSE 'R'

static const uint8_t magic[8] = {'l', 'u', 'a', 'r', 'u', 'n', '\r', '\n'};

/* ---- writing ---------------------------------------------------------------------------------------- */

static void put_u16(uint8_t *at, size_t v)
{
    at[0] = (uint8_t)v;
    at[1] = (uint8_t)(v >> 8);
}

static size_t get_u16(const uint8_t *at) { return (size_t)at[0] | (size_t)at[1] << 8; }

static void put_u64(uint8_t *at, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | at[i];
    return v;
}

static uint8_t *put_word(uint8_t *at, const char *word)
{
    size_t n = strlen(word);
    LR_ASSERT(n < LR_WORD_MAX);
    *at++ = (uint8_t)n;
    memcpy(at, word, n);
    return at + n;
}

static void write_hello(lr_handshake *h, const uint8_t *nonce)
{
    uint8_t *at = h->mine;
    memcpy(at, magic, sizeof magic);
    put_u16(at + 8, h->self->protocol);
    at += LR_HELLO_HEAD;
    *at++ = h->dials ? DIALER : LISTENER;
    *at++ = h->secret->size_bytes > 0 ? HAS_SECRET : 0;
    put_u64(at, h->self->node.hi);
    put_u64(at + 8, h->self->node.lo);
    memcpy(at + 16, nonce, LR_NONCE_BYTES);
    at = put_word(at + 16 + LR_NONCE_BYTES, h->self->version);
    at = put_word(at, h->self->build);
    at = put_word(at, h->self->address);
    h->mine_bytes = (size_t)(at - h->mine);
    put_u16(h->mine + 10, h->mine_bytes - LR_HELLO_HEAD);
}

static void say(lr_handshake *h, const void *bytes, size_t size_bytes)
{
    LR_ASSERT(size_bytes <= sizeof h->out - h->out_bytes);
    memcpy(h->out + h->out_bytes, bytes, size_bytes);
    h->out_bytes += size_bytes;
}

static void fail(lr_handshake *h, lr_ending end)
{
    h->state = LR_HANDSHAKE_FAILED;
    h->end = end;
}

static void refuse(lr_handshake *h, lr_ending end)
{
    uint8_t bytes[2] = {REFUSE, (uint8_t)end};
    say(h, bytes, sizeof bytes);
    fail(h, end);
}

/* ---- proofs ----------------------------------------------------------------------------------------- */

/* What the dialer (or the listener) of this conversation proves itself with. */
static bool prove(const lr_handshake *h, bool as_dialer, uint8_t out[LR_PROOF_BYTES])
{
    const char *label = as_dialer ? "luarun dialer" : "luarun listener";
    const uint8_t *first = h->dials ? h->mine : h->theirs, *second = h->dials ? h->theirs : h->mine;
    size_t first_bytes = h->dials ? h->mine_bytes : h->theirs_bytes;
    size_t second_bytes = h->dials ? h->theirs_bytes : h->mine_bytes;
    mbedtls_md_context_t md;
    mbedtls_md_init(&md);
    int failed = mbedtls_md_setup(&md, mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), 1);
    failed = failed || mbedtls_md_hmac_starts(&md, h->secret->bytes, h->secret->size_bytes);
    failed = failed || mbedtls_md_hmac_update(&md, (const uint8_t *)label, strlen(label) + 1);
    failed = failed || mbedtls_md_hmac_update(&md, first, first_bytes);
    failed = failed || mbedtls_md_hmac_update(&md, second, second_bytes);
    failed = failed || mbedtls_md_hmac_finish(&md, out);
    mbedtls_md_free(&md);
    return !failed;
}

static void say_proof(lr_handshake *h)
{
    uint8_t bytes[1 + LR_PROOF_BYTES] = {PROOF};
    if (!prove(h, h->dials, bytes + 1)) {
        fail(h, LR_ENDING_OUT_OF_MEMORY);
        return;
    }
    say(h, bytes, sizeof bytes);
    h->state = h->dials ? LR_HANDSHAKE_PROOF : LR_HANDSHAKE_ACCEPT;
}

static void check_proof(lr_handshake *h, const uint8_t *given)
{
    uint8_t wanted[LR_PROOF_BYTES];
    if (!prove(h, !h->dials, wanted)) {
        fail(h, LR_ENDING_OUT_OF_MEMORY);
    } else if (mbedtls_ct_memcmp(given, wanted, sizeof wanted) != 0) {
        refuse(h, LR_ENDING_WRONG_SECRET);
    } else if (h->dials) {
        uint8_t accept = ACCEPT;
        say(h, &accept, 1);
        h->state = LR_HANDSHAKE_DONE;
    } else {
        h->state = LR_HANDSHAKE_ASK;
    }
}

/* ---- the other's HELLO ------------------------------------------------------------------------------ */

/* Printable characters only: it will stand in messages. */
static const uint8_t *get_word(const uint8_t *at, const uint8_t *end, char word[LR_WORD_MAX])
{
    if (!at || at == end || *at >= LR_WORD_MAX || *at > end - at - 1) return NULL;
    size_t n = *at++;
    for (size_t i = 0; i < n; i++)
        if (at[i] < 0x20 || at[i] > 0x7e) return NULL;
    memcpy(word, at, n);
    word[n] = 0;
    return at + n;
}

static bool parse_hello(lr_handshake *h)
{
    const uint8_t *at = h->theirs + LR_HELLO_HEAD, *end = h->theirs + h->theirs_bytes;
    if (end - at < 2 + 16 + (ptrdiff_t)LR_NONCE_BYTES) return false;
    if (at[0] != (h->dials ? LISTENER : DIALER) || at[1] > HAS_SECRET) return false;
    h->theirs_has_secret = at[1] == HAS_SECRET;
    h->remote.node = (lr_id){get_u64(at + 2), get_u64(at + 10)};
    at = get_word(at + 18 + LR_NONCE_BYTES, end, h->remote.version);
    at = get_word(at, end, h->remote.build);
    at = get_word(at, end, h->remote.address);
    return at == end && !lr_id_is_nil(h->remote.node);
}

/* Does what the other says of itself fit? */
static lr_ending judge(lr_handshake *h)
{
    if (h->remote.protocol != h->self->protocol) {
        snprintf(h->detail, sizeof h->detail, "protocol %u there, %u here", (unsigned)h->remote.protocol,
                 (unsigned)h->self->protocol);
        return LR_ENDING_OTHER_PROTOCOL;
    }
    if (!parse_hello(h)) return LR_ENDING_GARBAGE;
    if (lr_id_equal(h->remote.node, h->self->node)) return LR_ENDING_SELF;
    if (h->theirs_has_secret != (h->secret->size_bytes > 0))
        return h->theirs_has_secret ? LR_ENDING_NO_SECRET_HERE : LR_ENDING_NO_SECRET_THERE;
    if (h->same_build && strcmp(h->remote.build, h->self->build) != 0) {
        snprintf(h->detail, sizeof h->detail, "%s there, %s here", h->remote.build, h->self->build);
        return LR_ENDING_OTHER_BUILD;
    }
    return LR_ENDING_OK;
}

static lr_ending mirrored(lr_ending end)
{
    if (end == LR_ENDING_NO_SECRET_THERE) return LR_ENDING_NO_SECRET_HERE;
    return end == LR_ENDING_NO_SECRET_HERE ? LR_ENDING_NO_SECRET_THERE : end;
}

static void on_hello(lr_handshake *h)
{
    h->remote.protocol = (uint32_t)get_u16(h->theirs + 8);
    if (!h->dials) say(h, h->mine, h->mine_bytes); /* whatever is wrong: the other end can say so too */
    lr_ending end = judge(h);
    if (end != LR_ENDING_OK) {
        refuse(h, mirrored(end));
        h->end = end;
    } else {
        h->state = h->dials ? LR_HANDSHAKE_ASK : LR_HANDSHAKE_PROOF;
    }
}

/* How many bytes of a HELLO are wanted, of which the first have come; 0: it is none. */
static size_t hello_wants(const lr_handshake *h)
{
    size_t known = h->theirs_bytes < sizeof magic ? h->theirs_bytes : sizeof magic;
    if (memcmp(h->theirs, magic, known) != 0) return 0;
    if (h->theirs_bytes < LR_HELLO_HEAD) return LR_HELLO_HEAD;
    size_t size_bytes = LR_HELLO_HEAD + get_u16(h->theirs + 10);
    return size_bytes <= LR_HELLO_MAX ? size_bytes : 0;
}

static size_t feed_hello(lr_handshake *h, const uint8_t *bytes, size_t size_bytes)
{
    size_t used = 0;
    for (;;) {
        size_t wanted = hello_wants(h);
        if (wanted == 0) {
            fail(h, LR_ENDING_NOT_LUARUN);
            return used;
        }
        if (h->theirs_bytes == wanted) break;
        size_t n = wanted - h->theirs_bytes;
        if (n > size_bytes - used) n = size_bytes - used;
        if (n == 0) return used;
        memcpy(h->theirs + h->theirs_bytes, bytes + used, n);
        h->theirs_bytes += n;
        used += n;
    }
    on_hello(h);
    return used;
}

/* ---- what follows ----------------------------------------------------------------------------------- */

static lr_ending refusal_of(uint8_t byte)
{
    switch (byte) {
    case LR_ENDING_NO_SECRET_HERE:
    case LR_ENDING_NO_SECRET_THERE:
    case LR_ENDING_WRONG_SECRET:
    case LR_ENDING_OTHER_PROTOCOL:
    case LR_ENDING_OTHER_BUILD:
    case LR_ENDING_SELF:
    case LR_ENDING_DUPLICATE:
    case LR_ENDING_CROWDED:
    case LR_ENDING_CLOSED: return (lr_ending)byte;
    default: return LR_ENDING_GARBAGE;
    }
}

static void on_message(lr_handshake *h)
{
    uint8_t type = h->part[0];
    if (type == REFUSE) {
        lr_ending end = refusal_of(h->part[1]);
        fail(h, end == LR_ENDING_CLOSED ? LR_ENDING_GONE : end);
    } else if (type == PROOF) {
        check_proof(h, h->part + 1);
    } else {
        h->state = LR_HANDSHAKE_DONE;
    }
    h->part_bytes = 0;
}

/* Size of a message that may come now, from its first byte; 0: none may. */
static size_t message_wants(const lr_handshake *h)
{
    uint8_t type = h->part[0];
    if (type == REFUSE) return 2;
    if (type == PROOF && h->state == LR_HANDSHAKE_PROOF) return 1 + LR_PROOF_BYTES;
    return type == ACCEPT && h->state == LR_HANDSHAKE_ACCEPT ? 1 : 0;
}

static size_t feed_message(lr_handshake *h, const uint8_t *bytes, size_t size_bytes)
{
    size_t used = 0;
    while (used < size_bytes) {
        h->part[h->part_bytes++] = bytes[used++];
        size_t wanted = message_wants(h);
        if (wanted == 0) {
            fail(h, LR_ENDING_GARBAGE);
            break;
        }
        if (h->part_bytes == wanted) {
            on_message(h);
            break;
        }
    }
    return used;
}

/* ---- the interface ---------------------------------------------------------------------------------- */

void lr_handshake_init(lr_handshake *h, bool dials, const lr_identity *self, const lr_secret *secret, bool same_build,
                       const uint8_t *nonce)
{
    memset(h, 0, sizeof *h);
    h->dials = dials;
    h->self = self;
    h->secret = secret;
    h->same_build = same_build;
    write_hello(h, nonce);
    if (dials) say(h, h->mine, h->mine_bytes);
}

lr_handshake_state lr_handshake_feed(lr_handshake *h, const uint8_t *bytes, size_t size_bytes, size_t *used)
{
    *used = 0;
    while (*used < size_bytes) {
        const uint8_t *at = bytes + *used;
        if (h->state == LR_HANDSHAKE_HELLO)
            *used += feed_hello(h, at, size_bytes - *used);
        else if (h->state == LR_HANDSHAKE_PROOF || h->state == LR_HANDSHAKE_ACCEPT)
            *used += feed_message(h, at, size_bytes - *used);
        else
            break;
    }
    return h->state;
}

void lr_handshake_answer(lr_handshake *h, lr_ending end)
{
    LR_ASSERT(h->state == LR_HANDSHAKE_ASK);
    if (end == LR_ENDING_OK)
        say_proof(h);
    else
        refuse(h, end);
}
