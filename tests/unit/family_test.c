/* The family: who is found marked, chains that stay short, and records that their children do not keep alive. */
#include "runtime/family.h"

#include "runtime/pool.h"
#include "tests/unit/test.h"

#include <pthread.h>
#include <sched.h>

static lr_fn *fn;
static uint64_t next_id = 1;

static lr_task *child_of(lr_task *parent)
{
    lr_value args = {0};
    lr_task *t = lr_task_new(fn, parent ? lr_family_of(parent) : NULL, lr_id_from_seed(next_id++), &args, 1);
    assert_non_null(t);
    return t;
}

static void mark(lr_task *t)
{
    lr_task_set(t, LR_TASK_CANCEL);
    lr_family_mark(t);
}

static void descendants_are_marked_and_nobody_else(void **state)
{
    (void)state;
    lr_task *root = child_of(NULL), *a = child_of(root), *b = child_of(root), *aa = child_of(a), *aaa = child_of(aa);
    assert_false(lr_family_marked(aaa, 1));
    mark(a);
    assert_true(lr_family_marked(aa, 2));
    assert_true(lr_family_marked(aaa, 2));
    assert_false(lr_family_marked(b, 2));
    assert_false(lr_family_marked(root, 2));
    lr_task *all[] = {root, a, b, aa, aaa};
    for (size_t i = 0; i < LR_COUNT(all); i++)
        lr_task_release(all[i]);
}

/* What was found at an epoch is not looked for again at that epoch: a mark comes before its epoch. */
static void one_walk_an_epoch(void **state)
{
    (void)state;
    lr_task *root = child_of(NULL), *a = child_of(root), *b = child_of(a);
    assert_false(lr_family_marked(b, 7));
    mark(root);
    assert_false(lr_family_marked(b, 7));
    assert_true(lr_family_marked(b, 8));
    lr_task_release(b);
    lr_task_release(a);
    lr_task_release(root);
}

static void a_task_marked_before_its_first_child(void **state)
{
    (void)state;
    lr_task *a = child_of(NULL);
    mark(a); /* it has no node yet */
    lr_task *b = child_of(a);
    assert_true(lr_family_marked(b, 1));
    lr_task_release(b);
    lr_task_release(a);
}

static void a_chain_keeps_two_nodes(void **state)
{
    (void)state;
    lr_task *t = child_of(NULL);
    for (int i = 0; i < 1000; i++) {
        lr_task *next = child_of(t);
        lr_family_end(t);
        lr_task_release(t);
        t = next;
    }
    int nodes = 0;
    for (lr_family *f = lr_family_of(t); f; f = f->parent)
        nodes++;
    assert_in_range(nodes, 1, 2);
    lr_task_release(t);
}

/* An ended ancestor that was cancelled is not passed over: what its children start is cancelled too. */
static void a_cancelled_ancestor_stays(void **state)
{
    (void)state;
    lr_task *a = child_of(NULL), *b = child_of(a);
    mark(a);
    lr_family_end(a);
    lr_task_release(a);
    lr_task *c = child_of(b);
    assert_true(lr_family_marked(c, 1));
    lr_task_release(c);
    lr_task_release(b);
}

static int freed;
static void count_freed(lr_task *t) { (void)t, freed++; }

static void children_do_not_keep_records(void **state)
{
    (void)state;
    lr_task_on_unseen(count_freed); /* told of failed tasks as their records go */
    lr_task *a = child_of(NULL), *b = child_of(a);
    lr_value nothing = {0};
    lr_wake wake = {0};
    assert_true(lr_task_end(a, LR_TASK_FAILED, &nothing, &wake));
    assert_int_equal(freed, 0);
    lr_task_release(a);
    assert_int_equal(freed, 1);
    lr_task_release(b);
    assert_int_equal(freed, 1);
    lr_task_on_unseen(NULL);
}

/* A cancel comes while a task gets its first child: the child must be found marked. */
static lr_task *racing;
static _Atomic int turn;
static _Atomic bool stop;

static void *canceller(void *unused)
{
    for (int seen = 0; !atomic_load(&stop);) {
        int now = atomic_load(&turn);
        if (now == seen || now % 2 == 0) continue;
        seen = now;
        atomic_fetch_or(&racing->word, LR_TASK_CANCEL);
        lr_family_mark(racing);
        atomic_fetch_add(&turn, 1);
    }
    return unused;
}

static void no_mark_is_missed(void **state)
{
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, canceller, NULL), 0);
    for (int i = 0; i < 2000; i++) {
        racing = child_of(NULL);
        int now = atomic_fetch_add(&turn, 1) + 1;
        lr_task *b = child_of(racing);
        while (atomic_load(&turn) == now)
            sched_yield();
        assert_true(lr_family_marked(b, (uint32_t)i + 1));
        lr_task_release(b);
        lr_task_release(racing);
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
}

int main(void)
{
    static lr_kernel kernel = {.name = (char *)"k"};
    fn = lr_fn_new_kernel("k", &kernel);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descendants_are_marked_and_nobody_else),
        cmocka_unit_test(one_walk_an_epoch),
        cmocka_unit_test(a_task_marked_before_its_first_child),
        cmocka_unit_test(a_chain_keeps_two_nodes),
        cmocka_unit_test(a_cancelled_ancestor_stays),
        cmocka_unit_test(children_do_not_keep_records),
        cmocka_unit_test(no_mark_is_missed),
    };
    return RUN_ALL(tests);
}
