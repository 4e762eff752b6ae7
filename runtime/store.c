/* runtime/store.c - buffers, the capacity they count against, and what is said when there is no room.
 *
 * Large buffers lie in the arena, which is twice the capacity and more in addresses, so that fragmentation does not
 * make a store that has room refuse. Small buffers never take a lock: their totals are striped counters. */
#define _GNU_SOURCE
#include "runtime/store.h"

#include "runtime/large.h"
#include "runtime/shared.h"
#include "runtime/spill.h"
#include "sched/id.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#define STRIPES 16
#define SITES_MAX 4096
#define LARGEST 3

typedef struct stripe {
    _Alignas(64) _Atomic int64_t bytes; /* not yet in heap_used */
    _Atomic int64_t count;
} stripe;

static struct {
    _Atomic uint64_t capacity; /* 0: not yet known */
    _Atomic int64_t heap_used; /* small buffers, but for what the stripes hold */
    _Atomic uint64_t arena_used; /* without what is spilled */
    _Atomic uint64_t view_bytes;
    _Atomic uint64_t peak;
    stripe stripes[STRIPES];
    /* under the arena's lock */
    uint64_t arena_count;
    uint64_t spilled_bytes, spilled_count, view_count;
    /* under its own */
    pthread_mutex_t sites_lock;
    const char *sites[2 * SITES_MAX]; /* open addressing */
    unsigned site_count;
} store = {.sites_lock = PTHREAD_MUTEX_INITIALIZER};

_Atomic uint32_t lr_store_time;

static uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* ---- capacity ----------------------------------------------------------------------------------- */

/* The number in a control-group file; UINT64_MAX when there is none or it says "max". */
static uint64_t read_limit(const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f) return UINT64_MAX;
    unsigned long long limit = 0;
    bool found = fscanf(f, "%llu", &limit) == 1 && limit > 0;
    fclose(f);
    return found ? limit : UINT64_MAX;
}

static uint64_t default_capacity(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t memory = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : (uint64_t)1 << 30;
    memory = min_u64(memory, read_limit("/sys/fs/cgroup/memory.max"));
    memory = min_u64(memory, read_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    return memory / 10 * 3;
}

uint64_t lr_store_capacity(void)
{
    uint64_t capacity = atomic_load_explicit(&store.capacity, memory_order_relaxed);
    if (__builtin_expect(capacity != 0, 1)) return capacity;
    uint64_t wanted = lr_arena_pages(default_capacity());
    if (atomic_compare_exchange_strong(&store.capacity, &capacity, wanted)) return wanted;
    return capacity;
}

bool lr_store_configure(uint64_t capacity_bytes)
{
    capacity_bytes = min_u64(capacity_bytes, UINT64_MAX / 4);
    lr_arena_lock();
    bool early = !lr_arena_is_open();
    if (early) atomic_store(&store.capacity, lr_arena_pages(capacity_bytes));
    lr_arena_unlock();
    return early;
}

/* ---- totals ------------------------------------------------------------------------------------- */

static stripe *my_stripe(void)
{
    static _Atomic unsigned next;
    static _Thread_local unsigned mine;
    if (__builtin_expect(mine == 0, 0)) mine = atomic_fetch_add(&next, 1) % STRIPES + 1;
    return &store.stripes[mine - 1];
}

static uint64_t heap_total(void)
{
    int64_t total = atomic_load(&store.heap_used);
    for (int i = 0; i < STRIPES; i++)
        total += atomic_load_explicit(&store.stripes[i].bytes, memory_order_relaxed);
    return total > 0 ? (uint64_t)total : 0;
}

uint64_t lr_store_used(void)
{
    int64_t heap = atomic_load_explicit(&store.heap_used, memory_order_relaxed);
    return atomic_load_explicit(&store.arena_used, memory_order_relaxed) + (uint64_t)(heap > 0 ? heap : 0) +
           atomic_load_explicit(&store.view_bytes, memory_order_relaxed);
}

static uint64_t heap_count(void)
{
    int64_t total = 0;
    for (int i = 0; i < STRIPES; i++)
        total += atomic_load_explicit(&store.stripes[i].count, memory_order_relaxed);
    return total > 0 ? (uint64_t)total : 0;
}

static void note_peak(uint64_t used)
{
    uint64_t peak = atomic_load_explicit(&store.peak, memory_order_relaxed);
    while (used > peak && !atomic_compare_exchange_weak(&store.peak, &peak, used)) {
    }
}

/* Counts a small buffer that came (+) or went (-); a stripe that has gathered much tells the rest. */
static void count_small(int64_t bytes, int64_t count, uint64_t capacity)
{
    stripe *s = my_stripe();
    atomic_fetch_add_explicit(&s->count, count, memory_order_relaxed);
    int64_t held = atomic_fetch_add_explicit(&s->bytes, bytes, memory_order_relaxed) + bytes;
    int64_t batch = (int64_t)min_u64(64 * 1024, capacity / 256);
    if (held <= batch && held >= -batch) return;
    atomic_fetch_sub_explicit(&s->bytes, held, memory_order_relaxed);
    int64_t heap = atomic_fetch_add_explicit(&store.heap_used, held, memory_order_relaxed) + held;
    uint64_t arena = atomic_load_explicit(&store.arena_used, memory_order_relaxed);
    note_peak(arena + (uint64_t)(heap > 0 ? heap : 0));
}

void lr_store_stats(struct lr_store_stats *out)
{
    lr_shared_sweep();
    lr_shared_count(&out->limbo_count, &out->limbo_bytes);
    out->capacity_bytes = lr_store_capacity();
    lr_arena_lock();
    out->used_bytes = heap_total() + atomic_load(&store.arena_used);
    note_peak(out->used_bytes);
    out->peak_bytes = atomic_load(&store.peak);
    out->idle_bytes = lr_arena_idle();
    out->arena_count = store.arena_count;
    out->count = heap_count() + store.arena_count;
    out->spilled_bytes = store.spilled_bytes;
    out->spilled_count = store.spilled_count;
    out->view_bytes = atomic_load(&store.view_bytes);
    out->view_count = store.view_count;
    lr_arena_unlock();
}

/* ---- messages ----------------------------------------------------------------------------------- */

static const struct {
    double bytes;
    const char *name;
    int digits;
} units[] = {{1e9, "GB", 1}, {1e6, "MB", 1}, {1e3, "kB", 1}, {1, "bytes", 0}};

static size_t unit_of(uint64_t bytes)
{
    size_t u = 0;
    while (u + 1 < LR_COUNT(units) && (double)bytes < units[u].bytes)
        u++;
    return u;
}

void lr_store_format(uint64_t bytes, char *text, size_t text_bytes)
{
    size_t u = unit_of(bytes);
    snprintf(text, text_bytes, "%.*f %s", units[u].digits, (double)bytes / units[u].bytes, units[u].name);
}

static void say_too_large(uint64_t asked, char *message, size_t message_bytes)
{
    char asked_text[32], capacity[32];
    lr_store_format(asked, asked_text, sizeof asked_text);
    lr_store_format(lr_store_capacity(), capacity, sizeof capacity);
    snprintf(message, message_bytes,
             "%s asked: this can never fit the object store, whose capacity is %s (--store-bytes)", asked_text,
             capacity);
}

/* The largest live extents, largest first; returns how many. The lock is held. */
static int find_largest(const lr_extent *largest[LARGEST])
{
    int count = 0;
    for (const lr_extent *e = lr_arena_first(); e; e = e->after) {
        if (!e->owner || e->owner == LR_ARENA_NOBODY || ((const lr_large *)e->owner)->spilled) continue;
        int at = count;
        while (at > 0 && largest[at - 1]->bytes < e->bytes)
            at--;
        if (at == LARGEST) continue;
        if (count < LARGEST) count++;
        memmove(&largest[at + 1], &largest[at], sizeof largest[0] * (size_t)(count - 1 - at));
        largest[at] = e;
    }
    return count;
}

/* Appends what holds the store: ", largest: 20.0 MB (tensor from kernel go.playout), ...". */
static void say_holders(FILE *out)
{
    const lr_extent *largest[LARGEST];
    int count = find_largest(largest);
    char size[32];
    for (int i = 0; i < count; i++) {
        const lr_large *owner = largest[i]->owner;
        lr_store_format(owner->shared.base.size_bytes, size, sizeof size);
        fprintf(out, "%s%s (%s%s)", i == 0 ? "; largest: " : ", ", size, owner->shared.base.site,
                owner->shared.in_limbo ? ", held by another process" : "");
    }
    if (store.arena_count - store.spilled_count > (uint64_t)count) fprintf(out, ", ...");
    uint64_t small = heap_count();
    if (small == 0) return;
    lr_store_format(heap_total(), size, sizeof size);
    fprintf(out, "; %llu small ones hold %s", (unsigned long long)small, size);
}

/* The lock is held. */
static void say_full(uint64_t asked, char *message, size_t message_bytes)
{
    if (!message || message_bytes == 0) return;
    message[0] = 0;
    FILE *out = fmemopen(message, message_bytes, "w");
    if (!out) return;
    uint64_t capacity = lr_store_capacity(), used = heap_total() + atomic_load(&store.arena_used);
    size_t u = unit_of(capacity);
    char text[32];
    lr_store_format(asked, text, sizeof text);
    fprintf(out, "object store full: %s asked, %.*f of %.*f %s in use by %llu objects", text, units[u].digits,
            (double)used / units[u].bytes, units[u].digits, (double)capacity / units[u].bytes, units[u].name,
            (unsigned long long)(heap_count() + store.arena_count - store.spilled_count));
    say_holders(out);
    lr_spill_say_full(out);
    fclose(out);
    message[message_bytes - 1] = 0;
}

static void say(char *message, size_t message_bytes, const char *text)
{
    if (message && message_bytes > 0) snprintf(message, message_bytes, "%s", text);
}

uint64_t lr_store_close(void)
{
    lr_shared_sweep();
    lr_arena_lock();
    uint64_t live = store.arena_count;
    if (live == 0) {
        lr_spill_close();
        lr_arena_close();
    }
    lr_arena_unlock();
    return live;
}

/* ---- buffers ---------------------------------------------------------------------------------------- */

void lr_buffer_init(lr_buffer *b, uint64_t size_bytes, void *data, const char *site)
{
    lr_object_init(&b->base, LR_OBJECT_BUFFER);
    atomic_init(&b->sealed, false);
    b->in_arena = b->is_view = b->is_absent = false;
    atomic_init(&b->used_at, atomic_load_explicit(&lr_store_time, memory_order_relaxed));
    b->size_bytes = size_bytes;
    b->data = data;
    b->site = site ? site : "an object";
}

/* The estimate may lag by what the stripes hold: exact only where it matters. */
static bool small_fits(uint64_t size_bytes, uint64_t capacity)
{
    int64_t heap = atomic_load_explicit(&store.heap_used, memory_order_relaxed);
    uint64_t used = atomic_load_explicit(&store.arena_used, memory_order_relaxed) + (uint64_t)(heap > 0 ? heap : 0);
    if (__builtin_expect(used + size_bytes <= capacity, 1)) return true;
    return heap_total() + atomic_load(&store.arena_used) + size_bytes <= capacity;
}

/* Record and data in one block, the data at the first cache line behind the record. */
static lr_buffer *small_new(uint64_t size_bytes, const char *site, char *message, size_t message_bytes)
{
    uint64_t capacity = lr_store_capacity();
    if (!small_fits(size_bytes, capacity)) {
        lr_arena_lock();
        say_full(size_bytes, message, message_bytes);
        lr_arena_unlock();
        return NULL;
    }
    lr_buffer *b = malloc(sizeof *b + 63 + size_bytes);
    if (!b) {
        say(message, message_bytes, "the system has no memory for an object");
        return NULL;
    }
    uintptr_t data = ((uintptr_t)(b + 1) + 63) & ~(uintptr_t)63;
    lr_buffer_init(b, size_bytes, (void *)data, site);
    count_small((int64_t)size_bytes, 1, capacity);
    return b;
}

/* The extent for a large buffer, its owner set; NULL with the message written. The arena's lock is held. */
static lr_extent *large_place(lr_large *b, uint64_t size_bytes, char *message, size_t message_bytes)
{
    uint64_t bytes = lr_arena_pages(size_bytes), capacity = lr_store_capacity();
    if (!lr_arena_open(capacity)) {
        say(message, message_bytes, "the object store cannot be mapped: the system gives no addresses for it");
        return NULL;
    }
    uint64_t used = heap_total() + atomic_load(&store.arena_used);
    lr_extent *e = lr_store_fits(bytes) ? lr_arena_take(bytes) : NULL;
    if (!e) {
        say_full(size_bytes, message, message_bytes);
        return NULL;
    }
    e->owner = b;
    atomic_fetch_add(&store.arena_used, e->bytes);
    note_peak(used + e->bytes);
    store.arena_count++;
    return e;
}

/* How much may lie idle. */
static uint64_t idle_allowed(void)
{
    uint64_t capacity = lr_store_capacity();
    return min_u64(LR_STORE_IDLE_BYTES, capacity - min_u64(capacity, atomic_load(&store.arena_used)));
}

static lr_buffer *large_new(uint64_t size_bytes, const char *site, char *message, size_t message_bytes)
{
    lr_large *b = calloc(1, sizeof *b);
    if (!b) {
        say(message, message_bytes, "the system has no memory for an object");
        return NULL;
    }
    lr_buffer *base = &b->shared.base;
    atomic_fetch_add_explicit(&lr_store_time, 1, memory_order_relaxed);
    lr_buffer_init(base, size_bytes, NULL, site);
    base->in_arena = true;
    if (lr_shared_has_limbo()) lr_shared_sweep_some(); /* memory used before is warm */
    lr_arena_lock();
    lr_extent *e = large_place(b, size_bytes, message, message_bytes);
    if (e) {
        b->place = e;
        base->data = lr_arena_at(e->offset);
        ASAN_UNPOISON_MEMORY_REGION(base->data, e->bytes);
        lr_arena_trim(idle_allowed);
    }
    lr_arena_unlock();
    if (e) return base;
    free(b);
    return NULL;
}

lr_buffer *lr_buffer_new(uint64_t size_bytes, const char *site, char *message, size_t message_bytes)
{
    if (size_bytes < LR_STORE_SMALL_BYTES) return small_new(size_bytes, site, message, message_bytes);
    if (size_bytes > lr_store_capacity()) {
        if (message && message_bytes > 0) say_too_large(size_bytes, message, message_bytes);
        return NULL;
    }
    return large_new(size_bytes, site, message, message_bytes);
}

/* A page that is written by the system needs neither a fault nor zeros. */
void lr_buffer_write(lr_buffer *b, uint64_t offset, const void *bytes, uint64_t size_bytes)
{
    const lr_extent *e = b->in_arena ? lr_large_of(b)->place : NULL;
    uint64_t done = 0;
    while (e && lr_arena_fd() >= 0 && offset >= e->warm && done < size_bytes) {
        ssize_t n = pwrite(lr_arena_fd(), (const uint8_t *)bytes + done, (size_t)(size_bytes - done),
                           (off_t)(e->offset + offset + done));
        if (n <= 0) break;
        done += (uint64_t)n;
    }
    memcpy((uint8_t *)b->data + offset + done, (const uint8_t *)bytes + done, (size_t)(size_bytes - done));
}

void lr_large_free(lr_large *b)
{
    lr_extent *e = b->place;
    bool was_spilled = b->spilled; /* nobody else has it any more */
    bool usable = !was_spilled || lr_spill_forget(e);
    lr_arena_lock();
    ASAN_POISON_MEMORY_REGION(b->shared.base.data, e->bytes);
    store.arena_count--;
    if (was_spilled) {
        store.spilled_bytes -= e->bytes;
        store.spilled_count--;
    } else {
        atomic_fetch_sub(&store.arena_used, e->bytes);
    }
    if (usable)
        lr_arena_give(e, was_spilled ? 0 : e->bytes);
    else
        e->owner = LR_ARENA_NOBODY; /* these addresses are lost */
    lr_arena_trim(idle_allowed);
    lr_arena_unlock();
    free(b);
}

void lr_store_count_spilled(int64_t bytes)
{
    atomic_fetch_sub(&store.arena_used, (uint64_t)bytes);
    store.spilled_bytes += (uint64_t)bytes;
    store.spilled_count += bytes > 0 ? 1 : (uint64_t)-1;
}

bool lr_store_fits(uint64_t bytes)
{
    return heap_total() + atomic_load(&store.arena_used) + bytes <= lr_store_capacity();
}

void lr_store_count_view(int64_t bytes)
{
    lr_arena_lock();
    atomic_fetch_add(&store.view_bytes, (uint64_t)bytes);
    store.view_count += bytes > 0 ? 1 : (uint64_t)-1;
    lr_arena_unlock();
}

void lr_buffer_destroy(lr_object *o)
{
    lr_buffer *b = LR_CONTAINER(o, lr_buffer, base);
    if (b->is_absent) {
        ((lr_absent *)(void *)b)->free(b);
        return;
    }
    if (b->is_view) {
        lr_view_free(b);
        return;
    }
    if (b->in_arena) {
        if (lr_shared_let_go(b)) lr_large_free(lr_large_of(b));
        return;
    }
    count_small(-(int64_t)b->size_bytes, -1, lr_store_capacity());
    free(b);
}

/* ---- sites -------------------------------------------------------------------------------------------- */

const char *lr_store_site(const char *text, const char *fallback)
{
    size_t length = strlen(text);
    pthread_mutex_lock(&store.sites_lock);
    const char *found = fallback;
    for (uint64_t at = lr_id_from_bytes(text, length).lo;; at++) {
        const char **slot = &store.sites[at % LR_COUNT(store.sites)];
        if (!*slot && store.site_count < SITES_MAX) {
            *slot = strdup(text);
            if (*slot) store.site_count++;
        }
        if (!*slot) break;
        found = *slot;
        if (strcmp(found, text) == 0) break;
        found = fallback;
    }
    pthread_mutex_unlock(&store.sites_lock);
    return found;
}
