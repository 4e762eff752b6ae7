#include "runtime/control_redis_out.h"

#include <stdlib.h>

#define PART_HEAD 24            /* "$18446744073709551615\r\n" */
#define KEEP_BYTES (1u << 20)   /* an empty queue larger than this is given back */
#define FIRST_BYTES (16u << 10)

void lr_redis_out_fini(lr_redis_out *out)
{
    free(out->memory);
    *out = (lr_redis_out){.sent = out->sent};
}

void lr_redis_out_drop(lr_redis_out *out, size_t size_bytes)
{
    LR_ASSERT(size_bytes <= lr_redis_out_size(out));
    out->head += size_bytes;
    out->sent += size_bytes;
    if (out->head < out->tail) return;
    out->head = out->tail = 0;
    if (out->capacity_bytes > KEEP_BYTES) lr_redis_out_fini(out);
}

static bool room(lr_redis_out *out, size_t size_bytes)
{
    if (out->capacity_bytes - out->tail >= size_bytes) return true;
    size_t waiting = lr_redis_out_size(out), wanted = out->capacity_bytes ? out->capacity_bytes : FIRST_BYTES;
    if (waiting + size_bytes <= out->capacity_bytes / 2) { /* moved seldom: half of it was sent */
        memmove(out->memory, out->memory + out->head, waiting);
    } else {
        while (wanted < waiting + size_bytes)
            wanted *= 2;
        if (wanted == out->capacity_bytes) wanted *= 2;
        char *memory = malloc(wanted);
        if (!memory) return false;
        if (waiting > 0) memcpy(memory, out->memory + out->head, waiting);
        free(out->memory);
        out->memory = memory;
        out->capacity_bytes = wanted;
    }
    out->head = 0;
    out->tail = waiting;
    return true;
}

static char *write_number(char *at, uint64_t number)
{
    char digits[20];
    int count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    while (count > 0)
        *at++ = digits[--count];
    return at;
}

static void head(lr_redis_out *out, char kind, uint64_t number)
{
    char *at = out->memory + out->tail;
    *at++ = kind;
    at = write_number(at, number);
    *at++ = '\r';
    *at++ = '\n';
    out->tail = (size_t)(at - out->memory);
}

static void raw(lr_redis_out *out, const void *at, size_t size_bytes)
{
    if (size_bytes > 0) memcpy(out->memory + out->tail, at, size_bytes);
    out->tail += size_bytes;
}

bool lr_redis_out_begin(lr_redis_out *out, unsigned parts, size_t size_bytes)
{
    if (!room(out, size_bytes + (parts + 1) * (PART_HEAD + 2))) return false;
    head(out, '*', parts);
    return true;
}

void lr_redis_out_part(lr_redis_out *out, const void *at, size_t size_bytes)
{
    lr_redis_out_pieces(out, &(lr_bytes){at, size_bytes}, 1);
}

void lr_redis_out_text(lr_redis_out *out, const char *text) { lr_redis_out_part(out, text, strlen(text)); }

void lr_redis_out_number(lr_redis_out *out, uint64_t number)
{
    char digits[20];
    lr_redis_out_part(out, digits, (size_t)(write_number(digits, number) - digits));
}

void lr_redis_out_pieces(lr_redis_out *out, const lr_bytes *pieces, unsigned count)
{
    size_t size_bytes = 0;
    for (unsigned i = 0; i < count; i++)
        size_bytes += pieces[i].size_bytes;
    LR_ASSERT(out->tail + size_bytes + PART_HEAD + 2 <= out->capacity_bytes);
    head(out, '$', size_bytes);
    for (unsigned i = 0; i < count; i++)
        raw(out, pieces[i].at, pieces[i].size_bytes);
    raw(out, "\r\n", 2);
}
