#include "sched/rival.h"

#include "sched/fault.h"

static bool smaller(lr_id a, lr_id b) { return a.hi != b.hi ? a.hi < b.hi : a.lo < b.lo; }

bool lr_rival_stays(lr_id self, lr_id other, bool dialed, const lr_rival *rival)
{
    if (LR_FAULT(BOTH_STAY)) return false;
    if (dialed) return rival->promised || rival->dialed;
    return smaller(self, other) && rival->dialed && rival->young;
}
