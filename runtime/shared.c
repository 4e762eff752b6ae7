#include "runtime/shared.h"

#include "runtime/allocator.h"
#include "runtime/large.h"
#include "runtime/store.h"
#include "sched/map.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define SOME 16
#define WHY_BYTES 300

typedef struct view {
    lr_shared shared;
    lr_segment *of;
    lr_place place;
} view;

static struct {
    pthread_mutex_t lock; /* before the arena's */
    lr_map objects;       /* id -> lr_shared; no count */
    lr_list limbo;        /* oldest look first */
    _Atomic uint64_t limbo_count, limbo_bytes;
    uint64_t serial;
    _Atomic(void (*)(void)) ring;
    struct {
        lr_id id;
        char text[WHY_BYTES];
    } failures[8];
    unsigned failure_count;
} here = {.lock = PTHREAD_MUTEX_INITIALIZER, .limbo = {{&here.limbo.head, &here.limbo.head}}};

static void lock(void) { pthread_mutex_lock(&here.lock); }
static void unlock(void) { pthread_mutex_unlock(&here.lock); }

bool lr_shared_is_object(const lr_buffer *b) { return b->in_arena || b->is_view; }
bool lr_shared_has_limbo(void) { return atomic_load_explicit(&here.limbo_count, memory_order_relaxed) > 0; }
void lr_shared_on_limbo(void (*ring)(void)) { atomic_store(&here.ring, ring); }

/* ---- references --------------------------------------------------------------------------------------------- */

static size_t site_bytes(size_t length) { return length < LR_SITE_MAX ? length : LR_SITE_MAX; }

const char *lr_reference_site(const lr_reference *ref)
{
    char site[LR_SITE_MAX + 1] = "";
    if (ref->site_bytes) memcpy(site, ref->site, site_bytes(ref->site_bytes));
    return site[0] ? lr_store_site(site, "from another node") : "from another node";
}

lr_reference lr_reference_of(const lr_buffer *b)
{
    return (lr_reference){.size_bytes = b->size_bytes, .site = b->site, .site_bytes = site_bytes(strlen(b->site))};
}

/* ---- the table of ids ------------------------------------------------------------------------------------ */

static bool enter(lr_id id, lr_shared *s) { return lr_map_add(&here.objects, id, s, &lr_process_allocator); }

static void leave(lr_shared *s)
{
    if (lr_id_is_nil(s->id) || !here.objects.slots || lr_map_get(&here.objects, s->id) != s) return;
    lr_map_remove(&here.objects, s->id);
    if (here.objects.count > 0) return;
    free(here.objects.slots);
    here.objects = (lr_map){0};
}

static void leave_limbo(lr_shared *s)
{
    atomic_store(&s->in_limbo, false);
    lr_link_remove(&s->limbo);
    atomic_fetch_sub(&here.limbo_count, 1);
    atomic_fetch_sub(&here.limbo_bytes, lr_arena_pages(s->base.size_bytes));
}

/* One more count of what is in the table, whether it is on its way out or not. */
static lr_buffer *take_back(lr_shared *s)
{
    if (lr_buffer_retain_living(&s->base)) return &s->base;
    atomic_store(&s->base.base.refs, 1);
    if (s->in_limbo)
        leave_limbo(s);
    else
        s->owed++; /* its destroyer waits for the lock */
    return &s->base;
}

static lr_buffer *find(lr_id id)
{
    lr_shared *s = here.objects.slots ? lr_map_get(&here.objects, id) : NULL;
    return s ? take_back(s) : NULL;
}

lr_buffer *lr_shared_find(lr_id id)
{
    lock();
    lr_buffer *b = find(id);
    unlock();
    return b;
}

void lr_shared_adopt(lr_buffer *b, lr_id id)
{
    lr_shared *s = lr_shared_of(b);
    lock();
    bool is_new = lr_id_is_nil(s->id) && (!here.objects.slots || !lr_map_get(&here.objects, id));
    if (is_new && enter(id, s)) s->id = id;
    unlock();
}

/* ---- showing ------------------------------------------------------------------------------------------------ */

static bool is_in_memory(lr_large *b)
{
    lr_arena_lock();
    bool in_memory = !b->spilled && !b->spilling;
    lr_arena_unlock();
    return in_memory;
}

/* An id of its own, and where it lies, if it can be told. The lock is held. */
static bool show_own(lr_large *b, lr_place *place)
{
    bool placed = lr_segment_own(place);
    lr_shared *s = &b->shared;
    if (lr_id_is_nil(s->id)) {
        lr_id id = placed ? lr_id_child(place->segment, here.serial + 1) : LR_ID_NIL;
        if (!placed || !enter(id, s)) return false;
        here.serial++;
        s->id = id;
    }
    if (!placed || !is_in_memory(b)) {
        place->pid = 0;
        return true;
    }
    if (b->serial == 0) {
        b->serial = ++here.serial;
        lr_segment_stamp(b->place->offset, b->serial);
    }
    place->offset = b->place->offset;
    place->serial = b->serial;
    return true;
}

bool lr_shared_show(lr_buffer *b, lr_reference *out)
{
    LR_ASSERT(lr_shared_is_object(b) && lr_buffer_is_sealed(b));
    *out = lr_reference_of(b);
    lr_buffer_use(b);
    lock();
    bool done = true;
    if (b->is_view) {
        view *v = (view *)(void *)b;
        out->place = v->place;
        lr_segment_name(v->of, &out->place);
    } else {
        done = show_own(lr_large_of(b), &out->place);
    }
    out->id = lr_shared_of(b)->id;
    unlock();
    return done;
}

bool lr_shared_withdraw(lr_buffer *b)
{
    lr_large *l = lr_large_of(b);
    lock();
    bool done = l->serial == 0 || lr_segment_withdraw(l->place->offset, l->place->bytes, l->serial);
    if (done) l->serial = 0;
    unlock();
    return done;
}

/* ---- mapping ------------------------------------------------------------------------------------------------ */

static lr_buffer *view_new(const lr_reference *ref)
{
    lr_segment *of = lr_segment_open(&ref->place);
    const void *data = of ? lr_segment_lock(of, &ref->place, ref->size_bytes) : NULL;
    if (!data) return NULL;
    view *v = calloc(1, sizeof *v);
    if (!v || !enter(ref->id, &v->shared)) {
        free(v);
        lr_segment_unlock(of, ref->place.offset, ref->size_bytes);
        return NULL;
    }
    lr_buffer_init(&v->shared.base, ref->size_bytes, (void *)(uintptr_t)data, lr_reference_site(ref));
    v->shared.base.is_view = true;
    v->shared.id = ref->id;
    v->of = of;
    v->place = ref->place;
    lr_buffer_seal(&v->shared.base);
    lr_store_count_view((int64_t)ref->size_bytes);
    return &v->shared.base;
}

lr_buffer *lr_shared_map(const lr_reference *ref)
{
    if (lr_id_is_nil(ref->id)) return NULL;
    lock();
    lr_buffer *b = find(ref->id);
    if (!b && ref->place.pid != 0) b = view_new(ref);
    unlock();
    return b;
}

/* ---- going -------------------------------------------------------------------------------------------------- */

/* The lock is held. True: somebody has taken it back. */
static bool is_owed(lr_shared *s)
{
    if (s->owed == 0) return false;
    s->owed--;
    return true;
}

void lr_view_free(lr_buffer *b)
{
    view *v = (view *)(void *)b;
    lock();
    bool owed = is_owed(&v->shared);
    if (!owed) {
        leave(&v->shared);
        if (lr_segment_unlock(v->of, v->place.offset, b->size_bytes)) lr_segment_drop_gone();
    }
    unlock();
    if (owed) return;
    lr_store_count_view(-(int64_t)b->size_bytes);
    free(v);
}

/* Free for others, too? The lock is held. */
static bool is_free(lr_large *l)
{
    if (l->serial && !lr_segment_withdraw(l->place->offset, l->place->bytes, l->serial)) return false;
    l->serial = 0;
    leave(&l->shared);
    return true;
}

bool lr_shared_let_go(lr_buffer *b)
{
    lr_large *l = lr_large_of(b);
    if (lr_id_is_nil(l->shared.id)) return true; /* nobody else can have it */
    bool first = false;
    lock();
    bool owed = is_owed(&l->shared), gone = !owed && is_free(l);
    if (!owed && !gone) {
        atomic_store(&l->shared.in_limbo, true);
        lr_list_append(&here.limbo, &l->shared.limbo);
        first = atomic_fetch_add(&here.limbo_count, 1) == 0;
        atomic_fetch_add(&here.limbo_bytes, lr_arena_pages(b->size_bytes));
    }
    unlock();
    void (*ring)(void) = first ? atomic_load(&here.ring) : NULL;
    if (ring) ring();
    return gone;
}

static size_t sweep(uint64_t max)
{
    lr_list freed;
    size_t count = 0;
    lr_list_init(&freed);
    lock();
    uint64_t left = atomic_load(&here.limbo_count);
    for (left = left < max ? left : max; left > 0; left--) {
        lr_shared *s = LR_CONTAINER(lr_list_first(&here.limbo), lr_shared, limbo);
        if (is_free((lr_large *)(void *)s)) {
            leave_limbo(s);
            lr_list_append(&freed, &s->limbo);
            count++;
        } else {
            lr_link_remove(&s->limbo);
            lr_list_append(&here.limbo, &s->limbo);
        }
    }
    if (max == UINT64_MAX) lr_segment_drop_gone();
    unlock();
    for (lr_link *link; (link = lr_list_pop(&freed));)
        lr_large_free((lr_large *)(void *)LR_CONTAINER(link, lr_shared, limbo));
    return count;
}

size_t lr_shared_sweep(void) { return sweep(UINT64_MAX); }
size_t lr_shared_sweep_some(void) { return sweep(SOME); }

void lr_shared_count(uint64_t *limbo_count, uint64_t *limbo_bytes)
{
    *limbo_count = atomic_load(&here.limbo_count);
    *limbo_bytes = atomic_load(&here.limbo_bytes);
}

static void describe(const lr_shared *s, lr_object_info *out)
{
    uint32_t holders = atomic_load(&((lr_shared *)(uintptr_t)s)->base.base.refs);
    *out = (lr_object_info){.id = s->id, .size_bytes = s->base.size_bytes, .site = s->base.site, .holders = holders,
                            .sealed = atomic_load(&s->base.sealed)};
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = ((const lr_object_info *)a)->size_bytes, y = ((const lr_object_info *)b)->size_bytes;
    return (x < y) - (x > y);
}

const char *lr_object_place(enum lr_object_where where)
{
    static const char *const places[] = {"memory", "disk", "held", "elsewhere"};
    return places[where];
}

size_t lr_shared_list(lr_object_info *out, size_t max)
{
    size_t count = 0, position = 0;
    lr_shared *s;
    lock();
    while (here.objects.slots && (s = lr_map_next(&here.objects, &position))) {
        if (!s->base.is_view || count++ >= max) continue;
        describe(s, &out[count - 1]);
        out[count - 1].where = LR_IS_A_VIEW;
        out[count - 1].pid = ((view *)(void *)s)->place.pid;
    }
    lr_arena_lock();
    for (lr_extent *e = lr_arena_first(); e; e = e->after) {
        if (!e->owner || e->owner == LR_ARENA_NOBODY || count++ >= max) continue;
        const lr_large *l = e->owner;
        describe(&l->shared, &out[count - 1]);
        out[count - 1].where = l->shared.in_limbo ? LR_IS_IN_LIMBO : l->spilled ? LR_IS_ON_DISK : LR_IS_IN_MEMORY;
    }
    lr_arena_unlock();
    unlock();
    if (max > 0) qsort(out, count < max ? count : max, sizeof *out, by_size);
    return count;
}

void lr_shared_note_failure(lr_id id, const char *text)
{
    lock();
    unsigned at = here.failure_count++ % LR_COUNT(here.failures);
    here.failures[at].id = id;
    snprintf(here.failures[at].text, WHY_BYTES, "%s", text);
    unlock();
}

void lr_shared_why(lr_id id, char *text, size_t text_bytes)
{
    snprintf(text, text_bytes, "an object that another node has could not be brought here");
    lock();
    for (unsigned i = 0; i < LR_COUNT(here.failures); i++)
        if (lr_id_equal(here.failures[i].id, id)) snprintf(text, text_bytes, "%s", here.failures[i].text);
    unlock();
}

void lr_shared_look(size_t *objects, unsigned *mapped)
{
    lock();
    *objects = here.objects.count;
    *mapped = lr_segment_count();
    unlock();
}
