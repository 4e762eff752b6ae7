/* tests/sim/task.c - the model of task records: counts, values, waiters, families, as runtime/task.h and cancel.c have them.
 *
 * Owns: records. A record lives while somebody counts it: futures in values, calls and bodies, its own body, crossings. */
#include "tests/sim/sim.h"

void sim_family_release(sim_family *f)
{
    while (f && --f->refs == 0) {
        sim_family *parent = f->parent;
        free(f);
        f = parent;
    }
}

sim_task *sim_task_new(sim_node *n, lr_id id, sim_task *parent, unsigned refs)
{
    sim_task *t = calloc(1, sizeof *t);
    *t = (sim_task){.home = n, .id = id, .refs = refs, .attempt = 1};
    t->family = calloc(1, sizeof *t->family);
    *t->family = (sim_family){.refs = 1, .parent = parent ? parent->family : NULL};
    if (parent) parent->family->refs++;
    t->call.retries = 1000;
    t->call.need.amount[LR_RESOURCE_CPU] = LR_AMOUNT_ONE;
    lr_list_append(&n->records, &t->link);
    n->record_count++;
    n->world->stats.records++;
    return t;
}

void sim_task_retain(sim_task *t) { t->refs++; }

void sim_value_clear(sim_value *v)
{
    for (unsigned i = 0; i < v->future_count; i++)
        sim_task_release(v->futures[i]);
    v->future_count = 0;
}

void sim_call_clear(sim_call *c)
{
    unsigned inputs = c->input_count, args = c->arg_count;
    c->input_count = c->arg_count = 0;
    for (unsigned i = 0; i < inputs; i++)
        sim_task_release(c->inputs[i]);
    for (unsigned i = 0; i < args; i++)
        sim_task_release(c->args[i]);
}

void sim_task_release(sim_task *t)
{
    LR_ASSERT(t->refs > 0);
    if (--t->refs > 0) return;
    lr_link_remove(&t->link);
    t->home->record_count--;
    if (lr_link_in_list(&t->queue_link)) lr_link_remove(&t->queue_link);
    sim_body_free(t);
    sim_call_clear(&t->call);
    sim_value_clear(&t->value);
    for (sim_waiter *x; (x = t->waiters);) {
        t->waiters = x->next;
        free(x);
    }
    sim_family_release(t->family);
    free(t->spec);
    free(t);
}

bool sim_task_watch(sim_task *t, sim_task *dependent, sim_task *parked, sim_guest *guest)
{
    if (t->ended) return false;
    sim_waiter **end = &t->waiters;
    while (*end)
        end = &(*end)->next;
    *end = calloc(1, sizeof **end);
    **end = (sim_waiter){NULL, dependent, parked, guest, NULL};
    return true;
}

bool sim_task_follow(sim_task *t, sim_follower *f)
{
    if (!sim_task_watch(t, NULL, NULL, NULL)) return false;
    sim_waiter *last = t->waiters;
    while (last->next)
        last = last->next;
    last->follower = f;
    return true;
}

void sim_task_unwatch(sim_task *t, const sim_task *parked)
{
    for (sim_waiter **at = &t->waiters, *x; (x = *at);) {
        if (x->parked != parked) {
            at = &x->next;
            continue;
        }
        *at = x->next;
        free(x);
    }
}

static void take_futures(sim_call *c, const sim_value *v)
{
    for (unsigned k = 0; k < v->future_count && c->arg_count < SIM_ARGS; k++) {
        sim_task_retain(v->futures[k]);
        c->args[c->arg_count++] = v->futures[k];
    }
}

/* Every input is there: their values are part of the call now. */
static void inputs_are_there(sim_task *t)
{
    sim_node *n = t->home;
    const sim_value *bad = NULL;
    for (unsigned i = 0; i < t->call.input_count && !bad; i++)
        if (t->call.inputs[i]->value.state != LR_TASK_READY) bad = &t->call.inputs[i]->value;
    if (bad && !t->ended) sim_task_fail(t, bad->err, bad->poisoned);
    if (t->ended) {
        sim_task_over(t);
        return;
    }
    unsigned count = t->call.input_count;
    for (unsigned i = 0; i < count; i++) {
        sim_task *input = t->call.inputs[i];
        t->call.number = lr_mix64(t->call.number ^ input->value.number);
        t->call.poisoned |= input->value.poisoned;
        take_futures(&t->call, &input->value);
    }
    t->call.input_count = 0;
    for (unsigned i = 0; i < count; i++)
        sim_task_release(t->call.inputs[i]);
    if (t->call.deadline_ns) t->call.deadline_ns += sim_node_now(n); /* absolute from here on */
    if (sim_node_wants(n, t)) {
        sim_node_place(n, t);
    } else if (t->call.asks) {
        sim_node_submit(n, t);
    } else {
        sim_pool_push(n, t, false);
    }
}

void sim_task_submit(sim_task *t, uint64_t started_ns)
{
    t->phase = PHASE_WAITING;
    t->missing = 1;
    t->pushed_ns = started_ns;
    for (unsigned i = 0; i < t->call.input_count; i++)
        t->missing += sim_task_watch(t->call.inputs[i], t, NULL, NULL);
    if (--t->missing == 0) inputs_are_there(t);
}

static void tell(sim_node *n, sim_waiter *x)
{
    if (x->dependent && --x->dependent->missing == 0) inputs_are_there(x->dependent);
    if (x->parked) sim_pool_resume(x->parked);
    if (x->follower) sim_lineage_ended(n, x->follower);
    if (x->guest) {
        sim_guest **end = &n->ended;
        while (*end)
            end = &(*end)->next;
        *end = x->guest;
        sim_node_ring(n);
    }
}

void sim_task_end(sim_task *t, sim_value *v)
{
    if (t->ended) {
        sim_value_clear(v);
        return;
    }
    t->ended = true;
    t->value = *v;
    *v = (sim_value){0};
    check_value_seen(t);
    sim_mix(t->home->world, t->home, 0x200u + t->value.state, t->id, t->value.number);
    sim_waiter *list = t->waiters;
    t->waiters = NULL;
    sim_task_retain(t);
    for (sim_waiter *x; (x = list);) {
        list = x->next;
        tell(t->home, x);
        free(x);
    }
    sim_task_release(t);
}

void sim_task_fail(sim_task *t, lr_err err, bool poisoned)
{
    lr_task_state state = err == LR_ERR_CANCELLED ? LR_TASK_CANCELLED : LR_TASK_FAILED;
    /* who sees that a task was cancelled, and did not do it, is itself of a run that nobody wants any more */
    sim_value v = {.state = state, .err = err, .poisoned = poisoned || state == LR_TASK_CANCELLED, .number = lr_mix64(77u + (uint64_t)err)};
    sim_task_end(t, &v);
}

void sim_task_over(sim_task *t)
{
    LR_ASSERT(t->phase != PHASE_OVER && t->phase != PHASE_ELSEWHERE);
    bool begun = t->spec_in && t->phase != PHASE_MACHINE;
    t->phase = PHASE_OVER;
    if (lr_link_in_list(&t->queue_link)) sim_pool_unqueue(t);
    if (lr_link_in_list(&t->place_link)) lr_link_remove(&t->place_link);
    sim_body_free(t);
    if (begun) {
        lr_err err = !t->ended ? LR_ERR_ERROR : t->value.err;
        sim_node_feed(t->home, (lr_event){.kind = LR_EVENT_TASK_FINISHED, .err = err, .spec = t->spec});
    }
    sim_call_clear(&t->call);
    sim_task_release(t);
}

/* Itself, or one of whom it comes. */
bool sim_task_is_cancelled(const sim_task *t)
{
    if (t->home->world->config.big) return false; /* nobody cancels there */
    for (const sim_family *f = t->family; f; f = f->parent)
        if (f->cancelled) return true;
    return false;
}

bool sim_task_cancelled(sim_task *t)
{
    bool is = sim_task_is_cancelled(t);
    if (is) t->family->cancelled = true;
    if (is && !t->ended) sim_task_fail(t, LR_ERR_CANCELLED, false);
    return is;
}

/* Those that are parked, of whom one has been cancelled. */
static sim_task *parked_in_vain(sim_node *n)
{
    for (lr_link *l = lr_list_first(&n->records); l; l = lr_list_next(&n->records, l)) {
        sim_task *t = LR_CONTAINER(l, sim_task, link);
        if (t->phase != PHASE_PARKED || lr_link_in_list(&t->queue_link)) continue;
        if (sim_task_is_cancelled(t)) return t;
    }
    return NULL;
}

void sim_task_cancel(sim_task *t)
{
    sim_node *n = t->home;
    if (t->ended) return;
    t->family->cancelled = true;
    n->cancels = true;
    sim_task_retain(t);
    sim_task_fail(t, LR_ERR_CANCELLED, false);
    if (t->phase == PHASE_MACHINE) sim_node_feed(n, (lr_event){.kind = LR_EVENT_TASK_CANCEL, .spec = t->spec});
    sim_task_release(t);
    for (sim_task *p; !n->dead && (p = parked_in_vain(n));)
        sim_pool_resume(p);
    sim_node_ring(n);
}
