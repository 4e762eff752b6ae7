/* runtime/handshake.h - how two nodes make sure of each other before anything else is said: pure, bytes in and out.
 *
 *     dialer                         listener
 *     HELLO  ──────────────────────▶           who I am, what I speak, a number never used before
 *            ◀──────────────────────  HELLO
 *     PROOF  ──────────────────────▶           HMAC-SHA256(secret; "dialer", both HELLOs)
 *            ◀──────────────────────  PROOF    HMAC-SHA256(secret; "listener", both HELLOs)
 *     ACCEPT ──────────────────────▶           from here on frames, both ways
 *     at any place instead: REFUSE and why
 *
 * A proof covers the prover's side and every byte of both HELLOs, so both node ids, both nonces, protocols,
 * versions and builds: played again, sent back to its maker, or carried into another conversation it is worth
 * nothing. The dialer proves first: a stranger who dials learns nothing that was made with the secret. Without a
 * secret on both sides the same is said with an empty one. A secret on one side only is refused.
 *
 * What fits. The protocol's number must be the same. Version and build are told, and may differ, unless same_build is
 * asked for. The first 12 bytes of a HELLO (magic, protocol, size) never change, so that any two versions can tell
 * each other what they are.
 *
 * What it does not give: after it, bytes are neither hidden nor authenticated; for that use tls+tcp.
 * Owns: its fields. Thread: one. Blocks: never. */
#ifndef RUNTIME_HANDSHAKE_H
#define RUNTIME_HANDSHAKE_H

#include "runtime/ending.h"
#include "runtime/secret.h"
#include "sched/id.h"

#define LR_PROTOCOL 2u /* what travels between nodes; raised by whoever changes it */
#define LR_NONCE_BYTES 32u
#define LR_PROOF_BYTES 32u
#define LR_WORD_MAX 128u /* room for a version, a build, an address, with its 0 */
#define LR_HELLO_HEAD 12u
#define LR_HELLO_MAX (LR_HELLO_HEAD + 2 + 16 + LR_NONCE_BYTES + 3 * LR_WORD_MAX)
#define LR_HANDSHAKE_OUT_MAX (LR_HELLO_MAX + LR_PROOF_BYTES + 8)

typedef struct lr_identity {
    lr_id node;
    uint32_t protocol;
    char version[LR_WORD_MAX], build[LR_WORD_MAX];
    char address[LR_WORD_MAX]; /* where the node listens; empty: nowhere */
} lr_identity;

typedef enum lr_handshake_state {
    LR_HANDSHAKE_HELLO,  /* waits for the other's HELLO */
    LR_HANDSHAKE_PROOF,  /* waits for the other's PROOF */
    LR_HANDSHAKE_ASK,    /* waits for lr_handshake_answer; dialer: before it proves; listener: the dialer has proved */
    LR_HANDSHAKE_ACCEPT, /* listener: waits for the last word */
    LR_HANDSHAKE_DONE,   /* both sides are sure; frames follow */
    LR_HANDSHAKE_FAILED, /* end says why; what out holds should still be sent */
} lr_handshake_state;

typedef struct lr_handshake {
    lr_handshake_state state;
    lr_ending end;
    bool dials, same_build;
    const lr_identity *self;
    const lr_secret *secret;
    lr_identity remote; /* from PROOF (dialer: ASK) on; believed from DONE on */
    char detail[2 * LR_WORD_MAX + 64];
    uint8_t mine[LR_HELLO_MAX], theirs[LR_HELLO_MAX]; /* the HELLOs */
    size_t mine_bytes, theirs_bytes;
    bool theirs_has_secret;
    uint8_t part[LR_PROOF_BYTES + 1]; /* of a message after HELLO */
    size_t part_bytes;
    uint8_t out[LR_HANDSHAKE_OUT_MAX]; /* to be sent; the caller sets out_bytes to 0 then */
    size_t out_bytes;
} lr_handshake;

/* self and secret must outlive it. nonce: LR_NONCE_BYTES bytes from the system's generator, used once. */
void lr_handshake_init(lr_handshake *h, bool dials, const lr_identity *self, const lr_secret *secret, bool same_build,
                       const uint8_t *nonce);
/* Takes bytes until the state asks for something else; *used: how many. Not to be called in DONE, ASK and FAILED. */
lr_handshake_state lr_handshake_feed(lr_handshake *h, const uint8_t *bytes, size_t size_bytes, size_t *used);
/* In ASK: OK goes on, anything else refuses for that reason. */
void lr_handshake_answer(lr_handshake *h, lr_ending end);

#endif
