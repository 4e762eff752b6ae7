/* tests/sim/check_6_store.c - invariant 6 for the control store: what is over has left nothing but capped history.
 *
 * Looked at when the faults are long over: every row is of an agent that lives, or of a job whose driver does, or owned by one
 * of them; the only logs are those of jobs and of errors. */
#include "tests/sim/public.h"

static bool is_death_of_living(sim *w, lr_bytes key)
{
    for (unsigned i = 0; i < w->public->count; i++) {
        const sim_party *p = w->public->parties[i];
        for (int pid = 1; pid <= w->public->last_pid && !p->agent && !p->dead && !p->left; pid++) {
            lr_id death = lr_row_death_key(p->lease.key, pid);
            if (key.size_bytes == sizeof death && memcmp(key.at, &death, sizeof death) == 0) return true;
        }
    }
    return false;
}

static void check_row(sim *w, unsigned shard, lr_control_table table, const lr_control_row *row)
{
    lr_bytes owner = lr_bytes_of_id(&row->owner);
    bool death = table == LR_CONTROL_TABLE_EVENT; /* of a process: an agent's, as long as the job is there */
    bool leased = table == LR_CONTROL_TABLE_JOB || table == LR_CONTROL_TABLE_NODE;
    bool known = leased ? party_of_key(w, table, row->key) != NULL
                        : party_of_key(w, LR_CONTROL_TABLE_JOB, owner) || party_of_key(w, LR_CONTROL_TABLE_NODE, owner);
    if (death) known = known && is_death_of_living(w, row->key);
    if (leased && lr_row_is_swept(row->value)) known = false;
    if (!known)
        sim_violation(w, "6: shard %u has a row of table %s of nobody who lives: %.*s", shard, lr_control_table_name(table),
                      (int)row->value.size_bytes, (const char *)row->value.at);
}

static struct {
    sim *world;
    unsigned shard;
    lr_control_table table;
} looked;

static void on_reply(void *user, const lr_control_reply *reply)
{
    (void)user;
    for (uint32_t i = 0; i < reply->count; i++)
        check_row(looked.world, looked.shard, looked.table, &reply->rows[i]);
}

static void on_wake(void *user, lr_control_table table, lr_bytes key)
{
    (void)user;
    (void)table;
    (void)key;
}

void check_store_left(sim *w)
{
    for (unsigned i = 0; i < w->public->shard_count; i++) {
        lr_control_memory *m = &w->public->shards[i].memory;
        m->control.handler = (lr_control_handler){on_reply, on_wake, NULL}; /* nobody else asks any more */
        looked.world = w;
        looked.shard = i;
        for (unsigned t = 0; t < LR_CONTROL_TABLE_COUNT; t++) {
            lr_control_request all = {.op = LR_CONTROL_SCAN, .table = looked.table = (lr_control_table)t};
            LR_ASSERT(lr_control_request_make(&m->control, &all) == LR_ERR_NONE);
            lr_control_turn(&m->control, 0);
        }
        if (m->logs.count > 2) sim_violation(w, "6: shard %u has %zu logs, not history and errors alone", i, m->logs.count);
    }
}
