#include "runtime/fn.h"

#include <pthread.h>
#include <stdlib.h>

/* ---- slots: small numbers, given out again when their owner is gone ----------------------------------- */

typedef struct slots {
    pthread_mutex_t lock;
    uint32_t *free;
    uint32_t free_count, capacity, next;
    uint64_t serial;
    lr_fn *newest; /* all that live, by older */
} slots;

static slots fn_slots = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void slot_take(slots *s, lr_fn *fn)
{
    pthread_mutex_lock(&s->lock);
    fn->slot = s->free_count ? s->free[--s->free_count] : s->next++;
    fn->serial = ++s->serial;
    fn->older = s->newest;
    if (s->newest) s->newest->newer = fn;
    s->newest = fn;
    pthread_mutex_unlock(&s->lock);
}

static void slot_give(slots *s, lr_fn *fn)
{
    uint32_t slot = fn->slot;
    pthread_mutex_lock(&s->lock);
    if (fn->newer) fn->newer->older = fn->older;
    else s->newest = fn->older;
    if (fn->older) fn->older->newer = fn->newer;
    if (s->free_count == s->capacity) {
        uint32_t capacity = s->capacity ? 2 * s->capacity : 64;
        uint32_t *bigger = realloc(s->free, capacity * sizeof *bigger);
        if (bigger) {
            s->free = bigger;
            s->capacity = capacity;
        }
    }
    if (s->free_count < s->capacity) s->free[s->free_count++] = slot; /* else the number is not used again */
    pthread_mutex_unlock(&s->lock);
}

/* ---- code: interned by content ------------------------------------------------------------------------ */

#define BUCKETS 1024

static struct {
    pthread_mutex_t lock;
    lr_code *buckets[BUCKETS]; /* chained by next */
} codes = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool same(const lr_code *c, lr_id hash, const void *bytes, size_t size_bytes)
{
    return lr_id_equal(c->hash, hash) && c->size_bytes == size_bytes && memcmp(c->bytes, bytes, size_bytes) == 0;
}

/* One more count, unless the last is just going. */
static bool retain_living(lr_code *c)
{
    uint32_t refs = atomic_load(&c->base.refs);
    while (refs > 0)
        if (atomic_compare_exchange_weak(&c->base.refs, &refs, refs + 1)) return true;
    return false;
}

static lr_code *make(lr_id hash, const void *bytes, size_t size_bytes)
{
    lr_code *c = malloc(sizeof *c + size_bytes);
    if (!c) return NULL;
    lr_object_init(&c->base, LR_OBJECT_CODE);
    c->hash = hash;
    c->size_bytes = size_bytes;
    c->bytes = (uint8_t *)(c + 1);
    memcpy(c->bytes, bytes, size_bytes);
    return c;
}

lr_code *lr_code_new(const void *bytes, size_t size_bytes)
{
    lr_id hash = lr_id_from_bytes(bytes, size_bytes);
    lr_code **bucket = &codes.buckets[hash.lo % BUCKETS];
    pthread_mutex_lock(&codes.lock);
    lr_code *c = *bucket;
    while (c && !(same(c, hash, bytes, size_bytes) && retain_living(c)))
        c = c->next;
    if (!c && (c = make(hash, bytes, size_bytes))) {
        c->next = *bucket;
        *bucket = c;
    }
    pthread_mutex_unlock(&codes.lock);
    return c;
}

void lr_code_destroy(lr_object *o)
{
    lr_code *c = (lr_code *)o, **at = &codes.buckets[c->hash.lo % BUCKETS];
    pthread_mutex_lock(&codes.lock);
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    pthread_mutex_unlock(&codes.lock);
    free(c);
}

/* ---- remote functions --------------------------------------------------------------------------------- */

static lr_fn *fn_new(lr_fn_kind kind, const char *name)
{
    lr_fn *fn = calloc(1, sizeof *fn);
    if (!fn) return NULL;
    fn->name = strdup(name);
    if (!fn->name) {
        free(fn);
        return NULL;
    }
    lr_object_init(&fn->base, LR_OBJECT_FN);
    fn->kind = (uint8_t)kind;
    slot_take(&fn_slots, fn);
    return fn;
}

lr_fn *lr_fn_new_lua(const char *name, lr_value *body)
{
    lr_fn *fn = fn_new(LR_FN_LUA, name);
    if (!fn) {
        lr_value_clear(body);
        return NULL;
    }
    fn->body = *body;
    body->form = 0;
    return fn;
}

lr_fn *lr_fn_new_module(const char *name, const char *module, const char *field)
{
    lr_fn *fn = fn_new(LR_FN_MODULE, name);
    if (!fn) return NULL;
    fn->module = strdup(module);
    fn->field = strdup(field);
    if (fn->module && fn->field) return fn;
    lr_object_release(&fn->base);
    return NULL;
}

lr_fn *lr_fn_new_kernel(const char *name, struct lr_kernel *kernel)
{
    lr_fn *fn = fn_new(LR_FN_KERNEL, name);
    if (fn) fn->kernel = kernel;
    return fn;
}

void lr_fn_each(void (*look)(void *user, const lr_fn *fn), void *user)
{
    pthread_mutex_lock(&fn_slots.lock);
    for (const lr_fn *fn = fn_slots.newest; fn; fn = fn->older)
        look(user, fn);
    pthread_mutex_unlock(&fn_slots.lock);
}

bool lr_fn_become(lr_fn *fn, lr_fn_kind kind, const char *name, const char *module, const char *field,
                  struct lr_kernel *kernel, lr_value *body)
{
    LR_ASSERT(!lr_fn_is_whole(fn));
    char *own_name = strdup(name), *own_module = strdup(module), *own_field = strdup(field);
    if (!own_name || !own_module || !own_field) {
        free(own_name);
        free(own_module);
        free(own_field);
        lr_value_clear(body);
        return false;
    }
    pthread_mutex_lock(&fn_slots.lock);
    free(fn->name);
    fn->name = own_name;
    pthread_mutex_unlock(&fn_slots.lock);
    fn->module = own_module;
    fn->field = own_field;
    fn->kernel = kernel;
    fn->body = *body;
    body->form = 0;
    fn->kind = (uint8_t)kind;
    return true;
}

void lr_fn_destroy(lr_object *o)
{
    lr_fn *fn = (lr_fn *)o;
    lr_value_clear(&fn->body);
    slot_give(&fn_slots, fn);
    free(fn->name);
    free(fn->module);
    free(fn->field);
    free(fn);
}

/* ---- the counts that tasks hold ------------------------------------------------------------------------ */

_Thread_local lr_credit lr_credits[LR_CREDIT_SLOTS];

/* Gives back count of what c holds. */
static void credit_return(lr_credit *c, uint32_t count)
{
    lr_fn *fn = c->fn;
    c->count -= count;
    if (count == 0) return;
    uint32_t before = atomic_fetch_sub_explicit(&fn->base.refs, count, memory_order_release);
    LR_ASSERT(before >= count);
    if (before > count) return;
    atomic_load_explicit(&fn->base.refs, memory_order_acquire);
    lr_object_destroy(&fn->base);
}

void lr_fn_borrow_more(lr_fn *fn)
{
    lr_credit *c = &lr_credits[fn->slot % LR_CREDIT_SLOTS];
    atomic_fetch_add_explicit(&fn->base.refs, LR_CREDIT_MAX / 2, memory_order_relaxed);
    if (c->fn != fn) credit_return(c, c->count);
    c->fn = fn;
    c->count += LR_CREDIT_MAX / 2 - 1;
}

void lr_fn_repay_more(lr_fn *fn)
{
    lr_credit *c = &lr_credits[fn->slot % LR_CREDIT_SLOTS];
    if (c->fn != fn) {
        lr_object_release(&fn->base);
        return;
    }
    c->count++;
    credit_return(c, LR_CREDIT_MAX / 2);
}

void lr_fn_thread_end(void)
{
    for (int i = 0; i < LR_CREDIT_SLOTS; i++)
        credit_return(&lr_credits[i], lr_credits[i].count);
}
