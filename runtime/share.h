/* runtime/share.h - memory that two processes of one host have together, found without a name in any file system.
 *
 * One makes it (a memfd of fixed size) and tells the other its own process id, the descriptor's number, and a number
 * drawn for this purpose; the other opens /proc/PID/fd/N, which the system allows to the same user, and keeps it only
 * if it is a memfd of that size which can neither grow nor shrink, and begins with that number. Nothing is left behind:
 * the memory goes with the last who has it mapped, whoever is killed.
 *
 * Whether two processes are on one host: the same boot, the same namespace of process ids, and the same network; hosts
 * that are made of network namespaces count as different ones.
 *
 * Owns: the mapping, and the maker's descriptor. Thread: any. Blocks: never. */
#ifndef RUNTIME_SHARE_H
#define RUNTIME_SHARE_H

#include "sched/base.h"

#define LR_HOST_BYTES 32u
#define LR_SHARE_NONCE_BYTES 16u

typedef struct lr_share_head { /* at the beginning of the memory */
    uint64_t magic;
    uint8_t nonce[LR_SHARE_NONCE_BYTES];
} lr_share_head;

typedef struct lr_share {
    void *at; /* begins with an lr_share_head */
    size_t size_bytes;
    int fd; /* -1: closed, or opened from another process */
} lr_share;

/* What tells this host from others; zeros: not to be known, and equal to no other. */
void lr_share_host(uint8_t host[LR_HOST_BYTES]);
bool lr_share_same_host(const uint8_t a[LR_HOST_BYTES], const uint8_t b[LR_HOST_BYTES]);

/* All zeros but the head. False: it cannot be had. */
LR_MUST_USE bool lr_share_make(lr_share *s, size_t size_bytes);
/* What another process has made. False: it is not that, or may not be opened. */
LR_MUST_USE bool lr_share_open(lr_share *s, uint32_t pid, uint32_t fd, const uint8_t nonce[LR_SHARE_NONCE_BYTES],
                               size_t size_bytes);
/* The other has opened it, or will not. */
void lr_share_close_fd(lr_share *s);
void lr_share_close(lr_share *s);
static inline const uint8_t *lr_share_nonce(const lr_share *s) { return ((const lr_share_head *)s->at)->nonce; }

#endif
