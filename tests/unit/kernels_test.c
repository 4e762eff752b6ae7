/* Kernel libraries and the call of a kernel: loading, searching, compiling, every refusal's text,
 * garbage, workers' states, crashes. LR_TEST_KERNELS_DIR: where libtestkernels.so and libwrongabi.so are. */
#define _GNU_SOURCE
#include "runtime/kernels.h"

#include "runtime/buffer.h"
#include "runtime/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define LIBRARY LR_TEST_KERNELS_DIR "/libtestkernels.so"
#define WRONG_ABI LR_TEST_KERNELS_DIR "/libwrongabi.so"

/* ---- surroundings ------------------------------------------------------------------------------- */

typedef struct fake_task {
    lr_object base;
    lr_value result;
} fake_task;

void lr_task_destroy(lr_object *o)
{
    fake_task *t = LR_CONTAINER(o, fake_task, base);
    lr_value_clear(&t->result);
    free(t);
}
void lr_code_destroy(lr_object *o) { (void)o; }
void lr_fn_destroy(lr_object *o) { (void)o; }
_Noreturn void lr_assert_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, expression);
    abort();
}

static const lr_kernel_set *set;
static lr_builder arguments, results;
static lr_kernel_workers *workers;
static lr_value result;
static lr_kernel_fault fault;
static _Atomic uint32_t word;
static _Atomic uint16_t progress;
static char spans[64];
static int reclaims;
static lr_buffer *hog; /* what reclaim frees at its second attempt */

static const lr_value *resolve(void *self, lr_object *task)
{
    (void)self;
    fake_task *t = LR_CONTAINER(task, fake_task, base);
    return lr_value_is_empty(&t->result) ? NULL : &t->result;
}

static void span_begin(void *self, const char *name)
{
    (void)self;
    strcat(strcat(spans, "<"), name);
}

static void span_end(void *self)
{
    (void)self;
    strcat(spans, ">");
}

static bool reclaim(void *self, unsigned attempt)
{
    (void)self;
    reclaims++;
    if (attempt == 1 && hog) {
        lr_buffer_release(hog);
        hog = NULL;
    }
    return attempt < 2;
}

static lr_kernel_context context(void)
{
    return (lr_kernel_context){.builder = &results, .workers = workers, .task = {1, 2}, .seed = 42,
        .resolve = resolve, .cancel_word = &word, .cancel_mask = 4, .progress = &progress,
        .span_begin = span_begin, .span_end = span_end, .reclaim = reclaim};
}

/* Calls with what was put into `arguments`, which is emptied. */
static lr_err call(const char *name)
{
    lr_value args = {0};
    const lr_kernel *k = lr_kernels_get(set, name);
    assert_non_null(k);
    if (arguments.size_bytes > 0) assert_true(lr_builder_finish(&arguments, &args));
    lr_value_clear(&result);
    fault.message[0] = 0;
    lr_kernel_context ctx = context();
    lr_err err = lr_kernel_run(k, &ctx, &args, &result, &fault);
    assert_int_equal(results.size_bytes, 0);
    assert_int_equal(results.ref_count, 0);
    assert_int_equal(lr_value_is_empty(&result), err != LR_ERR_NONE);
    lr_value_clear(&args);
    return err;
}

static void given(uint64_t count) { lr_builder_header(&arguments, count); }
static void give_number(double v) { lr_builder_number(&arguments, v); }
static void give_text(const char *s) { lr_builder_string(&arguments, s, strlen(s)); }
static void give_tag(lr_tag tag) { lr_builder_u8(&arguments, (uint8_t)tag); }
static void give_uint64(lr_tag tag, uint64_t v)
{
    give_tag(tag);
    lr_builder_bytes(&arguments, &v, 8);
}

static void give_tensor(lr_dtype dtype, int rank, const int64_t *shape, const void *data, size_t bytes)
{
    lr_buffer *b = lr_buffer_new(bytes, "a test", NULL, 0);
    memcpy(b->data, data, bytes);
    lr_buffer_seal(b);
    give_tag(LR_TAG_TENSOR);
    lr_builder_u8(&arguments, (uint8_t)dtype);
    lr_builder_u8(&arguments, (uint8_t)rank);
    for (int i = 0; i < rank; i++)
        lr_builder_varint(&arguments, (uint64_t)shape[i]);
    lr_builder_varint(&arguments, 0);
    lr_builder_varint(&arguments, lr_builder_ref(&arguments, &b->base));
    lr_buffer_release(b);
}

static const int64_t three[] = {3};
static const double doubles[] = {1, 2, 3, 4};

static void give_doubles(void) { give_tensor(LR_F64, 1, three, doubles, 24); }

/* A future of a task that resulted in what is in `arguments` now. */
static fake_task *task_of_arguments(void)
{
    fake_task *t = calloc(1, sizeof *t);
    lr_object_init(&t->base, LR_OBJECT_TASK);
    assert_true(lr_builder_finish(&arguments, &t->result));
    return t;
}

static void give_future(fake_task *t, uint64_t index)
{
    give_tag(LR_TAG_FUTURE);
    lr_builder_varint(&arguments, lr_builder_ref(&arguments, &t->base));
    lr_builder_varint(&arguments, index);
}

static lr_reader answers(uint64_t count)
{
    lr_reader r = lr_value_reader(&result);
    assert_int_equal(lr_read_header(&r), count);
    return r;
}

static double read_number(lr_reader *r)
{
    uint8_t tag = lr_read_u8(r);
    if (tag & LR_TAG_SMALL) return tag & 0x7f;
    assert_int_equal(tag, LR_TAG_NUMBER);
    return lr_read_f64(r);
}

static double one_number(void)
{
    lr_reader r = answers(1);
    return read_number(&r);
}

#define assert_works(name) assert_int_equal((call(name) ? (print_message("%s\n", fault.message), 1) : 0), 0)
#define assert_refused(name, code, text)        \
    do {                                        \
        assert_int_equal(call(name), code);     \
        assert_string_equal(fault.message, text); \
    } while (0)
#define assert_error(name, text) assert_refused(name, LR_ERR_KERNEL_ERROR, "testkernels." name ": " text)

static int open_all(void **state)
{
    (void)state;
    char *message = NULL;
    lr_store_configure(8000000);
    lr_builder_init(&arguments);
    lr_builder_init(&results);
    workers = lr_kernel_workers_new();
    if (lr_kernels_load(LIBRARY, NULL, &set, &message) == LR_ERR_NONE) return 0;
    print_message("%s\n", message);
    return -1;
}

static int close_all(void **state)
{
    (void)state;
    lr_value_clear(&result);
    lr_builder_fini(&arguments);
    lr_builder_fini(&results);
    lr_kernel_workers_free(workers);
    struct lr_store_stats stats;
    lr_store_stats(&stats);
    assert_int_equal(stats.count, 0);
    assert_int_equal(lr_store_close(), 0);
    return 0;
}

/* ---- the call ------------------------------------------------------------------------------------- */

static void test_echo(void **state)
{
    (void)state;
    given(4);
    give_number(2.5);
    give_number(-7);
    give_text("text");
    give_tag(LR_TAG_TRUE);
    assert_works("echo");
    lr_reader r = answers(5);
    assert_true(read_number(&r) == 2.5);
    assert_true(read_number(&r) == -7);
    assert_int_equal(lr_read_u8(&r), LR_TAG_STRING);
    assert_int_equal(lr_read_varint(&r), 4);
    assert_memory_equal(lr_read_bytes(&r, 4), "text", 4);
    assert_int_equal(lr_read_u8(&r), LR_TAG_TRUE);
    assert_int_equal(lr_read_u8(&r), LR_TAG_TRUE);
    assert_true(r.ok && r.p == r.end);
}

static void test_no_arguments(void **state)
{
    (void)state;
    assert_works("nothing");
    answers(0);
    assert_works("sum");
    assert_true(one_number() == 0);
}

static void test_tensor_result(void **state)
{
    (void)state;
    given(2);
    give_doubles();
    give_number(10);
    assert_works("scale");
    lr_reader r = answers(1);
    static const uint8_t head[] = {LR_TAG_TENSOR, LR_F64, 1, 3, 0, 0};
    assert_memory_equal(lr_read_bytes(&r, sizeof head), head, sizeof head);
    assert_int_equal(lr_value_ref_count(&result), 1);
    lr_buffer *b = LR_CONTAINER(lr_value_refs(&result)[0], lr_buffer, base);
    assert_true(lr_buffer_is_sealed(b));
    assert_int_equal(atomic_load(&b->base.refs), 1);
    assert_string_equal(b->site, "tensor from kernel testkernels.scale");
    static const double expected[] = {10, 20, 30};
    assert_memory_equal(b->data, expected, sizeof expected);
}

static void test_integers(void **state)
{
    (void)state;
    given(1);
    give_uint64(LR_TAG_INT64, (uint64_t)INT64_MIN);
    assert_works("integer");
    lr_reader r = answers(1);
    assert_int_equal(lr_read_u8(&r), LR_TAG_INT64);
    assert_true((int64_t)lr_read_u64(&r) == INT64_MIN);
    given(1);
    give_uint64(LR_TAG_UINT64, (uint64_t)1 << 53);
    assert_works("integer");
    assert_true(one_number() == 0x1p53);
    given(1);
    give_number(-0x1p63);
    assert_works("integer");
    given(1);
    give_uint64(LR_TAG_UINT64, UINT64_MAX);
    assert_error("integer", "argument 1: an integer that fits an int64 wanted, 18446744073709551615 given");
    given(1);
    give_number(0x1p63);
    assert_error("integer", "argument 1: an integer that fits an int64 wanted, 9.2233720368548e+18 given");
    given(1);
    give_number(2.5);
    assert_error("integer", "argument 1: an integer wanted, 2.5 given");
    given(1);
    give_number((double)NAN);
    assert_int_equal(call("integer"), LR_ERR_KERNEL_ERROR);
    given(1);
    give_text("3");
    assert_error("integer", "argument 1: an integer wanted, a string given");
}

static void test_numbers(void **state)
{
    (void)state;
    given(1);
    give_uint64(LR_TAG_INT64, (uint64_t)-3);
    assert_works("number");
    assert_true(one_number() == -3);
    given(1);
    give_uint64(LR_TAG_UINT64, UINT64_MAX);
    assert_works("number");
    assert_true(one_number() == 0x1p64);
}

static void test_refusals(void **state)
{
    (void)state;
    static const float floats[] = {1, 2, 3};
    assert_error("number", "argument 1 is missing: a number wanted");
    assert_error("integer", "argument 1 is missing: an integer wanted");
    assert_error("string", "argument 1 is missing: a string wanted");
    assert_error("boolean", "argument 1 is missing: a boolean wanted");
    assert_error("matrix", "argument 2 is missing: an f64 tensor of rank 2 wanted");
    assert_error("any_tensor", "argument 1 is missing: a tensor wanted");
    assert_error("rank_two", "argument 1 is missing: a tensor of rank 2 wanted");
    assert_error("board", "argument 1 is missing: a u8 tensor wanted");
    given(2);
    give_number(1);
    give_tensor(LR_F32, 1, three, floats, 12);
    assert_error("matrix", "argument 2: an f64 tensor of rank 2 wanted, an f32 tensor of rank 1 given");
    given(1);
    give_doubles();
    assert_error("number", "argument 1: a number wanted, an f64 tensor of rank 1 given");
    given(1);
    give_text("x");
    assert_error("number", "argument 1: a number wanted, a string given");
    given(1);
    give_tag(LR_TAG_NIL);
    assert_error("string", "argument 1: a string wanted, nil given");
    given(1);
    give_tag(LR_TAG_FALSE);
    assert_error("string", "argument 1: a string wanted, a boolean given");
    given(1);
    give_number(1);
    assert_error("boolean", "argument 1: a boolean wanted, a number given");
    given(1);
    give_uint64(LR_TAG_INT64, 1);
    assert_error("any_tensor", "argument 1: a tensor wanted, an int64 given");
    given(1);
    give_tag(LR_TAG_TABLE);
    lr_builder_bytes(&arguments, "\0\0\0\0\0\0\0\0", 8);
    assert_error("rank_two", "argument 1: a tensor of rank 2 wanted, a table given");
}

static void test_futures(void **state)
{
    (void)state;
    given(2);
    give_number(5);
    give_number(6);
    fake_task *t = task_of_arguments(), *empty = calloc(1, sizeof *empty);
    lr_object_init(&empty->base, LR_OBJECT_TASK);
    given(3);
    give_future(t, 1);
    give_number(10);
    give_future(t, UINT32_MAX);
    assert_works("sum");
    assert_true(one_number() == 21);
    given(1);
    give_future(t, 2); /* more results than there are */
    assert_error("number", "argument 1: a number wanted, nil given");
    given(1);
    give_future(empty, 0);
    assert_error("number", "argument 1: the future has no value");
    lr_object_release(&t->base);
    given(1);
    give_future(empty, 0);
    fake_task *of_future = task_of_arguments(); /* its result is itself a future, and stays one */
    given(1);
    give_future(of_future, 0);
    assert_error("number", "argument 1: a number wanted, a future given");
    lr_object_release(&of_future->base);
    lr_object_release(&empty->base);
}

static void test_many(void **state)
{
    (void)state;
    given(40);
    for (int i = 1; i <= 40; i++)
        give_number(i);
    assert_works("sum");
    assert_true(one_number() == 820);
    static const int counts[] = {0, 1, 127, 128, 300, 20000};
    for (size_t i = 0; i < LR_COUNT(counts); i++) {
        given(1);
        give_number(counts[i]);
        assert_works("count_up");
        lr_reader r = answers((uint64_t)counts[i]);
        for (int n = 1; n <= counts[i]; n++)
            assert_true(read_number(&r) == n);
        assert_true(r.ok && r.p == r.end);
    }
}

static void test_long_string(void **state)
{
    (void)state;
    static char text[100000];
    memset(text, 'a', sizeof text - 1);
    given(1);
    give_text(text);
    assert_works("string");
    lr_reader r = answers(1);
    assert_int_equal(lr_read_u8(&r), LR_TAG_BLOB);
    lr_value blob = result;
    result = (lr_value){0};
    given(1); /* and back */
    lr_buffer *b = LR_CONTAINER(lr_value_refs(&blob)[0], lr_buffer, base);
    give_tag(LR_TAG_BLOB);
    lr_builder_varint(&arguments, lr_builder_ref(&arguments, &b->base));
    lr_builder_varint(&arguments, sizeof text - 1);
    lr_value_clear(&blob);
    assert_works("string");
    b = LR_CONTAINER(lr_value_refs(&result)[0], lr_buffer, base);
    assert_int_equal(b->size_bytes, sizeof text - 1);
    assert_memory_equal(b->data, text, sizeof text - 1);
}

static void test_empties(void **state)
{
    (void)state;
    assert_works("empties");
    lr_reader r = answers(4);
    for (int i = 0; i < 4; i++)
        assert_true(lr_skip_value(&r));
    assert_true(r.p == r.end);
}

static void test_failures(void **state)
{
    (void)state;
    assert_error("fail", "no room at 7");
    assert_error("fail_silently", "the kernel failed without a message");
    assert_error("return_strange", "the kernel returned 42: LR_OK or LR_ERR wanted");
    assert_error("ignore_error", "argument 1 is missing: a number wanted");
    assert_error("position_zero", "argument 0: the kernel counts wrong, positions start at 1");
    assert_error("no_such_dtype", "argument 1: the kernel asks for dtype 99 and rank 1, which no tensor has");
    assert_int_equal(call("fail_at_length"), LR_ERR_KERNEL_ERROR);
    assert_int_equal(strlen(fault.message), sizeof fault.message - 1);
}

static void test_garbage(void **state)
{
    (void)state;
    static const struct {
        lr_err code;
        const char *text;
    } cases[] = {
        {LR_ERR_KERNEL_ERROR, "result 1: the shape (3, -1) has a negative dimension"},
        {LR_ERR_KERNEL_ERROR, "result 1: the shape (9223372036854775807, 9223372036854775807, 2) has more "
                              "elements than memory can hold"},
        {LR_ERR_OUT_OF_MEMORY, "result 1: 8000.0 GB asked: this can never fit the object store, whose "
                               "capacity is 8.0 MB (--store-bytes)"},
        {LR_ERR_KERNEL_ERROR, "result 1: a rank of 0 to 8 wanted, 9 given"},
        {LR_ERR_KERNEL_ERROR, "result 1: a rank of 0 to 8 wanted, -1 given"},
        {LR_ERR_KERNEL_ERROR, "result 1: there is no dtype 77"},
        {LR_ERR_KERNEL_ERROR, "result 1: no shape given"},
        {LR_ERR_KERNEL_ERROR, "lr_return_tensor: no place for the view"},
        {LR_ERR_KERNEL_ERROR, "result 1: the kernel returned a string of 18446744073709551615 bytes at 0x"},
        {LR_ERR_KERNEL_ERROR, "result 1: the kernel returned a string of 5 bytes at (nil)"},
        {LR_ERR_OUT_OF_MEMORY, "result 1: 9223372036.9 GB asked: this can never fit the object store, whose "
                               "capacity is 8.0 MB (--store-bytes)"},
    };
    for (size_t i = 0; i < LR_COUNT(cases); i++) {
        given(1);
        give_number((double)i + 1);
        assert_int_equal(call("garbage"), cases[i].code);
        const char *text = fault.message + strlen("testkernels.garbage: ");
        if (strncmp(text, cases[i].text, strlen(cases[i].text)) != 0) fail_msg("%s", fault.message);
    }
    assert_int_equal(reclaims, 0); /* what can never fit is not looked for */
}

static void test_full_store(void **state)
{
    (void)state;
    reclaims = 0;
    hog = lr_buffer_new(7000000, "a hog", NULL, 0);
    assert_non_null(hog);
    given(1);
    give_number(2);
    assert_int_equal(call("fill"), 0); /* 2 MB: there when the hog has gone */
    assert_int_equal(reclaims, 2);
    assert_null(hog);
    lr_value_clear(&result);
    lr_buffer *stays = lr_buffer_new(7000000, "a hog", NULL, 0);
    given(1);
    give_number(2);
    assert_int_equal(call("fill"), LR_ERR_OUT_OF_MEMORY);
    assert_string_equal(fault.message, "testkernels.fill: result 1: object store full: 2.0 MB asked, 7.0 of 8.0 MB in use "
                                       "by 1 objects; largest: 7.0 MB (a hog)");
    assert_non_null(stays);
    assert_int_equal(reclaims, 5);
    lr_buffer_release(stays);
}

static void test_malformed_arguments(void **state)
{
    (void)state;
    static const uint8_t tensors[][8] = {
        {LR_TAG_TENSOR, LR_F64, 1, 100, 0, 0}, /* more elements than the buffer has */
        {LR_TAG_TENSOR, LR_F64, 1, 3, 1, 0},   /* an offset beyond it */
        {LR_TAG_TENSOR, LR_F64, 1, 3, 0, 5},   /* no such reference */
        {LR_TAG_TENSOR, 9, 1, 3, 0, 0},
    };
    for (size_t i = 0; i < LR_COUNT(tensors); i++) {
        lr_buffer *b = lr_buffer_new(24, "a test", NULL, 0);
        given(1);
        lr_builder_ref(&arguments, &b->base);
        lr_buffer_release(b);
        lr_builder_bytes(&arguments, tensors[i], 6);
        assert_error("any_tensor", "argument 1: its bytes are malformed");
    }
    lr_builder_bytes(&arguments, "\1\5\1", 3); /* five values promised */
    assert_error("nothing", "the argument message is malformed");
    lr_builder_bytes(&arguments, "\7\0", 2); /* another version */
    assert_error("nothing", "the argument message is malformed");
    given(1);
    give_tag(LR_TAG_FUTURE);
    lr_builder_bytes(&arguments, "\3\0", 2);
    assert_error("number", "argument 1: the future has no value");
}

static void test_random_stream(void **state)
{
    (void)state;
    double first[3], again[3];
    for (int round = 0; round < 2; round++) {
        assert_works("random");
        lr_reader r = answers(3);
        for (int i = 0; i < 3; i++)
            (round ? again : first)[i] = read_number(&r);
    }
    assert_memory_equal(first, again, sizeof first);
    assert_true(first[0] != first[1] && first[1] != first[2]);
    lr_kernel_context other = context();
    other.task.lo++;
    lr_value args = {0};
    lr_value_clear(&result);
    assert_int_equal(lr_kernel_run(lr_kernels_get(set, "random"), &other, &args, &result, &fault), 0);
    lr_reader r = answers(3);
    assert_true(read_number(&r) != first[0]);
}

static void *cancel_soon(void *unused)
{
    (void)unused;
    struct timespec pause = {0, 5000000};
    nanosleep(&pause, NULL);
    atomic_fetch_or(&word, 4);
    return NULL;
}

static void test_cancel(void **state)
{
    (void)state;
    pthread_t thread;
    atomic_store(&word, 3); /* other bits mean nothing here */
    pthread_create(&thread, NULL, cancel_soon, NULL);
    assert_works("spin");
    assert_true(one_number() > 0);
    pthread_join(thread, NULL);
    assert_refused("give_up_when_cancelled", LR_ERR_CANCELLED,
                   "testkernels.give_up_when_cancelled: the kernel stopped because the task was cancelled");
    atomic_store(&word, 0);
}

static void test_progress_and_spans(void **state)
{
    (void)state;
    assert_works("half_way");
    assert_int_equal(atomic_load(&progress), 32767);
    assert_works("spans");
    assert_string_equal(spans, "<outer<inner>>");
}

static void test_worker_state(void **state)
{
    (void)state;
    static char log[] = "LUARUN_TEST_FINI=0";
    putenv(log);
    lr_kernel_workers *ours = workers;
    workers = lr_kernel_workers_new();
    for (int i = 1; i <= 3; i++) {
        assert_works("count_calls");
        lr_reader r = answers(2);
        assert_true(read_number(&r) == 1);
        assert_true(read_number(&r) == i);
    }
    assert_works("counter_again");
    assert_true(one_number() == 3);
    assert_error("counter_larger", "the worker state was made with 16 bytes; now 1000 are wanted");
    assert_error("state_fails", "the worker state could not be made: its init failed");
    assert_refused("state_absurd", LR_ERR_OUT_OF_MEMORY,
                   "testkernels.state_absurd: no memory for a worker state of 18446744073709551615 bytes");
    assert_string_equal(log, "LUARUN_TEST_FINI=0");
    lr_kernel_workers_free(workers);
    assert_string_equal(log, "LUARUN_TEST_FINI=1");
    workers = ours;
    lr_kernel_workers_free(NULL);
}

static void test_speed(void **state)
{
    (void)state;
    enum { ROUNDS = 200000 };
    struct timespec from, to;
    lr_value args;
    given(1);
    give_doubles();
    assert_true(lr_builder_finish(&arguments, &args));
    lr_kernel_context ctx = context();
    const lr_kernel *k = lr_kernels_get(set, "take_tensor");
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < ROUNDS; i++) {
        lr_value out;
        assert_int_equal(lr_kernel_run(k, &ctx, &args, &out, &fault), 0);
        lr_value_clear(&out);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    double ns = ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / ROUNDS;
    print_message("a kernel with one tensor argument: %.0f ns\n", ns);
    lr_value_clear(&args);
}

/* ---- crashes ---------------------------------------------------------------------------------------- */

/* Runs this program again as "crash HOW" (cmocka's own handlers stand in the way here); returns its
 * signal, and what it said in text. */
static int crash(const char *how, char *text, size_t text_bytes)
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], 2);
        execl("/proc/self/exe", "kernels_test", "crash", how, (char *)NULL);
        _exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; n < text_bytes - 1 && (got = read(ends[0], text + n, text_bytes - 1 - n)) > 0;)
        n += (size_t)got;
    text[n] = 0;
    close(ends[0]);
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void test_crash(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* their handlers come first */
#endif
    char text[8192];
    assert_int_equal(crash("1", text, sizeof text), SIGSEGV);
    assert_non_null(strstr(text, "luarun: kernel testkernels.crash crashed: SIGSEGV (invalid memory "
                                 "access) at 0x10\n"));
    assert_non_null(strstr(text, "libtestkernels.so"));
    assert_int_equal(crash("2", text, sizeof text), SIGABRT);
    assert_non_null(strstr(text, "luarun: kernel testkernels.crash crashed: SIGABRT (abort)\n"));
    assert_int_equal(crash("3", text, sizeof text), SIGFPE);
    assert_non_null(strstr(text, "luarun: kernel testkernels.crash crashed: SIGFPE (integer division by "
                                 "zero or overflow)\n"));
}

/* ---- libraries -------------------------------------------------------------------------------------- */

#define assert_message(err, code, text)      \
    do {                                     \
        assert_int_equal(err, code);         \
        assert_non_null(message);            \
        assert_string_equal(message, text);  \
        free(message);                       \
        message = NULL;                      \
    } while (0)

static void test_load(void **state)
{
    (void)state;
    char *message = NULL;
    const lr_kernel_set *again = NULL;
    assert_string_equal(set->name, "testkernels");
    assert_string_equal(lr_kernels_get(set, "scale")->name, "testkernels.scale");
    assert_null(lr_kernels_get(set, "scal"));
    assert_int_equal(lr_kernels_load(LR_TEST_KERNELS_DIR "/./libtestkernels.so", "other", &again, &message), 0);
    assert_ptr_equal(again, set);
    assert_message(lr_kernels_load(WRONG_ABI, NULL, &again, &message), LR_ERR_VERSION_MISMATCH,
                   "kernel library " WRONG_ABI " was built for kernel ABI 7; this luarun has ABI 1: rebuild "
                   "it against this luarun's luarun/kernel.h");
    assert_message(lr_kernels_load("/nowhere/libx.so", NULL, &again, &message), LR_ERR_KERNEL_ERROR,
                   "kernel library /nowhere/libx.so cannot be opened: No such file or directory");
    assert_int_equal(lr_kernels_load("/proc/self/exe", NULL, &again, &message), LR_ERR_KERNEL_ERROR);
    free(message);
}

static void test_find(void **state)
{
    (void)state;
    char *message = NULL;
    const lr_kernel_set *found = NULL;
    const char *directories[] = {"/nowhere/a", "/nowhere/b"};
    lr_kernel_places places = {directories, 2, "./none/?.so;/usr/all.so;/nowhere/c/?.so"};
    unsetenv("LUARUN_KERNELS");
    char program[4096], wanted[8192];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    assert_true(length > 0);
    program[length] = 0;
    *strrchr(program, '/') = 0;
    snprintf(wanted, sizeof wanted,
             "kernel library 'testkernels' was not found; tried:\n"
             "  /nowhere/a/libtestkernels.so\n"
             "  /nowhere/b/libtestkernels.so\n"
             "  ./none/libtestkernels.so\n"
             "  /nowhere/c/libtestkernels.so\n"
             "  %s/kernels/libtestkernels.so\n  ", program);
    assert_int_equal(lr_kernels_find("testkernels", &places, &found, &message), LR_ERR_KERNEL_ERROR);
    assert_memory_equal(message, wanted, strlen(wanted));
    assert_non_null(strstr(message, "  " LR_TEST_INSTALL_KERNELS "/libtestkernels.so\n"
                                    "  (LUARUN_KERNELS is not set)"));
    free(message);
    places.cpath = "/nowhere/b/?.so"; /* the same place by two rules: told once */
    assert_int_equal(lr_kernels_find("testkernels", &places, &found, &message), LR_ERR_KERNEL_ERROR);
    const char *once = strstr(message, "/nowhere/b/libtestkernels.so");
    assert_non_null(once);
    assert_null(strstr(once + 1, "/nowhere/b/libtestkernels.so"));
    free(message);
    message = NULL;
    setenv("LUARUN_KERNELS", "/nowhere/d:" LR_TEST_KERNELS_DIR, 1);
    assert_int_equal(lr_kernels_find("testkernels", &places, &found, &message), 0);
    assert_ptr_equal(found, set);
    assert_int_equal(lr_kernels_find("wrongabi", &places, &found, &message), LR_ERR_VERSION_MISMATCH);
    free(message);
    unsetenv("LUARUN_KERNELS");
    places.cpath = "/nowhere/?.so;" LR_TEST_KERNELS_DIR "/?.so";
    found = NULL;
    assert_int_equal(lr_kernels_find("testkernels", &places, &found, &message), 0);
    assert_ptr_equal(found, set);
    found = NULL;
    places = (lr_kernel_places){0};
    assert_int_equal(lr_kernels_find(LIBRARY, &places, &found, &message), 0);
    assert_ptr_equal(found, set);
    assert_message(lr_kernels_find("a b", &places, &found, &message), LR_ERR_KERNEL_ERROR,
                   "'a b' cannot name a kernel library (letters, digits and _ can; or a path)");
}

/* ---- from source -------------------------------------------------------------------------------------- */

static const char mine[] = "#include <luarun/kernel.h>\n"
                           "static int one(lr_call *call) { return lr_return_number(call, 1); }\n"
                           "LR_KERNELS({\"one\", one, \"() -> number\", NULL, {.cpu = 0}})\n";
static char scratch[64];

static lr_err compile(const char *name, const char *source, const lr_kernel_set **out, char **message)
{
    lr_kernel_source s = {.name = name, .source = source, .source_bytes = strlen(source)};
    return lr_kernels_compile(&s, out, message);
}

static int count_files(const char *directory)
{
    int count = 0;
    DIR *d = opendir(directory);
    for (struct dirent *e; d && (e = readdir(d));)
        count += e->d_name[0] != '.';
    if (d) closedir(d);
    return count;
}

static int compile_setup(void **state)
{
    (void)state;
    strcpy(scratch, "/tmp/luarun-test-XXXXXX");
    if (!mkdtemp(scratch)) return -1;
    setenv("XDG_CACHE_HOME", scratch, 1);
    setenv("TMPDIR", scratch, 1);
    setenv("LUARUN_INCLUDE", LR_TEST_INCLUDE, 1);
    unsetenv("CC");
    return 0;
}

static int compile_teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch);
    return system(command);
}

static void test_compile(void **state)
{
    (void)state;
    char *message = NULL, cache[128];
    const lr_kernel_set *first = NULL, *second = NULL;
    struct stat st;
    if (compile("mine", mine, &first, &message)) fail_msg("%s", message);
    assert_string_equal(first->name, "mine");
    assert_string_equal(lr_kernels_get(first, "one")->name, "mine.one");
    assert_int_equal(compile("mine", mine, &second, &message), 0);
    assert_ptr_equal(first, second);
    snprintf(cache, sizeof cache, "%s/luarun/kernels", scratch);
    assert_int_equal(count_files(cache), 1); /* the library; nothing else is left */
    assert_int_equal(stat(cache, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    const lr_kernel_set *saved = set;
    set = first;
    assert_works("one");
    assert_true(one_number() == 1);
    set = saved;
}

static void test_compile_errors(void **state)
{
    (void)state;
    char *message = NULL;
    const lr_kernel_set *out = NULL;
    assert_int_equal(compile("bad", "int x = ;\n", &out, &message), LR_ERR_KERNEL_ERROR);
    assert_non_null(strstr(message, "kernel library 'bad' does not compile:\nbad.c:1:9: error: "));
    free(message);
    assert_message(compile("a/b", mine, &out, &message), LR_ERR_KERNEL_ERROR,
                   "'a/b' cannot name a kernel library (letters, digits and _ can)");
    setenv("CC", "no-such-compiler -m64", 1);
    assert_message(compile("other", mine, &out, &message), LR_ERR_KERNEL_ERROR,
                   "kernel library 'other' cannot be compiled: there is no compiler 'no-such-compiler' (install "
                   "gcc or clang, or set CC)");
    unsetenv("CC");
    assert_int_equal(compile("none", "int x;", &out, &message), LR_ERR_KERNEL_ERROR);
    assert_non_null(strstr(message, "is not a kernel library: it does not export luarun_kernel_library"));
    free(message);
}

static void test_compile_flags(void **state)
{
    (void)state;
    static const char source[] =
        "#include <luarun/kernel.h>\n"
        "static int value(lr_call *call) { return lr_return_number(call, VALUE); }\n"
        "LR_KERNELS({\"value\", value, NULL, NULL, {.cpu = 0}})\n";
    const char *flags[] = {"-DVALUE=3"};
    lr_kernel_source s = {"flagged", source, sizeof source - 1, flags, 1};
    char *message = NULL;
    const lr_kernel_set *saved = set, *other = NULL;
    for (int i = 3; i <= 4; i++) {
        flags[0] = i == 3 ? "-DVALUE=3" : "-DVALUE=4";
        if (lr_kernels_compile(&s, &set, &message)) fail_msg("%s", message);
        assert_true(other != set);
        other = set;
        assert_works("value");
        assert_true(one_number() == i);
    }
    set = saved;
}

/* No home, no cache: compiled all the same, nothing left behind. */
static void test_compile_without_home(void **state)
{
    (void)state;
    char *message = NULL, source[512];
    const lr_kernel_set *out = NULL;
    char *home = getenv("HOME") ? strdup(getenv("HOME")) : NULL;
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    snprintf(source, sizeof source, "%s/* homeless */\n", mine);
    if (compile("homeless", source, &out, &message)) fail_msg("%s", message);
    setenv("XDG_CACHE_HOME", "/proc/no", 1);
    snprintf(source, sizeof source, "%s/* read-only */\n", mine);
    if (compile("readonly", source, &out, &message)) fail_msg("%s", message);
    assert_int_equal(count_files(scratch), 0);
    if (home) setenv("HOME", home, 1);
    free(home);
}

/* A cached file that is damaged is made again; one that others may write to is not trusted. */
static void test_compile_damaged_cache(void **state)
{
    (void)state;
    char source[512], path[600], *message = NULL;
    const lr_kernel_set *out = NULL;
    pid_t pid = fork(); /* another process compiles: here the library must not be open yet */
    snprintf(source, sizeof source, "%s/* cached */\n", mine);
    if (pid == 0) _exit(compile("cached", source, &out, &message) ? 1 : 0);
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    snprintf(path, sizeof path, "%s/luarun/kernels", scratch);
    DIR *d = opendir(path);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/luarun/kernels/%s", scratch, e->d_name);
        int fd = open(path, O_WRONLY | O_TRUNC);
        close(fd);
    }
    closedir(d);
    if (compile("cached", source, &out, &message)) fail_msg("%s", message);
    assert_string_equal(out->kernels[0].name, "cached.one");
}

static void *compile_too(void *unused)
{
    (void)unused;
    char source[512], *message = NULL;
    const lr_kernel_set *out = NULL;
    snprintf(source, sizeof source, "%s/* together */\n", mine);
    if (compile("together", source, &out, &message)) free(message);
    const lr_kernel_set *loaded = NULL;
    lr_kernels_load(LIBRARY, NULL, &loaded, &message);
    return loaded == set ? (void *)(uintptr_t)out : NULL;
}

static void test_compile_together(void **state)
{
    (void)state;
    pthread_t threads[4];
    void *sets[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, compile_too, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], &sets[i]);
    assert_non_null(sets[0]);
    for (int i = 1; i < 4; i++)
        assert_ptr_equal(sets[i], sets[0]);
}

static void test_bad_tables(void **state)
{
    (void)state;
    static const struct {
        const char *table, *text;
    } cases[] = {
        {"{\"a\", k, 0, 0, {0}}, {\"a\", k, 0, 0, {0}}", " has two kernels named 'a'"},
        {"{\"a\", 0, 0, 0, {0}}", ": kernel 'a' has no function"},
        {"{\"a\", k, 0, 0, {0}}, {0, k, 0, 0, {0}}", ": kernel 2 has no name"},
        {"{\"a b\", k, 0, 0, {0}}", ": 'a b' cannot name a kernel (letters, digits and _ can)"},
    };
    for (size_t i = 0; i < LR_COUNT(cases); i++) {
        char source[512], *message = NULL;
        const lr_kernel_set *out = NULL;
        snprintf(source, sizeof source,
                 "#include <luarun/kernel.h>\nint k(lr_call *c);int k(lr_call *c){(void)c;return 0;}\n"
                 "LR_KERNELS(%s)\n", cases[i].table);
        assert_int_equal(compile("table", source, &out, &message), LR_ERR_KERNEL_ERROR);
        if (!strstr(message, cases[i].text)) fail_msg("%s", message);
        free(message);
    }
}

static int crash_here(const char *how)
{
    if (open_all(NULL) != 0) return 1;
    given(1);
    give_number(atoi(how));
    call("crash");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "crash") == 0) return crash_here(argv[2]);
#define COMPILES(f) cmocka_unit_test_setup_teardown(f, compile_setup, compile_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_no_arguments),
        cmocka_unit_test(test_tensor_result),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_futures),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_long_string),
        cmocka_unit_test(test_empties),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_full_store),
        cmocka_unit_test(test_malformed_arguments),
        cmocka_unit_test(test_random_stream),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_progress_and_spans),
        cmocka_unit_test(test_worker_state),
        cmocka_unit_test(test_crash),
        cmocka_unit_test(test_speed),
        COMPILES(test_compile),
        COMPILES(test_compile_errors),
        COMPILES(test_compile_flags),
        COMPILES(test_compile_without_home),
        COMPILES(test_compile_damaged_cache),
        COMPILES(test_compile_together),
        COMPILES(test_bad_tables),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
