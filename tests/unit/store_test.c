/* The object store: totals, room, refusals, coalescing, warm memory, many threads. */
#include "runtime/store.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define MB ((uint64_t)1000 * 1000)
#define PAGE 4096u

void lr_task_destroy(lr_object *o) { (void)o; }
void lr_code_destroy(lr_object *o) { (void)o; }
void lr_fn_destroy(lr_object *o) { (void)o; }
_Noreturn void lr_assert_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, expression);
    abort();
}

static lr_buffer *make(uint64_t bytes) { return lr_buffer_new(bytes, "a test", NULL, 0); }

static struct lr_store_stats stats(void)
{
    struct lr_store_stats s;
    lr_store_stats(&s);
    return s;
}

static int start(void **state)
{
    (void)state;
    return lr_store_configure(32 * MB) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    assert_int_equal(stats().used_bytes, 0);
    assert_int_equal(stats().count, 0);
    return lr_store_close() == 0 ? 0 : -1;
}

static void test_default_capacity(void **state)
{
    (void)state;
    assert_true(lr_store_configure(0));
    uint64_t capacity = lr_store_capacity(), memory;
    memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    assert_true(capacity > 0 && capacity <= memory / 10 * 3 + PAGE);
    assert_true(lr_store_configure(32 * MB));
}

static void test_small(void **state)
{
    (void)state;
    lr_buffer *b = make(64), *empty = make(0);
    assert_false(b->in_arena);
    assert_int_equal((uintptr_t)b->data % 64, 0);
    assert_non_null(empty->data);
    memset(b->data, 1, 64);
    assert_int_equal(stats().used_bytes, 64);
    assert_int_equal(stats().count, 2);
    assert_false(lr_buffer_is_sealed(b));
    lr_buffer_seal(b);
    assert_true(lr_buffer_is_sealed(b));
    lr_buffer_release(b);
    lr_buffer_release(empty);
}

static void test_large(void **state)
{
    (void)state;
    lr_buffer *b = make(5 * MB + 1);
    assert_true(b->in_arena);
    assert_int_equal(b->size_bytes, 5 * MB + 1);
    assert_int_equal((uintptr_t)b->data % PAGE, 0);
    memset(b->data, 7, b->size_bytes);
    assert_int_equal(stats().arena_count, 1);
    assert_true(stats().used_bytes >= 5 * MB + 1 && stats().used_bytes <= 5 * MB + PAGE);
    assert_true(stats().peak_bytes >= 5 * MB);
    lr_buffer_release(b);
    assert_true(stats().idle_bytes >= 5 * MB);
}

static void test_reuses_warm_and_low(void **state)
{
    (void)state;
    lr_buffer *a = make(MB), *b = make(2 * MB), *c = make(MB);
    void *at_a = a->data, *at_b = b->data;
    assert_true(a->data < b->data && b->data < c->data);
    lr_buffer_release(b);
    lr_buffer *again = make(2 * MB);
    assert_ptr_equal(again->data, at_b);
    lr_buffer_release(again);
    lr_buffer_release(a);
    lr_buffer *both = make(3 * MB); /* a and b have become one */
    assert_ptr_equal(both->data, at_a);
    lr_buffer_release(both);
    lr_buffer_release(c);
}

static void test_whole_capacity_fits(void **state)
{
    (void)state;
    lr_buffer *hole = make(MB), *keep = make(100000), *b;
    lr_buffer_release(hole); /* a hole at the start: fragmentation alone must not refuse */
    b = make(31 * MB);
    assert_non_null(b);
    lr_buffer_release(b);
    lr_buffer_release(keep);
    b = make(32 * MB);
    assert_non_null(b);
    lr_buffer_release(b);
}

static void test_never_fits(void **state)
{
    (void)state;
    char message[256];
    assert_null(lr_buffer_new(40 * MB, "a test", message, sizeof message));
    assert_string_equal(message, "40.0 MB asked: this can never fit the object store, whose capacity is "
                                 "32.0 MB (--store-bytes)");
    assert_null(make(UINT64_MAX));
    assert_null(make(UINT64_MAX - 100));
}

static void test_full(void **state)
{
    (void)state;
    char message[512];
    lr_buffer *a = lr_buffer_new(20 * MB, "tensor from kernel go.playout", NULL, 0);
    lr_buffer *b = lr_buffer_new(4 * MB, "put at script.lua:12", NULL, 0);
    lr_buffer *c = lr_buffer_new(6 * MB, "a string", NULL, 0), *d = make(50000), *e = make(1500);
    assert_null(lr_buffer_new(12 * MB, "x", message, sizeof message));
    assert_string_equal(message,
                        "object store full: 12.0 MB asked, 30.1 of 32.0 MB in use by 5 objects; largest: "
                        "20.0 MB (tensor from kernel go.playout), 6.0 MB (a string), 4.0 MB (put at "
                        "script.lua:12), ...; 1 small ones hold 1.5 kB");
    char little[10];
    assert_null(lr_buffer_new(12 * MB, "x", little, sizeof little));
    assert_true(strlen(little) < sizeof little);
    lr_buffer *all[] = {a, b, c, d, e};
    for (size_t i = 0; i < LR_COUNT(all); i++)
        lr_buffer_release(all[i]);
}

static void test_full_of_small(void **state)
{
    (void)state;
    enum { COUNT = 40 };
    lr_buffer *all[COUNT], *whole = make(31 * MB);
    char message[256] = "";
    int made = 0;
    while (made < COUNT && (all[made] = lr_buffer_new(30000, "x", message, sizeof message)))
        made++;
    assert_in_range(made, 30, 34);
    assert_non_null(strstr(message, "object store full: 30.0 kB asked, "));
    while (made > 0)
        lr_buffer_release(all[--made]);
    lr_buffer_release(whole);
}

static void test_configure_only_before_use(void **state)
{
    (void)state;
    lr_buffer *b = make(MB);
    assert_false(lr_store_configure(64 * MB));
    assert_int_equal(lr_store_close(), 1);
    lr_buffer_release(b);
    assert_int_equal(lr_store_close(), 0);
    assert_true(lr_store_configure(32 * MB));
}

/* Idle pages never push what the arena holds beyond the capacity. */
static void test_gives_back(void **state)
{
    (void)state;
    enum { COUNT = 14 };
    lr_buffer *all[COUNT];
    for (int i = 0; i < COUNT; i++) {
        all[i] = make(2 * MB);
        memset(all[i]->data, i, 2 * MB);
    }
    for (int i = 0; i < COUNT; i += 2)
        lr_buffer_release(all[i]);
    lr_buffer *b = make(15 * MB); /* fits no hole: fresh pages, so the holes' must go */
    assert_non_null(b);
    memset(b->data, 1, 15 * MB);
    assert_true(stats().used_bytes + stats().idle_bytes <= stats().capacity_bytes);
    for (int i = 1; i < COUNT; i += 2) {
        assert_int_equal(((char *)all[i]->data)[MB], i);
        lr_buffer_release(all[i]);
    }
    lr_buffer_release(b);
}

/* What was given back and lies at the end of an extent is not given back again, and again. */
static void test_gives_back_the_warm_part(void **state)
{
    (void)state;
    assert_int_equal(lr_store_close(), 0);
    assert_true(lr_store_configure(64 * MB));
    lr_buffer *hole = make(20 * MB), *keep = make(MB), *first = make(25 * MB), *between = make(MB);
    lr_buffer_release(hole);
    lr_buffer *second = make(25 * MB); /* the hole's end becomes cold */
    lr_buffer_release(first);
    lr_buffer *third = make(26 * MB); /* more is given back: of what is warm */
    assert_non_null(third);
    assert_true(stats().used_bytes + stats().idle_bytes <= stats().capacity_bytes);
    lr_buffer *all[] = {keep, between, second, third};
    for (size_t i = 0; i < LR_COUNT(all); i++)
        lr_buffer_release(all[i]);
}

static void test_format(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0 bytes"}, {999, "999 bytes"}, {1500, "1.5 kB"}, {12000000, "12.0 MB"}, {3500000000u, "3.5 GB"}};
    char text[32];
    for (size_t i = 0; i < LR_COUNT(cases); i++) {
        lr_store_format(cases[i].bytes, text, sizeof text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_sites(void **state)
{
    (void)state;
    char text[32];
    const char *first = lr_store_site("put at a.lua:1", "?");
    assert_string_equal(first, "put at a.lua:1");
    assert_ptr_equal(lr_store_site("put at a.lua:1", "?"), first);
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof text, "site %d", i);
        const char *site = lr_store_site(text, "full");
        assert_true(strcmp(site, text) == 0 || strcmp(site, "full") == 0);
    }
    assert_string_equal(lr_store_site("one more", "full"), "full");
    assert_ptr_equal(lr_store_site("put at a.lua:1", "?"), first);
}

/* ---- random use, checked: no two buffers overlap, contents stay ---------------------------------- */

typedef struct user {
    pthread_t thread;
    uint64_t seed;
    int rounds;
} user;

static uint64_t next_number(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

static uint64_t some_size(uint64_t *seed)
{
    uint64_t kind = next_number(seed) % 4;
    if (kind == 0) return next_number(seed) % 200;
    if (kind == 1) return next_number(seed) % 40000;
    return next_number(seed) % (kind == 2 ? 300000 : 2 * MB);
}

static void stamp(lr_buffer *b, uint64_t mark)
{
    if (b->size_bytes < 16) return;
    memcpy(b->data, &mark, 8);
    memcpy((char *)b->data + b->size_bytes - 8, &mark, 8);
}

static bool is_stamped(const lr_buffer *b, uint64_t mark)
{
    return b->size_bytes < 16 || (memcmp(b->data, &mark, 8) == 0 &&
                                  memcmp((char *)b->data + b->size_bytes - 8, &mark, 8) == 0);
}

static void *use_store(void *argument)
{
    user *u = argument;
    enum { HELD = 24 };
    lr_buffer *held[HELD] = {0};
    uint64_t marks[HELD], wrong = 0;
    for (int i = 0; i < u->rounds; i++) {
        uint64_t slot = next_number(&u->seed) % HELD;
        if (held[slot]) {
            wrong += !is_stamped(held[slot], marks[slot]);
            lr_buffer_release(held[slot]);
            held[slot] = NULL;
            continue;
        }
        marks[slot] = u->seed;
        held[slot] = make(some_size(&u->seed));
        if (held[slot]) stamp(held[slot], marks[slot]);
    }
    for (int i = 0; i < HELD; i++) {
        if (!held[i]) continue;
        wrong += !is_stamped(held[i], marks[i]);
        lr_buffer_release(held[i]);
    }
    return (void *)(uintptr_t)wrong;
}

static void test_many_threads(void **state)
{
    (void)state;
    user users[4];
    for (int i = 0; i < 4; i++) {
        users[i] = (user){.seed = (uint64_t)i + 1, .rounds = 20000};
        assert_int_equal(pthread_create(&users[i].thread, NULL, use_store, &users[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(users[i].thread, &wrong);
        assert_null(wrong);
    }
    assert_true(stats().idle_bytes <= stats().capacity_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_capacity),
        cmocka_unit_test_setup_teardown(test_small, start, end),
        cmocka_unit_test_setup_teardown(test_large, start, end),
        cmocka_unit_test_setup_teardown(test_reuses_warm_and_low, start, end),
        cmocka_unit_test_setup_teardown(test_whole_capacity_fits, start, end),
        cmocka_unit_test_setup_teardown(test_never_fits, start, end),
        cmocka_unit_test_setup_teardown(test_full, start, end),
        cmocka_unit_test_setup_teardown(test_full_of_small, start, end),
        cmocka_unit_test_setup_teardown(test_configure_only_before_use, start, end),
        cmocka_unit_test_setup_teardown(test_gives_back, start, end),
        cmocka_unit_test_setup_teardown(test_gives_back_the_warm_part, start, end),
        cmocka_unit_test_setup_teardown(test_many_threads, start, end),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_sites),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
