/* The ring between processes, and the bell: bytes in order through any wrap, room, lies in the shared memory, what may
 * be opened; and that no ring of the bell is lost, whoever leads, sleeps or leaves. Both sides are in this process. */

#define _GNU_SOURCE
#include "runtime/bell.h"
#include "runtime/clock.h"
#include "runtime/ring.h"
#include "sched/prng.h"

#include "tests/unit/test.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct pair {
    lr_ring a, b;
} pair;

static void open_pair(pair *p)
{
    assert_true(lr_ring_make(&p->a));
    assert_true(lr_ring_open(&p->b, (uint32_t)getpid(), (uint32_t)p->a.share.fd, lr_share_nonce(&p->a.share)));
    lr_share_close_fd(&p->a.share);
}

static void close_pair(pair *p)
{
    lr_ring_close(&p->a);
    lr_ring_close(&p->b);
}

/* The byte that stands at a place of an endless text. */
static uint8_t byte_at(uint64_t place) { return (uint8_t)(place * 0x9e3779b97f4a7c15u >> 56); }

static size_t put(lr_ring *r, uint64_t *place, size_t size_bytes)
{
    static _Thread_local uint8_t bytes[2 * LR_RING_BYTES];
    for (size_t i = 0; i < size_bytes; i++)
        bytes[i] = byte_at(*place + i);
    size_t n = lr_ring_write(r, bytes, size_bytes);
    assert_true(n <= size_bytes);
    *place += n;
    return n;
}

static size_t take(lr_ring *r, uint64_t *place, size_t size_bytes, bool *room_wanted)
{
    static _Thread_local uint8_t bytes[2 * LR_RING_BYTES];
    size_t n = lr_ring_read(r, bytes, size_bytes, room_wanted);
    assert_true(n <= size_bytes);
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != byte_at(*place + i)) fail_msg("byte %zu of %zu, at %llu", i, n, (unsigned long long)*place);
    *place += n;
    return n;
}

static void bytes_in_order_through_any_wrap(void **state)
{
    (void)state;
    pair p;
    bool wanted;
    uint64_t there = 0, read_there = 0, back = 0, read_back = 0;
    lr_prng random;
    lr_prng_seed(&random, 7);
    open_pair(&p);
    for (int i = 0; i < 2000; i++) {
        put(&p.a, &there, lr_prng_next(&random) % 3000);
        put(&p.b, &back, lr_prng_next(&random) % 3000);
        lr_ring_publish(&p.a);
        lr_ring_publish(&p.b);
        take(&p.b, &read_there, lr_prng_next(&random) % 4000, &wanted);
        take(&p.a, &read_back, lr_prng_next(&random) % 4000, &wanted);
    }
    while (take(&p.b, &read_there, 999, &wanted) > 0) {}
    while (take(&p.a, &read_back, 999, &wanted) > 0) {}
    assert_int_equal(read_there, there);
    assert_int_equal(read_back, back);
    assert_true(there > 4 * LR_RING_BYTES);
    close_pair(&p);
}

static void what_is_not_published_is_not_seen(void **state)
{
    (void)state;
    pair p;
    bool wanted;
    uint64_t in = 0, out = 0;
    open_pair(&p);
    assert_false(lr_ring_publish(&p.a));
    put(&p.a, &in, 10);
    assert_false(lr_ring_has(&p.b));
    assert_int_equal(take(&p.b, &out, 100, &wanted), 0);
    assert_true(lr_ring_publish(&p.a));
    assert_false(lr_ring_publish(&p.a));
    assert_true(lr_ring_has(&p.b));
    assert_int_equal(take(&p.b, &out, 100, &wanted), 10);
    assert_false(lr_ring_has(&p.b));
    close_pair(&p);
}

static void a_full_ring_says_when_there_is_room(void **state)
{
    (void)state;
    pair p;
    bool wanted;
    uint64_t in = 0, out = 0;
    open_pair(&p);
    assert_int_equal(put(&p.a, &in, LR_RING_BYTES + 1000), LR_RING_BYTES);
    assert_int_equal(put(&p.a, &in, 1), 0);
    lr_ring_publish(&p.a);
    assert_false(lr_ring_want_room(&p.a));
    assert_int_equal(take(&p.b, &out, 100, &wanted), 100);
    assert_true(wanted);
    assert_int_equal(take(&p.b, &out, 100, &wanted), 100);
    assert_false(wanted);
    assert_true(lr_ring_want_room(&p.a));
    assert_int_equal(put(&p.a, &in, 1000), 200);
    close_pair(&p);
}

/* Scribbles over the page that both sides have in common, behind its head. */
static void scribble(pair *p, lr_prng *random)
{
    uint64_t *words = p->b.share.at;
    for (size_t i = sizeof(lr_share_head) / 8 + 1; i < 4096 / 8; i++)
        if (lr_prng_next(random) % 8 == 0)
            words[i] = lr_prng_next(random) % 2 ? lr_prng_next(random) : lr_prng_next(random) % (2 * LR_RING_BYTES);
}

static void lies_lead_nowhere(void **state)
{
    (void)state;
    static uint8_t bytes[5000];
    lr_prng random;
    lr_prng_seed(&random, 11);
    unsigned garbage = 0;
    for (int i = 0; i < 300; i++) {
        pair p;
        bool wanted, bad = false;
        open_pair(&p);
        for (int k = 0; k < 50 && !bad; k++) {
            if (k % 5 == 4) scribble(&p, &random);
            size_t n = lr_ring_write(&p.a, bytes, lr_prng_next(&random) % sizeof bytes);
            bad = n == LR_RING_GARBAGE;
            assert_true(bad || n <= sizeof bytes);
            lr_ring_publish(&p.a);
            lr_ring_want_room(&p.a);
            n = lr_ring_read(&p.a, bytes, lr_prng_next(&random) % sizeof bytes, &wanted);
            bad |= n == LR_RING_GARBAGE;
            assert_true(n == LR_RING_GARBAGE || n <= sizeof bytes);
        }
        garbage += bad;
        close_pair(&p);
    }
    assert_true(garbage > 200);
}

static void only_what_was_offered_is_opened(void **state)
{
    (void)state;
    lr_ring r, other;
    lr_share s;
    uint8_t nonce[LR_SHARE_NONCE_BYTES] = {0};
    uint32_t me = (uint32_t)getpid();
    assert_true(lr_ring_make(&r));
    uint32_t fd = (uint32_t)r.share.fd;
    assert_false(lr_ring_open(&other, me, fd, nonce));
    memcpy(nonce, lr_share_nonce(&r.share), sizeof nonce);
    assert_false(lr_share_open(&s, me, fd, nonce, 4096));
    assert_false(lr_share_open(&s, 0x7fffffff, fd, nonce, lr_ring_share_bytes()));
    int file = open("/dev/null", O_RDWR | O_CLOEXEC), plain = memfd_create("plain", MFD_CLOEXEC);
    assert_int_equal(ftruncate(plain, (off_t)lr_ring_share_bytes()), 0); /* it may shrink: a trap */
    assert_false(lr_ring_open(&other, me, (uint32_t)file, nonce));
    assert_false(lr_ring_open(&other, me, (uint32_t)plain, nonce));
    close(file);
    close(plain);
    assert_true(lr_ring_open(&other, me, fd, nonce));
    lr_ring_close(&other);
    lr_ring_close(&r);
    assert_false(lr_ring_open(&other, me, fd, nonce));
}

static void hosts(void **state)
{
    (void)state;
    uint8_t here[LR_HOST_BYTES], again[LR_HOST_BYTES], unknown[LR_HOST_BYTES] = {0};
    lr_share_host(here);
    lr_share_host(again);
    assert_true(lr_share_same_host(here, again));
    again[31] ^= 1;
    assert_false(lr_share_same_host(here, again));
    assert_false(lr_share_same_host(unknown, unknown));
}

/* ---- two threads ------------------------------------------------------------------------------------- */

#define STREAM_BYTES ((uint64_t)8 << 20)

typedef struct side {
    lr_ring *ring;
    lr_bell bell;      /* this side's */
    lr_bell_page *there;
    uint64_t wrote, read;
    uint64_t seed;
} side;

/* Writes and reads at once; sleeps as the leader of its bell. */
static void *talk(void *argument)
{
    side *s = argument;
    lr_prng random;
    lr_prng_seed(&random, s->seed);
    while (s->wrote < STREAM_BYTES || s->read < STREAM_BYTES) {
        bool wanted, any = false, full = false;
        uint64_t left = STREAM_BYTES - s->wrote, piece = lr_prng_next(&random) % 30000 + 1;
        if (left > 0) {
            size_t n = put(s->ring, &s->wrote, piece < left ? piece : left);
            any |= n > 0;
            full = n == 0;
        }
        bool rings = lr_ring_publish(s->ring);
        if (full && lr_ring_want_room(s->ring)) any = true;
        any |= take(s->ring, &s->read, 20000, &wanted) > 0;
        if (rings || wanted) lr_bell_ring(s->there);
        uint32_t seen = lr_bell_lie_down(&s->bell, s);
        if (!any && !lr_bell_is_rung(&s->bell)) lr_bell_sleep(&s->bell, seen, LR_NEVER);
        lr_bell_rise(&s->bell);
    }
    return NULL;
}

static void two_threads_sleep_and_wake(void **state)
{
    (void)state;
    static side a, b;
    pair p;
    pthread_t thread;
    open_pair(&p);
    lr_bell_open(&a.bell, true);
    lr_bell_open(&b.bell, true);
    assert_true(a.bell.share.fd >= 0);
    a.ring = &p.a;
    b.ring = &p.b;
    a.there = b.bell.page;
    b.there = a.bell.page;
    a.seed = 1;
    b.seed = 2;
    assert_int_equal(pthread_create(&thread, NULL, talk, &b), 0);
    talk(&a);
    pthread_join(thread, NULL);
    assert_int_equal(b.read, STREAM_BYTES);
    lr_bell_close(&a.bell);
    lr_bell_close(&b.bell);
    close_pair(&p);
}

/* ---- the bell ---------------------------------------------------------------------------------------- */

#define RINGS 20000u

static struct {
    lr_bell bell;
    _Atomic uint64_t posted, handled, turns;
    _Atomic bool over;
    _Atomic uint32_t inside; /* in a turn: one at most */
} desk;

static void desk_turn(void)
{
    assert_int_equal(atomic_fetch_add(&desk.inside, 1), 0);
    atomic_store(&desk.handled, atomic_load(&desk.posted));
    atomic_fetch_add(&desk.turns, 1);
    atomic_fetch_sub(&desk.inside, 1);
}

/* Leads for a moment, awake or asleep, and leaves. */
static void *now_and_then(void *seed)
{
    lr_prng random;
    lr_prng_seed(&random, (uint64_t)(uintptr_t)seed);
    while (!atomic_load(&desk.over)) {
        bool rung;
        if (lr_bell_try_lead(&desk.bell, &rung)) {
            if (rung) desk_turn();
            uint32_t seen = lr_bell_lie_down(&desk.bell, seed);
            uint64_t until_ns = lr_clock_ns() + lr_prng_next(&random) % 200000;
            if (lr_prng_next(&random) % 2) lr_bell_sleep(&desk.bell, seen, until_ns);
            lr_bell_rise(&desk.bell);
            if (lr_bell_is_rung(&desk.bell)) desk_turn();
            lr_bell_leave(&desk.bell);
        }
        for (uint64_t i = lr_prng_next(&random) % 2000; i > 0; i--)
            atomic_load(&desk.over);
    }
    return NULL;
}

static void *seat(void *unused)
{
    (void)unused;
    while (!atomic_load(&desk.over)) {
        bool rung;
        uint32_t seen = lr_bell_seen(&desk.bell);
        if (lr_bell_try_lead(&desk.bell, &rung)) {
            desk_turn();
            lr_bell_leave(&desk.bell);
        }
        if (!atomic_load(&desk.over)) lr_bell_sit(&desk.bell, seen);
    }
    return NULL;
}

static void no_ring_is_lost(void **state)
{
    (void)state;
    pthread_t threads[3];
    lr_bell_open(&desk.bell, true);
    lr_bell_leave(&desk.bell);
    pthread_create(&threads[0], NULL, seat, NULL);
    for (uintptr_t i = 1; i < 3; i++)
        pthread_create(&threads[i], NULL, now_and_then, (void *)i); /* NOLINT: a number stands for a pointer */
    for (uint64_t i = 1; i <= RINGS; i++) {
        atomic_store(&desk.posted, i);
        lr_bell_ring(desk.bell.page);
        if (i % 4) continue;
        for (uint64_t limit = lr_clock_ns() + 20 * LR_NS_PER_S; atomic_load(&desk.handled) < i;)
            if (lr_clock_ns() > limit) fail_msg("ring %llu was not heard", (unsigned long long)i);
    }
    atomic_store(&desk.over, true);
    lr_bell_call_seat(&desk.bell);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&desk.turns) > 0);
    lr_bell_close(&desk.bell);
}

/* The loop's deadline is kept by whoever is there: the seat alone, or a leader that sleeps longer. */
static void the_deadline_calls_the_seat(void **state)
{
    (void)state;
    lr_bell b;
    lr_bell_open(&b, false);
    assert_int_equal(b.share.fd, -1);
    uint64_t at_ns = lr_clock_ns() + 20000000;
    atomic_store(&b.deadline_ns, at_ns);
    lr_bell_leave(&b);
    while (lr_clock_ns() < at_ns)
        lr_bell_sit(&b, lr_bell_seen(&b));
    bool rung;
    assert_true(lr_bell_try_lead(&b, &rung)); /* somebody leads, and turns late: */
    uint32_t seen = lr_bell_seen(&b);
    lr_bell_sit(&b, seen);
    assert_true(lr_bell_is_rung(&b));
    lr_bell_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_in_order_through_any_wrap),
        cmocka_unit_test(what_is_not_published_is_not_seen),
        cmocka_unit_test(a_full_ring_says_when_there_is_room),
        cmocka_unit_test(lies_lead_nowhere),
        cmocka_unit_test(only_what_was_offered_is_opened),
        cmocka_unit_test(hosts),
        cmocka_unit_test(two_threads_sleep_and_wake),
        cmocka_unit_test(no_ring_is_lost),
        cmocka_unit_test(the_deadline_calls_the_seat),
    };
    return RUN_ALL(tests);
}
