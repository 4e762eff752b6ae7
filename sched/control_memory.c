#include "sched/control_memory.h"

#include "sched/fault.h"

#define FIRST_SLOTS 64

/* A value: taken with the request, handed on to a row or an entry, never copied again. */
typedef struct value {
    void *at;
    size_t size_bytes;
} value;

/* The key under which rows and logs are found. */
typedef struct name {
    lr_id hash;
    lr_control_table table;
    uint32_t size_bytes;
    uint8_t bytes[LR_CONTROL_KEY_MAX];
} name;

typedef struct owner {
    lr_id id;
    lr_list rows; /* by serial */
} owner;

typedef struct row {
    struct row *same_hash;
    name name;
    owner *owner; /* NULL: nobody's */
    value value;
    uint64_t version, serial;
    lr_link table_link, owner_link;
} row;

typedef struct entry {
    lr_link link;
    uint64_t number;
    value value;
} entry;

typedef struct log {
    struct log *same_hash;
    name name;
    lr_list entries; /* oldest first */
    uint64_t last_number, count;
} log;

typedef struct request {
    lr_link link;
    lr_control_request ask; /* key and value point into this request */
    name name;
    value value;
    lr_control_status refused; /* not OK: decided when it was taken */
} request;

static lr_control_memory *memory_of(lr_control *c) { return (lr_control_memory *)(void *)c; }

/* --- memory --- */

static void *take(lr_control_memory *m, size_t size_bytes, size_t limit_bytes)
{
    if (size_bytes > limit_bytes || m->used_bytes > limit_bytes - size_bytes) return NULL;
    void *at = m->allocator.allocate(m->allocator.user, size_bytes);
    if (at) m->used_bytes += size_bytes;
    return at;
}

static void *take_zeroed(lr_control_memory *m, size_t size_bytes, size_t limit_bytes)
{
    void *at = take(m, size_bytes, limit_bytes);
    return at ? memset(at, 0, size_bytes) : NULL;
}

static void give(lr_control_memory *m, void *at, size_t size_bytes)
{
    if (!at) return;
    m->used_bytes -= size_bytes;
    m->allocator.release(m->allocator.user, at, size_bytes);
}

static void give_value(lr_control_memory *m, value *v)
{
    give(m, v->at, v->size_bytes);
    *v = (value){NULL, 0};
}

/* --- hash tables --- */

static bool map_open(lr_control_memory *m, lr_map *map)
{
    lr_map_slot *slots = take(m, FIRST_SLOTS * sizeof *slots, m->capacity_bytes);
    if (slots) lr_map_init(map, slots, FIRST_SLOTS);
    return slots != NULL;
}

static void map_close(lr_control_memory *m, lr_map *map)
{
    give(m, map->slots, map->slot_count * sizeof *map->slots);
    map->slots = NULL;
}

/* Sees to it that one more key fits. */
static bool map_room(lr_control_memory *m, lr_map *map)
{
    if (map->count < lr_map_limit(map->slot_count)) return true;
    size_t old_count = map->slot_count, new_count = old_count * 2;
    lr_map_slot *slots = take(m, new_count * sizeof *slots, m->capacity_bytes);
    if (!slots) return false;
    give(m, lr_map_move(map, slots, new_count), old_count * sizeof *slots);
    return true;
}

static void map_set(lr_map *map, lr_id hash, void *first)
{
    if (!first) {
        lr_map_remove(map, hash);
        return;
    }
    bool there_was_room = lr_map_put(map, hash, first); /* see map_room */
    LR_ASSERT(there_was_room);
}

/* --- names --- */

static name name_of(lr_control_table table, lr_bytes key)
{
    name n = {.table = table, .size_bytes = (uint32_t)key.size_bytes};
    uint8_t text[1 + LR_CONTROL_KEY_MAX] = {(uint8_t)table};
    if (key.size_bytes > 0) {
        memcpy(n.bytes, key.at, key.size_bytes);
        memcpy(text + 1, key.at, key.size_bytes);
    }
    n.hash = lr_id_from_bytes(text, 1 + key.size_bytes);
    return n;
}

static bool name_equal(const name *a, const name *b)
{
    return a->table == b->table && a->size_bytes == b->size_bytes &&
           memcmp(a->bytes, b->bytes, a->size_bytes) == 0;
}

static bool begins_with(const name *n, const uint8_t *prefix, uint32_t size_bytes)
{
    return n->size_bytes >= size_bytes && memcmp(n->bytes, prefix, size_bytes) == 0;
}

static row *find_row(const lr_control_memory *m, const name *n)
{
    row *r = lr_map_get(&m->rows, n->hash);
    while (r && !name_equal(&r->name, n))
        r = r->same_hash;
    return r;
}

static log *find_log(const lr_control_memory *m, const name *n)
{
    log *l = lr_map_get(&m->logs, n->hash);
    while (l && !name_equal(&l->name, n))
        l = l->same_hash;
    return l;
}

/* --- wake-ups --- */

static bool subscribed(const lr_control_memory *m, const name *n)
{
    for (int i = 0; i < LR_CONTROL_SUBSCRIPTIONS_MAX; i++) {
        const lr_control_subscription *s = &m->subscription[i];
        if (s->used && s->table == n->table && begins_with(n, s->prefix, s->prefix_bytes)) return true;
    }
    return false;
}

static uint32_t wake(lr_control_memory *m, const name *n)
{
    if (!subscribed(m, n)) return 0;
    m->control.handler.on_wake(m->control.handler.user, n->table,
                               lr_bytes_of(n->bytes, n->size_bytes));
    return 1;
}

static lr_control_subscription *find_subscription(lr_control_memory *m, const name *n)
{
    for (int i = 0; i < LR_CONTROL_SUBSCRIPTIONS_MAX; i++) {
        lr_control_subscription *s = &m->subscription[i];
        if (s->used && s->table == n->table && s->prefix_bytes == n->size_bytes &&
            memcmp(s->prefix, n->bytes, n->size_bytes) == 0)
            return s;
    }
    return NULL;
}

/* --- owners --- */

/* The owner's record, made when it is new. False: no room. *out is NULL for nobody. */
static bool owner_get(lr_control_memory *m, lr_id id, owner **out)
{
    *out = NULL;
    if (lr_id_is_nil(id)) return true;
    *out = lr_map_get(&m->owners, id);
    if (*out) return true;
    if (!map_room(m, &m->owners)) return false;
    owner *o = take(m, sizeof *o, m->capacity_bytes);
    if (!o) return false;
    o->id = id;
    lr_list_init(&o->rows);
    map_set(&m->owners, id, o);
    *out = o;
    return true;
}

/* Lets go of an owner without rows. */
static void owner_tidy(lr_control_memory *m, owner *o)
{
    if (!o || !lr_list_empty(&o->rows)) return;
    lr_map_remove(&m->owners, o->id);
    give(m, o, sizeof *o);
}

/* Puts a row at the end of its table and of its owner's rows (a scan may meet it again). */
static void row_join(lr_control_memory *m, row *r, owner *o)
{
    r->serial = ++m->serial;
    r->owner = o;
    lr_list_append(&m->table_rows[r->name.table], &r->table_link);
    if (o) lr_list_append(&o->rows, &r->owner_link);
}

static void row_leave(lr_control_memory *m, row *r)
{
    lr_link_remove(&r->table_link);
    if (r->owner) lr_link_remove(&r->owner_link);
    owner_tidy(m, r->owner);
    r->owner = NULL;
}

/* --- rows --- */

/* A row without a value that is in no list yet, or NULL. */
static row *row_new(lr_control_memory *m, const name *n)
{
    if (!map_room(m, &m->rows)) return NULL;
    row *r = take_zeroed(m, sizeof *r, m->capacity_bytes);
    if (!r) return NULL;
    r->name = *n;
    r->same_hash = lr_map_get(&m->rows, n->hash);
    map_set(&m->rows, n->hash, r);
    return r;
}

static void row_unlink_hash(lr_control_memory *m, row *r)
{
    row *first = lr_map_get(&m->rows, r->name.hash);
    if (first == r) {
        map_set(&m->rows, r->name.hash, r->same_hash);
        return;
    }
    while (first->same_hash != r)
        first = first->same_hash;
    first->same_hash = r->same_hash;
}

static void row_free(lr_control_memory *m, row *r)
{
    row_unlink_hash(m, r);
    row_leave(m, r);
    give_value(m, &r->value);
    give(m, r, sizeof *r);
}

/* Writes the request's value into the row (NULL: a new one). Nothing has changed when it says FULL. */
static lr_control_status row_write(lr_control_memory *m, request *q, row *r)
{
    owner *o;
    if (!owner_get(m, q->ask.owner, &o)) return LR_CONTROL_STATUS_FULL;
    bool fresh = r == NULL;
    if (fresh) r = row_new(m, &q->name);
    if (!r) {
        owner_tidy(m, o);
        return LR_CONTROL_STATUS_FULL;
    }
    if (!fresh && r->owner != o) row_leave(m, r);
    if (!lr_link_in_list(&r->table_link)) row_join(m, r, o);
    give_value(m, &r->value);
    r->value = q->value;
    q->value = (value){NULL, 0};
    r->version = ++m->version;
    return LR_CONTROL_STATUS_OK;
}

static lr_control_row row_shown(const row *r)
{
    return (lr_control_row){lr_bytes_of(r->name.bytes, r->name.size_bytes),
                            lr_bytes_of(r->value.at, r->value.size_bytes),
                            r->owner ? r->owner->id : LR_ID_NIL, r->version};
}

/* --- logs --- */

static log *log_new(lr_control_memory *m, const name *n)
{
    if (!map_room(m, &m->logs)) return NULL;
    log *l = take_zeroed(m, sizeof *l, m->capacity_bytes);
    if (!l) return NULL;
    l->name = *n;
    lr_list_init(&l->entries);
    l->same_hash = lr_map_get(&m->logs, n->hash);
    map_set(&m->logs, n->hash, l);
    return l;
}

static void log_drop_oldest(lr_control_memory *m, log *l)
{
    entry *e = LR_CONTAINER(lr_list_pop(&l->entries), entry, link);
    l->count--;
    give_value(m, &e->value);
    give(m, e, sizeof *e);
}

static void log_free(lr_control_memory *m, log *l)
{
    log *first = lr_map_get(&m->logs, l->name.hash);
    if (first == l) {
        map_set(&m->logs, l->name.hash, l->same_hash);
    } else {
        while (first->same_hash != l)
            first = first->same_hash;
        first->same_hash = l->same_hash;
    }
    while (l->count > 0)
        log_drop_oldest(m, l);
    give(m, l, sizeof *l);
}

/* --- operations: one function each, named in control.def --- */

typedef struct answer {
    lr_control_reply reply;
    lr_control_row rows[LR_CONTROL_ROWS_MAX];
    bool wrote; /* wakes subscribers, if asked to */
    uint32_t woken;
} answer;

typedef void operation(lr_control_memory *m, request *q, answer *a);

static uint32_t limit_of(const request *q)
{
    return q->ask.limit == 0 || q->ask.limit > LR_CONTROL_ROWS_MAX ? LR_CONTROL_ROWS_MAX
                                                                   : q->ask.limit;
}

static void add_row(answer *a, lr_control_row shown) { a->rows[a->reply.count++] = shown; }

static void answer_write(lr_control_memory *m, request *q, row *r, answer *a)
{
    a->reply.status = row_write(m, q, r);
    a->wrote = a->reply.status == LR_CONTROL_STATUS_OK;
    if (a->wrote) a->reply.version = m->version;
}

static void op_put(lr_control_memory *m, request *q, answer *a)
{
    answer_write(m, q, find_row(m, &q->name), a);
}

static void op_get(lr_control_memory *m, request *q, answer *a)
{
    row *r = find_row(m, &q->name);
    a->reply.status = r ? LR_CONTROL_STATUS_OK : LR_CONTROL_STATUS_NOT_FOUND;
    if (!r) return;
    a->reply.version = r->version;
    add_row(a, row_shown(r));
}

static void op_delete(lr_control_memory *m, request *q, answer *a)
{
    row *r = find_row(m, &q->name);
    a->reply.status = r ? LR_CONTROL_STATUS_OK : LR_CONTROL_STATUS_NOT_FOUND;
    if (r) row_free(m, r);
    a->wrote = r != NULL;
}

static void op_compare_and_set(lr_control_memory *m, request *q, answer *a)
{
    row *r = find_row(m, &q->name);
    if (q->ask.version == (r ? r->version : 0) || LR_FAULT(BLIND_SET)) {
        answer_write(m, q, r, a);
        return;
    }
    a->reply.status = LR_CONTROL_STATUS_CONFLICT;
    if (!r) return;
    a->reply.version = r->version;
    add_row(a, row_shown(r));
}

/* The row behind r in the list that a scan walks; the first for r == NULL. */
static row *scan_next(const lr_control_memory *m, const request *q, const owner *o, const row *r)
{
    if (o) {
        lr_link *l = r ? lr_list_next(&o->rows, &r->owner_link) : lr_list_first(&o->rows);
        return l ? LR_CONTAINER(l, row, owner_link) : NULL;
    }
    const lr_list *rows = &m->table_rows[q->ask.table];
    lr_link *l = r ? lr_list_next(rows, &r->table_link) : lr_list_first(rows);
    return l ? LR_CONTAINER(l, row, table_link) : NULL;
}

static void op_scan(lr_control_memory *m, request *q, answer *a)
{
    const owner *o = NULL;
    if (!lr_id_is_nil(q->ask.owner) && !(o = lr_map_get(&m->owners, q->ask.owner))) return;
    for (row *r = scan_next(m, q, o, NULL); r; r = scan_next(m, q, o, r)) {
        if (r->serial <= q->ask.cursor || r->name.table != q->ask.table) continue;
        if (!begins_with(&r->name, q->name.bytes, q->name.size_bytes)) continue;
        if (a->reply.count == limit_of(q)) return; /* there is more: the cursor stays */
        add_row(a, row_shown(r));
        a->reply.cursor = r->serial;
    }
    a->reply.cursor = 0;
}

static void op_delete_owned(lr_control_memory *m, request *q, answer *a)
{
    owner *o = lr_id_is_nil(q->ask.owner) ? NULL : lr_map_get(&m->owners, q->ask.owner);
    for (bool last = o == NULL; !last; a->reply.version++) {
        row *r = LR_CONTAINER(lr_list_first(&o->rows), row, owner_link);
        name gone = r->name;
        last = lr_list_next(&o->rows, &r->owner_link) == NULL; /* the last row takes o with it */
        row_free(m, r);
        if (q->ask.notify) a->woken += wake(m, &gone);
    }
}

static void op_append(lr_control_memory *m, request *q, answer *a)
{
    LR_ASSERT(q->ask.limit > 0);
    log *l = find_log(m, &q->name);
    bool fresh = l == NULL;
    if (fresh) l = log_new(m, &q->name);
    entry *e = l ? take_zeroed(m, sizeof *e, m->capacity_bytes) : NULL;
    if (!e) {
        if (fresh && l) log_free(m, l);
        a->reply.status = LR_CONTROL_STATUS_FULL;
        return;
    }
    e->number = ++l->last_number;
    e->value = q->value;
    q->value = (value){NULL, 0};
    lr_list_append(&l->entries, &e->link);
    l->count++;
    while (l->count > q->ask.limit)
        log_drop_oldest(m, l);
    a->reply.version = l->last_number;
    a->wrote = true;
}

static void op_read(lr_control_memory *m, request *q, answer *a)
{
    log *l = find_log(m, &q->name);
    a->reply.cursor = q->ask.cursor;
    if (!l) return;
    for (lr_link *k = lr_list_first(&l->entries); k; k = lr_list_next(&l->entries, k)) {
        const entry *e = LR_CONTAINER(k, entry, link);
        if (e->number <= q->ask.cursor) continue;
        if (a->reply.count == limit_of(q)) return;
        add_row(a, (lr_control_row){q->ask.key, lr_bytes_of(e->value.at, e->value.size_bytes),
                                    LR_ID_NIL, e->number});
        a->reply.cursor = e->number;
    }
}

static void op_delete_log(lr_control_memory *m, request *q, answer *a)
{
    log *l = find_log(m, &q->name);
    a->reply.status = l ? LR_CONTROL_STATUS_OK : LR_CONTROL_STATUS_NOT_FOUND;
    if (l) log_free(m, l);
}

static void op_subscribe(lr_control_memory *m, request *q, answer *a)
{
    if (find_subscription(m, &q->name)) return;
    for (int i = 0; i < LR_CONTROL_SUBSCRIPTIONS_MAX; i++) {
        lr_control_subscription *s = &m->subscription[i];
        if (s->used) continue;
        *s = (lr_control_subscription){true, q->ask.table, q->name.size_bytes, {0}};
        memcpy(s->prefix, q->name.bytes, q->name.size_bytes);
        return;
    }
    a->reply.status = LR_CONTROL_STATUS_FULL;
}

static void op_unsubscribe(lr_control_memory *m, request *q, answer *a)
{
    lr_control_subscription *s = find_subscription(m, &q->name);
    a->reply.status = s ? LR_CONTROL_STATUS_OK : LR_CONTROL_STATUS_NOT_FOUND;
    if (s) s->used = false;
}

static void op_publish(lr_control_memory *m, request *q, answer *a)
{
    a->woken += wake(m, &q->name);
}

static operation *const operations[LR_CONTROL_OP_COUNT] = {
    [LR_CONTROL_PUT] = op_put,
    [LR_CONTROL_GET] = op_get,
    [LR_CONTROL_DELETE] = op_delete,
    [LR_CONTROL_COMPARE_AND_SET] = op_compare_and_set,
    [LR_CONTROL_SCAN] = op_scan,
    [LR_CONTROL_DELETE_OWNED] = op_delete_owned,
    [LR_CONTROL_APPEND] = op_append,
    [LR_CONTROL_READ] = op_read,
    [LR_CONTROL_DELETE_LOG] = op_delete_log,
    [LR_CONTROL_SUBSCRIBE] = op_subscribe,
    [LR_CONTROL_UNSUBSCRIBE] = op_unsubscribe,
    [LR_CONTROL_PUBLISH] = op_publish,
};

/* --- the interface --- */

static bool op_has_value(lr_control_op op)
{
    return op == LR_CONTROL_PUT || op == LR_CONTROL_COMPARE_AND_SET || op == LR_CONTROL_APPEND;
}

static bool op_has_key(lr_control_op op) { return op != LR_CONTROL_DELETE_OWNED; }

/* Copies the value; what cannot be is refused with an answer, not here. */
static void copy_value(lr_control_memory *m, request *q, lr_bytes given)
{
    if (!op_has_value(q->ask.op) || given.size_bytes == 0) return;
    if (given.size_bytes > LR_CONTROL_VALUE_MAX) {
        q->refused = LR_CONTROL_STATUS_TOO_LARGE;
        return;
    }
    q->value.at = take(m, given.size_bytes, m->capacity_bytes);
    if (!q->value.at) {
        q->refused = LR_CONTROL_STATUS_FULL;
        return;
    }
    q->value.size_bytes = given.size_bytes;
    memcpy(q->value.at, given.at, given.size_bytes);
}

static lr_err memory_request(lr_control *c, const lr_control_request *ask)
{
    lr_control_memory *m = memory_of(c);
    LR_ASSERT(ask->op < LR_CONTROL_OP_COUNT && ask->table < LR_CONTROL_TABLE_COUNT);
    request *q = take_zeroed(m, sizeof *q, m->capacity_bytes + LR_CONTROL_MEMORY_RESERVE);
    if (!q) return LR_ERR_OUT_OF_MEMORY;
    q->ask = *ask;
    lr_bytes key = op_has_key(ask->op) ? ask->key : lr_bytes_of(NULL, 0);
    if (key.size_bytes > LR_CONTROL_KEY_MAX)
        q->refused = LR_CONTROL_STATUS_TOO_LARGE;
    else
        q->name = name_of(ask->table, key);
    q->ask.key = lr_bytes_of(q->name.bytes, q->name.size_bytes);
    if (q->refused == LR_CONTROL_STATUS_OK) copy_value(m, q, ask->value);
    lr_list_append(&m->requests, &q->link);
    m->request_count++;
    return LR_ERR_NONE;
}

static void free_request(lr_control_memory *m, request *q)
{
    give_value(m, &q->value);
    give(m, q, sizeof *q);
}

/* Works off one request: does it, answers it, wakes who wants to know. Returns what was delivered. */
static uint32_t answer_one(lr_control_memory *m, request *q)
{
    answer a;
    a.reply = (lr_control_reply){
        .token = q->ask.token, .op = q->ask.op, .status = q->refused, .rows = a.rows};
    a.wrote = false;
    a.woken = 0;
    if (q->refused == LR_CONTROL_STATUS_OK) operations[q->ask.op](m, q, &a);
    m->control.handler.on_reply(m->control.handler.user, &a.reply);
    if (a.wrote && q->ask.notify) a.woken += wake(m, &q->name);
    free_request(m, q);
    return 1 + a.woken;
}

static uint32_t memory_turn(lr_control *c, uint64_t wait_ns)
{
    (void)wait_ns;
    lr_control_memory *m = memory_of(c);
    uint32_t delivered = 0;
    for (size_t todo = m->request_count; todo > 0; todo--) {
        m->request_count--;
        delivered += answer_one(m, LR_CONTAINER(lr_list_pop(&m->requests), request, link));
    }
    return delivered;
}

static void memory_fini(lr_control *c)
{
    lr_control_memory *m = memory_of(c);
    for (lr_link *l; (l = lr_list_pop(&m->requests));)
        free_request(m, LR_CONTAINER(l, request, link));
    for (int i = 0; i < LR_CONTROL_TABLE_COUNT; i++)
        for (lr_link *l; (l = lr_list_first(&m->table_rows[i]));)
            row_free(m, LR_CONTAINER(l, row, table_link));
    for (size_t at = 0; m->logs.count > 0; at = 0)
        log_free(m, lr_map_next(&m->logs, &at));
    map_close(m, &m->rows);
    map_close(m, &m->logs);
    map_close(m, &m->owners);
    LR_ASSERT(m->used_bytes == 0);
}

static const lr_control_class memory_class = {memory_request, memory_turn, memory_fini};

lr_err lr_control_memory_init(lr_control_memory *m, const lr_allocator *allocator,
                              size_t capacity_bytes, const lr_control_handler *handler)
{
    memset(m, 0, sizeof *m);
    m->control = (lr_control){&memory_class, *handler};
    m->allocator = *allocator;
    m->capacity_bytes = capacity_bytes < SIZE_MAX / 2 ? capacity_bytes : SIZE_MAX / 2;
    lr_list_init(&m->requests);
    for (int i = 0; i < LR_CONTROL_TABLE_COUNT; i++)
        lr_list_init(&m->table_rows[i]);
    if (map_open(m, &m->rows) && map_open(m, &m->logs) && map_open(m, &m->owners))
        return LR_ERR_NONE;
    map_close(m, &m->rows);
    map_close(m, &m->logs);
    map_close(m, &m->owners);
    return LR_ERR_OUT_OF_MEMORY;
}

size_t lr_control_memory_used_bytes(const lr_control_memory *m) { return m->used_bytes; }
