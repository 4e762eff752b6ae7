/* runtime/secret.h - the secret that the nodes of a cluster share: where it comes from.
 *
 * From LUARUN_SECRET, or from a file that only its owner may read (mode 0600 or less); with neither there is none,
 * and nodes meet on loopback only. Blanks and line ends around it do not count. It is never printed and is wiped by
 * lr_secret_clear. Owns: its bytes. Thread: any. Blocks: on the file. */
#ifndef RUNTIME_SECRET_H
#define RUNTIME_SECRET_H

#include "sched/base.h"

#define LR_SECRET_MAX 1024u /* bytes */
#define LR_SECRET_TEXT 512u /* room for the words of an error */

typedef struct lr_secret {
    size_t size_bytes; /* 0: there is none */
    uint8_t bytes[LR_SECRET_MAX];
} lr_secret;

/* value: of LUARUN_SECRET, or NULL; path: of the file, or NULL. The value is taken where both are given. False:
 * text says what is wrong, where, and what to do. */
bool LR_MUST_USE lr_secret_load(lr_secret *out, const char *value, const char *path, char text[LR_SECRET_TEXT]);
void lr_secret_clear(lr_secret *secret);

#endif
