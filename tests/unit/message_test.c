/* Messages between nodes: every row there and back, cut short at every place, with bytes left over. */
#include "sched/message.h"

#include "tests/unit/test.h"

/* A message of that kind with something in every field, made by walking the rows as the codec does. */
static lr_message sample(lr_message_kind kind)
{
    lr_message m = {.kind = kind};
    uint64_t n = 1;
    static const char text[] = "some bytes";
    switch (kind) {
#define LR_MESSAGE(id, name, meaning) case LR_MESSAGE_##id: { __typeof__(m.name) *f = &m.name;
#define LR_MESSAGE_END(id, name) break; }
#define LR_FIELD_ID(field) f->field = lr_id_from_seed(n++);
#define LR_FIELD_UINT(field) f->field = 1000 * n++;
#define LR_FIELD_BYTES(field) f->field = lr_bytes_of(text, n++ % sizeof text);
#include "sched/messages.def"
    case LR_MESSAGE_NONE:
    case LR_MESSAGE_COUNT: fail();
    }
    return m;
}

static bool same_bytes(lr_bytes a, lr_bytes b)
{
    return a.size_bytes == b.size_bytes && (a.size_bytes == 0 || memcmp(a.at, b.at, a.size_bytes) == 0);
}

static void assert_same(const lr_message *a, const lr_message *b)
{
    assert_int_equal(a->kind, b->kind);
    switch (a->kind) {
#define LR_MESSAGE(id, name, meaning) \
    case LR_MESSAGE_##id: { const __typeof__(a->name) *f = &a->name, *g = &b->name;
#define LR_MESSAGE_END(id, name) break; }
#define LR_FIELD_ID(field) assert_true(lr_id_equal(f->field, g->field));
#define LR_FIELD_UINT(field) assert_true(f->field == g->field);
#define LR_FIELD_BYTES(field) assert_true(same_bytes(f->field, g->field));
#include "sched/messages.def"
    case LR_MESSAGE_NONE:
    case LR_MESSAGE_COUNT: fail();
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int kind = 1; kind < LR_MESSAGE_COUNT; kind++) {
        lr_message m = sample((lr_message_kind)kind), back;
        uint8_t bytes[512];
        size_t size = lr_message_size(&m);
        assert_true(size <= sizeof bytes);
        lr_message_encode(&m, bytes);
        assert_true(lr_message_decode((uint16_t)kind, bytes, size, &back));
        assert_same(&m, &back);
    }
}

static void test_cut_short_and_left_over(void **state)
{
    (void)state;
    for (int kind = 1; kind < LR_MESSAGE_COUNT; kind++) {
        lr_message m = sample((lr_message_kind)kind), back;
        uint8_t bytes[512] = {0};
        size_t size = lr_message_size(&m);
        lr_message_encode(&m, bytes);
        for (size_t cut = 0; cut < size; cut++) {
            uint8_t *exact = test_malloc(cut ? cut : 1); /* a read beyond it is seen by the sanitizer */
            memcpy(exact, bytes, cut);
            assert_false(lr_message_decode((uint16_t)kind, exact, cut, &back));
            test_free(exact);
        }
        assert_false(lr_message_decode((uint16_t)kind, bytes, size + 1, &back));
    }
}

static void test_unknown_kinds(void **state)
{
    (void)state;
    lr_message back;
    uint8_t byte = 0;
    assert_false(lr_message_decode(LR_MESSAGE_NONE, &byte, 1, &back));
    assert_false(lr_message_decode(LR_MESSAGE_COUNT, &byte, 1, &back));
    assert_false(lr_message_decode(UINT16_MAX, NULL, 0, &back));
}

static void test_any_bytes(void **state)
{
    (void)state;
    uint64_t random = 42;
    for (int i = 0; i < 200000; i++) {
        uint8_t bytes[64];
        for (size_t k = 0; k < sizeof bytes; k++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            bytes[k] = (uint8_t)(random >> 33) & (i % 2 ? 0xff : 0x0f);
        }
        lr_message back;
        size_t size = (size_t)(random >> 40) % sizeof bytes;
        if (!lr_message_decode((uint16_t)(1 + (random >> 50) % (LR_MESSAGE_COUNT - 1)), bytes, size, &back)) continue;
        assert_true(lr_message_size(&back) <= size); /* varints may be longer than they need be */
    }
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(lr_message_name(LR_MESSAGE_TASK), "task");
    assert_string_equal(lr_message_name(LR_MESSAGE_COUNT), "?");
    for (int kind = 1; kind < LR_MESSAGE_COUNT; kind++) assert_true(strlen(lr_message_meaning((lr_message_kind)kind)) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_cut_short_and_left_over),
        cmocka_unit_test(test_unknown_kinds), cmocka_unit_test(test_any_bytes), cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
