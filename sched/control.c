#include "sched/control.h"

static const char *const tables[LR_CONTROL_TABLE_COUNT] = {
#define LR_CONTROL_TABLE(id, name, meaning) [LR_CONTROL_TABLE_##id] = name,
#include "sched/control.def"
};

static const struct {
    const char *name, *meaning;
} ops[LR_CONTROL_OP_COUNT] = {
#define LR_CONTROL_OP(id, name, fields, meaning) [LR_CONTROL_##id] = {name, meaning},
#include "sched/control.def"
};

static const char *const statuses[LR_CONTROL_STATUS_COUNT] = {
#define LR_CONTROL_STATUS(id, name, meaning) [LR_CONTROL_STATUS_##id] = name,
#include "sched/control.def"
};

const char *lr_control_table_name(lr_control_table table)
{
    LR_ASSERT(table < LR_CONTROL_TABLE_COUNT);
    return tables[table];
}

const char *lr_control_op_name(lr_control_op op)
{
    LR_ASSERT(op < LR_CONTROL_OP_COUNT);
    return ops[op].name;
}

const char *lr_control_op_meaning(lr_control_op op)
{
    LR_ASSERT(op < LR_CONTROL_OP_COUNT);
    return ops[op].meaning;
}

const char *lr_control_status_name(lr_control_status status)
{
    LR_ASSERT(status < LR_CONTROL_STATUS_COUNT);
    return statuses[status];
}
