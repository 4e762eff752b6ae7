#include "sched/row.h"

#include "sched/text.h"

static void number(lr_text *t, const char *field, uint64_t n)
{
    lr_text_string(t, field);
    lr_text_u64(t, n);
}

static void word(lr_text *t, const char *field, const char *text)
{
    lr_text_string(t, field);
    lr_text_string(t, text);
}

static lr_text begin(const lr_row *row, char text[LR_ROW_MAX])
{
    lr_text t = lr_text_of(text, LR_ROW_MAX);
    number(&t, "1 since=", row->since_ms);
    number(&t, " renewed=", row->renewed_ms);
    number(&t, " lease=", row->lease_ms);
    word(&t, " version=", LR_VERSION);
    number(&t, " pid=", row->pid);
    word(&t, " host=", row->host);
    word(&t, " user=", row->user);
    word(&t, " loopback=", row->loopback);
    number(&t, " workers=", (uint64_t)row->workers);
    return t;
}

static size_t end(lr_text *t, const char *field, const char *free_text)
{
    lr_text_string(t, field);
    lr_text_line(t, free_text, strlen(free_text));
    return t->needed_bytes < LR_ROW_MAX ? t->needed_bytes : LR_ROW_MAX - 1;
}

size_t lr_row_write_node(const lr_row *row, char text[LR_ROW_MAX])
{
    lr_text t = begin(row, text);
    number(&t, " jobs=", row->jobs);
    return end(&t, " offers=", row->offers);
}

size_t lr_row_write_job(const lr_row *row, char text[LR_ROW_MAX])
{
    lr_text t = begin(row, text);
    word(&t, " address=", row->address);
    return end(&t, " name=", row->name);
}

size_t lr_row_write_swept(uint64_t wall_ms, char text[LR_ROW_MAX])
{
    lr_text t = lr_text_of(text, LR_ROW_MAX);
    number(&t, "1 swept=", wall_ms);
    return t.needed_bytes;
}

static bool is_last(const char *field) { return strcmp(field, "name") == 0 || strcmp(field, "offers") == 0; }

bool lr_row_field(lr_bytes row, const char *field, char *out, size_t out_bytes)
{
    const char *at = row.at, *limit = at + row.size_bytes;
    size_t length = strlen(field);
    out[0] = 0;
    while (at < limit && (at = memchr(at, ' ', (size_t)(limit - at)))) {
        at++;
        if ((size_t)(limit - at) <= length || memcmp(at, field, length) != 0 || at[length] != '=') continue;
        const char *value = at + length + 1, *stop = limit;
        if (!is_last(field)) stop = memchr(value, ' ', (size_t)(limit - value));
        if (!stop) stop = limit;
        size_t n = (size_t)(stop - value) < out_bytes ? (size_t)(stop - value) : out_bytes - 1;
        memcpy(out, value, n);
        out[n] = 0;
        return true;
    }
    return false;
}

uint64_t lr_row_number(lr_bytes row, const char *field, uint64_t otherwise)
{
    char text[20]; /* what has more digits is cut, and fits */
    uint64_t n = 0;
    if (!lr_row_field(row, field, text, sizeof text) || !text[0]) return otherwise;
    for (const char *at = text; *at; at++) {
        if (*at < '0' || *at > '9') return otherwise;
        n = 10 * n + (uint64_t)(*at - '0');
    }
    return n;
}

bool lr_row_is_swept(lr_bytes row) { return row.size_bytes > 8 && memcmp(row.at, "1 swept=", 8) == 0; }
