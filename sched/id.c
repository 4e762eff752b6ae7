#include "sched/id.h"

static lr_id mix(uint64_t a, uint64_t b, uint64_t c)
{
    lr_id id;
    id.hi = lr_mix64(a + lr_mix64(b + c * 0x9e3779b97f4a7c15u + 0x9e3779b97f4a7c15u));
    id.lo = lr_mix64(b ^ lr_mix64(id.hi + c * 0xd1342543de82ef95u + 1));
    if (lr_id_is_nil(id)) id.lo = 1;
    return id;
}

lr_id lr_id_child(lr_id parent, uint64_t number)
{
    return mix(parent.hi, parent.lo, number);
}

lr_id lr_id_from_seed(uint64_t seed)
{
    return mix(0x6c756172756e206au, seed, 0);
}

lr_id lr_id_from_bytes(const void *bytes, size_t size_bytes)
{
    const uint8_t *p = bytes;
    lr_id h = mix(0x6c756172756e2062u, size_bytes, 1);
    while (size_bytes >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = mix(h.hi, h.lo, word);
        p += 8;
        size_bytes -= 8;
    }
    uint64_t tail = 0;
    memcpy(&tail, p, size_bytes);
    return mix(h.hi, h.lo, tail);
}

void lr_id_format(lr_id id, char text[LR_ID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        text[i] = digits[(id.hi >> (60 - 4 * i)) & 15];
        text[16 + i] = digits[(id.lo >> (60 - 4 * i)) & 15];
    }
    text[32] = 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool lr_id_parse(const char *text, lr_id *out)
{
    uint64_t half[2] = {0, 0};
    for (int i = 0; i < 32; i++) {
        int digit = hex_digit(text[i]);
        if (digit < 0) return false;
        half[i / 16] = half[i / 16] << 4 | (uint64_t)digit;
    }
    if (text[32] != 0) return false;
    *out = (lr_id){half[0], half[1]};
    return true;
}
