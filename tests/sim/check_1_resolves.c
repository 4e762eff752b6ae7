/* tests/sim/check_1_resolves.c - invariant 1: every future resolves: a value, an error, or cancelled.
 *
 * Looked at when nothing is left to happen: whoever waits then waits for ever. */
#include "tests/sim/sim.h"

static void say_broker(sim *w, const sim_node *n)
{
    const lr_broker *b = &n->mesh.broker;
    for (size_t k = 0; k < b->node_count && w->config.says && n->is_broker; k++) {
        char text[3][96];
        const lr_place_node *p = b->nodes[k];
        lr_resources_format(&p->total, &n->mesh.names, text[0], 96);
        lr_resources_format(&p->free, &n->mesh.names, text[1], 96);
        lr_resources_format(&p->given, &n->mesh.names, text[2], 96);
        sim_say(w, "broker %u: a node has %s, free %s, given %s", n->number, text[0], text[1], text[2]);
    }
}

static void say_waiting(sim *w, const sim_task *t, const char *how)
{
    const sim_body *b = t->body;
    sim_say(w, "node %u: task %016llx %s%s", t->home->number, (unsigned long long)t->id.lo, how, t->guest ? ", a guest" : "");
    for (unsigned k = 0; k < t->call.input_count; k++)
        sim_say(w, "    input %016llx%s", (unsigned long long)t->call.inputs[k]->id.lo, t->call.inputs[k]->ended ? ", there" : "");
    if (b && b->gets < SIM_KNOWN) sim_say(w, "    gets %016llx", (unsigned long long)b->known[b->gets]->id.lo);
}

void check_resolves(sim *w)
{
    static const char *const words[] = {"waits for inputs", "is queued", "is with the machine", "is with the mesh",
                                        "runs", "is parked", "is over", "stands for one elsewhere"};
    for (unsigned i = 0; i < w->node_count; i++) {
        const sim_node *n = w->nodes[i];
        if (n->dead) continue;
        say_broker(w, n);
        for (lr_link *l = lr_list_first(&n->records); l; l = lr_list_next(&n->records, l)) {
            const sim_task *t = LR_CONTAINER(l, sim_task, link);
            if (!t->ended) say_waiting(w, t, words[t->phase]);
            if (!t->ended)
                sim_violation(w, "1: task %016llx on node %u never resolves: it %s", (unsigned long long)t->id.lo, n->number,
                              words[t->phase]);
        }
    }
    if (!w->root->ended) sim_violation(w, "1: the script never ends");
}
