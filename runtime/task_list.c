#include "runtime/task_list.h"

#include "runtime/clock.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct list {
    const lr_task_query *query;
    lr_task_row *rows; /* a heap, the oldest on top, once it is full */
    size_t count;
    uint64_t total, guests;
    const lr_fn **wanted; /* functions of the name that is asked for */
    size_t wanted_count, wanted_capacity;
} list;

/* ---- the newest of many ------------------------------------------------------------------------------------ */

static void sift_down(lr_task_row *rows, size_t count, size_t i)
{
    lr_task_row row = rows[i];
    for (size_t child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && rows[child + 1].submitted_ticks < rows[child].submitted_ticks) child++;
        if (rows[child].submitted_ticks >= row.submitted_ticks) break;
        rows[i] = rows[child];
    }
    rows[i] = row;
}

static void add(list *l, const lr_task_row *row)
{
    size_t limit = l->query->limit;
    l->total++;
    l->guests += row->guest;
    if (l->count < limit) {
        l->rows[l->count++] = *row;
        if (l->count < limit) return;
        for (size_t i = limit / 2; i-- > 0;)
            sift_down(l->rows, limit, i);
    } else if (limit > 0 && row->submitted_ticks > l->rows[0].submitted_ticks) {
        l->rows[0] = *row;
        sift_down(l->rows, limit, 0);
    }
}

/* ---- records ------------------------------------------------------------------------------------------------- */

static bool is_wanted(const list *l, const lr_fn *fn)
{
    if (!l->query->name) return true;
    for (size_t i = 0; i < l->wanted_count; i++)
        if (l->wanted[i] == fn) return true;
    return false;
}

/* Others write it meanwhile, with no word of order: what is read may be torn between fields, each of which is a machine
 * word and whole. It is taken only where the id is the same before and after. */
__attribute__((no_sanitize("thread"))) static void look(void *user, const void *record)
{
    list *l = user;
    const lr_task *t = record;
    lr_task_row row = {.state = LR_TASK_STATE_COUNT};
    row.id.hi = __atomic_load_n(&t->id.hi, __ATOMIC_ACQUIRE);
    row.id.lo = __atomic_load_n(&t->id.lo, __ATOMIC_ACQUIRE);
    uint32_t word = atomic_load_explicit(&t->word, memory_order_relaxed);
    row.state = (lr_task_state)(word & LR_TASK_STATE_BITS);
    row.guest = word & LR_TASK_GUEST;
    row.fn = __atomic_load_n(&t->fn, __ATOMIC_RELAXED);
    row.submitted_ticks = __atomic_load_n(&t->submitted_ticks, __ATOMIC_RELAXED);
    row.children = __atomic_load_n(&t->children, __ATOMIC_RELAXED);
    row.attempt = atomic_load_explicit(&t->attempt, memory_order_relaxed);
    row.progress = atomic_load_explicit(&t->progress, memory_order_acquire);
    if (row.id.hi != __atomic_load_n(&t->id.hi, __ATOMIC_RELAXED)) return;
    if (row.id.lo != __atomic_load_n(&t->id.lo, __ATOMIC_RELAXED) || lr_id_is_nil(row.id)) return;
    if ((word & LR_TASK_VALUE) || !row.fn || row.state >= LR_TASK_STATE_COUNT) return;
    if (l->query->state >= 0 && (int)row.state != l->query->state) return;
    if (is_wanted(l, row.fn)) add(l, &row);
}

/* ---- names ---------------------------------------------------------------------------------------------------- */

static void note_wanted(void *user, const lr_fn *fn)
{
    list *l = user;
    if (strcmp(fn->name, l->query->name) != 0) return;
    if (l->wanted_count == l->wanted_capacity) {
        size_t capacity = 2 * l->wanted_capacity + 16;
        const lr_fn **bigger = (const lr_fn **)realloc((void *)l->wanted, capacity * sizeof *bigger);
        if (!bigger) return;
        l->wanted = bigger;
        l->wanted_capacity = capacity;
    }
    l->wanted[l->wanted_count++] = fn;
}

static int by_fn(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const lr_task_row *)a)->fn, y = (uintptr_t)((const lr_task_row *)b)->fn;
    return (x > y) - (x < y);
}

static int newest_first(const void *a, const void *b)
{
    uint64_t x = ((const lr_task_row *)a)->submitted_ticks, y = ((const lr_task_row *)b)->submitted_ticks;
    return (x < y) - (x > y);
}

/* The rows are sorted by function. */
static void name_rows(void *user, const lr_fn *fn)
{
    list *l = user;
    size_t low = 0, high = l->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if ((uintptr_t)l->rows[middle].fn < (uintptr_t)fn) low = middle + 1;
        else high = middle;
    }
    for (; low < l->count && l->rows[low].fn == fn; low++)
        snprintf(l->rows[low].name, sizeof l->rows[low].name, "%s", fn->name);
}

lr_task_row *lr_task_list(const lr_task_query *query, size_t *count, uint64_t *total)
{
    list l = {.query = query, .rows = malloc((query->limit + 1) * sizeof *l.rows)};
    if (!l.rows) return NULL;
    if (query->name) lr_fn_each(note_wanted, &l);
    lr_slab_each(look, &l);
    free((void *)l.wanted);
    qsort(l.rows, l.count, sizeof *l.rows, by_fn);
    for (size_t i = 0; i < l.count; i++)
        strcpy(l.rows[i].name, "?");
    lr_fn_each(name_rows, &l);
    qsort(l.rows, l.count, sizeof *l.rows, newest_first);
    *count = l.count;
    *total = l.total;
    if (query->guests) *query->guests = l.guests;
    return l.rows;
}
