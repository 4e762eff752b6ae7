/* Kernel tasks: a claimed task whose function is a kernel is run here, without any Lua; and kernels that the
 * body of another task (or the script) calls in place, which are cancelled with it. */
#include "runtime/crash.h"
#include "runtime/extra.h"
#include "runtime/pool.h"

static const lr_value *resolve(void *self, lr_object *object)
{
    (void)self;
    lr_task *t = (lr_task *)object;
    return object->kind == LR_OBJECT_TASK && lr_task_state_of(t) == LR_TASK_READY ? &t->result : NULL;
}

/* The call's own mark is looked at by lr_kernel_run; here the ancestors'. */
static bool cancelled(void *self)
{
    lr_task *t = self;
    lr_pool *p = lr_self->pool;
    return atomic_load_explicit(&p->cancel_epoch, memory_order_relaxed) != 0 && lr_pool_cancelled(p, t);
}

static bool reclaim(void *self, unsigned attempt)
{
    (void)self;
    return lr_pool_reclaim(lr_self, attempt);
}

lr_err lr_pool_call_kernel(lr_worker *w, lr_task *t, const lr_kernel *k, lr_id stream, const lr_value *args,
                           lr_value *result, lr_kernel_fault *fault)
{
    lr_kernel_context context = {
        .builder = &w->results,
        .workers = w->kernel_state,
        .task = stream,
        .seed = w->pool->seed,
        .resolve = resolve,
        .cancel_word = t ? &t->word : NULL,
        .cancel_mask = LR_TASK_CANCEL,
        .cancelled = t ? cancelled : NULL,
        .reclaim = reclaim,
        .progress = t ? &t->progress : NULL,
        .self = t,
    };
    return lr_kernel_run(k, &context, args, result, fault);
}

static bool may_retry(const lr_task *t, lr_err code)
{
    const lr_options *o = t->extra ? t->extra->options : NULL;
    return o && code == LR_ERR_KERNEL_ERROR && t->attempt <= o->retry_on_error;
}

void lr_pool_run_kernel(lr_worker *w, lr_task *t)
{
    lr_value result = {0};
    lr_kernel_fault fault;
    bool timed = lr_pool_times(w, t->fn);
    uint64_t ticks = timed ? lr_clock_ticks() : 0;
    lr_err err = lr_pool_call_kernel(w, t, t->fn->kernel, t->id, &t->args, &result, &fault);
    if (timed) lr_pool_note_time(t->fn, lr_clock_ticks() - ticks);
    if (!lr_task_wants_result(t)) {
        lr_value_clear(&result);
    } else if (err == LR_ERR_NONE) {
        lr_pool_end(t, LR_TASK_READY, &result);
    } else if (may_retry(t, err)) {
        t->attempt++;
        lr_pool_retry(w, t);
        return;
    } else {
        lr_pool_fail(t, err, fault.message, NULL);
    }
    lr_pool_body_done(w, t);
    lr_task_release(t);
}
