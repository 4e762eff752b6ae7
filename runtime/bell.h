/* runtime/bell.h - a node's bell: how anybody, in this process or in another of this host, has the node's loop turn,
 * and which thread turns it.
 *
 * The loop is turned by one thread at a time, its leader. A thread that waits for something leads meanwhile (a worker
 * with nothing to do, the script's thread in a get): what arrives is then handled by the thread that wants it, and no
 * other has to be woken. When nobody else leads, the node thread does; it sleeps on the seat for that.
 *
 *     word     means                                    ringing
 *       0      somebody leads and looks                 word = 1
 *       1      rung, not yet seen                       nothing more
 *      -1      nobody looks                             word = 1, wakes who sleeps on the seat
 *      -2      the leader sleeps                        word = 1, wakes the leader
 *
 * Nothing is lost: whoever stops looking exchanges the word and sees a 1; a ringer exchanges it and sees who sleeps.
 * The word lies in a page of a memfd, which other processes map (share.h). They may write anything into it: at worst
 * the loop turns for nothing, or late, by its own deadlines.
 *
 * Owns: the page and its descriptor. Thread: ring by any; the rest as said. Blocks: the two sleeps. */
#ifndef RUNTIME_BELL_H
#define RUNTIME_BELL_H

#include "runtime/share.h"

#include <stdatomic.h>

typedef struct lr_bell_page {
    lr_share_head head;
    _Alignas(64) _Atomic int32_t word;
    _Atomic uint32_t lead, seat; /* futexes: counters that change with each wake */
} lr_bell_page;

typedef struct lr_bell {
    lr_bell_page *page;
    lr_share share;      /* where page lies; share.fd < 0: in own, seen by this process alone */
    lr_bell_page own;
    _Atomic bool led;
    _Atomic bool near;             /* some peer rings it itself: what is waited for may come in microseconds */
    _Atomic(const void *) sleeper; /* the leader that sleeps, by the address of anything of its */
    _Atomic uint64_t deadline_ns;  /* the loop's: when to turn though nobody rings; set by turns */
    _Atomic uint64_t seated_ns;    /* until when the seat's sleeper means to; 0: it is up */
} lr_bell;

/* The caller leads. shared: other processes may ring it; where that cannot be had, it is as if nobody had asked. */
void lr_bell_open(lr_bell *b, bool shared);
/* Nobody rings any more. */
void lr_bell_close(lr_bell *b);

/* Also for the page of another process's bell. */
void lr_bell_ring(lr_bell_page *page);

/* True: the caller leads, until it leaves. *rung: turn now. */
bool lr_bell_try_lead(lr_bell *b, bool *rung);
/* The leader: whether it was rung since the last look. */
static inline bool lr_bell_is_rung(lr_bell *b)
{
    return atomic_load_explicit(&b->page->word, memory_order_relaxed) != 0 && atomic_exchange(&b->page->word, 0) == 1;
}
/* The leader, before it sleeps: others see from here on that it will, and nudge it (lr_bell_nudge). Returns what sleep
 * wants; everything that a nudge may be about must be looked at in between. */
uint32_t lr_bell_lie_down(lr_bell *b, const void *who);
/* Sleeps until rung, nudged, or deadline_ns; returns at once when that has happened since lie_down. */
void lr_bell_sleep(lr_bell *b, uint32_t seen, uint64_t deadline_ns);
/* The leader does not sleep (any more). */
void lr_bell_rise(lr_bell *b);
/* Wakes who, if it sleeps as leader. */
static inline bool lr_bell_sleeps(const lr_bell *b, const void *who) { return atomic_load(&b->sleeper) == who; }
void lr_bell_nudge(lr_bell *b);
/* Leads no more. What was rung meanwhile, and a deadline that became earlier, goes to who sleeps on the seat. */
void lr_bell_leave(lr_bell *b);

/* The node thread: waits on the seat until rung while nobody leads, called, or until the loop's deadline. seen: from
 * lr_bell_seen, taken before everything was looked at that a call may be about. */
static inline uint32_t lr_bell_seen(const lr_bell *b) { return atomic_load(&b->page->seat); }
void lr_bell_sit(lr_bell *b, uint32_t seen);
/* Wakes who sits there. */
void lr_bell_call_seat(lr_bell *b);

#endif
