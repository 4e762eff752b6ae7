#include "runtime/transfer.h"

#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t chunk_count(const lr_transfer *t) { return (t->size_bytes - 1) / LR_CHUNK_BYTES + 1; }

static bool has(const lr_transfer *t, uint64_t chunk) { return (t->have[chunk / 64] >> (chunk % 64)) & 1; }

bool lr_transfer_init(lr_transfer *t, uint64_t size_bytes)
{
    LR_ASSERT(size_bytes > 0);
    *t = (lr_transfer){.size_bytes = size_bytes};
    t->have = calloc(chunk_count(t) / 64 + 1, sizeof *t->have);
    return t->have != NULL;
}

void lr_transfer_fini(lr_transfer *t)
{
    free(t->have);
    t->have = NULL;
}

uint64_t lr_transfer_check(const void *bytes, uint64_t size_bytes) { return XXH3_64bits(bytes, (size_t)size_bytes); }

lr_transfer_got lr_transfer_take(lr_transfer *t, uint64_t offset, uint64_t check, const void *bytes,
                                 uint64_t size_bytes, lr_transfer_write *write, void *to)
{
    if (offset % LR_CHUNK_BYTES != 0 || offset >= t->size_bytes) return LR_TRANSFER_HOPELESS;
    uint64_t left = t->size_bytes - offset, chunk = offset / LR_CHUNK_BYTES;
    if (size_bytes != (left < LR_CHUNK_BYTES ? left : LR_CHUNK_BYTES)) return LR_TRANSFER_HOPELESS;
    if (has(t, chunk)) return LR_TRANSFER_KNOWN;
    if (lr_transfer_check(bytes, size_bytes) != check)
        return ++t->refused > LR_TRANSFER_REFUSALS ? LR_TRANSFER_HOPELESS : LR_TRANSFER_REFUSED;
    write(to, offset, bytes, size_bytes);
    t->have[chunk / 64] |= UINT64_C(1) << (chunk % 64);
    t->received_bytes += size_bytes;
    return t->received_bytes == t->size_bytes ? LR_TRANSFER_WHOLE : LR_TRANSFER_TAKEN;
}

uint64_t lr_transfer_missing(const lr_transfer *t, uint64_t offset)
{
    uint64_t chunk = (offset + LR_CHUNK_BYTES - 1) / LR_CHUNK_BYTES;
    while (chunk < chunk_count(t) && has(t, chunk))
        chunk++;
    return chunk < chunk_count(t) ? chunk * LR_CHUNK_BYTES : t->size_bytes;
}
