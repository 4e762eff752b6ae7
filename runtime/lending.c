#include "runtime/lending.h"

#include "runtime/allocator.h"
#include "runtime/clock.h"
#include "runtime/export.h"
#include "runtime/far.h"
#include "runtime/spill.h"
#include "runtime/store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define NO_ROOM_NS 2000000ull         /* an object to come is tried again so often */
#define PATIENCE_NS (30 * LR_NS_PER_S) /* and given up after so long without room */
#define SWEEP_NS 5000000ull
#define SWEEP_MAX_NS 160000000ull
#define TELL_NS 50000000ull           /* the least between two RECLAIMs */
#define WINDOW 8u                      /* chunks asked of a peer at once */
#define STEP 2u                        /* by one FETCH */
#define SPARE_MAX 8u                 /* while so many messages wait other tasks are asked for */
#define SENDINGS_MAX 4096u            /* FETCHes of one peer at once */

typedef struct lent {
    lr_buffer *b; /* one count */
    lr_id id;
    uint64_t count; /* BORROWEDs to come */
} lent;

/* A message that waits for objects, or behind one that does. */
typedef struct lr_parked {
    struct lr_parked *next;
    size_t size_bytes, object_count, missing;
    lr_id task; /* nil: it is of none */
    bool blocks; /* nothing of this peer overtakes it */
    uint16_t kind;
    uint8_t *bytes;
    struct {
        lr_id id;
        lr_buffer *b; /* one count; NULL: missing, or failed */
    } objects[];
} lr_parked;

/* An object on its way here. */
typedef struct pull {
    struct pull *next;
    lr_reference ref; /* site: interned */
    lr_lending *from; /* NULL: nobody any more */
    lr_buffer *to;     /* NULL: no room yet */
    lr_transfer transfer;
    uint64_t next_offset; /* what lies before was asked for */
    uint64_t asked;       /* chunks to come */
    bool awaits;          /* they will come later, and do not count meanwhile */
    uint64_t give_up_ns;
} pull;

typedef struct lr_sending {
    struct lr_sending *next;
    lr_buffer *b; /* one count */
    lr_id id;
    uint64_t offset, end;
} lr_sending;

/* A FETCH of an object that is absent here, too. */
typedef struct owing {
    struct owing *next;
    lr_lending *x;
    lr_buffer *absent; /* one count */
    lr_id id;
    uint64_t offset, size;
} owing;

/* A chunk that the transport has. */
typedef struct lr_flight {
    lr_lending *x; /* NULL: gone */
    lr_buffer *b;   /* one count */
    struct lr_flight *next, **link;
} lr_flight;

static struct {
    void (*ring)(void), (*collect)(void), (*spare)(void);
    lr_id host;
    lr_lending *first;
    pull *pulls;
    owing *owed;
    uint64_t room_ns, sweep_ns, sweep_every_ns, told_ns;
    _Atomic bool tell;
    /* the thread that makes room */
    pthread_t maker;
    bool maker_runs;
    bool closed; /* nothing is sent or delivered any more */
    _Atomic bool maker_done;
    uint64_t maker_bytes;
    _Atomic uint64_t lent, parked, pull_count, sendings, bytes_in, bytes_out, mapped, found, fetched, refused;
} ex = {.room_ns = LR_NEVER, .sweep_ns = LR_NEVER};

static void add(_Atomic uint64_t *counter, uint64_t n) { atomic_fetch_add_explicit(counter, n, memory_order_relaxed); }
static void take_off(_Atomic uint64_t *counter) { atomic_fetch_sub_explicit(counter, 1, memory_order_relaxed); }

/* ---- lending ---------------------------------------------------------------------------------------------- */

static bool put(lr_map *map, lr_id key, void *value) { return lr_map_add(map, key, value, &lr_process_allocator); }

static lent *lent_of(const lr_lending *x, lr_id id) { return x->lent.slots ? lr_map_get(&x->lent, id) : NULL; }

bool lr_lending_offer(lr_lending *x, lr_buffer *b, lr_reference *out)
{
    if (!lr_buffer_is_sealed(b)) return false;
    if (b->is_absent)
        lr_far_show(b, out);
    else if (!lr_shared_show(b, out))
        return false;
    if (!x->same_host) out->place = (lr_place){0};
    lent *l = lent_of(x, out->id);
    if (l) {
        l->count++;
        return true;
    }
    l = malloc(sizeof *l);
    if (!l || !put(&x->lent, out->id, l)) {
        free(l);
        return false;
    }
    *l = (lent){b, out->id, 1};
    lr_object_retain(&b->base);
    add(&ex.lent, 1);
    return true;
}

static void lent_end(lr_lending *x, lent *l)
{
    lr_map_remove(&x->lent, l->id);
    lr_buffer_release(l->b);
    free(l);
    take_off(&ex.lent);
}

static void take_borrowed(lr_lending *x, lr_bytes ids)
{
    for (size_t at = 0; at + sizeof(lr_id) <= ids.size_bytes; at += sizeof(lr_id)) {
        lr_id id;
        memcpy(&id, (const uint8_t *)ids.at + at, sizeof id);
        lent *l = lent_of(x, id);
        if (l && --l->count == 0) lent_end(x, l);
    }
}

/* ---- sending chunks --------------------------------------------------------------------------------------- */

static void flight_over(void *user)
{
    lr_flight *f = user;
    if (f->x) {
        if (f->next) f->next->link = f->link;
        *f->link = f->next;
        f->x->flight_count--;
    }
    lr_buffer_release(f->b);
    free(f);
}

static bool send_chunk(lr_lending *x, const lr_sending *s, uint64_t size)
{
    uint8_t record[64];
    const uint8_t *bytes = (const uint8_t *)s->b->data + s->offset;
    lr_flight *f = malloc(sizeof *f);
    if (!f) return false;
    lr_message m = {.kind = LR_MESSAGE_CHUNK};
    m.chunk.object = s->id;
    m.chunk.offset = s->offset;
    m.chunk.size = size;
    m.chunk.check = lr_transfer_check(bytes, size);
    lr_message_encode(&m, record);
    *f = (lr_flight){.x = x, .b = s->b, .next = x->flights, .link = &x->flights};
    if (lr_transport_send(x->link->peer, LR_MESSAGE_CHUNK, record, lr_message_size(&m)) != LR_ENDING_OK ||
        lr_transport_send_owned(x->link->peer, LR_LENDING_DATA, bytes, (size_t)size, flight_over, f) != LR_ENDING_OK) {
        free(f); /* a CHUNK without DATA is replaced by the next */
        return false;
    }
    lr_object_retain(&s->b->base);
    if (f->next) f->next->link = &f->next;
    x->flights = f;
    x->flight_count++;
    add(&ex.bytes_out, size);
    return true;
}

static void sending_end(lr_lending *x)
{
    lr_sending *s = x->sending;
    x->sending = s->next;
    if (!x->sending) x->sending_last = NULL;
    lr_buffer_release(s->b);
    free(s);
    take_off(&ex.sendings);
}

static void to_the_end_of_the_line(lr_lending *x)
{
    lr_sending *s = x->sending;
    if (!s->next) return;
    x->sending = s->next;
    s->next = NULL;
    x->sending_last->next = s;
    x->sending_last = s;
}

/* Small messages that wait for the transport go first: the channel keeps them. */
static void pump(lr_lending *x)
{
    while (x->sending && x->flight_count < LR_LENDING_FLIGHT && !x->link->first) {
        lr_sending *s = x->sending;
        uint64_t left = s->end - s->offset, size = left < LR_CHUNK_BYTES ? left : LR_CHUNK_BYTES;
        if (!send_chunk(x, s, size)) return;
        s->offset += size;
        if (s->offset == s->end)
            sending_end(x);
        else
            to_the_end_of_the_line(x);
    }
}

/* These bytes of b, a count of which is taken over; NULL: it is not here. */
static void send_bytes(lr_lending *x, lr_id id, lr_buffer *b, uint64_t offset, uint64_t wanted)
{
    uint64_t size = b ? b->size_bytes : 0;
    bool sound = offset % LR_CHUNK_BYTES == 0 && offset < size && wanted <= size - offset &&
                 atomic_load(&ex.sendings) < SENDINGS_MAX;
    lr_sending *s = sound ? calloc(1, sizeof *s) : NULL;
    if (!s) {
        lr_message gone = {.kind = LR_MESSAGE_GONE, .gone.object = id};
        (void)lr_channel_send(x->link, &gone);
        if (b) lr_buffer_release(b);
        return;
    }
    lr_buffer_use(b);
    *s = (lr_sending){.b = b, .id = id, .offset = offset, .end = wanted ? offset + wanted : size};
    *(x->sending ? &x->sending_last->next : &x->sending) = s;
    x->sending_last = s;
    add(&ex.sendings, 1);
    pump(x);
}

/* It is absent here, too: brought, then sent. */
static void owe(lr_lending *x, const lr_message *m, lr_buffer *absent)
{
    owing *o = calloc(1, sizeof *o);
    if (!o) {
        send_bytes(x, m->fetch.object, NULL, 0, 0);
        return;
    }
    lr_object_retain(&absent->base);
    *o = (owing){ex.owed, x, absent, m->fetch.object, m->fetch.offset, m->fetch.size};
    ex.owed = o;
    lr_message later = {.kind = LR_MESSAGE_AWAIT, .await.object = o->id};
    (void)lr_channel_send(x->link, &later);
    lr_far_want(absent);
}

void lr_lending_arrived(lr_buffer *absent, bool is_here)
{
    owing **at = &ex.owed, *due = NULL, *o;
    while ((o = *at)) {
        if (o->absent != absent) {
            at = &o->next;
            continue;
        }
        *at = o->next;
        o->next = due;
        due = o;
    }
    for (; (o = due);) {
        due = o->next;
        lr_buffer *b = is_here && o->x ? lr_buffer_here(absent) : NULL;
        if (b) lr_object_retain(&b->base);
        if (o->x) send_bytes(o->x, o->id, b, o->offset, o->size);
        lr_buffer_release(o->absent);
        free(o);
    }
}

/* Also of an object that was lent to somebody else, who has passed it on. */
static void take_fetch(lr_lending *x, const lr_message *m)
{
    const lent *l = lent_of(x, m->fetch.object);
    lr_buffer *b = l ? l->b : NULL, *here = b ? lr_buffer_here(b) : NULL;
    if (b && !here) {
        owe(x, m, b);
        return;
    }
    if (here)
        lr_object_retain(&here->base);
    else
        here = lr_shared_find(m->fetch.object);
    send_bytes(x, m->fetch.object, here, m->fetch.offset, m->fetch.size);
}

/* ---- messages that wait -------------------------------------------------------------------------------------- */

/* The value in a message, and whose task it is about. */
static lr_bytes value_of(const lr_message *m, lr_id *task)
{
    *task = LR_ID_NIL;
    switch ((int)m->kind) {
    case LR_MESSAGE_FUNCTION: return m->function.body;
    case LR_MESSAGE_TASK: *task = m->task.task; return m->task.args;
    case LR_MESSAGE_RESULT: *task = m->result.task; return m->result.value;
    case LR_MESSAGE_WANT: *task = m->want.task; break;
    case LR_MESSAGE_CANCEL: *task = m->cancel.task; break;
    default: break;
    }
    return (lr_bytes){NULL, 0};
}

/* Is one in the line, before `end`, that this one must not overtake? */
static bool must_wait(const lr_lending *x, lr_id task, const lr_parked *end)
{
    for (const lr_parked *p = x->first; p && p != end; p = p->next)
        if (p->blocks || (!lr_id_is_nil(task) && lr_id_equal(p->task, task))) return true;
    return false;
}

static void say_borrowed(lr_lending *x, const lr_id *ids, size_t count)
{
    lr_message m = {.kind = LR_MESSAGE_BORROWED};
    m.borrowed.objects = lr_bytes_of((const char *)ids, count * sizeof *ids);
    if (count > 0) (void)lr_channel_send(x->link, &m);
}

void lr_lending_acknowledge(lr_lending *x, lr_id object) { say_borrowed(x, &object, 1); }

/* Those of a RESULT that are not here stay lent: they are absent. */
static void acknowledge(lr_lending *x, const lr_parked *p)
{
    lr_id few[16], *ids = p->object_count <= LR_COUNT(few) ? few : malloc(p->object_count * sizeof *ids);
    size_t count = 0;
    if (!ids) return; /* they are held until the connection ends */
    for (size_t i = 0; i < p->object_count; i++)
        if (p->objects[i].b || p->kind != LR_MESSAGE_RESULT) ids[count++] = p->objects[i].id;
    say_borrowed(x, ids, count);
    if (ids != few) free(ids);
}

static void parked_free(lr_parked *p)
{
    for (size_t i = 0; i < p->object_count; i++)
        if (p->objects[i].b) lr_buffer_release(p->objects[i].b);
    free(p->bytes);
    free(p);
}

static void deliver(lr_lending *x, lr_parked *p, const lr_message *m)
{
    for (size_t i = 0; i < p->object_count && p->kind == LR_MESSAGE_RESULT; i++)
        if (!p->objects[i].b) p->objects[i].b = lr_shared_find(p->objects[i].id); /* it has come meanwhile */
    x->deliver(x->user, m);
    if (p->object_count > 0) acknowledge(x, p);
    parked_free(p);
}

static void deliver_ready(lr_lending *x)
{
    lr_parked **at = &x->first, *before = NULL, *p;
    while ((p = *at)) {
        if (p->missing > 0 || must_wait(x, p->task, p)) {
            before = p;
            at = &p->next;
            continue;
        }
        *at = p->next;
        if (x->last == p) x->last = before;
        take_off(&ex.parked);
        lr_message m;
        bool sound = lr_message_decode(p->kind, p->bytes, p->size_bytes, &m);
        LR_ASSERT(sound); /* it was decoded before */
        deliver(x, p, &m);
    }
}

static bool park(lr_lending *x, lr_parked *p, const lr_message *m)
{
    p->size_bytes = lr_message_size(m);
    p->bytes = malloc(p->size_bytes + 1);
    if (!p->bytes) return false;
    lr_message_encode(m, p->bytes);
    p->blocks = m->kind == LR_MESSAGE_FUNCTION && p->missing > 0;
    *(x->first ? &x->last->next : &x->first) = p;
    x->last = p;
    add(&ex.parked, 1);
    if (m->kind == LR_MESSAGE_TASK && ex.spare && atomic_load(&ex.parked) <= SPARE_MAX) ex.spare();
    return true;
}

/* ---- objects on their way here ------------------------------------------------------------------------------ */

static pull *pull_of(lr_id id)
{
    pull *p = ex.pulls;
    while (p && !lr_id_equal(p->ref.id, id))
        p = p->next;
    return p;
}

static void fetch(pull *p, uint64_t offset, uint64_t size)
{
    uint64_t chunks = (size + LR_CHUNK_BYTES - 1) / LR_CHUNK_BYTES;
    p->asked += chunks;
    p->from->asked += chunks;
    lr_message m = {.kind = LR_MESSAGE_FETCH};
    m.fetch.object = p->ref.id;
    m.fetch.offset = offset;
    m.fetch.size = size;
    (void)lr_channel_send(p->from->link, &m); /* where it fails the peer's end follows */
}

/* The next few chunks; false: all were asked for. */
static bool ask_more(pull *p)
{
    if (p->awaits) return false;
    uint64_t at = p->to ? lr_transfer_missing(&p->transfer, p->next_offset) : p->ref.size_bytes;
    if (at >= p->ref.size_bytes) return false;
    uint64_t left = p->ref.size_bytes - at, size = left < STEP * LR_CHUNK_BYTES ? left : STEP * LR_CHUNK_BYTES;
    p->next_offset = at + size;
    fetch(p, at, size);
    return true;
}

/* Of all that is to come from there, in turns. */
static void refill(lr_lending *x)
{
    for (bool more = true; more;) {
        more = false;
        for (pull *p = ex.pulls; p && x->asked + STEP <= WINDOW; p = p->next)
            if (p->from == x) more = ask_more(p) || more;
    }
}

/* It came (b), or will not come (NULL): whoever waits for it goes on. */
static void tell_waiting(lr_id id, lr_buffer *b)
{
    for (lr_lending *x = ex.first; x; x = x->next) {
        for (lr_parked *p = x->first; p; p = p->next)
            for (size_t i = 0; i < p->object_count; i++) {
                if (p->objects[i].b || !lr_id_equal(p->objects[i].id, id)) continue;
                p->missing--;
                if (b) lr_object_retain(&b->base);
                p->objects[i].b = b;
            }
        deliver_ready(x);
    }
}

static void pull_end(pull *p, lr_buffer *b)
{
    pull **at = &ex.pulls;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    if (p->from) p->from->asked -= p->asked;
    take_off(&ex.pull_count);
    if (!ex.closed) tell_waiting(p->ref.id, b);
    if (!ex.closed) lr_far_came(p->ref.id, b);
    if (p->to) {
        lr_transfer_fini(&p->transfer);
        lr_buffer_release(p->to);
    }
    free(p);
}

static void pull_fail(pull *p, const char *why)
{
    char text[280], size[32];
    lr_store_format(p->ref.size_bytes, size, sizeof size);
    snprintf(text, sizeof text, "%s (%.60s) from another node: %s", size, p->ref.site, why);
    lr_shared_note_failure(p->ref.id, text);
    pull_end(p, NULL);
}

static void pull_whole(pull *p)
{
    lr_buffer_seal(p->to);
    if (lr_shared_is_object(p->to)) lr_shared_adopt(p->to, p->ref.id);
    add(&ex.fetched, 1);
    pull_end(p, p->to);
}

static void *make_room(void *nothing)
{
    (void)nothing;
    (void)!lr_spill_make_room(ex.maker_bytes);
    atomic_store(&ex.maker_done, true);
    ex.ring();
    return NULL;
}

/* In a thread of its own: the disk is slow. */
static void ask_for_room(uint64_t bytes)
{
    if (ex.maker_runs) return;
    if (ex.collect) ex.collect();
    ex.maker_bytes = bytes;
    atomic_store(&ex.maker_done, false);
    ex.maker_runs = pthread_create(&ex.maker, NULL, make_room, NULL) == 0;
}

static void join_maker(bool wait)
{
    if (!ex.maker_runs || (!wait && !atomic_load(&ex.maker_done))) return;
    pthread_join(ex.maker, NULL);
    ex.maker_runs = false;
}

/* Memory for it, and the first FETCH; or it waits for room, or fails. */
static void pull_begin(pull *p)
{
    char text[240] = "";
    p->to = lr_buffer_new(p->ref.size_bytes, p->ref.site, text, sizeof text);
    if (p->to && lr_transfer_init(&p->transfer, p->ref.size_bytes)) {
        refill(p->from);
        return;
    }
    if (p->to) lr_buffer_release(p->to);
    p->to = NULL;
    uint64_t now = lr_clock_ns();
    if (p->ref.size_bytes > lr_store_capacity() || now > p->give_up_ns) {
        pull_fail(p, text);
        return;
    }
    ask_for_room(p->ref.size_bytes);
    if (now + NO_ROOM_NS < ex.room_ns) ex.room_ns = now + NO_ROOM_NS;
}

/* The first in the list is the first asked for. */
static bool pull_new(lr_lending *x, const lr_reference *ref)
{
    pull *p = calloc(1, sizeof *p), **at = &ex.pulls;
    if (!p) return false;
    p->ref = *ref;
    p->ref.site = lr_reference_site(ref);
    p->from = x;
    p->give_up_ns = lr_clock_ns() + PATIENCE_NS;
    while (*at)
        at = &(*at)->next;
    *at = p;
    add(&ex.pull_count, 1);
    return true;
}

bool lr_lending_ask(lr_lending *x, const lr_reference *ref)
{
    ex.room_ns = 0;
    return pull_of(ref->id) || pull_new(x, ref);
}

static void take_gone(lr_lending *x, lr_id id)
{
    pull *p = pull_of(id);
    if (p && p->from == x) pull_fail(p, "its node does not have it any more");
}

static void take_await(lr_lending *x, lr_id id)
{
    pull *p = pull_of(id);
    if (!p || p->from != x) return;
    p->awaits = true;
    x->asked -= p->asked;
    p->asked = 0;
    refill(x);
}

static void take_chunk(lr_lending *x, const lr_message *m)
{
    x->announced = true;
    x->chunk.object = m->chunk.object;
    x->chunk.offset = m->chunk.offset;
    x->chunk.size = m->chunk.size;
    x->chunk.check = m->chunk.check;
}

static void write_chunk(void *to, uint64_t offset, const void *bytes, uint64_t size_bytes)
{
    lr_buffer_write(to, offset, bytes, size_bytes);
}

void lr_lending_data(lr_lending *x, const void *bytes, size_t size_bytes)
{
    pull *p = x->announced ? pull_of(x->chunk.object) : NULL;
    x->announced = false;
    if (!p || !p->to || p->from != x || x->chunk.size != size_bytes) return; /* nobody waits for it any more */
    add(&ex.bytes_in, size_bytes);
    p->awaits = false;
    if (p->asked > 0) p->asked--, x->asked--;
    switch (lr_transfer_take(&p->transfer, x->chunk.offset, x->chunk.check, bytes, size_bytes, write_chunk, p->to)) {
    case LR_TRANSFER_TAKEN:
    case LR_TRANSFER_KNOWN: break;
    case LR_TRANSFER_WHOLE: pull_whole(p); break;
    case LR_TRANSFER_REFUSED:
        add(&ex.refused, 1);
        fetch(p, x->chunk.offset, x->chunk.size);
        break;
    case LR_TRANSFER_HOPELESS:
        add(&ex.refused, 1);
        pull_fail(p, "what came was not what had been sent, again and again");
        break;
    }
    refill(x);
}

/* ---- what comes ------------------------------------------------------------------------------------------------ */

/* Maps it, finds it, or asks for it. */
static lr_buffer *bring(lr_lending *x, const lr_reference *ref)
{
    lr_reference here = *ref;
    if (!x->same_host) here.place = (lr_place){0};
    lr_buffer *b = lr_shared_find(ref->id);
    add(&ex.found, b != NULL);
    if (!b) {
        b = lr_shared_map(&here);
        add(&ex.mapped, b != NULL);
    }
    return b;
}

static bool take_own(lr_lending *x, const lr_message *m)
{
    switch ((int)m->kind) {
    case LR_MESSAGE_HOST: x->same_host = !lr_id_is_nil(ex.host) && lr_id_equal(m->host.host, ex.host); return true;
    case LR_MESSAGE_BORROWED: take_borrowed(x, m->borrowed.objects); return true;
    case LR_MESSAGE_FETCH: take_fetch(x, m); return true;
    case LR_MESSAGE_CHUNK: take_chunk(x, m); return true;
    case LR_MESSAGE_GONE: take_gone(x, m->gone.object); return true;
    case LR_MESSAGE_AWAIT: take_await(x, m->await.object); return true;
    case LR_MESSAGE_RECLAIM:
        if (ex.collect) ex.collect();
        return true;
    default: return false;
    }
}

/* The record of a message with its objects; NULL: no memory. */
static lr_parked *parked_new(lr_lending *x, uint16_t kind, lr_bytes value, size_t count, lr_reference *refs)
{
    lr_parked *p = calloc(1, sizeof *p + count * sizeof p->objects[0]);
    if (!p) return NULL;
    p->kind = kind;
    p->object_count = count;
    lr_export_objects(lr_reader_of(value.at, value.size_bytes), refs, count);
    for (size_t i = 0; i < count; i++) {
        p->objects[i].id = refs[i].id;
        p->objects[i].b = refs[i].size_bytes > 0 ? bring(x, &refs[i]) : NULL;
        p->missing += !p->objects[i].b && refs[i].size_bytes > 0 && kind != LR_MESSAGE_RESULT;
    }
    return p;
}

/* Those that are missing are asked for, each once, as the turn ends. */
static void want_missing(lr_lending *x, lr_parked *p, const lr_reference *refs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (p->missing == 0 || p->objects[i].b || refs[i].size_bytes == 0 || pull_of(refs[i].id)) continue;
        if (!pull_new(x, &refs[i])) p->missing--; /* no memory: it is delivered without, and says so */
    }
    ex.room_ns = 0;
    deliver_ready(x);
}

void lr_lending_take(lr_lending *x, const lr_message *m)
{
    lr_id task;
    if (take_own(x, m)) return;
    lr_bytes value = value_of(m, &task);
    size_t count = value.size_bytes ? lr_export_objects(lr_reader_of(value.at, value.size_bytes), NULL, 0) : 0;
    if (count == 0 && !must_wait(x, task, NULL)) {
        x->deliver(x->user, m);
        return;
    }
    lr_reference *refs = malloc((count + 1) * sizeof *refs);
    lr_parked *p = refs ? parked_new(x, (uint16_t)m->kind, value, count, refs) : NULL;
    if (!p) {
        free(refs);
        return; /* no memory: as if it had not come; its sender's end tells */
    }
    p->task = task;
    if (p->missing == 0 && !must_wait(x, task, NULL))
        deliver(x, p, m);
    else if (!park(x, p, m))
        parked_free(p);
    else
        want_missing(x, p, refs, count);
    free(refs);
}

/* ---- turns --------------------------------------------------------------------------------------------------- */

static void begin_waiting(uint64_t now)
{
    if (now < ex.room_ns) return;
    ex.room_ns = LR_NEVER;
    for (pull *p = ex.pulls, *next; p; p = next) {
        next = p->next;
        if (!p->to) pull_begin(p);
    }
}

/* Often while it helps. */
static void sweep(uint64_t now)
{
    if (!lr_shared_has_limbo()) {
        ex.sweep_ns = LR_NEVER;
        return;
    }
    if (ex.sweep_ns == LR_NEVER) {
        ex.sweep_every_ns = SWEEP_NS;
    } else {
        if (now < ex.sweep_ns) return;
        bool helped = lr_shared_sweep_some() > 0;
        uint64_t longer = 2 * ex.sweep_every_ns < SWEEP_MAX_NS ? 2 * ex.sweep_every_ns : SWEEP_MAX_NS;
        ex.sweep_every_ns = helped ? SWEEP_NS : longer;
    }
    ex.sweep_ns = now + ex.sweep_every_ns;
}

static void tell_need(uint64_t now)
{
    if (now < ex.told_ns + TELL_NS || !atomic_exchange(&ex.tell, false)) return;
    ex.told_ns = now;
    for (lr_lending *x = ex.first; x; x = x->next) {
        lr_message m = {.kind = LR_MESSAGE_RECLAIM, .reclaim.wanted = 1};
        if (x->same_host) (void)lr_channel_send(x->link, &m);
    }
}

void lr_lending_turn(void)
{
    uint64_t now = lr_clock_ns();
    join_maker(false);
    tell_need(now);
    begin_waiting(now);
    sweep(now);
    for (lr_lending *x = ex.first; x; x = x->next)
        pump(x);
}

uint64_t lr_lending_deadline(void)
{
    uint64_t deadline = ex.room_ns < ex.sweep_ns ? ex.room_ns : ex.sweep_ns, tell = ex.told_ns + TELL_NS;
    return atomic_load(&ex.tell) && tell < deadline ? tell : deadline;
}

/* ---- life ---------------------------------------------------------------------------------------------------- */

void lr_lending_init(lr_lending *x, lr_channel *link, void (*deliver_to)(void *user, const lr_message *m), void *user)
{
    *x = (lr_lending){.link = link, .deliver = deliver_to, .user = user, .next = ex.first};
    ex.first = x;
    lr_message m = {.kind = LR_MESSAGE_HOST, .host.host = ex.host};
    (void)lr_channel_send(link, &m);
}

static bool waits_for(const lr_lending *x, lr_id id)
{
    for (const lr_parked *p = x->first; p; p = p->next)
        for (size_t i = 0; i < p->object_count; i++)
            if (!p->objects[i].b && lr_id_equal(p->objects[i].id, id)) return true;
    return false;
}

/* What came from x comes from another that has named it, or not at all. */
static void pulls_go_on(const lr_lending *x)
{
    for (pull *p = ex.pulls, *next; p; p = next) {
        next = p->next;
        if (p->from != x) continue;
        p->from = ex.closed ? NULL : ex.first;
        p->asked = p->next_offset = 0;
        p->awaits = false;
        while (p->from && !waits_for(p->from, p->ref.id))
            p->from = p->from->next;
        if (!p->from)
            pull_end(p, NULL);
        else
            refill(p->from);
    }
}

void lr_lending_fini(lr_lending *x)
{
    lr_lending **at = &ex.first;
    while (*at && *at != x)
        at = &(*at)->next;
    if (!*at) return; /* it never came up */
    *at = x->next;
    for (lr_parked *p; (p = x->first);) {
        x->first = p->next;
        take_off(&ex.parked);
        parked_free(p);
    }
    for (owing *o = ex.owed; o; o = o->next)
        if (o->x == x) o->x = NULL;
    lr_far_peer_gone(x);
    pulls_go_on(x);
    while (x->sending)
        sending_end(x);
    for (lr_flight *f = x->flights; f; f = f->next)
        f->x = NULL;
    size_t position = 0;
    for (lent *l; x->lent.slots && (l = lr_map_next(&x->lent, &position)); position = 0)
        lent_end(x, l);
    free(x->lent.slots);
    *x = (lr_lending){0};
    lr_shared_sweep();
}

static void on_need(void)
{
    atomic_store(&ex.tell, true);
    ex.ring();
}

void lr_lending_open(void (*ring)(void), void (*collect)(void), void (*spare)(void))
{
    ex.spare = spare;
    ex.ring = ring;
    ex.closed = false;
    ex.collect = collect;
    ex.host = lr_host_id();
    lr_shared_on_limbo(ring);
    lr_spill_on_need(on_need);
}

void lr_lending_close(void)
{
    if (!ex.ring) return;
    ex.closed = true;
    join_maker(true);
    lr_shared_on_limbo(NULL);
    lr_spill_on_need(NULL);
}

static uint64_t count_of(_Atomic uint64_t *counter) { return atomic_load_explicit(counter, memory_order_relaxed); }

void lr_lending_count(lr_lending_stats *out)
{
    *out = (lr_lending_stats){count_of(&ex.lent), count_of(&ex.parked), count_of(&ex.pull_count),
                               count_of(&ex.sendings), count_of(&ex.bytes_in), count_of(&ex.bytes_out),
                               count_of(&ex.mapped), count_of(&ex.found), count_of(&ex.fetched), count_of(&ex.refused)};
}
