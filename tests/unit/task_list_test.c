/* Tasks listed by a walk over the slab, and the failures that are kept: what is found, in which order, and that
 * looking hurts nobody while others make and free tasks. */
#include "runtime/task_list.h"

#include "runtime/failures.h"
#include "tests/unit/test.h"

#include <pthread.h>

static uint64_t next_id = 1;

static lr_fn *make_fn(const char *name)
{
    lr_value body = {0};
    lr_fn *fn = lr_fn_new_lua(name, &body);
    assert_non_null(fn);
    return fn;
}

static lr_task *make_task(lr_fn *fn)
{
    lr_value args = {0};
    lr_task *t = lr_task_new(fn, NULL, lr_id_from_seed(__atomic_fetch_add(&next_id, 1, __ATOMIC_RELAXED)), &args, 1);
    assert_non_null(t);
    return t;
}

static size_t list(const lr_task_query *query, lr_task_row **rows, uint64_t *total)
{
    size_t count = 0;
    *rows = lr_task_list(query, &count, total);
    assert_non_null(*rows);
    return count;
}

static void the_newest_come_first(void **state)
{
    (void)state;
    lr_fn *fn = make_fn("first"), *other = make_fn("second");
    lr_task *tasks[100];
    for (size_t i = 0; i < 100; i++)
        tasks[i] = make_task(i % 2 ? fn : other);
    lr_task_row *rows;
    uint64_t total;
    const lr_task_query any = {.state = -1, .limit = 10}, named = {.state = -1, .name = "first", .limit = 1000};
    assert_int_equal(list(&any, &rows, &total), 10);
    assert_int_equal(total, 100);
    for (size_t i = 0; i < 10; i++) {
        assert_true(lr_id_equal(rows[i].id, tasks[99 - i]->id));
        assert_string_equal(rows[i].name, (99 - i) % 2 ? "first" : "second");
        assert_int_equal(rows[i].state, LR_TASK_WAITING);
    }
    free(rows);
    assert_int_equal(list(&named, &rows, &total), 50);
    free(rows);
    for (size_t i = 0; i < 100; i++)
        lr_task_release(tasks[i]);
    assert_int_equal(list(&named, &rows, &total), 0);
    assert_int_equal(total, 0);
    free(rows);
    lr_object_release(&fn->base);
    lr_object_release(&other->base);
}

static void states_are_told_apart(void **state)
{
    (void)state;
    lr_fn *fn = make_fn("f");
    lr_task *waiting = make_task(fn), *queued = make_task(fn);
    assert_true(lr_task_enqueue(queued));
    lr_task_row *rows;
    uint64_t total;
    const lr_task_query query = {.state = LR_TASK_QUEUED, .limit = 5}, none = {.state = LR_TASK_FAILED, .limit = 5};
    assert_int_equal(list(&query, &rows, &total), 1);
    assert_true(lr_id_equal(rows[0].id, queued->id));
    free(rows);
    assert_int_equal(list(&none, &rows, &total), 0);
    free(rows);
    lr_task_release(waiting);
    lr_task_release(queued);
    lr_object_release(&fn->base);
}

static void values_are_no_tasks(void **state)
{
    (void)state;
    lr_value value = {0};
    lr_task *t = lr_task_new_value(lr_id_from_seed(next_id++), &value);
    lr_task_row *rows;
    uint64_t total;
    const lr_task_query any = {.state = -1, .limit = 5}, nothing = {.state = -1, .limit = 0};
    assert_int_equal(list(&any, &rows, &total), 0);
    free(rows);
    assert_int_equal(list(&nothing, &rows, &total), 0);
    free(rows);
    lr_task_release(t);
}

/* ---- while others make and free them ---------------------------------------------------------------------- */

static _Atomic bool over;

static void *churn(void *unused)
{
    enum { HELD = 300 };
    lr_task *held[HELD] = {0};
    (void)unused;
    lr_fn *fn = make_fn("churn");
    for (size_t i = 0; !atomic_load(&over); i++) {
        lr_task **place = &held[i % HELD];
        if (*place) lr_task_release(*place);
        *place = make_task(fn);
        if (i % 1000 == 0) { /* functions come and go too */
            for (size_t k = 0; k < HELD; k++)
                if (held[k]) lr_task_release(held[k]);
            memset((void *)held, 0, sizeof held);
            lr_object_release(&fn->base);
            fn = make_fn("churn");
        }
    }
    for (size_t i = 0; i < HELD; i++)
        if (held[i]) lr_task_release(held[i]);
    lr_object_release(&fn->base);
    lr_fn_thread_end();
    lr_slab_thread_end();
    return NULL;
}

static void looking_while_others_work(void **state)
{
    (void)state;
    pthread_t threads[2];
    lr_fn *fn = make_fn("stays");
    lr_task *stays[5];
    for (size_t i = 0; i < 5; i++)
        stays[i] = make_task(fn);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, NULL), 0);
    for (int round = 0; round < 300; round++) {
        lr_task_row *rows;
        uint64_t total;
        const lr_task_query any = {.state = -1, .limit = 50}, named = {.state = -1, .name = "stays", .limit = 10};
        size_t count = list(&any, &rows, &total);
        for (size_t i = 0; i < count; i++) {
            assert_false(lr_id_is_nil(rows[i].id));
            assert_true(strcmp(rows[i].name, "churn") == 0 || strcmp(rows[i].name, "stays") == 0 ||
                        strcmp(rows[i].name, "?") == 0);
        }
        free(rows);
        assert_true(list(&named, &rows, &total) >= 5); /* one more may have the place of a function that went */
        free(rows);
    }
    atomic_store(&over, true);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < 5; i++)
        lr_task_release(stays[i]);
    lr_object_release(&fn->base);
}

/* ---- failures ------------------------------------------------------------------------------------------------ */

static lr_task *failed_task(lr_fn *fn, const char *message)
{
    lr_task *t = make_task(fn);
    lr_builder b;
    lr_value error;
    lr_wake wake = {0};
    lr_builder_init(&b);
    lr_builder_header(&b, 1);
    lr_builder_error(&b, LR_ERR_TIMEOUT, message, NULL, "f", t->id, 1, NULL);
    assert_true(lr_builder_finish(&b, &error));
    lr_builder_fini(&b);
    assert_true(lr_task_end(t, LR_TASK_FAILED, &error, &wake));
    return t;
}

static void failures_are_kept_newest_first(void **state)
{
    (void)state;
    lr_fn *fn = make_fn("fails");
    static lr_failure rows[LR_FAILURES_KEPT];
    uint64_t total;
    char text[1000];
    for (unsigned i = 0; i < LR_FAILURES_KEPT + 10; i++) {
        snprintf(text, sizeof text, "number %u", i);
        lr_task_release(failed_task(fn, text));
    }
    assert_int_equal(lr_failures_list(rows, LR_FAILURES_KEPT, &total), LR_FAILURES_KEPT);
    assert_int_equal(total, LR_FAILURES_KEPT + 10);
    snprintf(text, sizeof text, "number %u", LR_FAILURES_KEPT + 9);
    assert_string_equal(rows[0].message, text);
    assert_string_equal(rows[LR_FAILURES_KEPT - 1].message, "number 10");
    assert_string_equal(rows[0].function_name, "fails");
    assert_int_equal(rows[0].code, LR_ERR_TIMEOUT);
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    lr_task_release(failed_task(fn, text));
    assert_int_equal(lr_failures_list(rows, 1, &total), 1);
    assert_int_equal(strlen(rows[0].message), sizeof rows[0].message - 1);
    lr_object_release(&fn->base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_come_first), cmocka_unit_test(states_are_told_apart),
        cmocka_unit_test(values_are_no_tasks), cmocka_unit_test(looking_while_others_work),
        cmocka_unit_test(failures_are_kept_newest_first)};
    return RUN_ALL(tests);
}
