/* runtime/control_redis_scripts.h - what a Redis does in one step for us: Lua scripts, called by their SHA-1.
 *
 * Each is loaded at the beginning of a connection and then called with EVALSHA; its hash is computed here, so
 * that requests can be written out before there is a connection. What the keys and arguments are stands above each
 * script; the layout of the keys is in docs/internals-control.md.
 * Owns: nothing; constants, and hashes written once by init. Thread: any after init. Blocks: never. */
#ifndef RUNTIME_CONTROL_REDIS_SCRIPTS_H
#define RUNTIME_CONTROL_REDIS_SCRIPTS_H

#include "sched/base.h"

#define LR_REDIS_SHA_TEXT 41
#define LR_REDIS_ROW_HEAD 32          /* bytes before a row's value: its version in 16 digits, its owner's 16 bytes */
#define LR_REDIS_DELETE_BATCH 500     /* rows that one call of the script removes */
#define LR_REDIS_FORMAT "1"           /* of the tables; another number is another layout */

typedef enum lr_redis_script {
    LR_REDIS_SCRIPT_HELLO,
    LR_REDIS_SCRIPT_WRITE,
    LR_REDIS_SCRIPT_DELETE,
    LR_REDIS_SCRIPT_SCAN,
    LR_REDIS_SCRIPT_DELETE_OWNED,
    LR_REDIS_SCRIPT_APPEND,
    LR_REDIS_SCRIPT_READ,
    LR_REDIS_SCRIPT_COUNT
} lr_redis_script;

/* Computes the hashes; may be called again. */
void lr_redis_scripts_init(void);
const char *lr_redis_script_text(lr_redis_script script);
/* 40 hex digits. */
const char *lr_redis_script_sha(lr_redis_script script);
/* SHA-1 in hex (FIPS 180-4); in the header for its test. */
void lr_redis_sha1(const void *bytes, size_t size_bytes, char text[LR_REDIS_SHA_TEXT]);

#endif
