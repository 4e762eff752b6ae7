#include "runtime/failures.h"

#include "runtime/clock.h"

#include <pthread.h>
#include <stdio.h>

static struct {
    pthread_mutex_t lock;
    uint64_t count;
    lr_failure rows[LR_FAILURES_KEPT];
} failures = {.lock = PTHREAD_MUTEX_INITIALIZER};

lr_err lr_failure_read(const lr_task *t, const char **message, uint64_t *message_bytes)
{
    lr_reader r = lr_value_reader(&t->result);
    lr_err code = LR_ERR_ERROR;
    *message = NULL;
    if (lr_read_header(&r) && lr_read_u8(&r) == LR_TAG_ERROR) {
        uint8_t byte = lr_read_u8(&r);
        if (byte > 0 && byte < LR_ERR_COUNT) code = (lr_err)byte;
        *message_bytes = lr_read_varint(&r);
        *message = (const char *)lr_read_bytes(&r, *message_bytes);
    }
    if (!*message) *message = "", *message_bytes = 0;
    return code;
}

void lr_failures_note(const lr_task *t)
{
    const char *message;
    uint64_t bytes, now_ns = lr_clock_ns();
    lr_err code = lr_failure_read(t, &message, &bytes);
    pthread_mutex_lock(&failures.lock);
    lr_failure *row = &failures.rows[failures.count++ % LR_FAILURES_KEPT];
    row->task = t->id;
    row->at_ns = now_ns;
    row->code = code;
    row->attempts = atomic_load_explicit(&t->attempt, memory_order_relaxed);
    snprintf(row->function_name, sizeof row->function_name, "%s", lr_task_name(t));
    if (bytes >= sizeof row->message) bytes = sizeof row->message - 1;
    memcpy(row->message, message, bytes);
    row->message[bytes] = 0;
    pthread_mutex_unlock(&failures.lock);
}

size_t lr_failures_list(lr_failure *rows, size_t limit, uint64_t *total)
{
    pthread_mutex_lock(&failures.lock);
    size_t count = failures.count < LR_FAILURES_KEPT ? failures.count : LR_FAILURES_KEPT;
    if (count > limit) count = limit;
    for (size_t i = 0; i < count; i++)
        rows[i] = failures.rows[(failures.count - 1 - i) % LR_FAILURES_KEPT];
    *total = failures.count;
    pthread_mutex_unlock(&failures.lock);
    return count;
}
