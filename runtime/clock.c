#include "runtime/clock.h"

static uint64_t reference_ns, reference_ticks;

void lr_clock_init(void)
{
    if (reference_ns) return;
    reference_ns = lr_clock_ns();
    reference_ticks = lr_clock_ticks();
}

uint64_t lr_clock_ticks_ns(uint64_t ticks)
{
    uint64_t elapsed_ticks = lr_clock_ticks() - reference_ticks;
    uint64_t elapsed_ns = lr_clock_ns() - reference_ns;
    if (elapsed_ticks == 0) return 0;
    return (uint64_t)((double)ticks * ((double)elapsed_ns / (double)elapsed_ticks));
}
