#include "runtime/extra.h"

#include <stdlib.h>

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
