#include "sched/spec.h"

#include "sched/text.h"

void lr_spec_init(lr_spec *spec, lr_id id, lr_id job, const char *function_name)
{
    memset(spec, 0, sizeof *spec);
    spec->id = id;
    spec->job = job;
    spec->function_name = function_name;
    spec->need.amount[LR_RESOURCE_CPU] = LR_AMOUNT_ONE;
    spec->state = LR_TASK_WAITING;
}

static void say_amount(lr_text *t, int64_t amount)
{
    char text[32];
    lr_amount_format(amount, text, sizeof text);
    lr_text_string(t, text);
}

/* "gpu: 2 asked, the most a node offers is 0 (start luarun with --resources gpu=2)" */
static void say_shortage(lr_text *t, const char *name, const lr_detail *d)
{
    bool cpu = d->kind == LR_DETAIL_RESOURCE && d->resource == LR_RESOURCE_CPU;
    int64_t workers = (d->asked + LR_AMOUNT_ONE - 1) / LR_AMOUNT_ONE;
    lr_text_string(t, name);
    lr_text_string(t, ": ");
    say_amount(t, d->asked);
    lr_text_string(t, " asked, the most a node offers is ");
    say_amount(t, d->offered);
    lr_text_string(t, " (start luarun with ");
    lr_text_string(t, cpu ? "--workers " : "--resources ");
    lr_text_string(t, cpu ? "" : name);
    lr_text_string(t, cpu ? "" : "=");
    say_amount(t, cpu ? workers * LR_AMOUNT_ONE : d->asked);
    lr_text_string(t, ")");
}

/* "gpu (1 asked, 0 free)" or "its turn" */
static void say_wait(lr_text *t, const lr_resource_names *names, const lr_detail *d)
{
    if (d->kind != LR_DETAIL_LATE_RESOURCE) {
        lr_text_string(t, "its turn");
        return;
    }
    lr_text_string(t, lr_resource_name(names, d->resource));
    lr_text_string(t, " (");
    say_amount(t, d->asked);
    lr_text_string(t, " asked, ");
    say_amount(t, d->offered > 0 ? d->offered : 0);
    lr_text_string(t, " free)");
}

static void say_infeasible(lr_text *t, const lr_spec *spec, const lr_resource_names *names)
{
    switch (spec->detail.kind) {
    case LR_DETAIL_UNKNOWN_NODE:
        lr_text_string(t, "node: ");
        lr_text_id(t, spec->node);
        lr_text_string(t, " asked, there is no such node (lr.nodes() lists them)");
        return;
    case LR_DETAIL_UNKNOWN_RESOURCE: say_shortage(t, spec->unknown_resource, &spec->detail); return;
    case LR_DETAIL_RESOURCE:
        say_shortage(t, lr_resource_name(names, spec->detail.resource), &spec->detail);
        return;
    case LR_DETAIL_NONE:
    case LR_DETAIL_LATE_RESOURCE:
    case LR_DETAIL_LATE_TURN: lr_text_string(t, lr_err_meaning(LR_ERR_INFEASIBLE)); return;
    }
}

static void say_deadline(lr_text *t, const lr_spec *spec, const lr_resource_names *names)
{
    if (spec->deadline_ns <= spec->queued_at_ns) {
        lr_text_string(t, "it had passed before the task and its inputs were there");
        return;
    }
    lr_text_string(t, "not started ");
    lr_text_seconds(t, spec->deadline_ns - spec->queued_at_ns);
    lr_text_string(t, " s after it was submitted: waited for ");
    say_wait(t, names, &spec->detail);
}

size_t lr_spec_explain(const lr_spec *spec, const lr_resource_names *names, char *text,
                       size_t size_bytes)
{
    lr_text t = lr_text_of(text, size_bytes);
    if (spec->err == LR_ERR_NONE) {
        lr_text_string(&t, "waits for ");
        say_wait(&t, names, &spec->detail);
        return t.needed_bytes;
    }
    lr_text_string(&t, lr_err_code(spec->err));
    lr_text_string(&t, ": ");
    if (spec->err == LR_ERR_INFEASIBLE)
        say_infeasible(&t, spec, names);
    else if (spec->err == LR_ERR_DEADLINE)
        say_deadline(&t, spec, names);
    else
        lr_text_string(&t, lr_err_meaning(spec->err));
    return t.needed_bytes;
}

size_t lr_spec_explain_short(int resource, const char *name, int64_t asked, int64_t offered, char *text,
                             size_t size_bytes)
{
    lr_text t = lr_text_of(text, size_bytes);
    lr_detail d = {LR_DETAIL_RESOURCE, resource, asked, offered};
    say_shortage(&t, name, &d);
    return t.needed_bytes;
}
