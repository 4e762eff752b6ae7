/* runtime/object.h - the counted base of everything a value can refer to.
 *
 * An lr_object is immutable once shared, counted atomically, and freed by its kind's destroyer when
 * the last reference goes. Kinds: tasks (futures), buffers (bytes in the object store), functions.
 * Thread: any. Blocks: never, but for what a destroyer does. */
#ifndef RUNTIME_OBJECT_H
#define RUNTIME_OBJECT_H

#include "sched/base.h"

#include <stdatomic.h>

typedef enum lr_object_kind { LR_OBJECT_TASK = 1, LR_OBJECT_BUFFER, LR_OBJECT_CODE, LR_OBJECT_FN } lr_object_kind;

typedef struct lr_object {
    _Atomic uint32_t refs;
    uint8_t kind; /* an lr_object_kind */
} lr_object;

/* Each kind's destroyer, called with refs at 0. Each is defined by the file that owns the kind. */
void lr_task_destroy(lr_object *);
void lr_buffer_destroy(lr_object *);
void lr_code_destroy(lr_object *);
void lr_fn_destroy(lr_object *);

static inline void lr_object_init(lr_object *o, lr_object_kind kind)
{
    atomic_init(&o->refs, 1);
    o->kind = (uint8_t)kind;
}

static inline void lr_object_retain(lr_object *o)
{
    uint32_t before = atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
    LR_ASSERT(before != 0);
}

void lr_object_destroy(lr_object *o); /* by kind; refs is 0 */

static inline void lr_object_release(lr_object *o)
{
    uint32_t before = atomic_fetch_sub_explicit(&o->refs, 1, memory_order_release);
    LR_ASSERT(before != 0);
    if (before == 1) {
        atomic_load_explicit(&o->refs, memory_order_acquire);
        lr_object_destroy(o);
    }
}

#endif
