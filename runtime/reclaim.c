/* Room in a full object store, with the help of all threads: each thread's Lua state may hold much of it by garbage.
 *
 * Who finds no room marks every worker and wakes it. A worker that looks around for work, or waits, collects and takes
 * the mark off; so does the script's thread when it waits or submits. One that is busy in a long body comes
 * too late: it is waited for no longer than WAIT_NS. Where objects cannot be spilled because the disk is full, the
 * thread waits for the disk, or for others to free what they have, up to DISK_NS. */
#include "runtime/pool.h"
#include "runtime/spill.h"

#include <unistd.h>

#define WAIT_NS 1000000000ull
#define DISK_NS 5000000000ull
#define DISK_LOOK_US 10000
#define LOOK_NS 100000ull /* how often who waits looks whether all have collected */

static void ask(lr_worker *w)
{
    atomic_store(&w->collect, true);
    atomic_store(&w->look_at_parked, true);
    lr_worker_wake(w);
}

static bool all_have(lr_pool *p)
{
    for (unsigned i = 0; i <= p->worker_count; i++)
        if (atomic_load(&p->workers[i].collect)) return false;
    return true;
}

/* The third attempt and on. */
static bool wait_for_disk(lr_worker *w, unsigned attempt)
{
    static _Thread_local uint64_t until;
    uint64_t now = lr_clock_ns();
    if (attempt == 2) until = now + DISK_NS;
    if (!lr_spill_is_full() || (w && atomic_load(&w->pool->ending)) || now >= until) return false;
    usleep(DISK_LOOK_US);
    if (w) w->pool->runner->collect(w);
    return true;
}

bool lr_pool_reclaim(lr_worker *w, unsigned attempt)
{
    if (attempt > 1) return wait_for_disk(w, attempt);
    if (!w) return attempt == 1 && lr_spill_is_full();
    lr_pool *p = w->pool;
    if (attempt == 0) {
        p->runner->collect(w);
        return true;
    }
    if (!w->has_loop) p->runner->collect(w); /* the script's thread may have two states */
    for (unsigned i = 0; i <= p->worker_count; i++)
        if (i != w->index) ask(&p->workers[i]);
    uint64_t until = lr_clock_ns() + WAIT_NS;
    for (;;) {
        atomic_store(&w->collect, false); /* asked by another thread meanwhile: done already */
        if (all_have(p) || atomic_load(&p->ending) || lr_clock_ns() >= until) return true;
        lr_bed_sleep(&w->bed, lr_clock_ns() + LOOK_NS);
    }
}

void lr_pool_collect(lr_pool *p)
{
    for (unsigned i = 0; i <= p->worker_count; i++)
        ask(&p->workers[i]);
}
