/* sched/fault.h - planted faults, for the proof that the simulator's checkers see.
 *
 * LR_FAULT(name) stands in conditions of the code that it would break. In every build but the simulator's own it
 * is false, and the compiler leaves nothing of it. With LR_FAULTS one of the list can be planted by its name
 * (tests/sim/faults_test.sh plants each).
 * Owns: which is planted. Thread: one. */
#ifndef SCHED_FAULT_H
#define SCHED_FAULT_H

#include "sched/base.h"

typedef enum lr_fault_id {
    LR_FAULT_NONE,
#define LR_FAULT_ROW(id, invariant, meaning) LR_FAULT_##id,
#include "sched/faults.def"
#undef LR_FAULT_ROW
    LR_FAULT_COUNT
} lr_fault_id;

#ifdef LR_FAULTS
extern lr_fault_id lr_fault_planted;
#define LR_FAULT(id) (lr_fault_planted == LR_FAULT_##id)
#else
#define LR_FAULT(id) false
#endif

#endif
