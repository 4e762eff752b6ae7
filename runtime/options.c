#include "runtime/options.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

lr_options *lr_options_new(void)
{
    lr_options *o = calloc(1, sizeof *o);
    if (!o) return NULL;
    atomic_init(&o->refs, 1);
    o->cpu = 1;
    o->need.amount[LR_RESOURCE_CPU] = LR_AMOUNT_ONE;
    o->retries = 3;
    o->returns = 1;
    return o;
}

/* All but the count, which others change meanwhile. */
lr_options *lr_options_copy(const lr_options *o)
{
    const size_t rest = offsetof(lr_options, plain);
    lr_options *copy = lr_options_new();
    if (!copy) return NULL;
    memcpy((char *)copy + rest, (const char *)o + rest, sizeof *o - rest);
    copy->name = o->name ? strdup(o->name) : NULL;
    if (!o->name || copy->name) return copy;
    lr_options_release(copy);
    return NULL;
}

void lr_options_retain(lr_options *o)
{
    if (o) atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
}

void lr_options_release(lr_options *o)
{
    if (!o || atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) != 1) return;
    free(o->name);
    free(o);
}

void lr_options_finish(lr_options *o)
{
    lr_resources one_cpu = {0};
    one_cpu.amount[LR_RESOURCE_CPU] = LR_AMOUNT_ONE;
    o->plain = memcmp(&o->need, &one_cpu, sizeof one_cpu) == 0 && o->priority == 0 && o->timeout_s == 0 &&
               o->deadline_s == 0 && lr_id_is_nil(o->node) && !o->spread && o->unknown_count == 0;
}
