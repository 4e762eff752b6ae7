/* runtime/arena.c - the treap of free extents, the list of all, and the memory file under them. */
#include "runtime/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#define PUNCH_BYTES ((uint64_t)4 << 20) /* the least that is given back at once */

static struct {
    pthread_mutex_t lock;
    uint8_t *base;       /* NULL: no arena yet */
    uint64_t span_bytes; /* addresses of the arena */
    uint64_t top;        /* addresses from here on were never used */
    uint64_t idle;       /* warm bytes of free extents */
    lr_extent *root, *first, *last;
    lr_arena_table *table;
    int fd;
} arena = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

char lr_arena_nobody;

static uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }

void lr_arena_lock(void) { pthread_mutex_lock(&arena.lock); }
void lr_arena_unlock(void) { pthread_mutex_unlock(&arena.lock); }
bool lr_arena_is_open(void) { return arena.base != NULL; }
lr_extent *lr_arena_first(void) { return arena.first; }
uint64_t lr_arena_idle(void) { return arena.idle; }
uint8_t *lr_arena_at(uint64_t offset) { return arena.base + offset; }
int lr_arena_fd(void) { return arena.fd; }
uint64_t lr_arena_span(void) { return arena.span_bytes; }
lr_arena_table *lr_arena_table_of(void) { return arena.table; }

/* ---- the treap of free extents -------------------------------------------------------------------- */

static bool is_warm(const lr_extent *e) { return 2 * e->warm >= e->bytes; }

static void pull(lr_extent *e)
{
    e->max_any = e->bytes;
    e->max_warm = is_warm(e) ? e->bytes : 0;
    lr_extent *below[2] = {e->left, e->right};
    for (int i = 0; i < 2; i++) {
        if (!below[i]) continue;
        e->max_any = max_u64(e->max_any, below[i]->max_any);
        e->max_warm = max_u64(e->max_warm, below[i]->max_warm);
    }
}

static lr_extent *merge(lr_extent *low, lr_extent *high)
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

static void split(lr_extent *t, uint64_t offset, lr_extent **low, lr_extent **high)
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

static lr_extent *without(lr_extent *t, const lr_extent *e)
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

static void free_insert(lr_extent *e)
{
    lr_extent *low, *high;
    e->left = e->right = NULL;
    pull(e);
    split(arena.root, e->offset, &low, &high);
    arena.root = merge(merge(low, e), high);
    arena.idle += e->warm;
}

static void free_remove(lr_extent *e)
{
    arena.root = without(arena.root, e);
    arena.idle -= e->warm;
}

static uint64_t largest_below(const lr_extent *t, bool warm)
{
    if (!t) return 0;
    return warm ? t->max_warm : t->max_any;
}

/* The free extent with the lowest address that fits. */
static lr_extent *first_fit(uint64_t bytes, bool warm)
{
    lr_extent *t = arena.root;
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

static void list_insert(lr_extent *e, lr_extent *before)
{
    e->before = before;
    e->after = before ? before->after : arena.first;
    *(before ? &before->after : &arena.first) = e;
    *(e->after ? &e->after->before : &arena.last) = e;
}

static void list_remove(lr_extent *e)
{
    *(e->before ? &e->before->after : &arena.first) = e->after;
    *(e->after ? &e->after->before : &arena.last) = e->before;
}

/* Cuts e (in no tree) after bytes and returns the rest, or NULL when there is none, or no memory for its
 * record: then e keeps all. */
static lr_extent *cut(lr_extent *e, uint64_t bytes)
{
    if (e->bytes == bytes) return NULL;
    lr_extent *rest = malloc(sizeof *rest);
    if (!rest) return NULL;
    uint64_t warm = min_u64(e->warm, bytes);
    *rest = (lr_extent){.offset = e->offset + bytes, .bytes = e->bytes - bytes, .warm = e->warm - warm};
    e->bytes = bytes;
    e->warm = warm;
    list_insert(rest, e);
    return rest;
}

/* A free extent from addresses never used, together with what is free just below them. */
static lr_extent *extend(uint64_t bytes)
{
    lr_extent *e = arena.last && !arena.last->owner ? arena.last : NULL;
    uint64_t need = e ? bytes - e->bytes : bytes; /* a free extent that fits was looked for before */
    if (need > arena.span_bytes - arena.top) return NULL;
    if (e) {
        free_remove(e);
        e->bytes = bytes;
    } else {
        e = malloc(sizeof *e);
        if (!e) return NULL;
        *e = (lr_extent){.offset = arena.top, .bytes = bytes};
        list_insert(e, arena.last);
    }
    arena.top += need;
    return e;
}

lr_extent *lr_arena_take(uint64_t bytes)
{
    lr_extent *e = first_fit(bytes, true);
    if (!e) e = first_fit(bytes, false);
    if (!e) return extend(bytes);
    free_remove(e);
    lr_extent *rest = cut(e, bytes);
    if (rest) free_insert(rest);
    return e;
}

/* Makes e one with its free neighbours. */
void lr_arena_give(lr_extent *e, uint64_t warm)
{
    e->owner = NULL;
    e->warm = warm;
    lr_extent *low = e->before, *high = e->after;
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
static lr_extent *highest_warm(void)
{
    lr_extent *t = largest_below(arena.root, true) > 0 ? arena.root : NULL;
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

/* The upper part of the highest warm extent, in no tree: from where as much of it is warm as is idle in excess (what is
 * cold lies at its end, and to give that back again would help nobody). NULL: none. */
static lr_extent *excess(uint64_t allowed)
{
    lr_extent *e = arena.idle > allowed ? highest_warm() : NULL;
    if (!e) return NULL;
    uint64_t part = lr_arena_pages(max_u64(arena.idle - allowed, PUNCH_BYTES));
    free_remove(e);
    if (part >= e->warm) return e;
    lr_extent *high = cut(e, lr_arena_pages(e->warm - part));
    if (!high) return e;
    free_insert(e);
    return high;
}

/* The piece belongs to NOBODY while the lock is not held, so that nobody takes it or merges with it. */
void lr_arena_trim(uint64_t (*allowed)(void))
{
    lr_extent *e;
    while ((e = excess(allowed()))) {
        e->owner = LR_ARENA_NOBODY;
        void *at = arena.base + e->offset;
        uint64_t bytes = e->bytes, warm = e->warm;
        lr_arena_unlock();
        bool gone = madvise(at, bytes, MADV_REMOVE) == 0;
        lr_arena_lock();
        lr_arena_give(e, gone ? 0 : warm);
        if (!gone) return;
    }
}

/* ---- the memory file --------------------------------------------------------------------------------- */

/* A sparse memory file of that size which nobody can resize; -1 where the system refuses. */
static int memory_file(uint64_t bytes)
{
    struct rlimit limit; /* growing a file beyond this limit would be a deadly signal */
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < bytes) return -1;
    int fd = memfd_create("luarun-store", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return -1;
    if (fchmod(fd, 0600) != 0 || ftruncate(fd, (off_t)bytes) != 0) {
        close(fd);
        return -1;
    }
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return fd;
}

static bool table_init(void)
{
    arena.table = (lr_arena_table *)(void *)(arena.base + arena.span_bytes);
    lr_id segment;
    if (getrandom(&segment, sizeof segment, 0) != sizeof segment) {
        arena.table = NULL; /* nobody can tell it from others: it is not shared */
        return false;
    }
    arena.table->magic = LR_ARENA_MAGIC;
    arena.table->span_bytes = arena.span_bytes;
    arena.table->segment = segment;
    return true;
}

static bool arena_map(uint64_t span_bytes)
{
    uint64_t bytes = span_bytes + lr_arena_table_bytes(span_bytes);
    int fd = memory_file(bytes);
    int flags = MAP_SHARED | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0);
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (base == MAP_FAILED) {
        if (fd >= 0) close(fd);
        return false;
    }
    arena.base = base;
    arena.span_bytes = span_bytes;
    arena.fd = fd;
    if (fd >= 0) (void)table_init();
    return true;
}

/* Addresses cost nothing: with more of them than capacity, fragmentation does not make a store that has room
 * refuse, and what is spilled keeps its own. */
bool lr_arena_open(uint64_t capacity_bytes)
{
    if (arena.base) return true;
    for (uint64_t times = 8; times > 0; times /= 2)
        if (capacity_bytes < UINT64_MAX / 2 / times && arena_map(times * capacity_bytes)) return true;
    return false;
}

void lr_arena_close(void)
{
    if (!arena.base) return;
    uint64_t bytes = arena.span_bytes + lr_arena_table_bytes(arena.span_bytes);
    ASAN_UNPOISON_MEMORY_REGION(arena.base, bytes);
    munmap(arena.base, bytes);
    if (arena.fd >= 0) close(arena.fd);
    for (lr_extent *e = arena.first, *after; e; e = after) {
        after = e->after;
        free(e);
    }
    arena.base = NULL;
    arena.table = NULL;
    arena.fd = -1;
    arena.top = arena.idle = arena.span_bytes = 0;
    arena.root = arena.first = arena.last = NULL;
}
