#include "sched/resource.h"

#include "sched/text.h"

void lr_resource_names_init(lr_resource_names *names)
{
    static const char *const fixed[LR_RESOURCE_NAMED] = {"cpu", "gpu", "memory"};
    memset(names, 0, sizeof *names);
    for (int i = 0; i < LR_RESOURCE_NAMED; i++)
        strcpy(names->name[i], fixed[i]);
    names->count = LR_RESOURCE_NAMED;
}

static int find(const lr_resource_names *names, const char *name, size_t length)
{
    for (int i = 0; i < names->count; i++)
        if (strlen(names->name[i]) == length && memcmp(names->name[i], name, length) == 0) return i;
    return -1;
}

int lr_resource_find(const lr_resource_names *names, const char *name)
{
    return find(names, name, strlen(name));
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_name(const char *name, size_t length)
{
    if (length == 0 || length > LR_RESOURCE_NAME_MAX || is_digit(name[0])) return false;
    for (size_t i = 0; i < length; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !is_digit(c) && c != '_' && c != '-' && c != '.') return false;
    }
    return true;
}

static int intern(lr_resource_names *names, const char *name, size_t length)
{
    int index = find(names, name, length);
    if (index >= 0) return index;
    if (!is_name(name, length)) return -2;
    if (names->count == LR_RESOURCE_COUNT) return -1;
    memcpy(names->name[names->count], name, length);
    names->name[names->count][length] = 0;
    return names->count++;
}

int lr_resource_intern(lr_resource_names *names, const char *name)
{
    return intern(names, name, strlen(name));
}

const char *lr_resource_name(const lr_resource_names *names, int index)
{
    return index >= 0 && index < names->count ? names->name[index] : "?";
}

bool lr_amount_from_double(double number, int64_t *out)
{
    double scaled = number * LR_AMOUNT_ONE;
    if (!(scaled >= 0) || scaled >= (double)LR_AMOUNT_MAX) return false;
    int64_t amount = (int64_t)(scaled + 0.5);
    *out = amount == 0 && number > 0 ? 1 : amount;
    return true;
}

double lr_amount_to_double(int64_t amount) { return (double)amount / LR_AMOUNT_ONE; }

static void text_amount(lr_text *t, int64_t amount)
{
    uint64_t size = amount < 0 ? 0 - (uint64_t)amount : (uint64_t)amount;
    if (amount < 0) lr_text_string(t, "-");
    lr_text_u64(t, size / LR_AMOUNT_ONE);
    uint64_t rest = size % LR_AMOUNT_ONE;
    if (rest == 0) return;
    lr_text_string(t, ".");
    for (uint64_t place = LR_AMOUNT_ONE / 10; place > 0 && rest > 0; place /= 10) {
        lr_text_u64(t, rest / place);
        rest %= place;
    }
}

size_t lr_amount_format(int64_t amount, char *text, size_t size_bytes)
{
    lr_text t = lr_text_of(text, size_bytes);
    text_amount(&t, amount);
    return t.needed_bytes;
}

/* A decimal number of at most four places that ends at end. */
static bool parse_amount(const char *p, const char *end, int64_t *out)
{
    int64_t amount = 0;
    int digits = 0, places = -1; /* places: -1 before the point */
    for (; p < end; p++) {
        if (*p == '.' && places < 0) {
            places = 0;
            continue;
        }
        if (!is_digit(*p) || places == 4 || amount > LR_AMOUNT_MAX / LR_AMOUNT_ONE) return false;
        amount = amount * 10 + (*p - '0');
        digits++;
        if (places >= 0) places++;
    }
    for (places = places < 0 ? 0 : places; places < 4; places++) {
        if (amount > LR_AMOUNT_MAX / 10) return false;
        amount *= 10;
    }
    *out = amount;
    return digits > 0;
}

/* The state of lr_resources_parse. */
typedef struct parser {
    lr_resource_names names;
    lr_resources result;
    uint32_t seen; /* bits by index */
    lr_text error;
} parser;

static bool refuse(parser *p, const char *item, size_t length, const char *why)
{
    lr_text_string(&p->error, "resources: '");
    lr_text_line(&p->error, item, length);
    lr_text_string(&p->error, "': ");
    lr_text_string(&p->error, why);
    return false;
}

static bool parse_item(parser *p, const char *item, size_t length)
{
    const char *equals = memchr(item, '=', length);
    if (!equals) return refuse(p, item, length, "expected name=amount, as in gpu=2,tpu=0.5");
    int64_t amount;
    if (!parse_amount(equals + 1, item + length, &amount))
        return refuse(p, item, length, "the amount must be a number from 0 with up to 4 decimals");
    int index = intern(&p->names, item, (size_t)(equals - item));
    if (index == -2)
        return refuse(p, item, length,
                      "a name is 1 to 31 letters, digits, '_', '-' or '.', and begins with no digit");
    if (index == -1) return refuse(p, item, length, "there is room for 13 named resources only");
    if (p->seen >> index & 1) return refuse(p, item, length, "named twice");
    p->seen |= 1u << index;
    p->result.amount[index] = amount;
    return true;
}

bool lr_resources_parse(const char *text, lr_resource_names *names, lr_resources *out, char *error,
                        size_t error_size)
{
    parser p = {.names = *names, .error = lr_text_of(error, error_size)};
    while (*text) {
        const char *comma = strchr(text, ',');
        size_t length = comma ? (size_t)(comma - text) : strlen(text);
        if (!parse_item(&p, text, length)) return false;
        text += length;
        if (comma && *++text == 0) return refuse(&p, "", 0, "expected name=amount after the last comma");
    }
    *names = p.names;
    *out = p.result;
    return true;
}

size_t lr_resources_format(const lr_resources *r, const lr_resource_names *names, char *text,
                           size_t size_bytes)
{
    lr_text t = lr_text_of(text, size_bytes);
    for (int i = 0; i < LR_RESOURCE_COUNT; i++) {
        if (r->amount[i] == 0) continue;
        if (t.needed_bytes > 0) lr_text_string(&t, ",");
        lr_text_string(&t, lr_resource_name(names, i));
        lr_text_string(&t, "=");
        text_amount(&t, r->amount[i]);
    }
    return t.needed_bytes;
}

bool lr_resources_equal(const lr_resources *a, const lr_resources *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

int lr_resources_short(const lr_resources *available, const lr_resources *need)
{
    for (int i = 0; i < LR_RESOURCE_COUNT; i++)
        if (need->amount[i] > 0 && need->amount[i] > available->amount[i]) return i;
    return -1;
}

bool lr_resources_fit(const lr_resources *available, const lr_resources *need)
{
    return lr_resources_short(available, need) < 0;
}

void lr_resources_take(lr_resources *available, const lr_resources *need)
{
    for (int i = 0; i < LR_RESOURCE_COUNT; i++) {
        available->amount[i] -= need->amount[i];
        LR_ASSERT(i == LR_RESOURCE_CPU || available->amount[i] >= 0);
    }
}

void lr_resources_give(lr_resources *available, const lr_resources *need, const lr_resources *total)
{
    for (int i = 0; i < LR_RESOURCE_COUNT; i++) {
        available->amount[i] += need->amount[i];
        LR_ASSERT(available->amount[i] <= total->amount[i]);
    }
}
