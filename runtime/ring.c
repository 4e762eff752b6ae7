#include "runtime/ring.h"

#include <stdatomic.h>

#define HEAD_BYTES 4096u

/* The reader's and the writer's parts are not on one line, nor on neighbouring ones. */
struct lr_ring_way {
    _Alignas(128) _Atomic uint64_t written;
    _Alignas(128) _Atomic uint64_t read;
    _Alignas(128) _Atomic uint32_t room_wanted;
};

typedef struct head {
    lr_share_head share;
    lr_ring_way ways[2]; /* the maker writes into the first */
} head;

_Static_assert(sizeof(head) <= HEAD_BYTES, "the head is a page");
_Static_assert((LR_RING_BYTES & (LR_RING_BYTES - 1)) == 0, "a power of two");

size_t lr_ring_share_bytes(void) { return HEAD_BYTES + 2 * LR_RING_BYTES; }

static void take_sides(lr_ring *r, unsigned out)
{
    head *h = r->share.at;
    uint8_t *bytes = (uint8_t *)r->share.at + HEAD_BYTES;
    r->out = &h->ways[out];
    r->in = &h->ways[1 - out];
    r->out_bytes = bytes + out * LR_RING_BYTES;
    r->in_bytes = bytes + (1 - out) * LR_RING_BYTES;
}

bool lr_ring_make(lr_ring *r)
{
    *r = (lr_ring){0};
    if (!lr_share_make(&r->share, lr_ring_share_bytes())) return false;
    take_sides(r, 0);
    return true;
}

bool lr_ring_open(lr_ring *r, uint32_t pid, uint32_t fd, const uint8_t nonce[LR_SHARE_NONCE_BYTES])
{
    *r = (lr_ring){0};
    if (!lr_share_open(&r->share, pid, fd, nonce, lr_ring_share_bytes())) return false;
    take_sides(r, 1);
    return true;
}

void lr_ring_close(lr_ring *r) { lr_share_close(&r->share); }

/* Bytes for which there is room; GARBAGE. */
static size_t room_of(lr_ring *r)
{
    uint64_t there_read = atomic_load(&r->out->read);
    uint64_t unread = r->written - there_read; /* also where it says more than was written: then very large */
    if (unread > LR_RING_BYTES) return LR_RING_GARBAGE;
    r->there_read = there_read;
    return LR_RING_BYTES - (size_t)unread;
}

size_t lr_ring_write(lr_ring *r, const void *bytes, size_t size_bytes)
{
    size_t room = LR_RING_BYTES - (size_t)(r->written - r->there_read);
    if (room < size_bytes) room = room_of(r);
    if (room == LR_RING_GARBAGE) return room;
    size_t n = size_bytes < room ? size_bytes : room, at = (size_t)(r->written & (LR_RING_BYTES - 1));
    size_t first = n < LR_RING_BYTES - at ? n : LR_RING_BYTES - at;
    memcpy(r->out_bytes + at, bytes, first);
    memcpy(r->out_bytes, (const uint8_t *)bytes + first, n - first);
    r->written += n;
    return n;
}

bool lr_ring_publish(lr_ring *r)
{
    if (r->published == r->written) return false;
    r->published = r->written;
    atomic_store_explicit(&r->out->written, r->written, memory_order_release);
    return true;
}

bool lr_ring_want_room(lr_ring *r)
{
    atomic_store(&r->out->room_wanted, 1); /* then its count; the other side does it in the other order */
    return room_of(r) > 0;
}

bool lr_ring_has(const lr_ring *r)
{
    return atomic_load_explicit(&r->in->written, memory_order_acquire) != r->read;
}

size_t lr_ring_read(lr_ring *r, void *bytes, size_t size_bytes, bool *room_wanted)
{
    uint64_t unread = atomic_load_explicit(&r->in->written, memory_order_acquire) - r->read;
    if (unread > LR_RING_BYTES) return LR_RING_GARBAGE;
    size_t n = size_bytes < unread ? size_bytes : (size_t)unread, at = (size_t)(r->read & (LR_RING_BYTES - 1));
    size_t first = n < LR_RING_BYTES - at ? n : LR_RING_BYTES - at;
    memcpy(bytes, r->in_bytes + at, first);
    memcpy((uint8_t *)bytes + first, r->in_bytes, n - first);
    r->read += n;
    *room_wanted = false;
    if (n == 0) return 0;
    atomic_store(&r->in->read, r->read);
    *room_wanted = atomic_load(&r->in->room_wanted) != 0 && atomic_exchange(&r->in->room_wanted, 0) != 0;
    return n;
}
