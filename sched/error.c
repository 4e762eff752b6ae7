#include "sched/error.h"

static const struct {
    const char *code, *meaning, *advice;
} rows[LR_ERR_COUNT] = {
    [LR_ERR_NONE] = {"none", "no error", "nothing"},
#define LR_ERROR(id, code, meaning, advice) [LR_ERR_##id] = {code, meaning, advice},
#include "sched/errors.def"
#undef LR_ERROR
};

const char *lr_err_code(lr_err err)
{
    LR_ASSERT(err < LR_ERR_COUNT);
    return rows[err].code;
}

const char *lr_err_meaning(lr_err err)
{
    LR_ASSERT(err < LR_ERR_COUNT);
    return rows[err].meaning;
}

const char *lr_err_advice(lr_err err)
{
    LR_ASSERT(err < LR_ERR_COUNT);
    return rows[err].advice;
}

lr_err lr_err_from_code(const char *code)
{
    for (int i = 1; i < LR_ERR_COUNT; i++)
        if (strcmp(rows[i].code, code) == 0) return (lr_err)i;
    return LR_ERR_NONE;
}
