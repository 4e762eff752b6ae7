#include "sched/broker.h"

#include "runtime/allocator.h"
#include "tests/unit/test.h"

/* A broker with some nodes of two cpus each; what its hooks were told, as text. */
static lr_broker broker;
static lr_broker_node nodes[4];
static lr_resource_names names;
static char told[400];

static void note(const char *what, const lr_broker_node *a, const lr_broker_node *b, unsigned count)
{
    size_t at = strlen(told);
    snprintf(told + at, sizeof told - at, "%s %d", what, (int)(a - nodes));
    at = strlen(told);
    if (b) snprintf(told + at, sizeof told - at, ">%d:%u", (int)(b - nodes), count);
    strncat(told, "; ", sizeof told - strlen(told) - 1);
}

static void on_grant(void *user, lr_broker_node *from, lr_broker_node *to, uint32_t count)
{
    (void)user;
    note("grant", from, to, count);
}

static void on_hungry(void *user, lr_broker_node *node)
{
    (void)user;
    note("hungry", node, NULL, 0);
}

static void on_placed(void *user, lr_broker_node *from, lr_id task, lr_broker_node *on)
{
    (void)user;
    (void)task;
    note("placed", from, on, 1);
}

static void on_nowhere(void *user, lr_broker_node *from, lr_id task, const char *why)
{
    (void)user;
    (void)task;
    (void)why;
    note("nowhere", from, NULL, 0);
}

static void expect(const char *words)
{
    assert_string_equal(told, words);
    told[0] = 0;
}

static void begin(int count)
{
    const lr_broker_hooks hooks = {on_grant, on_hungry, on_placed, on_nowhere, NULL};
    lr_resource_names_init(&names);
    lr_broker_init(&broker, &lr_process_allocator, &names, &hooks, 1);
    told[0] = 0;
    for (int i = 0; i < count; i++) {
        nodes[i] = (lr_broker_node){.place.id = {1, (uint64_t)i + 1}};
        nodes[i].place.total.amount[LR_RESOURCE_CPU] = 2 * LR_AMOUNT_ONE;
        nodes[i].place.free = nodes[i].place.total;
        assert_true(lr_broker_node_up(&broker, &nodes[i]));
    }
}

static void end(int count)
{
    for (int i = 0; i < count; i++)
        lr_broker_node_down(&broker, &nodes[i]);
    lr_broker_fini(&broker);
}

static void work_wanted_is_told_once_and_a_surplus_goes_to_who_is_idle(void **state)
{
    (void)state;
    begin(3);
    lr_broker_idle(&broker, &nodes[1], 2);
    expect("hungry 0; hungry 2; ");
    lr_broker_idle(&broker, &nodes[1], 3);
    expect("");
    lr_broker_surplus(&broker, &nodes[0], 2);
    expect("grant 0>1:2; hungry 0; ");
    end(3);
}

/* Node 1 said what waits there, then became idle: it has nothing to give any more, and nobody may take that for the
 * whole cluster. */
static void an_old_surplus_of_the_only_idle_node_stands_in_nobody_s_way(void **state)
{
    (void)state;
    begin(3);
    lr_broker_surplus(&broker, &nodes[1], 3);
    lr_broker_surplus(&broker, &nodes[0], 5);
    expect("");
    lr_broker_idle(&broker, &nodes[1], 2);
    expect("grant 0>1:2; ");
    end(3);
}

static void a_node_without_cpus_runs_nothing(void **state)
{
    (void)state;
    lr_place_ask ask = {.affinity = LR_AFFINITY_NONE};
    begin(2);
    nodes[0].place.total.amount[LR_RESOURCE_CPU] = nodes[0].place.free.amount[LR_RESOURCE_CPU] = 0;
    for (uint64_t i = 0; i < 8; i++)
        lr_broker_ask(&broker, &nodes[0], (lr_id){2, i}, &ask); /* not even what asks for none */
    expect("placed 0>1:1; placed 0>1:1; placed 0>1:1; placed 0>1:1; placed 0>1:1; placed 0>1:1; placed 0>1:1; "
           "placed 0>1:1; ");
    end(2);
}

/* Node 0 cannot connect to node 1: its surplus and its tasks go elsewhere, until it may try again; where nobody else could
 * run a task, there all the same. */
static void what_a_node_does_not_reach_it_is_not_named(void **state)
{
    (void)state;
    lr_place_ask ask = {.affinity = LR_AFFINITY_NONE};
    begin(3);
    lr_broker_reach(&broker, &nodes[0], nodes[1].place.id, false);
    lr_broker_idle(&broker, &nodes[1], 2);
    expect("hungry 2; ");
    lr_broker_surplus(&broker, &nodes[0], 2);
    expect("");
    for (uint64_t i = 0; i < 4; i++)
        lr_broker_ask(&broker, &nodes[0], (lr_id){2, i}, &ask);
    expect("placed 0>2:1; placed 0>2:1; placed 0>2:1; placed 0>2:1; ");
    lr_broker_node_down(&broker, &nodes[2]);
    lr_broker_ask(&broker, &nodes[0], (lr_id){3, 0}, &ask);
    lr_broker_done(&broker, &nodes[0], (lr_id){3, 0});
    told[0] = 0; /* of the two that are left either */
    lr_broker_reach(&broker, &nodes[0], nodes[1].place.id, true);
    expect("grant 0>1:2; ");
    end(2);
}

/* Node 0 is the script's process: a kernel with which a node was lost is for the others, waits while more are on their way,
 * and is refused when there are none. What is bound to node 0 is none of that. */
static void what_a_node_was_lost_with_is_kept_from_the_script(void **state)
{
    (void)state;
    lr_place_ask ask = {.affinity = LR_AFFINITY_NONE, .risky = true};
    begin(2);
    nodes[0].place.spared = true;
    for (uint64_t i = 0; i < 4; i++)
        lr_broker_ask(&broker, &nodes[i % 2], (lr_id){2, i}, &ask);
    expect("placed 0>1:1; placed 1>1:1; placed 0>1:1; placed 1>1:1; ");
    lr_broker_expect(&broker, true);
    lr_broker_node_down(&broker, &nodes[1]);
    lr_broker_ask(&broker, &nodes[0], (lr_id){3, 0}, &ask);
    expect("");
    nodes[2] = (lr_broker_node){.place = nodes[0].place};
    nodes[2].place.id = (lr_id){1, 3};
    nodes[2].place.spared = false;
    assert_true(lr_broker_node_up(&broker, &nodes[2]));
    lr_broker_node_changed(&broker);
    expect("placed 0>2:1; ");
    lr_broker_node_down(&broker, &nodes[2]);
    lr_broker_ask(&broker, &nodes[0], (lr_id){3, 1}, &ask);
    expect("");
    lr_broker_expect(&broker, false);
    expect("nowhere 0; ");
    ask.affinity = LR_AFFINITY_NODE;
    ask.node = nodes[0].place.id;
    lr_broker_ask(&broker, &nodes[0], (lr_id){3, 2}, &ask);
    expect("placed 0>0:1; ");
    end(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_wanted_is_told_once_and_a_surplus_goes_to_who_is_idle),
        cmocka_unit_test(an_old_surplus_of_the_only_idle_node_stands_in_nobody_s_way),
        cmocka_unit_test(a_node_without_cpus_runs_nothing),
        cmocka_unit_test(what_a_node_does_not_reach_it_is_not_named),
        cmocka_unit_test(what_a_node_was_lost_with_is_kept_from_the_script),
    };
    return RUN_ALL(tests);
}
