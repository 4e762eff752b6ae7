#include "runtime/ending.h"

#include <stdio.h>

static const struct {
    const char *name, *meaning, *advice;
} rows[LR_ENDING_COUNT] = {
    [LR_ENDING_OK] = {"ok", "no failure", "nothing"},
#define LR_ENDING(id, name, meaning, advice) [LR_ENDING_##id] = {name, meaning, advice},
#include "runtime/ending.def"
#undef LR_ENDING
};

const char *lr_ending_name(lr_ending end)
{
    LR_ASSERT(end < LR_ENDING_COUNT);
    return rows[end].name;
}

const char *lr_ending_meaning(lr_ending end)
{
    LR_ASSERT(end < LR_ENDING_COUNT);
    return rows[end].meaning;
}

const char *lr_ending_advice(lr_ending end)
{
    LR_ASSERT(end < LR_ENDING_COUNT);
    return rows[end].advice;
}

void lr_ending_explain(lr_ending end, const char *what, const char *where, const char *detail, char *text,
                     size_t room_bytes)
{
    LR_ASSERT(end < LR_ENDING_COUNT);
    bool has_detail = detail && *detail;
    snprintf(text, room_bytes, "%s %s: %s%s%s%s; %s", what, where, rows[end].meaning, has_detail ? " (" : "",
             has_detail ? detail : "", has_detail ? ")" : "", rows[end].advice);
}
