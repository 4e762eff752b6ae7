#include "runtime/slab.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define PLAIN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLAIN 1
#endif
#endif

#ifdef PLAIN

#define HEAD_BYTES 64

typedef struct head { /* before each record */
    struct head *next, *before;
} head;

static struct {
    pthread_mutex_t lock;
    head *first;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

void *lr_slab_alloc(void)
{
    head *h = aligned_alloc(64, HEAD_BYTES + LR_SLAB_BYTES);
    if (!h) return NULL;
    void *record = (char *)h + HEAD_BYTES;
    memset((char *)record + LR_SLAB_MARK, 0, LR_SLAB_MARK_BYTES);
    pthread_mutex_lock(&all.lock);
    h->before = NULL;
    h->next = all.first;
    if (all.first) all.first->before = h;
    all.first = h;
    pthread_mutex_unlock(&all.lock);
    return record;
}

void lr_slab_free(void *record)
{
    head *h = (head *)(void *)((char *)record - HEAD_BYTES);
    pthread_mutex_lock(&all.lock);
    if (h->before) h->before->next = h->next;
    else all.first = h->next;
    if (h->next) h->next->before = h->before;
    pthread_mutex_unlock(&all.lock);
    free(h);
}

void lr_slab_thread_end(void) {}

void lr_slab_each(void (*look)(void *user, const void *record), void *user)
{
    pthread_mutex_lock(&all.lock);
    for (head *h = all.first; h; h = h->next)
        look(user, (char *)h + HEAD_BYTES);
    pthread_mutex_unlock(&all.lock);
}

#else

#define BATCH 128              /* records that travel together */
#define CHUNK_BYTES (16u * BATCH * LR_SLAB_BYTES) /* what is asked of the system at once */

typedef struct record {
    struct record *next;  /* in a list */
    struct record *batch; /* first of a batch: the next batch in the depot */
    uint64_t mark[2];     /* zero */
} record;

_Static_assert(offsetof(record, mark) == LR_SLAB_MARK, "the mark is where its users think");

typedef struct chunk {
    struct chunk *older;
    char *records;
} chunk;

static struct {
    pthread_mutex_t lock;
    record *batches;
    char *fresh, *fresh_end; /* the chunk that is being cut up: the newest */
    chunk *newest;           /* all of them; what stands in the list never changes */
} depot = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Two lists a thread: when the first is full it becomes the spare, and a full spare goes to the depot. */
static _Thread_local record *list, *spare;
static _Thread_local unsigned list_count;

static bool new_chunk(void)
{
    chunk *c = malloc(sizeof *c);
    depot.fresh = c ? aligned_alloc(4096, CHUNK_BYTES) : NULL;
    if (!depot.fresh) {
        free(c);
        depot.fresh_end = NULL;
        return false;
    }
    depot.fresh_end = depot.fresh + CHUNK_BYTES;
    *c = (chunk){.older = depot.newest, .records = depot.fresh};
    depot.newest = c;
    return true;
}

static record *cut_chunk(void)
{
    if (depot.fresh == depot.fresh_end && !new_chunk()) return NULL;
    record *first = NULL;
    for (unsigned i = 0; i < BATCH && depot.fresh < depot.fresh_end; i++) {
        record *r = (record *)(void *)depot.fresh;
        depot.fresh += LR_SLAB_BYTES;
        r->next = first;
        r->mark[0] = r->mark[1] = 0;
        first = r;
    }
    return first;
}

static record *depot_take(void)
{
    pthread_mutex_lock(&depot.lock);
    record *first = depot.batches;
    if (first)
        depot.batches = first->batch;
    else
        first = cut_chunk();
    pthread_mutex_unlock(&depot.lock);
    return first;
}

static void depot_give(record *first)
{
    pthread_mutex_lock(&depot.lock);
    first->batch = depot.batches;
    depot.batches = first;
    pthread_mutex_unlock(&depot.lock);
}

static record *refill(void)
{
    record *first = spare;
    spare = NULL;
    if (!first) first = depot_take();
    list = first;
    list_count = first ? BATCH : 0;
    return first;
}

void *lr_slab_alloc(void)
{
    record *r = list;
    if (__builtin_expect(r == NULL, 0)) {
        r = refill();
        if (!r) return NULL;
    }
    list = r->next;
    list_count--;
    return r;
}

void lr_slab_free(void *p)
{
    if (__builtin_expect(list_count == BATCH, 0)) {
        if (spare) depot_give(spare);
        spare = list;
        list = NULL;
        list_count = 0;
    }
    record *r = p;
    __atomic_store_n(&r->mark[0], 0, __ATOMIC_RELAXED);
    __atomic_store_n(&r->mark[1], 0, __ATOMIC_RELEASE); /* before its other words change */
    r->next = list;
    list = r;
    list_count++;
}

__attribute__((no_sanitize("thread"))) static bool has_mark(const record *r)
{
    return (__atomic_load_n(&r->mark[0], __ATOMIC_RELAXED) | __atomic_load_n(&r->mark[1], __ATOMIC_RELAXED)) != 0;
}

void lr_slab_each(void (*look)(void *user, const void *record), void *user)
{
    pthread_mutex_lock(&depot.lock);
    chunk *c = depot.newest;
    const char *end = depot.fresh;
    pthread_mutex_unlock(&depot.lock);
    for (; c; c = c->older, end = c ? c->records + CHUNK_BYTES : NULL)
        for (const char *at = c->records; at < end; at += LR_SLAB_BYTES)
            if (has_mark((const record *)(const void *)at)) look(user, at);
}

void lr_slab_thread_end(void)
{
    if (spare) depot_give(spare);
    if (list) depot_give(list);
    spare = list = NULL;
    list_count = 0;
}

#endif
