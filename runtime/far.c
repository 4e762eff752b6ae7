#include "runtime/far.h"

#include "runtime/allocator.h"
#include "runtime/extra.h"
#include "runtime/large.h"
#include "runtime/pile.h"
#include "sched/map.h"

#include <stdio.h>
#include <stdlib.h>

enum { TRIED_HOLDER = 1, TRIED_LENDER = 2, TRIED_LINEAGE = 4 };

typedef struct absent {
    lr_absent base; /* first */
    lr_id id, holder;
    lr_lending *lender; /* to be told BORROWED; NULL: gone, or told */
    lr_origin *origin;  /* one count; NULL: it cannot be made again, or is here */
    lr_id record;       /* the result of this one names it, */
    uint32_t index;     /* as that reference */
    unsigned tried;
    bool settled;       /* it is here, or never will be */
    struct absent *same;  /* another that waits for the same object */
    struct absent *made;  /* what was made in its place, not here either; one count */
    struct absent *behind, *next_behind; /* those that wait for this one, which was made in their place */
    lr_link link;         /* in all */
    lr_link of_origin;    /* in the origin's objects */
    /* any thread */
    lr_piled piled;       /* wanted, or dead */
    _Atomic bool wanted;  /* one count is the node thread's until it has come */
    _Atomic(lr_task *) arrival; /* one count */
} absent;

/* A task that waits for the bytes of its inputs. */
typedef struct bringing {
    lr_waiter waiter;  /* first; of one arrival at a time */
    lr_task *t;        /* one count */
    lr_task *arrival;  /* one count; NULL: none is waited for */
    lr_piled piled;    /* due */
    lr_link link;
} bringing;

static struct {
    lr_far_hooks hooks;
    lr_list all, waiting; /* absents; bringings */
    lr_map asked;         /* object -> absent that waits for it, and by `same` others */
    /* any thread */
    _Atomic bool open;
    lr_pile wanted, dead; /* absents */
    lr_pile due;          /* bringings */
    _Atomic uint64_t busy;
} far;

static absent *absent_of(const lr_buffer *b) { return (absent *)(void *)(uintptr_t)b; }

static void ring(void)
{
    if (far.hooks.ring) far.hooks.ring();
}

/* ---- absent buffers ----------------------------------------------------------------------------------------- */

static void leave(lr_pile *pile, lr_piled *piece)
{
    if (lr_pile_put(pile, piece)) ring();
}

static void dead(lr_buffer *b)
{
    absent *a = absent_of(b);
    lr_buffer *here = atomic_load(&a->base.here);
    lr_task *arrival = atomic_load(&a->arrival);
    if (here) lr_buffer_release(here);
    if (arrival) lr_task_release(arrival);
    if (atomic_load(&far.open))
        leave(&far.dead, &a->piled);
    else
        free(a);
}

/* Any thread. Not counted; NULL: no memory. */
static lr_task *arrival_of(absent *a)
{
    lr_task *t = atomic_load(&a->arrival), *none = NULL;
    if (t) return t;
    t = lr_task_new_elsewhere(a->id);
    if (!t) return NULL;
    lr_task_set(t, LR_TASK_SEEN);
    if (atomic_compare_exchange_strong(&a->arrival, &none, t)) return t;
    lr_task_release(t);
    return none;
}

/* Any thread. */
static void want(absent *a)
{
    if (atomic_load(&a->base.here) || !arrival_of(a) || atomic_exchange(&a->wanted, true)) return;
    lr_object_retain(&a->base.base.base);
    atomic_fetch_add(&far.busy, 1);
    leave(&far.wanted, &a->piled);
}

lr_buffer *lr_far_new(const lr_reference *ref, lr_lending *lender, lr_id sender, lr_origin *origin, lr_id record,
                      uint32_t index)
{
    absent *a = calloc(1, sizeof *a);
    if (!a) return NULL;
    lr_buffer_init(&a->base.base, ref->size_bytes, NULL, lr_reference_site(ref));
    a->base.base.is_absent = true;
    a->base.free = dead;
    lr_buffer_seal(&a->base.base);
    a->id = ref->id;
    a->holder = lr_id_is_nil(ref->holder) ? sender : ref->holder;
    a->lender = lender;
    a->origin = origin;
    if (origin) {
        lr_origin_retain(origin);
        lr_list_append(lr_origin_objects(origin), &a->of_origin);
    }
    a->record = record;
    a->index = index;
    lr_list_append(&far.all, &a->link);
    if (origin && lr_origin_is_heavy(origin)) want(a);
    return &a->base.base;
}

void lr_far_show(const lr_buffer *b, lr_reference *out)
{
    const absent *a = absent_of(b);
    *out = lr_reference_of(b);
    out->id = a->id;
    out->holder = a->holder;
}

static void told_borrowed(absent *a)
{
    if (a->lender) lr_lending_acknowledge(a->lender, a->id);
    a->lender = NULL;
}

static void let_origin_go(absent *a)
{
    lr_origin *o = a->origin;
    if (!o) return;
    a->origin = NULL;
    lr_link_remove(&a->of_origin);
    lr_origin_release(o);
}

static void bury(void)
{
    for (lr_piled *p = lr_pile_take(&far.dead), *next; p; p = next) {
        absent *a = LR_CONTAINER(p, absent, piled);
        next = p->next;
        told_borrowed(a);
        let_origin_go(a);
        if (a->made) lr_buffer_release(&a->made->base.base);
        lr_link_remove(&a->link);
        free(a);
    }
}

/* ---- arrivals ----------------------------------------------------------------------------------------------- */

void lr_far_want(lr_buffer *b) { want(absent_of(b)); }

static void over(absent *a, lr_buffer *b, const char *why)
{
    lr_value nothing = {0};
    lr_task *arrival = arrival_of(a);
    if (b) {
        lr_object_retain(&b->base);
        atomic_store_explicit(&a->base.here, b, memory_order_release);
        told_borrowed(a);
        let_origin_go(a);
        if (arrival) lr_pool_end(arrival, LR_TASK_READY, &nothing);
    } else if (arrival) {
        lr_pool_fail(arrival, LR_ERR_OBJECT_LOST, why, NULL);
    }
    lr_lending_arrived(&a->base.base, b != NULL);
}

/* It is here (b), or will never be (why); and so are those that it was made in the place of, and those behind them. */
static void settle(absent *a, lr_buffer *b, const char *why)
{
    a->next_behind = NULL;
    while (a) {
        absent *one = a, *behind = one->behind, *next;
        for (a = one->next_behind; behind; behind = next) {
            next = behind->next_behind;
            behind->next_behind = a;
            a = behind;
        }
        one->behind = one->next_behind = NULL;
        one->settled = true;
        over(one, b, why);
        atomic_fetch_sub(&far.busy, 1);
        lr_buffer_release(&one->base.base);
    }
}

/* It comes as what was made in its place does. */
static void wait_behind(absent *a)
{
    absent *made = a->made;
    lr_buffer *here = lr_buffer_here(&made->base.base);
    const lr_task *arrival = atomic_load(&made->arrival);
    if (here || (arrival && lr_task_ended(arrival))) {
        settle(a, here, "it was made again, and lost again");
        return;
    }
    a->next_behind = made->behind;
    made->behind = a;
    want(made);
}

static bool ask(absent *a, lr_lending *x)
{
    lr_reference ref;
    absent *first = lr_map_find(&far.asked, a->id);
    lr_far_show(&a->base.base, &ref);
    if (!lr_lending_ask(x, &ref)) return false;
    a->same = first ? first->same : NULL;
    if (first) {
        first->same = a;
        return true;
    }
    return lr_map_add(&far.asked, a->id, a, &lr_process_allocator);
}

/* From the next that may have it. */
static void go_on(absent *a)
{
    char why[400];
    lr_buffer *b = lr_shared_find(a->id);
    if (b) {
        settle(a, b, NULL);
        lr_buffer_release(b);
        return;
    }
    if (a->made) {
        wait_behind(a);
        return;
    }
    lr_lending *x = a->tried & TRIED_HOLDER ? NULL : far.hooks.of(a->holder);
    a->tried |= TRIED_HOLDER;
    if (x == a->lender && x) a->tried |= TRIED_LENDER;
    if (x && ask(a, x)) return;
    x = a->tried & TRIED_LENDER ? NULL : a->lender;
    a->tried |= TRIED_LENDER;
    if (x && ask(a, x)) return;
    if (!(a->tried & TRIED_LINEAGE)) {
        a->tried |= TRIED_LINEAGE;
        if (a->origin && lr_lineage_remake(a->origin, a->record, &a->base.base, a->index)) return;
    }
    lr_shared_why(a->id, why, sizeof why);
    settle(a, NULL, why);
}

void lr_far_came(lr_id object, lr_buffer *b)
{
    absent *a = lr_map_take(&far.asked, object);
    while (a) {
        absent *same = a->same;
        a->same = NULL;
        if (b)
            settle(a, b, NULL);
        else
            go_on(a);
        a = same;
    }
}

void lr_far_peer_gone(const lr_lending *x)
{
    for (lr_link *l = lr_list_first(&far.all); l; l = lr_list_next(&far.all, l)) {
        absent *a = LR_CONTAINER(l, absent, link);
        if (a->lender == x) a->lender = NULL;
    }
}

static void set_made(absent *a, lr_buffer *b)
{
    lr_object_retain(&b->base);
    if (a->made) lr_buffer_release(&a->made->base.base);
    a->made = absent_of(b);
}

void lr_far_remade(lr_buffer *old, lr_buffer *b, const char *why)
{
    absent *a = absent_of(old);
    if (!b || !b->is_absent) {
        settle(a, b, why);
        return;
    }
    set_made(a, b);
    wait_behind(a);
}

void lr_far_made_too(lr_origin *o, const lr_task *t)
{
    const lr_list *objects = lr_origin_objects(o);
    for (lr_link *l = lr_list_first(objects); l; l = lr_list_next(objects, l)) {
        absent *a = LR_CONTAINER(l, absent, of_origin);
        bool known = atomic_load(&a->wanted) || a->lender || far.hooks.of(a->holder);
        if (known || !lr_id_equal(a->record, t->id) || a->index >= lr_value_refs_in(&t->result)) continue;
        lr_buffer *b = lr_value_buffer(&t->result, a->index);
        if (b && b->is_absent && b->size_bytes == a->base.base.size_bytes) set_made(a, b);
    }
}

lr_origin *lr_far_origin(const lr_buffer *b) { return b->is_absent ? absent_of(b)->origin : NULL; }

void lr_far_let_go(lr_buffer *b)
{
    absent *a = absent_of(b);
    if (atomic_load(&a->wanted) || atomic_load(&a->base.here) || !a->origin) return;
    told_borrowed(a);
    a->tried = TRIED_HOLDER | TRIED_LENDER;
    if (a->made) lr_far_let_go(&a->made->base.base);
}

/* ---- values ------------------------------------------------------------------------------------------------- */

/* NULL: it is another object, or here. */
static absent *absent_at(const lr_value *v, uint32_t i)
{
    lr_buffer *b = lr_value_buffer(v, i);
    return b && !lr_buffer_here(b) ? absent_of(b) : NULL;
}

bool lr_far_any(const lr_value *v)
{
    for (uint32_t i = 0; i < lr_value_refs_in(v); i++)
        if (absent_at(v, i)) return true;
    return false;
}

lr_far_state lr_far_look(const lr_task *t, lr_task **arrival)
{
    lr_task *found = NULL;
    bool lost = false;
    for (uint32_t i = 0; i < lr_value_refs_in(&t->result) && !lost; i++) {
        absent *a = absent_at(&t->result, i);
        if (!a) continue;
        want(a);
        lr_task *its = arrival_of(a);
        lost = its && lr_task_state_of(its) > LR_TASK_READY;
        if (lost || !found) found = its;
    }
    *arrival = found;
    if (!found) return LR_FAR_HERE;
    lr_task_retain(found);
    return lost ? LR_FAR_LOST : LR_FAR_COMING;
}

static void bring_all(const lr_task *t)
{
    lr_task *arrival;
    if (lr_task_state_of(t) != LR_TASK_READY || !lr_task_has(t, LR_TASK_FAR)) return;
    (void)lr_far_look(t, &arrival);
    if (arrival) lr_task_release(arrival);
}

void lr_far_will_get(lr_task *t)
{
    if (!lr_far_is_open()) return;
    lr_task_set(t, LR_TASK_BRING); /* first: its end looks for it */
    bring_all(t);
}

void lr_far_ended(const lr_task *t)
{
    if (lr_task_has(t, LR_TASK_BRING)) bring_all(t);
}

/* ---- tasks whose inputs are far --------------------------------------------------------------------------------- */

static void on_arrival(lr_waiter *w, lr_task *t, lr_wake *wake)
{
    (void)t;
    (void)wake;
    leave(&far.due, &((bringing *)w)->piled);
}

void lr_far_bring(lr_task *t)
{
    bringing *b = calloc(1, sizeof *b);
    if (!b) {
        lr_pool_fail(t, LR_ERR_OUT_OF_MEMORY, "no memory to bring its inputs", NULL);
        lr_task_release(t);
        return;
    }
    b->t = t;
    atomic_fetch_add(&far.busy, 1);
    leave(&far.due, &b->piled);
}

static void bringing_free(bringing *b)
{
    if (b->arrival) lr_task_release(b->arrival);
    if (lr_link_in_list(&b->link)) lr_link_remove(&b->link);
    atomic_fetch_sub(&far.busy, 1);
    free(b);
}

uint64_t lr_far_nearest(const lr_task *t, lr_id *node)
{
    struct {
        lr_id node;
        uint64_t bytes;
    } few[8] = {0};
    unsigned most = 0;
    for (uint32_t i = 0; t->extra && i < t->extra->input_count; i++) {
        const lr_value *v = &t->extra->inputs[i].input->result;
        for (uint32_t k = 0; k < lr_value_refs_in(v); k++) {
            const absent *a = absent_at(v, k);
            if (!a || a->tried) continue;
            unsigned at = 0;
            while (at < LR_COUNT(few) - 1 && few[at].bytes && !lr_id_equal(few[at].node, a->holder))
                at++;
            few[at].node = a->holder;
            few[at].bytes += a->base.base.size_bytes;
            if (few[at].bytes > few[most].bytes) most = at;
        }
    }
    *node = few[most].node;
    return few[most].bytes;
}

static bool placed(lr_task *t)
{
    lr_id node;
    uint64_t bytes = lr_far_nearest(t, &node);
    return bytes > 0 && far.hooks.near(t, node, bytes);
}

/* False: it waits for the arrival of one. */
static bool all_here(bringing *b)
{
    lr_task *t = b->t;
    for (uint32_t i = 0; i < t->extra->input_count && !lr_task_ended(t); i++) {
        const lr_input *in = &t->extra->inputs[i];
        if (!lr_task_has(in->input, LR_TASK_FAR)) continue;
        lr_far_state state = lr_far_look(in->input, &b->arrival);
        if (state == LR_FAR_COMING) {
            b->waiter = (lr_waiter){.notify = on_arrival};
            if (lr_task_watch(b->arrival, &b->waiter)) return false;
            i--; /* it has come by now: look once more */
        }
        if (state == LR_FAR_LOST) lr_pool_fail_input(t, in, &b->arrival->result);
        if (b->arrival) lr_task_release(b->arrival);
        b->arrival = NULL;
    }
    return true;
}

static void step(bringing *b)
{
    bool first = !lr_link_in_list(&b->link);
    if (first) lr_list_append(&far.waiting, &b->link);
    if (b->arrival) lr_task_release(b->arrival);
    b->arrival = NULL;
    lr_task *t = b->t;
    bool waited = lr_task_state_of(t) == LR_TASK_WAITING;
    if (first && waited && placed(t)) {
        bringing_free(b);
        return;
    }
    if (!all_here(b)) return;
    bringing_free(b);
    if (waited)
        lr_pool_inputs_here(t);
    else
        far.hooks.run(t);
}

void lr_far_turn(void)
{
    lr_piled *p, *next;
    for (p = lr_pile_take(&far.wanted); p; p = next) {
        next = p->next;
        go_on(LR_CONTAINER(p, absent, piled));
    }
    for (p = lr_pile_take(&far.due); p; p = next) {
        next = p->next;
        step(LR_CONTAINER(p, bringing, piled));
    }
    bury();
}

bool lr_far_is_open(void) { return atomic_load_explicit(&far.open, memory_order_relaxed); }
bool lr_far_rests(void) { return atomic_load(&far.busy) == 0; }

/* ---- life ----------------------------------------------------------------------------------------------------- */

void lr_far_open(const lr_far_hooks *hooks)
{
    far.hooks = *hooks;
    lr_list_init(&far.all);
    lr_list_init(&far.waiting);
    atomic_store(&far.open, true);
}

/* It can neither come nor be made again. */
static void give_up(absent *a)
{
    lr_task *arrival = atomic_load(&a->arrival);
    if (arrival && !atomic_load(&a->base.here))
        lr_pool_fail(arrival, LR_ERR_CANCELLED, "the job has ended", NULL);
    a->lender = NULL;
    let_origin_go(a);
    if (a->made) lr_buffer_release(&a->made->base.base);
    a->made = NULL;
    if (atomic_load(&a->wanted) && !a->settled) lr_buffer_release(&a->base.base);
}

static void give_up_bringing(bringing *b)
{
    if (b->arrival) lr_task_unwatch(b->arrival, &b->waiter);
    lr_pool_fail(b->t, LR_ERR_CANCELLED, "the job has ended", NULL);
    lr_task_release(b->t);
    bringing_free(b);
}

void lr_far_close(void)
{
    lr_link *l;
    if (!atomic_load(&far.open)) return;
    far.hooks.ring = NULL;
    while ((l = lr_list_first(&far.waiting)))
        give_up_bringing(LR_CONTAINER(l, bringing, link));
    (void)lr_pile_take(&far.due);
    (void)lr_pile_take(&far.wanted);
    lr_map_free(&far.asked, &lr_process_allocator);
    for (l = lr_list_first(&far.all); l; l = lr_list_next(&far.all, l)) /* those that nobody has any more stay until: */
        give_up(LR_CONTAINER(l, absent, link));
    while (atomic_load(&far.dead.top))
        bury();
    atomic_store(&far.open, false);
    while (lr_list_pop(&far.all)) /* the rest are freed by whoever holds them */
        continue;
}
