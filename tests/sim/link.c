/* tests/sim/link.c - the connections of a simulated cluster: dialed, shaken hands on, sent over, cut, ended.
 *
 * Mirrors runtime/transport.c in what the mesh sees of it: the steps of a handshake with their delays, what each side judges
 * when both have dialed (sched/rival.h), that a dial fails, at once or after a long time; records come in order, and what was
 * on its way when a link ends may come in part. Owns: links, messages under way. */
#include "tests/sim/sim.h"

#include "sched/rival.h"

#define SHAKE_NS (5 * S) /* what a handshake may take */

/* ---- which there are -------------------------------------------------------------------------------- */

void sim_link_release(sim_link *l)
{
    if (--l->refs > 0) return;
    lr_link_remove(&l->link);
    free(l);
}

static lr_id key_of(const sim_node *a, const sim_node *b)
{
    uint64_t x = a->number + 1, y = b->number + 1;
    return x < y ? (lr_id){x, y} : (lr_id){y, x};
}

/* The first of those that are, or may come to be. */
static sim_link *first_between(const sim *w, const sim_node *a, const sim_node *b) { return lr_map_find(&w->linked, key_of(a, b)); }

sim_link *sim_link_between(sim *w, const sim_node *a, const sim_node *b)
{
    for (sim_link *l = first_between(w, a, b); l; l = l->other)
        if (!l->cut) return l;
    return NULL;
}

static void unchain(sim *w, sim_link *l)
{
    lr_id key = key_of(l->end[0], l->end[1]);
    sim_link *first = lr_map_find(&w->linked, key);
    if (first == l) {
        lr_map_take(&w->linked, key);
        if (l->other) LR_ASSERT(lr_map_add(&w->linked, key, l->other, &lr_process_allocator));
        return;
    }
    while (first->other != l)
        first = first->other;
    first->other = l->other;
}

/* That side has been told, or is dead. With both only what was on its way still knows it. */
void sim_link_over(sim *w, sim_link *l, unsigned side)
{
    l->over[side] = true;
    l->peer[side] = NULL;
    lr_link_remove(&l->at[side].link);
    l->end[side]->link_count--;
    if (l->over[!side]) unchain(w, l);
}

/* That side has heard nothing of it, or does not care. */
static void vanish(sim *w, sim_link *l, unsigned side)
{
    if (l->over[side]) return;
    sim_link_over(w, l, side);
    sim_link_release(l);
}

static void down_at(sim *w, sim_link *l, unsigned side, uint64_t at_ns)
{
    l->refs++;
    sim_at(w, at_ns, EVENT_DOWN, l->end[side], l, side);
}

/* It ends: what is on its way may still come, in part; each side is told in its own time. */
void sim_link_break(sim *w, sim_link *l, uint64_t soon_ns)
{
    if (l->cut) return;
    l->cut = true;
    for (unsigned side = 0; side < 2; side++) {
        if (l->end[side]->dead || l->over[side]) continue;
        uint64_t span = 1 + sim_below(w, soon_ns);
        l->cut_at_ns[side] = w->now_ns + sim_below(w, span + 1);
        if (side == 1 && l->stage[1] == STAGE_SHAKING)
            vanish(w, l, 1);
        else
            down_at(w, l, side, w->now_ns + span);
    }
}

/* ---- the handshake ---------------------------------------------------------------------------------- */

static uint64_t delay_of(sim *w, const sim_link *l) { return l->delay_ns + (l->jitter_ns ? sim_below(w, l->jitter_ns) : 0); }

static void say_here(sim_link *l, sim_node *n)
{
    lr_message m = {.kind = LR_MESSAGE_HERE};
    m.here.role = lr_mesh_role_of(&n->mesh);
    m.here.offers = (lr_bytes){n->offers, strlen(n->offers)};
    sim_link_send(l, n, &m);
}

static sim_link *link_new(sim *w, sim_node *a, sim_node *b)
{
    sim_link *l = calloc(1, sizeof *l);
    *l = (sim_link){.end = {a, b}, .refs = 2, .other = first_between(w, a, b)};
    l->delay_ns = sim_chance(w, 80) ? 5 * US + sim_below(w, 30 * US) : 100 * US + sim_below(w, 3 * MS);
    l->jitter_ns = sim_chance(w, 50) ? 0 : l->delay_ns * 3;
    lr_list_append(&w->links, &l->link);
    for (unsigned side = 0; side < 2; side++) {
        l->at[side].of = l;
        lr_list_append(&l->end[side]->links, &l->at[side].link);
        if (++l->end[side]->link_count > l->end[side]->most_links) l->end[side]->most_links = l->end[side]->link_count;
    }
    LR_ASSERT(lr_map_add(&w->linked, key_of(a, b), l, &lr_process_allocator));
    return l;
}

/* One that is up on both sides: of a node to the driver. */
sim_link *sim_link_open(sim *w, sim_node *a, sim_node *b)
{
    sim_link *l = link_new(w, a, b);
    l->stage[0] = l->stage[1] = STAGE_UP;
    say_here(l, a);
    say_here(l, b);
    return l;
}

static bool is_blocked(sim *w, const sim_node *a, const sim_node *b)
{
    lr_id key = key_of(a, b);
    bool may = a->number > 1 && b->number > 1; /* one that has all is reached by all */
    if (may && w->walls && lr_mix64(w->config.seed ^ lr_mix64(key.lo) ^ key.hi) % 5 == 0) return true;
    return lr_id_equal(w->blocked, key) && w->blocked_until_ns > w->now_ns;
}

void sim_block(sim *w, const sim_node *a, const sim_node *b, uint64_t for_ns)
{
    w->blocked = key_of(a, b);
    w->blocked_until_ns = w->now_ns + for_ns;
}

static void shake_at(sim *w, sim_link *l, unsigned side, uint64_t at_ns)
{
    l->refs++;
    sim_at(w, at_ns, EVENT_SHAKE, l->end[side], l, side);
}

/* What comes of it: lr_mesh_peer_up, lr_mesh_unreached, or another link that the other node has made. */
void sim_link_dial(sim *w, sim_node *from, sim_node *to)
{
    sim_link *l = link_new(w, from, to);
    bool fails = to->dead || is_blocked(w, from, to) || (!w->safe && !w->config.big && sim_chance(w, 10));
    sim_say(w, "node %u: dials %u%s", from->number, to->number, fails ? ", in vain" : "");
    l->up_ns[0] = l->up_ns[1] = w->now_ns;
    if (!fails) {
        shake_at(w, l, 1, w->now_ns + delay_of(w, l));
        return;
    }
    l->cut = true;
    vanish(w, l, 1);
    down_at(w, l, 0, w->now_ns + (sim_chance(w, 80) ? 1 + delay_of(w, l) : SHAKE_NS)); /* refused, or no answer */
}

/* As runtime/transport.c judges. */
static bool is_double(sim *w, const sim_link *l, unsigned side)
{
    for (const sim_link *q = first_between(w, l->end[0], l->end[1]); q; q = q->other) {
        if (q == l) continue;
        unsigned mine = q->end[0] == l->end[side] ? 0 : 1;
        if (q->over[mine] || q->stage[mine] == STAGE_SHAKING) continue;
        bool young = q->stage[mine] != STAGE_UP || w->now_ns - q->up_ns[mine] < SHAKE_NS;
        lr_rival rival = {mine == 0, mine == 1, young};
        if (lr_rival_stays(l->end[side]->id, l->end[!side]->id, side == 0, &rival)) return true;
    }
    return false;
}

/* The other node's side of this one has lost it and has dialed again; else there would be two that are whole. */
static void end_others(sim *w, const sim_link *l, unsigned side)
{
    for (sim_link *q = first_between(w, l->end[0], l->end[1]); q; q = q->other) {
        unsigned mine = q->end[0] == l->end[side] ? 0 : 1;
        if (q == l || q->over[mine] || q->stage[mine] != STAGE_UP) continue;
        if (!q->cut && !q->over[!mine] && q->stage[!mine] == STAGE_UP)
            sim_violation(w, "8: nodes %u and %u keep two links, and both are whole", l->end[0]->number, l->end[1]->number);
        down_at(w, q, mine, w->now_ns);
    }
}

static void come_up(sim *w, sim_link *l, unsigned side)
{
    end_others(w, l, side);
    l->stage[side] = STAGE_UP;
    l->up_ns[side] = w->now_ns;
    say_here(l, l->end[side]);
}

/* One end refuses it: the dialer hears so. */
static void refuse(sim *w, sim_link *l)
{
    sim_say(w, "node %u: its link to %u is one too many", l->end[0]->number, l->end[1]->number);
    l->twice = true;
    l->cut = true;
    vanish(w, l, 1);
    down_at(w, l, 0, w->now_ns + delay_of(w, l));
}

/* HELLO has come to the listener, its HELLO to the dialer, PROOF to the listener, its PROOF to the dialer, ACCEPT to the listener. */
void sim_link_shake(sim *w, sim_link *l, unsigned side)
{
    if (l->cut || l->over[0] || l->over[1]) return; /* who waits is told, or dead */
    uint64_t next_ns = w->now_ns + delay_of(w, l);
    unsigned step = l->step++;
    switch (step) {
    case 0: break;
    case 1:
    case 2: /* first the dialer, then the listener */
        if (is_double(w, l, step - 1)) {
            refuse(w, l);
            return;
        }
        l->stage[step - 1] = STAGE_SURE;
        break;
    case 3:
        l->last_ns[1] = next_ns; /* no record comes before ACCEPT */
        come_up(w, l, 0);
        break;
    case 4: come_up(w, l, 1); return;
    default: return; /* a record came first */
    }
    shake_at(w, l, !side, next_ns);
}

/* ---- records ---------------------------------------------------------------------------------------- */

static void say_message(sim *w, const sim_node *from, const sim_node *to, const lr_message *m)
{
    unsigned long long what = 0;
    switch ((int)m->kind) {
    case LR_MESSAGE_IDLE: what = m->idle.count; break;
    case LR_MESSAGE_SURPLUS: what = m->surplus.count; break;
    case LR_MESSAGE_GRANT: what = m->grant.count; break;
    case LR_MESSAGE_UNUSED: what = m->unused.count; break;
    case LR_MESSAGE_PLACE: what = m->place.task.lo; break;
    case LR_MESSAGE_PLACED: what = m->placed.task.lo; break;
    case LR_MESSAGE_NOWHERE: what = m->nowhere.task.lo; break;
    case LR_MESSAGE_DONE: what = m->done.task.lo; break;
    case LR_MESSAGE_TASK: what = m->task.task.lo; break;
    case LR_MESSAGE_RESULT: what = m->result.task.lo; break;
    case LR_MESSAGE_WANT: what = m->want.task.lo; break;
    case LR_MESSAGE_CANCEL: what = m->cancel.task.lo; break;
    default: break;
    }
    const char *state = m->kind == LR_MESSAGE_RESULT ? lr_task_state_name((lr_task_state)m->result.state) : "";
    sim_say(w, "node %u -> %u  %s %llx %s", from->number, to->number, lr_message_name(m->kind), what, state);
}

void sim_link_send(sim_link *l, sim_node *from, const lr_message *m)
{
    sim *w = from->world;
    unsigned side = l->end[0] == from ? 1 : 0;
    size_t size = lr_message_size(m);
    w->stats.messages++;
    w->stats.kinds[m->kind]++;
    w->stats.bytes += size;
    from->said++;
    l->end[side]->heard++;
    sim_mix(w, from, 0x100u + m->kind, l->end[side]->id, size);
    if (w->config.says) say_message(w, from, l->end[side], m);
    if (l->cut || l->end[side]->dead) return;
    sim_message *copy = malloc(sizeof *copy + size);
    *copy = (sim_message){.link = l, .side = side, .kind = (uint16_t)m->kind, .size_bytes = size};
    lr_message_encode(m, copy->bytes);
    uint64_t at = w->now_ns + delay_of(w, l);
    if (at <= l->last_ns[side]) at = l->last_ns[side] + 1; /* in order */
    l->last_ns[side] = at;
    l->flying++;
    l->refs++;
    sim_at(w, at, EVENT_ARRIVE, l->end[side], copy, side);
}

static void into_inbox(sim_node *n, sim_message *m)
{
    *n->inbox_end = m;
    n->inbox_end = &m->next;
    sim_node_ring(n);
}

void sim_link_arrive(sim *w, sim_message *m)
{
    sim_link *l = m->link;
    sim_node *n = l->end[m->side];
    l->flying--;
    if (l->step == 4 && m->side == 1 && !l->cut && !n->dead && !l->over[1]) sim_link_shake(w, l, 1); /* ACCEPT was put off: it stops */
    if (n->dead || l->over[m->side] || l->stage[m->side] != STAGE_UP || (l->cut_at_ns[m->side] && w->now_ns > l->cut_at_ns[m->side])) {
        free(m);
        sim_link_release(l);
        return;
    }
    into_inbox(n, m);
}

/* That a link is over comes behind what came before. */
void sim_link_down(sim_link *l, unsigned side)
{
    sim_node *n = l->end[side];
    if (n->dead || l->over[side]) {
        sim_link_release(l);
        return;
    }
    sim_message *m = calloc(1, sizeof *m);
    *m = (sim_message){.link = l, .side = side, .kind = LR_MESSAGE_NONE};
    into_inbox(n, m);
}
