/* runtime/store.c - buffers, the arena they lie in, and the extents it is cut into.
 *
 * The arena is twice the capacity in addresses (which cost nothing), so that fragmentation does not
 * make a store that has room refuse. All extents form a list in address order, for coalescing; the
 * free ones also a treap by address in which each node knows the largest free extent below it, so
 * that the lowest that fits is found in O(log n). Extents that still have pages (warm) are taken
 * first, then those given back, then fresh addresses. Records lie outside the arena: a kernel that
 * writes past its tensor damages data, not the store.
 * Small buffers never take the lock: their totals are striped counters. */
#define _GNU_SOURCE
#include "runtime/store.h"

#include "sched/id.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#define PAGE_BYTES ((uint64_t)4096)
#define PUNCH_BYTES ((uint64_t)4 << 20) /* the least that is given back at once */
#define STRIPES 16
#define SITES_MAX 4096
#define LARGEST 3

typedef struct extent {
    uint64_t offset, bytes;        /* multiples of a page */
    uint64_t warm;                 /* of a free extent's bytes, how many are backed, from its start */
    lr_buffer *owner;              /* NULL: free */
    struct extent *before, *after; /* all extents, by address */
    struct extent *left, *right;   /* free extents, a treap by offset */
    uint64_t max_any, max_warm;    /* the largest, and the largest warm one, in this subtree */
} extent;

typedef struct large_buffer {
    lr_buffer base;
    extent *place;
} large_buffer;

typedef struct stripe {
    _Alignas(64) _Atomic int64_t bytes; /* not yet in heap_used */
    _Atomic int64_t count;
} stripe;

static struct {
    _Atomic uint64_t capacity; /* 0: not yet known */
    _Atomic int64_t heap_used; /* small buffers, but for what the stripes hold */
    _Atomic uint64_t arena_used;
    _Atomic uint64_t peak;
    stripe stripes[STRIPES];
    pthread_mutex_t lock; /* everything below */
    uint8_t *base;        /* NULL: no arena yet */
    uint64_t span_bytes;  /* addresses of the arena */
    uint64_t top;         /* addresses from here on were never used */
    uint64_t idle;        /* warm bytes of free extents */
    uint64_t arena_count;
    extent *root, *first, *last;
    int fd;
    const char *sites[2 * SITES_MAX]; /* open addressing */
    unsigned site_count;
} store = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static extent punching_; /* owner of extents whose pages are being given back: see trim() */
#define PUNCHING ((lr_buffer *)(void *)&punching_)

static uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }

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

static uint64_t whole_pages(uint64_t bytes)
{
    return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

uint64_t lr_store_capacity(void)
{
    uint64_t capacity = atomic_load_explicit(&store.capacity, memory_order_relaxed);
    if (__builtin_expect(capacity != 0, 1)) return capacity;
    uint64_t wanted = whole_pages(default_capacity());
    if (atomic_compare_exchange_strong(&store.capacity, &capacity, wanted)) return wanted;
    return capacity;
}

bool lr_store_configure(uint64_t capacity_bytes)
{
    capacity_bytes = min_u64(capacity_bytes, UINT64_MAX / 4);
    pthread_mutex_lock(&store.lock);
    bool early = !store.base;
    if (early) atomic_store(&store.capacity, whole_pages(capacity_bytes));
    pthread_mutex_unlock(&store.lock);
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
    return atomic_load_explicit(&store.arena_used, memory_order_relaxed) + (uint64_t)(heap > 0 ? heap : 0);
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
    out->capacity_bytes = lr_store_capacity();
    pthread_mutex_lock(&store.lock);
    out->used_bytes = heap_total() + atomic_load(&store.arena_used);
    note_peak(out->used_bytes);
    out->peak_bytes = atomic_load(&store.peak);
    out->idle_bytes = store.idle;
    out->arena_count = store.arena_count;
    out->count = heap_count() + store.arena_count;
    pthread_mutex_unlock(&store.lock);
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
static int find_largest(const extent *largest[LARGEST])
{
    int count = 0;
    for (const extent *e = store.first; e; e = e->after) {
        if (!e->owner || e->owner == PUNCHING) continue;
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

size_t lr_store_largest(lr_store_row *rows, size_t limit)
{
    size_t count = 0;
    pthread_mutex_lock(&store.lock);
    for (const extent *e = store.first; e; e = e->after) {
        if (!e->owner || e->owner == PUNCHING) continue;
        size_t at = count;
        while (at > 0 && rows[at - 1].size_bytes < e->owner->size_bytes)
            at--;
        if (at == limit) continue;
        if (count < limit) count++;
        memmove(&rows[at + 1], &rows[at], sizeof rows[0] * (count - 1 - at));
        rows[at] = (lr_store_row){e->owner->size_bytes, atomic_load(&e->owner->base.refs), e->owner->site};
    }
    pthread_mutex_unlock(&store.lock);
    return count;
}

/* Appends what holds the store: ", largest: 20.0 MB (tensor from kernel go.playout), ...". */
static void say_holders(FILE *out)
{
    const extent *largest[LARGEST];
    int count = find_largest(largest);
    char size[32];
    for (int i = 0; i < count; i++) {
        lr_store_format(largest[i]->owner->size_bytes, size, sizeof size);
        fprintf(out, "%s%s (%s)", i == 0 ? "; largest: " : ", ", size, largest[i]->owner->site);
    }
    if (store.arena_count > (uint64_t)count) fprintf(out, ", ...");
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
            (unsigned long long)(heap_count() + store.arena_count));
    say_holders(out);
    fclose(out);
    message[message_bytes - 1] = 0;
}

static void say(char *message, size_t message_bytes, const char *text)
{
    if (message && message_bytes > 0) snprintf(message, message_bytes, "%s", text);
}

/* ---- the treap of free extents -------------------------------------------------------------------- */

static bool is_warm(const extent *e) { return 2 * e->warm >= e->bytes; }

static void pull(extent *e)
{
    e->max_any = e->bytes;
    e->max_warm = is_warm(e) ? e->bytes : 0;
    extent *below[2] = {e->left, e->right};
    for (int i = 0; i < 2; i++) {
        if (!below[i]) continue;
        e->max_any = max_u64(e->max_any, below[i]->max_any);
        e->max_warm = max_u64(e->max_warm, below[i]->max_warm);
    }
}

static extent *merge(extent *low, extent *high)
{
    if (!low) return high;
    if (!high) return low;
    if (lr_mix64(low->offset) > lr_mix64(high->offset)) {
        low->right = merge(low->right, high);
        pull(low);
        return low;
    }
    high->left = merge(low, high->left);
    pull(high);
    return high;
}

static void split(extent *t, uint64_t offset, extent **low, extent **high)
{
    if (!t) {
        *low = *high = NULL;
    } else if (t->offset < offset) {
        split(t->right, offset, &t->right, high);
        *low = t;
        pull(t);
    } else {
        split(t->left, offset, low, &t->left);
        *high = t;
        pull(t);
    }
}

static extent *without(extent *t, const extent *e)
{
    LR_ASSERT(t);
    if (t == e) return merge(t->left, t->right);
    if (e->offset < t->offset)
        t->left = without(t->left, e);
    else
        t->right = without(t->right, e);
    pull(t);
    return t;
}

static void free_insert(extent *e)
{
    extent *low, *high;
    e->left = e->right = NULL;
    pull(e);
    split(store.root, e->offset, &low, &high);
    store.root = merge(merge(low, e), high);
    store.idle += e->warm;
}

static void free_remove(extent *e)
{
    store.root = without(store.root, e);
    store.idle -= e->warm;
}

static uint64_t largest_below(const extent *t, bool warm)
{
    if (!t) return 0;
    return warm ? t->max_warm : t->max_any;
}

/* The free extent with the lowest address that fits. */
static extent *first_fit(uint64_t bytes, bool warm)
{
    extent *t = store.root;
    if (largest_below(t, warm) < bytes) return NULL;
    for (;;) {
        if (largest_below(t->left, warm) >= bytes)
            t = t->left;
        else if (t->bytes >= bytes && (!warm || is_warm(t)))
            return t;
        else
            t = t->right;
    }
}

/* ---- extents --------------------------------------------------------------------------------------- */

static void list_insert(extent *e, extent *before)
{
    e->before = before;
    e->after = before ? before->after : store.first;
    *(before ? &before->after : &store.first) = e;
    *(e->after ? &e->after->before : &store.last) = e;
}

static void list_remove(extent *e)
{
    *(e->before ? &e->before->after : &store.first) = e->after;
    *(e->after ? &e->after->before : &store.last) = e->before;
}

/* Cuts e (in no tree) after bytes and returns the rest, or NULL when there is none, or no memory for its
 * record: then e keeps all. */
static extent *cut(extent *e, uint64_t bytes)
{
    if (e->bytes == bytes) return NULL;
    extent *rest = malloc(sizeof *rest);
    if (!rest) return NULL;
    uint64_t warm = min_u64(e->warm, bytes);
    *rest = (extent){.offset = e->offset + bytes, .bytes = e->bytes - bytes, .warm = e->warm - warm};
    e->bytes = bytes;
    e->warm = warm;
    list_insert(rest, e);
    return rest;
}

/* A free extent from addresses never used, together with what is free just below them. */
static extent *extend(uint64_t bytes)
{
    extent *e = store.last && !store.last->owner ? store.last : NULL;
    uint64_t need = e ? bytes - e->bytes : bytes; /* a free extent that fits was looked for before */
    if (need > store.span_bytes - store.top) return NULL;
    if (e) {
        free_remove(e);
        e->bytes = bytes;
    } else {
        e = malloc(sizeof *e);
        if (!e) return NULL;
        *e = (extent){.offset = store.top, .bytes = bytes};
        list_insert(e, store.last);
    }
    store.top += need;
    return e;
}

/* An extent of at least bytes, in no tree. NULL: no such piece. */
static extent *take(uint64_t bytes)
{
    extent *e = first_fit(bytes, true);
    if (!e) e = first_fit(bytes, false);
    if (!e) return extend(bytes);
    free_remove(e);
    extent *rest = cut(e, bytes);
    if (rest) free_insert(rest);
    return e;
}

/* Makes e free and one with its free neighbours. */
static void give(extent *e, uint64_t warm)
{
    e->owner = NULL;
    e->warm = warm;
    extent *low = e->before, *high = e->after;
    if (low && !low->owner) {
        free_remove(low);
        e->offset = low->offset;
        e->bytes += low->bytes;
        e->warm += low->warm;
        list_remove(low);
        free(low);
    }
    if (high && !high->owner) {
        free_remove(high);
        e->bytes += high->bytes;
        e->warm += high->warm;
        list_remove(high);
        free(high);
    }
    free_insert(e);
}

/* The warm free extent with the highest address. */
static extent *highest_warm(void)
{
    extent *t = largest_below(store.root, true) > 0 ? store.root : NULL;
    while (t) {
        if (largest_below(t->right, true) > 0)
            t = t->right;
        else if (is_warm(t))
            return t;
        else
            t = t->left;
    }
    return NULL;
}

/* The upper part of the highest warm extent: as much as is idle in excess, in no tree. NULL: none. */
static extent *excess(void)
{
    uint64_t capacity = lr_store_capacity();
    uint64_t room = capacity - min_u64(capacity, atomic_load(&store.arena_used));
    uint64_t allowed = min_u64(LR_STORE_IDLE_BYTES, room);
    extent *e = store.idle > allowed ? highest_warm() : NULL;
    if (!e) return NULL;
    uint64_t part = whole_pages(max_u64(store.idle - allowed, PUNCH_BYTES));
    free_remove(e);
    if (part >= e->bytes) return e;
    extent *high = cut(e, e->bytes - part);
    if (!high) return e;
    free_insert(e);
    return high;
}

/* Gives pages back while more are idle than may be. The lock is held, and let go of while the system
 * works: the piece belongs to PUNCHING meanwhile, so that nobody takes it or merges with it. */
static void trim(void)
{
    extent *e;
    while ((e = excess())) {
        e->owner = PUNCHING;
        void *at = store.base + e->offset;
        uint64_t bytes = e->bytes, warm = e->warm;
        pthread_mutex_unlock(&store.lock);
        bool gone = madvise(at, bytes, MADV_REMOVE) == 0;
        pthread_mutex_lock(&store.lock);
        give(e, gone ? 0 : warm);
        if (!gone) return;
    }
}

/* ---- the arena -------------------------------------------------------------------------------------- */

/* A sparse memory file of that size which nobody can resize; -1 where the system refuses. */
static int memory_file(uint64_t bytes)
{
    struct rlimit limit; /* growing a file beyond this limit would be a deadly signal */
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < bytes) return -1;
    int fd = memfd_create("luarun-store", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return -1;
    if (ftruncate(fd, (off_t)bytes) != 0) {
        close(fd);
        return -1;
    }
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return fd;
}

static bool arena_map(uint64_t bytes)
{
    int fd = memory_file(bytes);
    int flags = MAP_SHARED | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0);
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (base == MAP_FAILED) {
        if (fd >= 0) close(fd);
        return false;
    }
    store.base = base;
    store.span_bytes = bytes;
    store.fd = fd;
    return true;
}

static bool arena_open(void)
{
    if (store.base) return true;
    uint64_t capacity = lr_store_capacity();
    return arena_map(2 * capacity) || arena_map(capacity);
}

uint64_t lr_store_close(void)
{
    pthread_mutex_lock(&store.lock);
    uint64_t live = store.arena_count;
    if (store.base && live == 0) {
        ASAN_UNPOISON_MEMORY_REGION(store.base, store.span_bytes);
        munmap(store.base, store.span_bytes);
        if (store.fd >= 0) close(store.fd);
        for (extent *e = store.first, *after; e; e = after) {
            after = e->after;
            free(e);
        }
        store.base = NULL;
        store.fd = -1;
        store.top = store.idle = store.span_bytes = 0;
        store.root = store.first = store.last = NULL;
    }
    pthread_mutex_unlock(&store.lock);
    return live;
}

/* ---- buffers ---------------------------------------------------------------------------------------- */

static void buffer_init(lr_buffer *b, uint64_t size_bytes, void *data, const char *site, bool in_arena)
{
    lr_object_init(&b->base, LR_OBJECT_BUFFER);
    atomic_init(&b->sealed, false);
    b->in_arena = in_arena;
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
        pthread_mutex_lock(&store.lock);
        say_full(size_bytes, message, message_bytes);
        pthread_mutex_unlock(&store.lock);
        return NULL;
    }
    lr_buffer *b = malloc(sizeof *b + 63 + size_bytes);
    if (!b) {
        say(message, message_bytes, "the system has no memory for an object");
        return NULL;
    }
    uintptr_t data = ((uintptr_t)(b + 1) + 63) & ~(uintptr_t)63;
    buffer_init(b, size_bytes, (void *)data, site, false);
    count_small((int64_t)size_bytes, 1, capacity);
    return b;
}

/* The extent for a large buffer, its owner set; NULL with the message written. The lock is held. */
static extent *large_place(large_buffer *b, uint64_t size_bytes, char *message, size_t message_bytes)
{
    uint64_t bytes = whole_pages(size_bytes), capacity = lr_store_capacity();
    if (!arena_open()) {
        say(message, message_bytes, "the object store cannot be mapped: the system gives no addresses for it");
        return NULL;
    }
    uint64_t used = heap_total() + atomic_load(&store.arena_used);
    extent *e = used + bytes <= capacity ? take(bytes) : NULL;
    if (!e) {
        say_full(size_bytes, message, message_bytes);
        return NULL;
    }
    e->owner = &b->base;
    atomic_fetch_add(&store.arena_used, e->bytes);
    note_peak(used + e->bytes);
    store.arena_count++;
    return e;
}

static lr_buffer *large_new(uint64_t size_bytes, const char *site, char *message, size_t message_bytes)
{
    large_buffer *b = malloc(sizeof *b);
    if (!b) {
        say(message, message_bytes, "the system has no memory for an object");
        return NULL;
    }
    buffer_init(&b->base, size_bytes, NULL, site, true);
    pthread_mutex_lock(&store.lock);
    extent *e = large_place(b, size_bytes, message, message_bytes);
    if (e) {
        b->place = e;
        b->base.data = store.base + e->offset;
        ASAN_UNPOISON_MEMORY_REGION(b->base.data, e->bytes);
        trim();
    }
    pthread_mutex_unlock(&store.lock);
    if (e) return &b->base;
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

static void large_free(large_buffer *b)
{
    pthread_mutex_lock(&store.lock);
    extent *e = b->place;
    ASAN_POISON_MEMORY_REGION(b->base.data, e->bytes);
    atomic_fetch_sub(&store.arena_used, e->bytes);
    store.arena_count--;
    give(e, e->bytes);
    trim();
    pthread_mutex_unlock(&store.lock);
    free(b);
}

void lr_buffer_destroy(lr_object *o)
{
    lr_buffer *b = LR_CONTAINER(o, lr_buffer, base);
    if (b->in_arena) {
        large_free(LR_CONTAINER(b, large_buffer, base));
        return;
    }
    count_small(-(int64_t)b->size_bytes, -1, lr_store_capacity());
    free(b);
}

/* ---- sites -------------------------------------------------------------------------------------------- */

const char *lr_store_site(const char *text, const char *fallback)
{
    size_t length = strlen(text);
    pthread_mutex_lock(&store.lock);
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
    pthread_mutex_unlock(&store.lock);
    return found;
}
