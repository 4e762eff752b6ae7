/* runtime/kernel_ship.h - kernel libraries on their way to a node of another machine.
 *
 * A library goes once over a connection, with the first of its kernels that is used there: the file itself, for
 * machines of the same kind, and its source where luarun compiled it, for others. The receiver keeps the file by its
 * content in the cache of compiled kernels (kernels.h), or compiles the source, which it then has too.
 *
 *   shipped = varint length · kind of machine · varint length · the file · varint length · the source
 *           · varint count · count flags (varint length · text)
 *
 * Owns: nothing. Thread: any. Blocks: for files; the compiler, where the machines differ. */
#ifndef RUNTIME_KERNEL_SHIP_H
#define RUNTIME_KERNEL_SHIP_H

#include "runtime/kernels.h"

#define LR_KERNEL_FILE_MAX (64u << 20) /* a larger library is not sent */

/* Appends the library to b. A file that cannot be read, or is too large, goes as none: the receiver says so. */
void lr_kernel_ship(const lr_kernel_set *set, lr_builder *b);
/* Opens what was shipped, as `name`. Errors as for lr_kernels_load; message is malloc'ed. */
lr_err lr_kernel_unship(const char *name, const void *bytes, size_t size_bytes, const lr_kernel_set **out,
                        char **message);

#endif
