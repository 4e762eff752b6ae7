/* tests/sim/check_8_lease.c - nobody that lives is taken for dead while it renews in time; and who can renew does.
 *
 * In time: within its lease, not counting while its shard was away; within half of it for who looks by a clock that has just
 * been set, which counts as one long pause. Looked at when the store does what somebody asks: a
 * row of somebody else that said he lives then says that he is dead, or is gone. */
#include "tests/sim/public.h"

#define BOUND_NS (2 * LR_LEASE_NS + S) /* a row that says `swept` is taken back after a lease */

static bool lives_there(sim *w, unsigned shard, const sim_party *p)
{
    return p && store_shard_of(w, lr_bytes_of_id(&p->lease.key)) == shard && store_row_lives(w, shard, p->lease.table, p->lease.key);
}

/* Whose row it may take away, and is there; NULL: nobody's. */
sim_party *check_sweep_before(sim *w, const sim_ask *a)
{
    const lr_control_request *ask = &a->ask;
    sim_party *p = NULL;
    bool sweeps = ask->op == LR_CONTROL_COMPARE_AND_SET && lr_row_is_swept(ask->value);
    if (sweeps || ask->op == LR_CONTROL_DELETE) p = party_of_key(w, ask->table, ask->key);
    if (ask->op == LR_CONTROL_DELETE_OWNED) p = party_of_key(w, LR_CONTROL_TABLE_JOB, lr_bytes_of_id(&ask->owner));
    return p != a->from && lives_there(w, a->shard, p) ? p : NULL;
}

void check_sweep_after(sim *w, const sim_ask *a, const sim_party *p)
{
    if (!p || lives_there(w, a->shard, p)) return;
    uint64_t away_ns = store_down_ns(w, a->shard) - p->wrote_down_ns, silent_ns = w->now_ns - p->wrote_ns - away_ns;
    bool jumped = a->from->jumped_ns > p->wrote_ns;
    if (silent_ns < (jumped ? LR_LEASE_NS / 2 : LR_LEASE_NS))
        sim_violation(w, "8: %s %u lives and renewed its row %.3f s ago (%.3f s with the store away), and agent %u has it %s",
                      p->agent ? "agent" : "driver", p->number, (double)silent_ns / 1e9, (double)away_ns / 1e9, a->from->number,
                      a->ask.op == LR_CONTROL_COMPARE_AND_SET ? "taken for dead" : "deleted");
}

/* Since when nothing keeps it from renewing; LR_NEVER: something does. */
static uint64_t able_since(const sim *w, const sim_party *p)
{
    uint64_t since_ns = p->paused_until_ns > p->joined_ns ? p->paused_until_ns : p->joined_ns;
    for (unsigned i = 0; i < w->public->shard_count; i++) {
        const sim_line *l = &p->client.line[i];
        if (!l->up) return LR_NEVER;
        if (l->made_at_ns > since_ns) since_ns = l->made_at_ns;
        if (w->public->shards[i].slow_until_ns > since_ns) since_ns = w->public->shards[i].slow_until_ns;
    }
    return since_ns;
}

void check_renews(sim *w)
{
    for (unsigned i = 0; i < w->public->count; i++) {
        const sim_party *p = w->public->parties[i];
        uint64_t since_ns = p->dead || p->left || !p->joined_ns ? LR_NEVER : able_since(w, p);
        if (since_ns < w->now_ns && w->now_ns - since_ns > BOUND_NS && w->now_ns - p->wrote_ns > BOUND_NS)
            sim_violation(w, "8: %s %u could have renewed its row for %.1f s, and has not for %.1f s", p->agent ? "agent" : "driver",
                          p->number, (double)(w->now_ns - since_ns) / 1e9, (double)(w->now_ns - p->wrote_ns) / 1e9);
    }
}
