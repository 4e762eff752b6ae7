#include "runtime/bell.h"

#include "runtime/clock.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RUNG 1
#define LOOKS 0
#define NOBODY (-1)
#define SLEEPS (-2)
#define LATE_NS 1000000 /* what the leader is given when it was told that the deadline is over */

/* Not private to the process: the word may be in a shared page. */
static void wait_on(_Atomic uint32_t *futex, uint32_t seen, uint64_t deadline_ns)
{
    struct timespec t = {(time_t)(deadline_ns / LR_NS_PER_S), (long)(deadline_ns % LR_NS_PER_S)};
    syscall(SYS_futex, futex, FUTEX_WAIT_BITSET, seen, deadline_ns == LR_NEVER ? NULL : &t, NULL,
            FUTEX_BITSET_MATCH_ANY);
}

static void wake(_Atomic uint32_t *futex)
{
    atomic_fetch_add(futex, 1);
    syscall(SYS_futex, futex, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void lr_bell_open(lr_bell *b, bool shared)
{
    *b = (lr_bell){.share.fd = -1, .page = &b->own};
    if (shared && lr_share_make(&b->share, sizeof(lr_bell_page))) b->page = b->share.at;
    atomic_store(&b->page->word, LOOKS);
    atomic_store(&b->led, true);
    atomic_store(&b->deadline_ns, LR_NEVER);
}

void lr_bell_close(lr_bell *b)
{
    if (b->share.fd >= 0) lr_share_close(&b->share);
    b->share.fd = -1;
    b->page = &b->own;
}

void lr_bell_ring(lr_bell_page *page)
{
    int32_t before = atomic_exchange(&page->word, RUNG);
    if (before == SLEEPS)
        wake(&page->lead);
    else if (before == NOBODY)
        wake(&page->seat);
}

bool lr_bell_try_lead(lr_bell *b, bool *rung)
{
    bool led = false;
    if (atomic_load_explicit(&b->led, memory_order_relaxed) || !atomic_compare_exchange_strong(&b->led, &led, true))
        return false;
    *rung = atomic_exchange(&b->page->word, LOOKS) == RUNG;
    return true;
}

uint32_t lr_bell_lie_down(lr_bell *b, const void *who)
{
    uint32_t seen = atomic_load(&b->page->lead);
    atomic_store(&b->sleeper, who);
    return seen;
}

void lr_bell_sleep(lr_bell *b, uint32_t seen, uint64_t deadline_ns)
{
    int32_t word = atomic_load(&b->page->word);
    do {
        if (word != LOOKS && word != NOBODY) return; /* NOBODY: left there by the leader before */
    } while (!atomic_compare_exchange_weak(&b->page->word, &word, SLEEPS));
    wait_on(&b->page->lead, seen, deadline_ns);
    word = SLEEPS;
    atomic_compare_exchange_strong(&b->page->word, &word, LOOKS);
}

void lr_bell_rise(lr_bell *b) { atomic_store(&b->sleeper, NULL); }
void lr_bell_nudge(lr_bell *b) { wake(&b->page->lead); }

void lr_bell_leave(lr_bell *b)
{
    int32_t word = LOOKS;
    bool sooner = atomic_load(&b->deadline_ns) < atomic_load(&b->seated_ns);
    atomic_store(&b->led, false);
    bool none = atomic_compare_exchange_strong(&b->page->word, &word, NOBODY);
    if (sooner || (!none && word == RUNG)) wake(&b->page->seat);
}

void lr_bell_sit(lr_bell *b, uint32_t seen)
{
    uint64_t deadline_ns = atomic_load(&b->deadline_ns), until_ns = deadline_ns, now_ns = lr_clock_ns();
    if (deadline_ns <= now_ns) {
        if (!atomic_load(&b->led)) return;
        until_ns = now_ns + LATE_NS;
        lr_bell_ring(b->page); /* whoever leads turns late */
        seen = lr_bell_seen(b); /* the ring may have been for the seat */
        if (!atomic_load(&b->led)) return;
    }
    atomic_store(&b->seated_ns, until_ns);
    if (atomic_load(&b->deadline_ns) == deadline_ns) wait_on(&b->page->seat, seen, until_ns);
    atomic_store(&b->seated_ns, 0);
}

void lr_bell_call_seat(lr_bell *b) { wake(&b->page->seat); }
