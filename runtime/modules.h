/* runtime/modules.h - Lua modules that are on the driver's package.path and not on this node's: asked for by name,
 * kept by this process.
 *
 * A worker that requires one waits on its thread until the driver has answered: a module is loaded once a worker, and
 * code that loads may not yield. What has come is kept for the other workers; that it is nowhere is not, since the
 * file may be written meanwhile.
 * Owns: what was asked for and what came. Thread: fetch by any; the others by the node thread. Blocks: fetch, up to
 * LR_MODULES_WAIT_NS; answer on small files. */
#ifndef RUNTIME_MODULES_H
#define RUNTIME_MODULES_H

#include "runtime/value.h"
#include "sched/message.h"

#define LR_MODULES_WAIT_NS 10000000000u
#define LR_MODULE_MAX (16u << 20) /* bytes of source */

typedef struct lr_module_source {
    const char *path; /* at the driver; empty: nowhere, text is where was looked, as require says it */
    const char *text;
    size_t text_bytes;
    char nowhere[2048]; /* what text points to then */
} lr_module_source;

/* Sources last as long as the process. False: no answer, no
 * driver, or no memory; why is one line. ring wakes the node thread. */
LR_MUST_USE bool lr_modules_fetch(const char *name, void (*ring)(void), lr_module_source *out, char why[160]);
/* Asks for what is not asked for yet. */
void lr_modules_turn(void (*ask)(const lr_message *m));
/* The driver's answer. */
void lr_modules_came(const lr_message *m);
/* The driver is gone: whoever waits is told. */
void lr_modules_lost(void);
/* At the driver: the answer to a WANT_MODULE, by its package.path (may be NULL). Bytes lie in b. */
void lr_modules_answer(const lr_message *want, const char *path, lr_builder *b, lr_message *out);

#endif
