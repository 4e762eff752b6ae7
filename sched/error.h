/* sched/error.h - the one list of errors, as an enum with its names.
 *
 * Owns: nothing; constants only. LR_ERR_NONE is success. Everything that can happen in operation is
 * returned as an lr_err; programmers' mistakes assert (sched/base.h). The list is sched/errors.def.
 * Thread: any. Blocks: never. */
#ifndef SCHED_ERROR_H
#define SCHED_ERROR_H

#include "sched/base.h"

typedef enum lr_err {
    LR_ERR_NONE = 0,
#define LR_ERROR(id, code, meaning, advice) LR_ERR_##id,
#include "sched/errors.def"
#undef LR_ERROR
    LR_ERR_COUNT
} lr_err;

/* The code seen in Lua ("timeout"); "none" for LR_ERR_NONE. Never NULL. */
const char *lr_err_code(lr_err err);
/* One sentence: what it means. */
const char *lr_err_meaning(lr_err err);
/* One sentence: what to do. */
const char *lr_err_advice(lr_err err);
/* The error with that code; LR_ERR_NONE where there is none. */
lr_err lr_err_from_code(const char *code);

#endif
