/* tests/sim/planted.c - which planted fault is in, in the build that has them; in others there is none. */
#include "tests/sim/sim.h"

#include "sched/fault.h"

#ifdef LR_FAULTS
lr_fault_id lr_fault_planted;

static const struct {
    const char *name, *meaning;
    int invariant;
} faults[] = {
    {"NONE", "nothing", 0},
#define LR_FAULT_ROW(id, invariant, meaning) {#id, meaning, invariant},
#include "sched/faults.def"
#undef LR_FAULT_ROW
};

bool lr_fault_plant(const char *name)
{
    for (size_t i = 1; i < LR_COUNT(faults); i++)
        if (!strcmp(faults[i].name, name)) lr_fault_planted = (lr_fault_id)i;
    return lr_fault_planted != LR_FAULT_NONE;
}

int lr_fault_list(void)
{
    for (size_t i = 1; i < LR_COUNT(faults); i++)
        printf("%-16s %d  %s\n", faults[i].name, faults[i].invariant, faults[i].meaning);
    return 0;
}
#else
bool lr_fault_plant(const char *name)
{
    (void)name;
    return false;
}

int lr_fault_list(void)
{
    printf("this build has none\n");
    return 2;
}
#endif
