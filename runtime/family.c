#include "runtime/family.h"

#include "runtime/task.h"

#include <stdlib.h>

void lr_family_retain(lr_family *f)
{
    if (f) atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
}

void lr_family_release(lr_family *f)
{
    while (f && atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) == 1) {
        lr_family *parent = f->parent;
        free(f);
        f = parent;
    }
}

static lr_family *own(lr_task *t)
{
    lr_family *f = atomic_load(&t->family);
    return f && f->owner == t ? f : NULL;
}

/* The nearest of f and its ancestors that still runs, or was cancelled. */
static lr_family *living(lr_family *f)
{
    while (f && atomic_load(&f->ended) && !atomic_load(&f->cancelled))
        f = f->parent;
    return f;
}

lr_family *lr_family_of(lr_task *t)
{
    lr_family *f = own(t);
    if (f || !(f = malloc(sizeof *f))) return f;
    lr_family *before = atomic_load_explicit(&t->family, memory_order_relaxed);
    f->parent = living(before);
    lr_family_retain(f->parent);
    f->owner = t;
    atomic_init(&f->refs, 1);
    atomic_init(&f->cancel_seen, 0);
    atomic_init(&f->cancelled, false);
    atomic_init(&f->ended, false);
    atomic_store(&t->family, f);
    /* a cancel sets its flag and then looks for a node to mark; this is the other way round: one of the two sees */
    if (atomic_load(&t->word) & LR_TASK_CANCEL) atomic_store(&f->cancelled, true);
    lr_family_release(before);
    return f;
}

void lr_family_mark(lr_task *t)
{
    lr_family *f = own(t);
    if (f) atomic_store(&f->cancelled, true);
}

void lr_family_end(lr_task *t)
{
    lr_family *f = own(t);
    if (f) atomic_store(&f->ended, true);
}

bool lr_family_marked(lr_task *t, uint32_t epoch)
{
    lr_family *from = atomic_load(&t->family);
    for (lr_family *f = from; f; f = f->parent) {
        if (atomic_load(&f->cancelled)) return true;
        if (atomic_load_explicit(&f->cancel_seen, memory_order_relaxed) == epoch) break;
    }
    for (lr_family *f = from; f; f = f->parent) {
        if (atomic_load_explicit(&f->cancel_seen, memory_order_relaxed) == epoch) break;
        atomic_store_explicit(&f->cancel_seen, epoch, memory_order_relaxed);
    }
    return false;
}
