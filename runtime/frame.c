#include "runtime/frame.h"

static void put_u32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

void lr_frame_write_head(uint8_t *at, uint32_t body_bytes, uint32_t count)
{
    put_u32(at, body_bytes);
    put_u32(at + 4, count);
}

void lr_record_write_head(uint8_t *at, uint32_t size_bytes, uint16_t kind)
{
    put_u32(at, size_bytes);
    at[4] = (uint8_t)kind;
    at[5] = (uint8_t)(kind >> 8);
    at[6] = at[7] = 0;
}

size_t lr_record_write(uint8_t *at, uint16_t kind, const void *bytes, uint32_t size_bytes)
{
    lr_record_write_head(at, size_bytes, kind);
    if (size_bytes > 0) memcpy(at + LR_RECORD_HEAD, bytes, size_bytes);
    memset(at + LR_RECORD_HEAD + size_bytes, 0, lr_record_padded(size_bytes) - size_bytes);
    return lr_record_room(size_bytes);
}

/* Could a body of that size hold that many records? */
static bool plausible(uint32_t body_bytes, uint32_t count)
{
    if (body_bytes % 8 != 0) return false;
    return count == 0 ? body_bytes == 0 : count <= body_bytes / LR_RECORD_HEAD;
}

lr_ending lr_frame_scan_bytes(const uint8_t *bytes, size_t size_bytes, size_t body_max, lr_frame_scan *out)
{
    *out = (lr_frame_scan){0};
    while (size_bytes - out->whole_bytes >= LR_FRAME_HEAD) {
        const uint8_t *head = bytes + out->whole_bytes;
        uint32_t body_bytes = get_u32(head);
        if (!plausible(body_bytes, get_u32(head + 4))) return LR_ENDING_GARBAGE;
        if (body_bytes > body_max) return LR_ENDING_TOO_LARGE;
        out->next_bytes = LR_FRAME_HEAD + (size_t)body_bytes;
        if (size_bytes - out->whole_bytes < out->next_bytes) return LR_ENDING_OK;
        out->whole_bytes += out->next_bytes;
        out->frames++;
        out->next_bytes = 0;
    }
    return LR_ENDING_OK;
}

lr_ending lr_frame_read(lr_frame_reader *reader, const uint8_t *bytes, size_t size_bytes, size_t *frame_bytes)
{
    if (size_bytes < LR_FRAME_HEAD) return LR_ENDING_GARBAGE;
    uint32_t body_bytes = get_u32(bytes), count = get_u32(bytes + 4);
    if (!plausible(body_bytes, count) || body_bytes > size_bytes - LR_FRAME_HEAD) return LR_ENDING_GARBAGE;
    *reader = (lr_frame_reader){bytes + LR_FRAME_HEAD, bytes + LR_FRAME_HEAD + body_bytes, count};
    *frame_bytes = LR_FRAME_HEAD + (size_t)body_bytes;
    return LR_ENDING_OK;
}

bool lr_frame_next(lr_frame_reader *reader, lr_record *out, lr_ending *end)
{
    size_t room = (size_t)(reader->end - reader->at);
    *end = LR_ENDING_OK;
    if (reader->left == 0) {
        if (room != 0) *end = LR_ENDING_GARBAGE;
        return false;
    }
    *end = LR_ENDING_GARBAGE;
    if (room < LR_RECORD_HEAD) return false;
    const uint8_t *head = reader->at;
    uint32_t size_bytes = get_u32(head);
    if (size_bytes > room - LR_RECORD_HEAD || lr_record_room(size_bytes) > room || head[6] || head[7]) return false;
    *out = (lr_record){(uint16_t)(head[4] | head[5] << 8), size_bytes, head + LR_RECORD_HEAD};
    for (size_t i = size_bytes; i < lr_record_padded(size_bytes); i++)
        if (out->bytes[i] != 0) return false;
    reader->at += lr_record_room(size_bytes);
    reader->left--;
    *end = LR_ENDING_OK;
    return true;
}
