/* tests/unit/shared_test.c - objects of one process mapped by others, with real processes: this program started again, which
 * does what it is told through two pipes. */
#define _GNU_SOURCE
#include "test.h"

#include "runtime/shared.h"
#include "runtime/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#define MB ((uint64_t)1 << 20)
#define CAPACITY (64 * MB)

/* ---- the other process --------------------------------------------------------------------------------- */

typedef struct order {
    char what; /* 'm' map, 'r' release all, 's' show the last one, 'n' make one */
    uint64_t size_bytes;
    lr_reference ref;
    char site[LR_SITE_MAX];
} order;

typedef struct answer {
    bool done;
    uint8_t first, last;
    uint64_t anonymous_bytes;
    lr_reference ref;
} answer;

typedef struct other {
    pid_t pid;
    int to, from;
} other;

static void get(int fd, void *bytes, size_t size_bytes)
{
    for (size_t at = 0; at < size_bytes;) {
        ssize_t n = read(fd, (char *)bytes + at, size_bytes - at);
        if (n <= 0) _exit(0);
        at += (size_t)n;
    }
}

static void put(int fd, const void *bytes, size_t size_bytes)
{
    if (write(fd, bytes, size_bytes) != (ssize_t)size_bytes) abort();
}

/* Private memory of this process, in bytes: what a copy would be in. */
static uint64_t anonymous(void)
{
    char line[200];
    unsigned long long kb = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %llu", &kb) == 1) break;
    if (f) fclose(f);
    return kb << 10;
}

static lr_buffer *make(uint64_t bytes, int fill)
{
    lr_buffer *b = lr_buffer_new(bytes, "made by a test", NULL, 0);
    assert_non_null(b);
    memset(b->data, fill, bytes);
    lr_buffer_seal(b);
    return b;
}

static _Noreturn void serve(int from, int to)
{
    lr_buffer *held[4096];
    size_t count = 0;
    lr_store_configure(CAPACITY);
    for (;;) {
        order o;
        answer a = {.done = true};
        get(from, &o, sizeof o);
        o.ref.site = o.site;
        if (o.what == 'm' && !(held[count] = lr_shared_map(&o.ref))) a.done = false;
        if (o.what == 'n') held[count] = make(o.size_bytes, 9);
        if (a.done && (o.what == 'm' || o.what == 'n')) {
            const uint8_t *data = held[count]->data;
            uint64_t sum = 0;
            for (uint64_t i = 0; i < held[count]->size_bytes; i += 4096)
                sum += data[i];
            a.first = data[0];
            a.last = data[held[count]->size_bytes - 1];
            a.done = sum > 0;
            count++;
        }
        if (o.what == 's') a.done = count > 0 && lr_shared_show(held[count - 1], &a.ref);
        while (o.what == 'r' && count > 0)
            lr_buffer_release(held[--count]);
        a.anonymous_bytes = anonymous();
        put(to, &a, sizeof a);
    }
}

static other start_other(void)
{
    int in[2], out[2];
    char from[16], to[16];
    other o;
    assert_int_equal(pipe(in) | pipe(out), 0);
    snprintf(from, sizeof from, "%d", in[0]);
    snprintf(to, sizeof to, "%d", out[1]);
    fcntl(in[1], F_SETFD, FD_CLOEXEC);
    fcntl(out[0], F_SETFD, FD_CLOEXEC);
    char *arguments[] = {"shared_test", "serve", from, to, NULL};
    assert_int_equal(posix_spawn(&o.pid, "/proc/self/exe", NULL, NULL, arguments, environ), 0);
    close(in[0]);
    close(out[1]);
    o.to = in[1];
    o.from = out[0];
    return o;
}

static void end_other(other *o, int signal)
{
    if (signal) kill(o->pid, signal);
    close(o->to);
    close(o->from);
    waitpid(o->pid, NULL, 0);
}

static answer tell(other *o, char what, const lr_reference *ref)
{
    order told = {.what = what, .size_bytes = 2 * MB};
    answer a;
    if (ref) {
        told.ref = *ref;
        memcpy(told.site, ref->site, ref->site_bytes);
    }
    put(o->to, &told, sizeof told);
    get(o->from, &a, sizeof a);
    a.ref.site = "theirs";
    a.ref.site_bytes = 6;
    return a;
}

/* ---- this one ------------------------------------------------------------------------------------------- */

static struct lr_store_stats stats(void)
{
    struct lr_store_stats s;
    lr_store_stats(&s);
    return s;
}

static unsigned files(const char *directory)
{
    unsigned count = 0;
    DIR *d = opendir(directory);
    while (d && readdir(d))
        count++;
    if (d) closedir(d);
    return count;
}

static int start(void **state)
{
    (void)state;
    return lr_store_configure(CAPACITY) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    size_t objects;
    unsigned segments;
    struct lr_store_stats s = stats();
    lr_shared_look(&objects, &segments);
    assert_int_equal(s.used_bytes + s.count + s.limbo_count + s.view_count + s.view_bytes, 0);
    assert_int_equal(objects, 0);
    assert_int_equal(segments, 0);
    return lr_store_close() == 0 ? 0 : -1;
}

static lr_reference show(lr_buffer *b)
{
    lr_reference ref;
    assert_true(lr_shared_show(b, &ref));
    assert_true(ref.place.pid != 0);
    return ref;
}

static void test_mapped_and_not_copied(void **state)
{
    (void)state;
    other o = start_other();
    lr_buffer *b = make(20 * MB, 5);
    ((uint8_t *)b->data)[20 * MB - 1] = 6;
    lr_reference ref = show(b);
    assert_int_equal(ref.size_bytes, 20 * MB);
    assert_memory_equal(ref.site, "made by a test", ref.site_bytes);
    uint64_t before = tell(&o, 'r', NULL).anonymous_bytes;
    answer a = tell(&o, 'm', &ref);
    assert_true(a.done);
    assert_int_equal(a.first, 5);
    assert_int_equal(a.last, 6);
#if defined(__SANITIZE_THREAD__)
    (void)before; /* it keeps books of its own about all that is read */
#else
    assert_true(a.anonymous_bytes < before + 4 * MB);
#endif
    lr_buffer_release(b);
    assert_int_equal(stats().limbo_count, 1);
    assert_int_equal(stats().limbo_bytes, 20 * MB);
    assert_int_equal(stats().used_bytes, 20 * MB);
    tell(&o, 'r', NULL);
    assert_int_equal(stats().limbo_count, 0);
    end_other(&o, 0);
}

/* The same object again is the same view; it goes when both have gone. */
static void test_once_however_often(void **state)
{
    (void)state;
    other o = start_other();
    tell(&o, 'n', NULL);
    answer a = tell(&o, 's', NULL);
    lr_buffer *one = lr_shared_map(&a.ref), *two = lr_shared_map(&a.ref), *three = lr_shared_find(a.ref.id);
    assert_non_null(one);
    assert_true(one->is_view && lr_buffer_is_sealed(one));
    assert_ptr_equal(one, two);
    assert_ptr_equal(one, three);
    assert_int_equal(stats().view_count, 1);
    assert_string_equal(one->site, "theirs");
    lr_buffer_release(one);
    lr_buffer_release(two);
    assert_int_equal(((uint8_t *)three->data)[2 * MB - 1], 9);
    lr_buffer_release(three);
    assert_null(lr_shared_find(a.ref.id));
    end_other(&o, 0);
}

static void test_borrower_killed(void **state)
{
    (void)state;
    other o = start_other();
    lr_buffer *b = make(8 * MB, 5);
    lr_reference ref = show(b);
    assert_true(tell(&o, 'm', &ref).done);
    lr_buffer_release(b);
    assert_int_equal(stats().limbo_count, 1);
    end_other(&o, SIGKILL);
    assert_int_equal(stats().limbo_count, 0);
    assert_int_equal(stats().used_bytes, 0);
}

static void test_owner_killed(void **state)
{
    (void)state;
    other o = start_other();
    tell(&o, 'n', NULL);
    answer a = tell(&o, 's', NULL);
    lr_buffer *b = lr_shared_map(&a.ref);
    assert_non_null(b);
    end_other(&o, SIGKILL);
    lr_shared_sweep();
    for (uint64_t i = 0; i < b->size_bytes; i++)
        if (((uint8_t *)b->data)[i] != 9) fail();
    lr_reference again = show(b); /* who has it can still pass it on */
    other third = start_other();
    assert_true(tell(&third, 'm', &again).done);
    end_other(&third, 0);
    lr_buffer_release(b);
}

/* A third process has it from the second, which dies: the first keeps it all the same. */
static void test_passed_on(void **state)
{
    (void)state;
    other second = start_other(), third = start_other();
    lr_buffer *b = make(3 * MB, 5);
    lr_reference ref = show(b);
    assert_true(tell(&second, 'm', &ref).done);
    lr_buffer_release(b);
    answer a = tell(&second, 's', NULL);
    assert_true(a.done && lr_id_equal(a.ref.id, ref.id));
    assert_int_equal(a.ref.place.pid, (uint64_t)second.pid);
    assert_int_equal(tell(&third, 'm', &a.ref).first, 5);
    end_other(&second, SIGKILL);
    assert_int_equal(stats().limbo_count, 1);
    tell(&third, 'r', NULL);
    assert_int_equal(stats().limbo_count, 0);
    end_other(&third, 0);
}

/* What comes home is the buffer that left, from limbo, too. */
static void test_comes_home(void **state)
{
    (void)state;
    other o = start_other();
    lr_buffer *b = make(MB, 5);
    void *data = b->data;
    lr_reference ref = show(b);
    tell(&o, 'm', &ref);
    lr_buffer_release(b);
    assert_int_equal(stats().limbo_count, 1);
    answer a = tell(&o, 's', NULL);
    b = lr_shared_map(&a.ref);
    assert_ptr_equal(b->data, data);
    assert_false(b->is_view);
    assert_int_equal(stats().limbo_count, 0);
    lr_buffer_release(b);
    assert_int_equal(stats().limbo_count, 1);
    end_other(&o, SIGKILL);
}

static void test_late_reference_is_refused(void **state)
{
    (void)state;
    other o = start_other();
    lr_buffer *keep = make(MB, 1), *b = make(MB, 5);
    lr_reference ref = show(b);
    lr_buffer_release(b);
    b = make(MB, 7); /* in the same place */
    lr_reference now = show(b);
    assert_int_equal(now.place.offset, ref.place.offset);
    assert_false(tell(&o, 'm', &ref).done);
    assert_int_equal(tell(&o, 'm', &now).first, 7);
    end_other(&o, 0);
    lr_buffer_release(b);
    lr_buffer_release(keep);
}

static void test_places_that_are_not(void **state)
{
    (void)state;
    other o = start_other();
    lr_buffer *b = make(MB, 5);
    lr_reference good = show(b), bad;
    int plain = open("/proc/self/exe", O_RDONLY);
#define REFUSED(change) \
    do { \
        bad = good; \
        change; \
        assert_false(tell(&o, 'm', &bad).done); \
    } while (0)
    REFUSED(bad.place.pid = 0);
    REFUSED(bad.place.pid = UINT32_MAX);
    REFUSED(bad.place.fd = (uint64_t)plain);
    REFUSED(bad.place.fd = 12345);
    REFUSED(bad.place.segment.lo++);
    REFUSED(bad.place.span_bytes *= 2);
    REFUSED(bad.place.span_bytes = UINT64_MAX);
    REFUSED(bad.place.span_bytes -= 4096);
    REFUSED(bad.place.offset += 1);
    REFUSED(bad.place.offset = bad.place.span_bytes);
    REFUSED(bad.place.offset = bad.place.span_bytes - 4096);
    REFUSED(bad.size_bytes = UINT64_MAX);
    REFUSED(bad.size_bytes = 0);
    REFUSED(bad.place.serial++);
    REFUSED(bad.place.serial = 0);
    REFUSED(bad.place.serial = UINT64_MAX);
    REFUSED(bad.id = LR_ID_NIL);
    assert_true(tell(&o, 'm', &good).done);
    close(plain);
    end_other(&o, 0);
    lr_buffer_release(b);
}

static void test_a_thousand_passes(void **state)
{
    (void)state;
    other o = start_other();
    unsigned shm = files("/dev/shm"), fds = 0;
    for (int i = 0; i < 1000; i++) {
        lr_buffer *b = make(64 << 10, 5);
        lr_reference ref = show(b);
        assert_true(tell(&o, 'm', &ref).done);
        lr_buffer_release(b);
        if (i % 16 == 15) tell(&o, 'r', NULL);
        if (i == 100) fds = files("/proc/self/fd");
    }
    tell(&o, 'r', NULL);
    assert_int_equal(stats().used_bytes, 0);
    assert_int_equal(files("/dev/shm"), shm);
    assert_int_equal(files("/proc/self/fd"), fds);
    end_other(&o, 0);
}

static void test_host_id(void **state)
{
    (void)state;
    lr_id host = lr_host_id();
    assert_false(lr_id_is_nil(host));
    assert_true(lr_id_equal(lr_host_id(), host));
    setenv("LUARUN_SHARE", "0", 1);
    assert_true(lr_id_is_nil(lr_host_id()));
    unsetenv("LUARUN_SHARE");
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "serve") == 0) serve(atoi(argv[2]), atoi(argv[3]));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_mapped_and_not_copied, start, end),
        cmocka_unit_test_setup_teardown(test_once_however_often, start, end),
        cmocka_unit_test_setup_teardown(test_borrower_killed, start, end),
        cmocka_unit_test_setup_teardown(test_owner_killed, start, end),
        cmocka_unit_test_setup_teardown(test_passed_on, start, end),
        cmocka_unit_test_setup_teardown(test_comes_home, start, end),
        cmocka_unit_test_setup_teardown(test_late_reference_is_refused, start, end),
        cmocka_unit_test_setup_teardown(test_places_that_are_not, start, end),
        cmocka_unit_test_setup_teardown(test_a_thousand_passes, start, end),
        cmocka_unit_test(test_host_id),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
