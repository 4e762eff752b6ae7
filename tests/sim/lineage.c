/* tests/sim/lineage.c - the model of runtime/lineage.c: futures in results, made again by the call that returned them.
 *
 * Where that changes, this must. A stand-in that came in the result of a task of this node has an origin: what the task was
 * called with, kept until all such stand-ins have ended. When the node that had one is lost the call runs again, what it returns is
 * searched for the same ids, and each stand-in ends as its task does. Owns: origins, followers; they vanish with their node. */
#include "tests/sim/sim.h"

#include "sched/fault.h"

struct sim_orphan {
    struct sim_orphan *next;
    sim_task *t; /* the stand-in's count */
};

struct sim_origin {
    unsigned count;
    bool keeps, waits, late, secret;
    lr_id id;
    uint32_t attempt;
    sim_family *family; /* one count */
    sim_call call;
    struct sim_orphan *orphans;
    unsigned followers;
    struct sim_origin *next;
    lr_link link; /* the node's */
};

struct sim_follower {
    sim_task *t; /* one count */
    sim_origin *origin;
    sim_task *orphan; /* NULL: the call that runs again */
    sim_follower *next;
    lr_link link; /* the node's */
};

/* ---- origins ------------------------------------------------------------------------------------------ */

sim_origin *sim_origin_of(sim_node *n)
{
    if (n->taking || !n->returned_by) return n->taking;
    sim_task *t = n->returned_by;
    sim_origin *o = calloc(1, sizeof *o);
    *o = (sim_origin){.count = 1, .id = t->id, .attempt = t->attempt, .secret = t->secret, .family = t->family};
    o->family->refs++;
    lr_list_append(&n->origins, &o->link);
    return n->taking = o;
}

void sim_origin_retain(sim_origin *o)
{
    if (o) o->count++;
}

void sim_origin_release(sim_origin *o)
{
    if (!o || --o->count > 0) return;
    LR_ASSERT(!o->orphans && o->followers == 0);
    lr_link_remove(&o->link);
    if (o->keeps) sim_call_clear(&o->call);
    sim_family_release(o->family);
    free(o);
}

static void copy_call(sim_call *to, const sim_call *from)
{
    *to = *from;
    for (unsigned i = 0; i < to->arg_count; i++)
        sim_task_retain(to->args[i]);
}

void sim_origin_keep(sim_origin *o, const sim_task *t)
{
    if (!o || o->count == 1 || LR_FAULT(CALL_FREED)) return;
    o->keeps = true;
    copy_call(&o->call, &t->call);
}

void sim_stand_in_free(sim_task *t)
{
    sim_origin *o = t->origin;
    t->origin = NULL;
    sim_task_release(t);
    sim_origin_release(o);
}

static void give_up(sim_task *t, lr_err err)
{
    sim_task_fail(t, err, true);
    sim_stand_in_free(t);
}

static void give_up_all(sim_origin *o, lr_err err)
{
    o->count++;
    for (struct sim_orphan *x; (x = o->orphans);) {
        o->orphans = x->next;
        give_up(x->t, err);
        free(x);
    }
    sim_origin_release(o);
}

static sim_task *take_orphan(sim_origin *o, lr_id id)
{
    for (struct sim_orphan **at = &o->orphans, *x; (x = *at); at = &x->next) {
        if (!lr_id_equal(x->t->id, id)) continue;
        sim_task *t = x->t;
        *at = x->next;
        free(x);
        return t;
    }
    return NULL;
}

static void run_soon(sim_node *n, sim_origin *o)
{
    if (o->followers > 0) o->late = true;
    if (o->waits || o->followers > 0) return;
    o->waits = true;
    o->count++;
    o->next = n->to_run;
    n->to_run = o;
    sim_node_ring(n);
}

bool sim_lineage_orphan(sim_task *t)
{
    sim_node *n = t->home;
    sim_origin *o = t->origin;
    if (!o || !o->keeps || o->attempt > o->call.retries) {
        n->world->excused |= o && o->keeps; /* a call may be tried so often */
        sim_say(n->world, "node %u: task %016llx cannot be made again: %s", n->number, (unsigned long long)t->id.lo,
                !o          ? "it came with a task's arguments, or with what nobody waited for"
                : !o->keeps ? "the call is not kept"
                            : "it was tried too often");
        return false;
    }
    struct sim_orphan *x = calloc(1, sizeof *x);
    *x = (struct sim_orphan){o->orphans, t};
    o->orphans = x;
    run_soon(n, o);
    return true;
}

/* ---- following ---------------------------------------------------------------------------------------- */

void sim_lineage_ended(sim_node *n, sim_follower *f)
{
    f->next = n->followed;
    n->followed = f;
    sim_node_ring(n);
}

/* One count of t is taken over. */
static void follower_new(sim_node *n, sim_origin *o, sim_task *t, sim_task *orphan)
{
    sim_follower *f = calloc(1, sizeof *f);
    *f = (sim_follower){.t = t, .origin = o, .orphan = orphan};
    lr_list_append(&n->followers, &f->link);
    o->count++;
    o->followers++;
    if (!sim_task_follow(t, f)) sim_lineage_ended(n, f);
}

static void follow(sim_node *n, sim_origin *o, sim_task *t)
{
    sim_task *orphan = take_orphan(o, t->id);
    if (!orphan && (!o->orphans || LR_FAULT(NOT_SEARCHED_ON))) return;
    do { /* one task may have several stand-ins */
        sim_task_retain(t);
        if (orphan && orphan->ended) sim_task_cancel(t);
        follower_new(n, o, t, orphan);
    } while (orphan && (orphan = take_orphan(o, t->id)));
}

static void end_orphan(sim_task *orphan, const sim_task *t)
{
    sim_value v = t->value;
    for (unsigned i = 0; i < v.future_count; i++)
        sim_task_retain(v.futures[i]);
    sim_task_end(orphan, &v);
}

static void run_over(sim_node *n, sim_origin *o)
{
    if (o->late && o->attempt <= o->call.retries) {
        o->late = false;
        run_soon(n, o);
    } else if (!o->waits) {
        give_up_all(o, LR_ERR_NODE_DIED);
    }
}

static void go_on(sim_node *n, sim_follower *f)
{
    sim_origin *o = f->origin;
    if (f->orphan) end_orphan(f->orphan, f->t);
    for (unsigned i = 0; i < f->t->value.future_count && o->orphans; i++)
        follow(n, o, f->t->value.futures[i]);
    if (--o->followers == 0) run_over(n, o);
    lr_link_remove(&f->link);
    if (f->orphan) sim_stand_in_free(f->orphan);
    sim_task_release(f->t);
    sim_origin_release(o);
    free(f);
}

/* ---- running again ------------------------------------------------------------------------------------ */

static bool anybody_waits(const sim_origin *o)
{
    for (const struct sim_orphan *x = o->orphans; x; x = x->next)
        if (!x->t->ended) return true;
    return false;
}

static void run_again(sim_node *n, sim_origin *o)
{
    if (!anybody_waits(o)) {
        give_up_all(o, LR_ERR_CANCELLED);
        return;
    }
    sim_task *t = sim_task_new(n, o->id, NULL, 2); /* the follower's and the queue's */
    t->family->parent = o->family;
    o->family->refs++;
    copy_call(&t->call, &o->call);
    uint64_t now_ns = sim_node_now(n);
    if (t->call.deadline_ns) t->call.deadline_ns = t->call.deadline_ns > now_ns ? t->call.deadline_ns - now_ns : 1;
    t->secret = o->secret;
    t->attempt = ++o->attempt;
    n->world->stats.remade++;
    sim_say(n->world, "node %u: task %016llx runs again for futures that it returned, as attempt %u", n->number,
            (unsigned long long)t->id.lo, t->attempt);
    follower_new(n, o, t, NULL);
    sim_task_submit(t, n->world->now_ns);
}

void sim_lineage_turn(sim_node *n)
{
    for (sim_origin *o; !n->dead && (o = n->to_run);) {
        n->to_run = o->next;
        o->waits = o->late = false;
        run_again(n, o);
        sim_origin_release(o);
    }
    sim_follower *f = n->followed;
    n->followed = NULL;
    for (sim_follower *next; f; f = next) {
        next = f->next;
        go_on(n, f);
    }
}

void sim_lineage_cancelled(sim_node *n)
{
    for (lr_link *l = lr_list_first(&n->followers); l; l = lr_list_next(&n->followers, l)) {
        const sim_follower *f = LR_CONTAINER(l, sim_follower, link);
        if (f->orphan && sim_task_cancelled(f->orphan)) sim_task_cancel(f->t);
    }
}

/* ---- for the checkers, and the end --------------------------------------------------------------------- */

bool sim_lineage_has(const sim_node *n, const sim_task *t)
{
    for (lr_link *l = lr_list_first(&n->origins); l; l = lr_list_next(&n->origins, l))
        for (const struct sim_orphan *x = LR_CONTAINER(l, sim_origin, link)->orphans; x; x = x->next)
            if (x->t == t) return true;
    for (lr_link *l = lr_list_first(&n->followers); l; l = lr_list_next(&n->followers, l))
        if (LR_CONTAINER(l, sim_follower, link)->orphan == t) return true;
    return false;
}

void sim_lineage_vanish(sim_node *n)
{
    for (lr_link *l; (l = lr_list_pop(&n->followers));)
        free(LR_CONTAINER(l, sim_follower, link));
    for (lr_link *l; (l = lr_list_pop(&n->origins));) {
        sim_origin *o = LR_CONTAINER(l, sim_origin, link);
        for (struct sim_orphan *x; (x = o->orphans);) {
            o->orphans = x->next;
            free(x);
        }
        sim_family_release(o->family);
        free(o);
    }
}
