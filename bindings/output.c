#include "bindings/output.h"

#include <stdatomic.h>
#include <stdio.h>

static _Atomic(lr_output_taker) taker;

void lr_output_take_by(lr_output_taker by) { atomic_store(&taker, by); }

void lr_output_line(const char *mark, const char *text, size_t text_bytes)
{
    lr_output_taker by = atomic_load(&taker);
    if (by && by(mark, text, text_bytes)) return;
    flockfile(stdout);
    fputs(mark, stdout);
    fwrite(text, 1, text_bytes, stdout);
    putc('\n', stdout);
    funlockfile(stdout);
}
