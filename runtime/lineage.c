#include "runtime/lineage.h"

#include "runtime/allocator.h"
#include "runtime/clock.h"
#include "runtime/exchange.h"
#include "runtime/extra.h"
#include "runtime/far.h"
#include "runtime/pile.h"
#include "sched/digest.h"
#include "sched/map.h"

#include <stdio.h>
#include <stdlib.h>

#define RETRIES 3 /* of a task without options */
#define DEPTH_MAX 4096u         /* tasks that would run again one after the other */
#define WEIGHT_MAX (256u << 20) /* bytes of objects here that are kept only for them */
#define LOOK_NS 20000000u       /* when to look for values to let go of, doubled up to */
#define LOOK_MAX_NS 1280000000u

struct lr_origin {
    unsigned count; /* stand-ins, orphans among them, absent objects, followers; 1 for whoever takes the result in */
    bool keeps;     /* t is a record of this one's own, never submitted: what to run again */
    bool waits;     /* in the list of those to be run again */
    bool late;      /* something was lost while it ran again: once more, if that has not given it */
    lr_task *t;     /* one count; until it keeps the task itself, afterwards not: its result may name this origin */
    uint32_t depth;  /* of the chain of origins that its arguments are made by */
    uint64_t weight; /* bytes of objects here that the chain keeps */
    uint64_t digest; /* of its first result; 0: there is none */
    lr_link link;    /* in kept */
    lr_list objects; /* runtime/far.c's */
    lr_map orphans; /* task -> lr_stand_in */
    struct remake *remakes;
    unsigned followers;
    lr_origin *next;
};

/* An absent object that is made again. */
typedef struct remake {
    struct remake *next;
    lr_id record;
    lr_buffer *absent; /* wanted: one count is kept by that */
    uint32_t index;
} remake;

/* Waits for the end of a task that was run again, or of a future that it returned. */
typedef struct follower {
    lr_waiter waiter; /* first */
    lr_task *t;       /* one count */
    lr_origin *origin;
    lr_stand_in *orphan; /* which is to end as t does; NULL: its result is searched */
    lr_link link;        /* in all */
    lr_piled ended;      /* in lineage.ended */
} follower;

static struct {
    lr_pool *pool;
    lr_id job;
    const lr_resource_names *names;
    void (*ring)(void);
    lr_origin *to_run; /* one count each */
    lr_list all;
    lr_list kept; /* origins whose arguments are kept */
    lr_map holds; /* input of such arguments -> how often it is one, as a number */
    uint64_t look_ns, look_every_ns; /* LR_NEVER: nothing new is kept */
    lr_builder extras;
    lr_pile ended; /* followers, by any thread */
} lineage;

/* ---- origins ---------------------------------------------------------------------------------------- */

static lr_task *task_in(const lr_value *v, uint32_t i)
{
    lr_object *o = lr_value_refs(v)[i];
    return o->kind == LR_OBJECT_TASK ? (lr_task *)o : NULL;
}

/* Adds what v, of which o needs everything, keeps here and is made by. */
static void weigh(lr_origin *o, const lr_value *v)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < lr_value_refs_in(v); i++) {
        const lr_buffer *b = lr_value_buffer(v, i);
        const lr_origin *by = b ? lr_far_origin(b) : NULL;
        if (by && by->depth >= o->depth) o->depth = by->depth + 1;
        if (by && by->weight > most) most = by->weight;
        if (b && !by) o->weight += b->size_bytes;
    }
    o->weight += most;
}

lr_origin *lr_origin_new(lr_task *t)
{
    lr_origin *o = calloc(1, sizeof *o);
    if (!o) return NULL;
    o->count = 1;
    o->t = t;
    lr_list_init(&o->objects);
    lr_task_retain(t);
    weigh(o, &t->args);
    for (uint32_t i = 0; i < lr_value_refs_in(&t->args); i++) {
        const lr_task *input = task_in(&t->args, i);
        if (input && lr_task_state_of(input) == LR_TASK_READY) weigh(o, &input->result);
    }
    return o;
}

lr_list *lr_origin_objects(lr_origin *o) { return &o->objects; }

bool lr_origin_is_heavy(const lr_origin *o) { return o->depth > DEPTH_MAX || o->weight > WEIGHT_MAX; }

static lr_id key_of(const lr_task *t) { return (lr_id){1, (uint64_t)(uintptr_t)t}; }

/* One more or less of the kept arguments have t among them. Without memory it is held for longer. */
static void hold(const lr_task *t, int more)
{
    uintptr_t count = (uintptr_t)lr_map_take(&lineage.holds, key_of(t)) + (uintptr_t)(intptr_t)more;
    if (count > 0 && !lr_map_add(&lineage.holds, key_of(t), (void *)count, &lr_process_allocator)) return;
}

static void hold_inputs(const lr_origin *o, int more)
{
    for (uint32_t i = 0; i < lr_value_refs_in(&o->t->args); i++) {
        const lr_task *input = task_in(&o->t->args, i);
        if (input) hold(input, more);
    }
}

void lr_origin_retain(lr_origin *o) { o->count++; }

void lr_origin_release(lr_origin *o)
{
    if (!o || --o->count > 0) return;
    if (o->keeps) {
        hold_inputs(o, -1);
        lr_link_remove(&o->link);
        lr_task_drop(o->t);
    } else {
        lr_task_release(o->t);
    }
    lr_map_free(&o->orphans, &lr_process_allocator);
    free(o);
}

/* Of the task t, one that is as it was before its first attempt, with these arguments, which are taken over. NULL: no
 * memory. */
static lr_task *as_before(const lr_task *t, lr_value *args, uint32_t counts)
{
    char text[200];
    lr_task *fresh = lr_task_new(t->fn, atomic_load(&((lr_task *)(uintptr_t)t)->family), t->id, args, counts);
    if (!fresh) return NULL;
    fresh->attempt = t->attempt;
    lr_builder_reset(&lineage.extras);
    lr_extra_write(&lineage.extras, t, lineage.names);
    lr_reader r = lr_reader_of(lineage.extras.data, lineage.extras.size_bytes);
    if (lr_extra_read(&r, fresh, lineage.job, lineage.names, text, sizeof text)) return fresh;
    lr_task_drop(fresh);
    return NULL;
}

void lr_origin_keep(lr_origin *o, lr_task *t, const lr_value *result)
{
    lr_value args;
    if (!o || o->t != t || o->count == 1 || !lr_value_copy(&args, &t->args)) return;
    lr_task *own = as_before(t, &args, 1);
    if (!own) return;
    lr_task_release(t);
    o->t = own;
    o->keeps = true;
    o->digest = lr_digest(lr_value_reader(result));
    lr_list_append(&lineage.kept, &o->link);
    hold_inputs(o, 1);
    if (lr_value_refs_in(&own->args) == 0) return;
    lineage.look_every_ns = LOOK_NS;
    if (lineage.look_ns == LR_NEVER) lineage.look_ns = lr_clock_ns() + LOOK_NS;
}

/* ---- letting go --------------------------------------------------------------------------------------- */

/* An input that only kept arguments hold: nobody will ask for its value, unless it has to be made again. */
static void let_go(const lr_task *input)
{
    uintptr_t holds = (uintptr_t)lr_map_find(&lineage.holds, key_of(input));
    if (!lr_task_has(input, LR_TASK_FAR) || lr_task_state_of(input) != LR_TASK_READY) return;
    if (atomic_load(&((lr_task *)(uintptr_t)input)->base.refs) != holds) return;
    for (uint32_t i = 0; i < lr_value_refs_in(&input->result); i++) {
        lr_buffer *b = lr_value_buffer(&input->result, i);
        if (b && b->is_absent) lr_far_let_go(b);
    }
}

static void look(uint64_t now_ns)
{
    if (now_ns < lineage.look_ns) return;
    for (lr_link *l = lr_list_first(&lineage.kept); l; l = lr_list_next(&lineage.kept, l)) {
        const lr_origin *o = LR_CONTAINER(l, lr_origin, link);
        for (uint32_t i = 0; i < lr_value_refs_in(&o->t->args); i++) {
            const lr_task *input = task_in(&o->t->args, i);
            if (input) let_go(input);
        }
    }
    lineage.look_ns = lineage.look_every_ns > LOOK_MAX_NS ? LR_NEVER : now_ns + lineage.look_every_ns;
    lineage.look_every_ns *= 2;
}

uint64_t lr_lineage_deadline(void) { return lineage.pool ? lineage.look_ns : LR_NEVER; }

lr_stand_in *lr_stand_in_new(lr_task *t, lr_origin *o)
{
    lr_stand_in *s = malloc(sizeof *s);
    if (!s) return NULL;
    *s = (lr_stand_in){t, o, NULL};
    if (o) o->count++;
    return s;
}

void lr_stand_in_free(lr_stand_in *s)
{
    lr_task_release(s->t);
    lr_origin_release(s->origin);
    free(s);
}

void lr_stand_in_returned(lr_stand_in *s, lr_origin *o)
{
    if (!o) return;
    s->origin = o;
    o->count++;
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
    for (remake *r; (r = o->remakes);) {
        o->remakes = r->next;
        lr_far_remade(r->absent, NULL, why);
        free(r);
    }
    while (o->orphans.slots && (s = lr_map_next(&o->orphans, &position))) {
        lr_map_remove(&o->orphans, s->t->id);
        for (lr_stand_in *same; s; s = same) {
            same = s->same;
            give_up(s, code, why);
        }
        position = 0;
    }
    lr_origin_release(o);
}

static unsigned retries_of(const lr_task *t)
{
    return t->extra && t->extra->options ? t->extra->options->retries : RETRIES;
}

static bool can_run_again(const lr_origin *o) { return o && o->keeps && o->t->attempt <= retries_of(o->t); }

/* One run for all that are wanted by then, and while it is under way. */
static void run_soon(lr_origin *o)
{
    if (o->followers > 0) o->late = true;
    if (o->waits || o->followers > 0) return;
    o->waits = true;
    o->count++;
    o->next = lineage.to_run;
    lineage.to_run = o;
    lineage.ring();
}

bool lr_lineage_orphan(lr_stand_in *s)
{
    lr_origin *o = s->origin;
    if (!can_run_again(o)) return false;
    s->same = lr_map_find(&o->orphans, s->t->id);
    if (!lr_map_add(&o->orphans, s->t->id, s, &lr_process_allocator)) return false;
    run_soon(o);
    return true;
}

bool lr_lineage_remake(lr_origin *o, lr_id record, lr_buffer *absent, uint32_t index)
{
    remake *r = can_run_again(o) ? malloc(sizeof *r) : NULL;
    if (!r) return false;
    *r = (remake){o->remakes, record, absent, index};
    o->remakes = r;
    run_soon(o);
    return true;
}

/* ---- following -------------------------------------------------------------------------------------- */

static void on_end(lr_waiter *w, lr_task *t, lr_wake *wake)
{
    (void)t;
    (void)wake;
    lr_pile_put(&lineage.ended, &((follower *)w)->ended);
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

static bool searches(const lr_origin *o) { return o->orphans.count > 0 || o->remakes; }

static void follow_for(lr_origin *o, lr_task *t, lr_stand_in *orphan)
{
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

static void follow(lr_origin *o, lr_task *t)
{
    lr_stand_in *orphan = lr_map_take(&o->orphans, t->id);
    if (!orphan && searches(o)) follow_for(o, t, NULL);
    for (lr_stand_in *same; orphan; orphan = same) {
        same = orphan->same;
        follow_for(o, t, orphan);
    }
}

static void end_orphan(lr_stand_in *s, lr_task *t)
{
    lr_value value;
    lr_task_set(t, LR_TASK_SEEN);
    if (lr_task_has(t, LR_TASK_FAR)) lr_task_set(s->t, LR_TASK_FAR);
    if (lr_value_copy(&value, &t->result))
        lr_pool_end(s->t, lr_task_state_of(t), &value);
    else
        lr_pool_fail(s->t, LR_ERR_OUT_OF_MEMORY, "no memory for its result", NULL);
}

/* What t has made in the place of an object. NULL: why. */
static lr_buffer *made_again(lr_task *t, const remake *r, char *why, size_t why_bytes)
{
    lr_buffer *b = r->index < lr_value_refs_in(&t->result) ? lr_value_buffer(&t->result, r->index) : NULL;
    const char *name = t->fn ? lr_task_name(t) : "a task";
    bool ended_well = lr_task_state_of(t) == LR_TASK_READY;
    if (ended_well && b && b->size_bytes == r->absent->size_bytes) return b;
    const char *how = "did not end well";
    if (ended_well)
        how = "returned something else: it must be the same each time (no clock, no state of a process)";
    snprintf(why, why_bytes, "its node was lost, and %.80s, run again, %s", name, how);
    return NULL;
}

static void give_remakes(lr_origin *o, lr_task *t)
{
    char why[300] = "";
    remake **at = &o->remakes, *due = NULL, *r;
    while ((r = *at)) {
        if (!lr_id_equal(r->record, t->id)) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        r->next = due;
        due = r;
    }
    for (; (r = due); free(r)) {
        due = r->next;
        lr_buffer *b = made_again(t, r, why, sizeof why);
        lr_far_remade(r->absent, b, why);
    }
    if (lr_task_state_of(t) == LR_TASK_READY) lr_far_made_too(o, t);
}

/* All that has run again has ended. */
static void run_over(lr_origin *o)
{
    if (o->late && can_run_again(o)) {
        o->late = false;
        run_soon(o);
    } else if (!o->waits) {
        give_up_all(o, LR_ERR_NODE_DIED,
                    "the node that had it was lost, and the task that had returned it did not do so again");
    }
}

/* The first result stands; that there is another one is a mistake in the program, which should be known. */
static void compare(const lr_origin *o, const lr_task *t)
{
    char id[LR_ID_TEXT];
    if (!lr_id_equal(t->id, o->t->id) || lr_task_state_of(t) != LR_TASK_READY || o->digest == 0) return;
    uint64_t digest = lr_digest(lr_value_reader(&t->result));
    if (digest == 0 || digest == o->digest) return;
    lr_id_format(t->id, id);
    fprintf(stderr,
            "luarun: nondeterministic: %.80s (%.8s), run again because a node was lost, returned another value; the "
            "first one stands. What a task returns must depend on its arguments only (math.random is fine, a clock is "
            "not)\n",
            lr_task_name(t), id);
}

static void go_on(follower *f)
{
    lr_origin *o = f->origin;
    lr_task_set(f->t, LR_TASK_SEEN);
    compare(o, f->t);
    give_remakes(o, f->t);
    if (f->orphan) end_orphan(f->orphan, f->t);
    for (uint32_t i = 0; i < lr_value_refs_in(&f->t->result) && searches(o); i++) {
        lr_task *returned = task_in(&f->t->result, i);
        if (returned) follow(o, returned);
    }
    if (--o->followers == 0) run_over(o);
    follower_free(f);
}

/* ---- running again ---------------------------------------------------------------------------------- */

static lr_task *again(const lr_origin *o)
{
    lr_value args;
    return lr_value_copy(&args, &o->t->args) ? as_before(o->t, &args, 2) : NULL;
}

/* Not only such as were cancelled: those are kept to be found and cancelled there, too. */
static bool anybody_waits(lr_origin *o)
{
    size_t position = 0;
    lr_stand_in *s;
    while (o->orphans.slots && (s = lr_map_next(&o->orphans, &position)))
        for (; s; s = s->same)
            if (!lr_task_ended(s->t)) return true;
    return o->remakes != NULL;
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

void lr_lineage_turn(uint64_t now_ns)
{
    lr_origin *o;
    while ((o = lineage.to_run)) {
        lineage.to_run = o->next;
        o->waits = o->late = false;
        run_again(o);
        lr_origin_release(o);
    }
    look(now_ns);
    for (lr_piled *p = lr_pile_take(&lineage.ended), *next; p; p = next) {
        next = p->next;
        go_on(LR_CONTAINER(p, follower, ended));
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
    lr_list_init(&lineage.kept);
    lineage.look_ns = LR_NEVER;
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
    (void)lr_pile_take(&lineage.ended);
    lr_map_free(&lineage.holds, &lr_process_allocator);
    lr_builder_fini(&lineage.extras);
}
