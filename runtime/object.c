#include "runtime/object.h"

void lr_object_destroy(lr_object *o)
{
    switch ((lr_object_kind)o->kind) {
    case LR_OBJECT_TASK: lr_task_destroy(o); return;
    case LR_OBJECT_BUFFER: lr_buffer_destroy(o); return;
    case LR_OBJECT_CODE: lr_code_destroy(o); return;
    case LR_OBJECT_FN: lr_fn_destroy(o); return;
    }
    LR_ASSERT(!"an object of no kind");
}
