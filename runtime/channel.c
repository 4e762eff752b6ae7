#include "runtime/channel.h"

#include <stdlib.h>

typedef struct lr_channel_waiting {
    struct lr_channel_waiting *next;
    size_t size_bytes;
    uint16_t kind;
    uint8_t bytes[];
} lr_channel_waiting;

void lr_channel_init(lr_channel *l, lr_peer *peer) { *l = (lr_channel){.peer = peer}; }

void lr_channel_fini(lr_channel *l)
{
    for (lr_channel_waiting *w = l->first, *next; w; w = next) {
        next = w->next;
        free(w);
    }
    free(l->parts);
    *l = (lr_channel){0};
}

static bool wait_in_line(lr_channel *l, uint16_t kind, const void *bytes, size_t size_bytes)
{
    lr_channel_waiting *w = malloc(sizeof *w + size_bytes);
    if (!w) return false;
    *w = (lr_channel_waiting){.size_bytes = size_bytes, .kind = kind};
    memcpy(w->bytes, bytes, size_bytes);
    if (l->last)
        l->last->next = w;
    else
        l->first = w;
    l->last = w;
    return true;
}

static bool send_record(lr_channel *l, uint16_t kind, const void *bytes, size_t size_bytes)
{
    if (l->first) return wait_in_line(l, kind, bytes, size_bytes);
    lr_ending end = lr_transport_send(l->peer, kind, bytes, size_bytes);
    if (end == LR_ENDING_BUSY) return wait_in_line(l, kind, bytes, size_bytes);
    return end == LR_ENDING_OK;
}

void lr_channel_go_on(lr_channel *l)
{
    while (l->first) {
        lr_channel_waiting *w = l->first;
        if (lr_transport_send(l->peer, w->kind, w->bytes, w->size_bytes) == LR_ENDING_BUSY) return;
        l->first = w->next;
        if (!l->first) l->last = NULL;
        free(w);
    }
}

/* All but the rest, which is at *bytes afterwards. */
static bool send_parts(lr_channel *l, const uint8_t **bytes, size_t *size_bytes)
{
    uint8_t *record = malloc(LR_CHANNEL_RECORD_BYTES + 16);
    bool done = record != NULL;
    while (done && *size_bytes > LR_CHANNEL_RECORD_BYTES) {
        lr_message part = {.kind = LR_MESSAGE_PART, .part.bytes = {*bytes, LR_CHANNEL_RECORD_BYTES}};
        lr_message_encode(&part, record);
        done = send_record(l, LR_MESSAGE_PART, record, lr_message_size(&part));
        *bytes += LR_CHANNEL_RECORD_BYTES;
        *size_bytes -= LR_CHANNEL_RECORD_BYTES;
    }
    free(record);
    return done;
}

bool lr_channel_send(lr_channel *l, const lr_message *m)
{
    uint8_t small[512];
    size_t size_bytes = lr_message_size(m);
    uint8_t *whole = size_bytes <= sizeof small ? small : malloc(size_bytes);
    if (!whole) return false;
    lr_message_encode(m, whole);
    const uint8_t *rest = whole;
    bool done = (size_bytes <= LR_CHANNEL_RECORD_BYTES || send_parts(l, &rest, &size_bytes)) &&
                send_record(l, (uint16_t)m->kind, rest, size_bytes);
    if (whole != small) free(whole);
    return done;
}

static bool add_part(lr_channel *l, const void *bytes, size_t size_bytes)
{
    if (size_bytes > LR_CHANNEL_MESSAGE_MAX - l->parts_bytes) return false;
    if (l->parts_bytes + size_bytes > l->parts_capacity) {
        size_t capacity = l->parts_capacity ? l->parts_capacity : LR_CHANNEL_RECORD_BYTES;
        while (capacity < l->parts_bytes + size_bytes)
            capacity *= 2;
        uint8_t *parts = realloc(l->parts, capacity);
        if (!parts) return false;
        l->parts = parts;
        l->parts_capacity = capacity;
    }
    memcpy(l->parts + l->parts_bytes, bytes, size_bytes);
    l->parts_bytes += size_bytes;
    return true;
}

lr_channel_got lr_channel_take(lr_channel *l, uint16_t kind, const void *bytes, size_t size_bytes, lr_message *out)
{
    if (kind == LR_MESSAGE_PART) {
        lr_message part;
        bool done = lr_message_decode(kind, bytes, size_bytes, &part) &&
                    add_part(l, part.part.bytes.at, part.part.bytes.size_bytes);
        return done ? LR_CHANNEL_PART : LR_CHANNEL_BAD;
    }
    if (l->parts_bytes > 0) {
        if (!add_part(l, bytes, size_bytes)) return LR_CHANNEL_BAD;
        bytes = l->parts;
        size_bytes = l->parts_bytes;
        l->parts_bytes = 0; /* the bytes stay until the next part */
    }
    return lr_message_decode(kind, bytes, size_bytes, out) ? LR_CHANNEL_MESSAGE : LR_CHANNEL_BAD;
}
