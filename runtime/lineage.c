#include "runtime/lineage.h"

#include "runtime/allocator.h"
#include "runtime/exchange.h"
#include "runtime/extra.h"
#include "sched/map.h"

#include <stdlib.h>

#define RETRIES 3 /* of a task without options */

struct lr_origin {
    unsigned count; /* stand-ins, orphans among them, and followers; 1 for whoever takes the result in */
    bool keeps;     /* t's arguments are this one's to clear */
    bool waits;     /* in the list of those to be run again */
    lr_task *t;     /* one count */
    lr_map orphans; /* task -> lr_stand_in */
    unsigned followers;
    lr_origin *next;
};

/* Waits for the end of a task that was run again, or of a future that it returned. */
typedef struct follower {
    lr_waiter waiter; /* first */
    lr_task *t;       /* one count */
    lr_origin *origin;
    lr_stand_in *orphan; /* which is to end as t does; NULL: its result is searched */
    lr_link link;        /* in all */
    struct follower *next_ended;
} follower;

static struct {
    lr_pool *pool;
    lr_id job;
    const lr_resource_names *names;
    void (*ring)(void);
    lr_origin *to_run; /* one count each */
    lr_list all;
    lr_builder extras;
    _Atomic(follower *) ended; /* any thread */
} lineage;

/* ---- origins ---------------------------------------------------------------------------------------- */

lr_origin *lr_origin_new(lr_task *t)
{
    lr_origin *o = calloc(1, sizeof *o);
    if (!o) return NULL;
    o->count = 1;
    o->t = t;
    lr_task_retain(t);
    return o;
}

void lr_origin_release(lr_origin *o)
{
    if (!o || --o->count > 0) return;
    if (o->keeps) lr_value_clear(&o->t->args);
    lr_task_release(o->t);
    lr_map_free(&o->orphans, &lr_process_allocator);
    free(o);
}

bool lr_origin_keeps(lr_origin *o, const lr_task *t)
{
    if (!o || o->t != t || o->count == 1) return false;
    return o->keeps = true;
}

lr_stand_in *lr_stand_in_new(lr_task *t, lr_origin *o)
{
    lr_stand_in *s = malloc(sizeof *s);
    if (!s) return NULL;
    *s = (lr_stand_in){t, o};
    if (o) o->count++;
    return s;
}

void lr_stand_in_free(lr_stand_in *s)
{
    lr_task_release(s->t);
    lr_origin_release(s->origin);
    free(s);
}

static void give_up(lr_stand_in *s, lr_err code, const char *why)
{
    lr_pool_fail(s->t, code, why, NULL);
    lr_stand_in_free(s);
}

static void give_up_all(lr_origin *o, lr_err code, const char *why)
{
    size_t position = 0;
    lr_stand_in *s;
    o->count++;
    while (o->orphans.slots && (s = lr_map_next(&o->orphans, &position))) {
        lr_map_remove(&o->orphans, s->t->id);
        give_up(s, code, why);
        position = 0;
    }
    lr_origin_release(o);
}

static unsigned retries_of(const lr_task *t)
{
    return t->extra && t->extra->options ? t->extra->options->retries : RETRIES;
}

bool lr_lineage_orphan(lr_stand_in *s)
{
    lr_origin *o = s->origin;
    if (!o || !o->keeps || o->t->attempt > retries_of(o->t)) return false;
    if (lr_map_find(&o->orphans, s->t->id)) return false;
    if (!lr_map_add(&o->orphans, s->t->id, s, &lr_process_allocator)) return false;
    if (o->waits) return true;
    o->waits = true;
    o->count++;
    o->next = lineage.to_run;
    lineage.to_run = o;
    lineage.ring();
    return true;
}

/* ---- following -------------------------------------------------------------------------------------- */

static void on_end(lr_waiter *w, lr_task *t, lr_wake *wake)
{
    (void)t;
    (void)wake;
    follower *f = (follower *)w, *head = atomic_load(&lineage.ended);
    do {
        f->next_ended = head;
    } while (!atomic_compare_exchange_weak(&lineage.ended, &head, f));
    lineage.ring();
}

/* Of t, one count of which is taken over. NULL: no memory. */
static follower *follower_new(lr_origin *o, lr_task *t, lr_stand_in *orphan)
{
    follower *f = calloc(1, sizeof *f);
    if (!f) {
        lr_task_release(t);
        return NULL;
    }
    *f = (follower){.waiter.notify = on_end, .t = t, .origin = o, .orphan = orphan};
    lr_list_append(&lineage.all, &f->link);
    o->count++;
    o->followers++;
    return f;
}

static void follower_free(follower *f)
{
    lr_link_remove(&f->link);
    if (f->orphan) lr_stand_in_free(f->orphan);
    lr_task_release(f->t);
    lr_origin_release(f->origin);
    free(f);
}

static void follow(lr_origin *o, lr_task *t)
{
    lr_stand_in *orphan = lr_map_take(&o->orphans, t->id);
    if (!orphan && o->orphans.count == 0) return; /* all found */
    lr_task_retain(t);
    follower *f = follower_new(o, t, orphan);
    if (!f) {
        if (orphan) give_up(orphan, LR_ERR_OUT_OF_MEMORY, "no memory to wait for it once more");
        return;
    }
    if (orphan && lr_task_ended(orphan->t)) /* cancelled here: it need not run again */
        lr_pool_cancel(lineage.pool, t, LR_ERR_CANCELLED, "the task was cancelled");
    if (!lr_task_watch(t, &f->waiter)) on_end(&f->waiter, t, NULL);
}

static void end_orphan(lr_stand_in *s, lr_task *t)
{
    lr_value value;
    lr_task_set(t, LR_TASK_SEEN);
    if (lr_value_copy(&value, &t->result))
        lr_pool_end(s->t, lr_task_state_of(t), &value);
    else
        lr_pool_fail(s->t, LR_ERR_OUT_OF_MEMORY, "no memory for its result", NULL);
}

static void go_on(follower *f)
{
    lr_origin *o = f->origin;
    lr_task_set(f->t, LR_TASK_SEEN);
    if (f->orphan) end_orphan(f->orphan, f->t);
    lr_object *const *refs = lr_value_refs(&f->t->result);
    uint32_t count = f->t->result.form ? lr_value_ref_count(&f->t->result) : 0;
    for (uint32_t i = 0; i < count && o->orphans.count > 0; i++)
        if (refs[i]->kind == LR_OBJECT_TASK) follow(o, (lr_task *)refs[i]);
    if (--o->followers == 0 && !o->waits)
        give_up_all(o, LR_ERR_NODE_DIED,
                    "the node that had it was lost, and the task that had returned it did not do so again");
    follower_free(f);
}

/* ---- running again ---------------------------------------------------------------------------------- */

/* Of the origin's task, one that is as it was before its first attempt. NULL: no memory. */
static lr_task *again(lr_origin *o)
{
    char text[200];
    lr_value args;
    if (!lr_value_copy(&args, &o->t->args)) return NULL;
    lr_task *t = lr_task_new(o->t->fn, atomic_load(&o->t->family), o->t->id, &args, 2);
    if (!t) return NULL;
    lr_builder_reset(&lineage.extras);
    lr_extra_write(&lineage.extras, o->t, lineage.names);
    lr_reader r = lr_reader_of(lineage.extras.data, lineage.extras.size_bytes);
    if (lr_extra_read(&r, t, lineage.job, lineage.names, text, sizeof text)) return t;
    lr_task_drop(t);
    return NULL;
}

/* Not only such as were cancelled: those are kept to be found and cancelled there, too. */
static bool anybody_waits(lr_origin *o)
{
    size_t position = 0;
    lr_stand_in *s;
    while (o->orphans.slots && (s = lr_map_next(&o->orphans, &position)))
        if (!lr_task_ended(s->t)) return true;
    return false;
}

static void run_again(lr_origin *o)
{
    if (!anybody_waits(o)) {
        give_up_all(o, LR_ERR_CANCELLED, "");
        return;
    }
    lr_task *t = again(o);
    follower *f = t ? follower_new(o, t, NULL) : NULL; /* one count is its, the other the queue's */
    if (!f) {
        if (t) lr_task_release(t);
        give_up_all(o, LR_ERR_OUT_OF_MEMORY, "no memory to run again what had returned it");
        return;
    }
    t->attempt = ++o->t->attempt;
    bool watched = lr_task_watch(t, &f->waiter); /* it is waiting: nobody else knows it */
    LR_ASSERT(watched);
    lr_pool_submit(NULL, t);
}

void lr_lineage_turn(void)
{
    lr_origin *o;
    while ((o = lineage.to_run)) {
        lineage.to_run = o->next;
        o->waits = false;
        run_again(o);
        lr_origin_release(o);
    }
    follower *f = atomic_exchange(&lineage.ended, NULL);
    while (f) {
        follower *next = f->next_ended;
        go_on(f);
        f = next;
    }
}

void lr_lineage_cancelled(void)
{
    if (!lineage.pool) return;
    for (lr_link *l = lr_list_first(&lineage.all); l; l = lr_list_next(&lineage.all, l)) {
        follower *f = LR_CONTAINER(l, follower, link);
        if (f->orphan && lr_pool_cancelled(lineage.pool, f->orphan->t))
            lr_pool_cancel(lineage.pool, f->t, LR_ERR_CANCELLED, "the task was cancelled");
    }
}

bool lr_lineage_is_kept(void)
{
    static int kept; /* 1: yes, 2: no; the node thread's */
    const char *told = kept ? NULL : getenv(LR_RECOVERY);
    if (!kept) kept = told && strcmp(told, "0") == 0 ? 2 : 1;
    return kept == 1;
}

/* ---- life ------------------------------------------------------------------------------------------- */

void lr_lineage_open(lr_pool *pool, lr_id job, const lr_resource_names *names, void (*ring)(void))
{
    lineage.pool = pool;
    lineage.job = job;
    lineage.names = names;
    lineage.ring = ring;
    lr_list_init(&lineage.all);
    lr_builder_init(&lineage.extras);
}

void lr_lineage_close(void)
{
    lr_origin *o;
    lr_link *l;
    if (!lineage.pool) return;
    while ((o = lineage.to_run)) {
        lineage.to_run = o->next;
        give_up_all(o, LR_ERR_CANCELLED, "the job has ended");
        lr_origin_release(o);
    }
    while ((l = lr_list_first(&lineage.all))) {
        follower *f = LR_CONTAINER(l, follower, link);
        lr_task_unwatch(f->t, &f->waiter);
        give_up_all(f->origin, LR_ERR_CANCELLED, "the job has ended");
        if (f->orphan) lr_pool_fail(f->orphan->t, LR_ERR_CANCELLED, "the job has ended", NULL);
        follower_free(f);
    }
    atomic_store(&lineage.ended, NULL);
    lr_builder_fini(&lineage.extras);
}
