#include "sched/text.h"

lr_text lr_text_of(char *at, size_t size_bytes)
{
    if (size_bytes > 0) at[0] = 0;
    return (lr_text){at, size_bytes, 0};
}

static void add(lr_text *t, char c)
{
    if (t->needed_bytes + 1 < t->size_bytes) {
        t->at[t->needed_bytes] = c;
        t->at[t->needed_bytes + 1] = 0;
    }
    t->needed_bytes++;
}

void lr_text_string(lr_text *t, const char *string)
{
    for (; *string; string++)
        add(t, *string);
}

void lr_text_line(lr_text *t, const char *string, size_t length)
{
    for (size_t i = 0; i < length && string[i]; i++)
        add(t, (char)((unsigned char)string[i] < 32 || string[i] == 127 ? ' ' : string[i]));
}

void lr_text_u64(lr_text *t, uint64_t number)
{
    char digits[20];
    int count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    while (count > 0)
        add(t, digits[--count]);
}

void lr_text_id(lr_text *t, lr_id id)
{
    char text[LR_ID_TEXT];
    lr_id_format(id, text);
    lr_text_string(t, text);
}

void lr_text_seconds(lr_text *t, uint64_t ns)
{
    lr_text_u64(t, ns / 1000000000u);
    uint64_t rest = ns % 1000000000u;
    if (rest == 0) return;
    add(t, '.');
    for (uint64_t place = 100000000u; place > 0 && rest > 0; place /= 10) {
        add(t, (char)('0' + rest / place));
        rest %= place;
    }
}
