#include "runtime/extra.h"

#include "runtime/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define NEED_TEXT 1024
#define INPUTS_MAX 250 /* as many as Lua lets a call have arguments */

lr_extra *lr_extra_new(lr_options *options, uint32_t input_count)
{
    lr_extra *e = calloc(1, sizeof *e + input_count * sizeof e->inputs[0]);
    if (!e) return NULL;
    lr_options_retain(options);
    e->options = options;
    e->input_count = input_count;
    return e;
}

void lr_extra_free(lr_extra *e)
{
    lr_options_release(e->options);
    free(e->spec);
    free(e);
}

static bool add_spec(lr_task *t, const lr_options *o, lr_id job)
{
    lr_spec *spec = t->extra->spec = malloc(sizeof *spec);
    if (!spec) return false;
    lr_spec_init(spec, t->id, job, o->name ? o->name : t->fn->name);
    spec->need = o->need;
    spec->unknown_resource = o->unknown_count ? o->unknown[0].name : NULL;
    spec->unknown_amount = o->unknown[0].amount;
    spec->priority = o->priority;
    spec->timeout_ns = (uint64_t)(o->timeout_s * 1e9);
    spec->deadline_ns = o->deadline_s > 0 ? lr_clock_deadline(o->deadline_s) : 0;
    if (spec->deadline_ns == LR_NEVER) spec->deadline_ns = 0;
    spec->affinity = !lr_id_is_nil(o->node) ? LR_AFFINITY_NODE : o->spread ? LR_AFFINITY_SPREAD : LR_AFFINITY_NONE;
    spec->node = o->node;
    spec->runtime = t;
    return true;
}

bool lr_extra_attach(lr_task *t, lr_id job)
{
    const lr_options *o = t->extra->options;
    uint32_t flags = t->extra->input_count ? LR_TASK_INPUTS : 0;
    if (o && !o->plain) {
        if (!add_spec(t, o, job)) return false;
        flags |= LR_TASK_MACHINE;
    }
    atomic_fetch_or(&t->word, flags);
    return true;
}

/* ---- as bytes --------------------------------------------------------------------------------------- */

static void write_text(lr_builder *b, const char *text)
{
    size_t size = text ? strlen(text) : 0;
    lr_builder_varint(b, size);
    lr_builder_bytes(b, text, size);
}

static void write_f64(lr_builder *b, double v) { lr_builder_bytes(b, &v, sizeof v); }

void lr_extra_need(const lr_options *o, const lr_resource_names *names, char *text, size_t text_bytes)
{
    char amount[32];
    size_t size = lr_resources_format(&o->need, names, text, text_bytes);
    for (uint32_t i = 0; i < o->unknown_count && size < text_bytes; i++) {
        lr_amount_format(o->unknown[i].amount, amount, sizeof amount);
        int n = snprintf(text + size, text_bytes - size, "%s%s=%s", size ? "," : "", o->unknown[i].name, amount);
        size += n > 0 ? (size_t)n : 0;
    }
}

static void write_options(lr_builder *b, const lr_task *t, const lr_resource_names *names)
{
    char need[NEED_TEXT];
    const lr_options *o = t->extra->options;
    uint64_t deadline = t->extra->spec ? t->extra->spec->deadline_ns : 0, now = deadline ? lr_clock_ns() : 0;
    lr_extra_need(o, names, need, sizeof need);
    write_text(b, o->name);
    write_text(b, need);
    write_f64(b, o->cpu);
    write_f64(b, o->priority);
    write_f64(b, o->timeout_s);
    write_f64(b, !deadline ? 0 : deadline > now ? (double)(deadline - now) / 1e9 : 1e-9);
    lr_builder_varint(b, o->retry_on_error);
    lr_builder_varint(b, o->returns);
}

static uint32_t position_of(const lr_task *t, const lr_task *input)
{
    lr_object *const *refs = lr_value_refs(&t->args);
    for (uint32_t i = 0; i < lr_value_ref_count(&t->args); i++)
        if (refs[i] == &input->base) return i;
    LR_ASSERT(!"an input that is no argument");
    return 0;
}

void lr_extra_write(lr_builder *b, const lr_task *t, const lr_resource_names *names)
{
    const lr_extra *e = t->extra;
    if (!e) return;
    lr_builder_varint(b, e->options ? 1 : 0);
    if (e->options) write_options(b, t, names);
    lr_builder_varint(b, e->input_count);
    for (uint32_t i = 0; i < e->input_count; i++) {
        lr_builder_varint(b, e->inputs[i].argument);
        lr_builder_varint(b, e->inputs[i].index == LR_RESULT_ALL ? 0 : (uint64_t)e->inputs[i].index + 1);
        lr_builder_varint(b, position_of(t, e->inputs[i].input));
    }
}

static bool read_text(lr_reader *r, char *text, size_t text_bytes)
{
    uint64_t size = lr_read_varint(r);
    const uint8_t *bytes = lr_read_bytes(r, size);
    if (!bytes || size >= text_bytes) return false;
    memcpy(text, bytes, (size_t)size);
    text[size] = 0;
    return true;
}

/* Amounts of names that this node does not know make it false. */
static bool read_need(const char *need, const lr_resource_names *names, lr_resources *out)
{
    char error[128];
    lr_resource_names more = *names;
    if (!lr_resources_parse(need, &more, out, error, sizeof error)) return false;
    for (int i = names->count; i < LR_RESOURCE_COUNT; i++)
        if (out->amount[i] != 0) return false;
    return true;
}

static double read_seconds(lr_reader *r)
{
    double v = lr_read_f64(r);
    if (!(v >= 0 && v < 1e18)) r->ok = false;
    return v;
}

/* One count; NULL: malformed, or no memory. */
static lr_options *read_options(lr_reader *r, const lr_resource_names *names)
{
    char name[256], need[NEED_TEXT];
    lr_options *o = lr_options_new();
    if (!o) return NULL;
    bool done = read_text(r, name, sizeof name) && read_text(r, need, sizeof need) && read_need(need, names, &o->need);
    o->cpu = read_seconds(r);
    o->priority = lr_read_f64(r);
    o->timeout_s = read_seconds(r);
    o->deadline_s = read_seconds(r);
    o->retry_on_error = (uint32_t)lr_read_varint(r);
    uint64_t returns = lr_read_varint(r);
    o->returns = (uint32_t)returns;
    if (name[0] && done) done = (o->name = strdup(name)) != NULL;
    if (!done || !r->ok || returns < 1 || returns > INPUTS_MAX || o->priority != o->priority) {
        lr_options_release(o);
        return NULL;
    }
    lr_options_finish(o);
    return o;
}

static bool read_inputs(lr_reader *r, lr_task *t, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        lr_input *in = &t->extra->inputs[i];
        uint64_t argument = lr_read_varint(r), index = lr_read_varint(r), position = lr_read_varint(r);
        if (!r->ok || argument < 1 || argument > INPUTS_MAX || index > INPUTS_MAX) return false;
        if (position >= lr_value_ref_count(&t->args)) return false;
        lr_object *o = lr_value_refs(&t->args)[position];
        if (o->kind != LR_OBJECT_TASK) return false;
        in->argument = (uint32_t)argument;
        in->index = index ? (uint32_t)index - 1 : LR_RESULT_ALL;
        in->input = (lr_task *)o;
    }
    return true;
}

bool lr_extra_read(lr_reader *r, lr_task *t, lr_id job, const lr_resource_names *names, char *text, size_t text_bytes)
{
    if (r->p == r->end) return true;
    snprintf(text, text_bytes, "options that are malformed, or ask for a resource that the node does not have");
    bool has_options = lr_read_varint(r) == 1;
    lr_options *o = has_options ? read_options(r, names) : NULL;
    uint64_t count = lr_read_varint(r);
    bool whole = r->ok && (o || !has_options) && count <= INPUTS_MAX;
    if (whole) t->extra = lr_extra_new(o, (uint32_t)count);
    lr_options_release(o);
    return whole && t->extra && read_inputs(r, t, (uint32_t)count) && r->p == r->end && lr_extra_attach(t, job);
}
