/* tests/sim/check_8_roster.c - invariant 8 for membership: with the faults over everybody that lives is known to everybody within
 * a lease and some readings, and nobody that is dead; each job that lives has a process on each machine, and no other has.
 *
 * And at once, not with the next reading: a job's row that is written while an agent begins to watch is seen by it. */
#include "tests/sim/public.h"

typedef unsigned long long ull;

static bool watches(const sim_party *p) { return p->agent && !p->dead && !p->left; }

static void check_known(const sim_party *p, const sim_party *of)
{
    const lr_roster *r = of->agent ? &p->nodes : &p->jobs;
    const lr_roster_entry *e = lr_roster_find(r, of->lease.key);
    if (!of->dead && !of->left && (!e || e->swept))
        sim_violation(p->world, "8: agent %u does not know %s %u, which lives", p->number, of->agent ? "agent" : "driver", of->number);
}

static void check_entries(const sim_party *p, const lr_roster *r)
{
    for (lr_link *l = lr_list_first(&r->entries); l; l = lr_list_next(&r->entries, l)) {
        const lr_roster_entry *e = LR_CONTAINER(l, lr_roster_entry, link);
        if (!e->swept && !party_of_key(p->world, r->table, lr_bytes_of_id(&e->key)))
            sim_violation(p->world, "8: agent %u takes %016llx of table %s for living, and it is not", p->number, (ull)e->key.lo,
                          lr_control_table_name(r->table));
    }
}

static void check_processes(const sim_party *p)
{
    unsigned jobs = 0, running = 0;
    for (unsigned i = 0; i < p->world->public->count; i++) {
        const sim_party *of = p->world->public->parties[i];
        jobs += !of->agent && !of->dead && !of->left;
    }
    for (lr_link *l = lr_list_first(&p->hosting.jobs); l; l = lr_list_next(&p->hosting.jobs, l)) {
        const sim_hosted *j = (const void *)LR_CONTAINER(l, lr_hosted, link);
        if (j->driver->dead || j->driver->left)
            sim_violation(p->world, "8: agent %u still has job %u, which is over", p->number, j->driver->number);
        running += j->alive;
    }
    if (running != jobs) sim_violation(p->world, "8: agent %u runs %u processes for %u jobs", p->number, running, jobs);
}

void check_rosters(sim *w)
{
    for (unsigned i = 0; i < w->public->count; i++) {
        const sim_party *p = w->public->parties[i];
        if (!watches(p)) continue;
        if (!p->begun) sim_violation(w, "8: agent %u has not registered", p->number);
        if (w->failed) return;
        for (unsigned k = 0; k < w->public->count; k++)
            check_known(p, w->public->parties[k]);
        check_entries(p, &p->jobs);
        check_entries(p, &p->nodes);
        check_processes(p);
    }
}

void check_seen(sim *w)
{
    for (unsigned i = 0; i < w->public->count; i++)
        if (watches(w->public->parties[i]) && w->public->parties[i]->begun) check_known(w->public->parties[i], w->public->late);
}
