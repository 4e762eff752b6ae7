#include "runtime/slab.h"

#include <pthread.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define PLAIN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLAIN 1
#endif
#endif

#ifdef PLAIN

void *lr_slab_alloc(void) { return aligned_alloc(64, LR_SLAB_BYTES); }
void lr_slab_free(void *record) { free(record); }
void lr_slab_thread_end(void) {}

#else

#define BATCH 128              /* records that travel together */
#define CHUNK_BYTES (16u * BATCH * LR_SLAB_BYTES) /* what is asked of the system at once */

typedef struct record {
    struct record *next;  /* in a list */
    struct record *batch; /* first of a batch: the next batch in the depot */
} record;

static struct {
    pthread_mutex_t lock;
    record *batches;
    char *fresh, *fresh_end; /* the chunk that is being cut up */
} depot = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Two lists a thread: when the first is full it becomes the spare, and a full spare goes to the depot. */
static _Thread_local record *list, *spare;
static _Thread_local unsigned list_count;

static record *cut_chunk(void)
{
    if (depot.fresh == depot.fresh_end) {
        depot.fresh = aligned_alloc(4096, CHUNK_BYTES);
        if (!depot.fresh) {
            depot.fresh_end = NULL;
            return NULL;
        }
        depot.fresh_end = depot.fresh + CHUNK_BYTES;
    }
    record *first = NULL;
    for (unsigned i = 0; i < BATCH && depot.fresh < depot.fresh_end; i++) {
        record *r = (record *)(void *)depot.fresh;
        depot.fresh += LR_SLAB_BYTES;
        r->next = first;
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
    r->next = list;
    list = r;
    list_count++;
}

void lr_slab_thread_end(void)
{
    if (spare) depot_give(spare);
    if (list) depot_give(list);
    spare = list = NULL;
    list_count = 0;
}

#endif
