/* bindings/codec*.c: round trips of every kind, every truncation, every corrupted byte, garbage, and the
 * n-th allocation failing for every n, in Lua's allocator and in malloc. */
#include "tests/unit/codec_kit.h"
#include "tests/unit/test.h"

#include <time.h>

/* ---- malloc that can be told to fail ---------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAN_FAIL_MALLOC 0 /* the sanitizer owns malloc */
static long malloc_fail_in;
#else
#define CAN_FAIL_MALLOC 1
static long malloc_fail_in; /* allocations until one fails; 0: none does */

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static bool fails_now(void) { return malloc_fail_in > 0 && --malloc_fail_in == 0; }

void *malloc(size_t n) { return fails_now() ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t m) { return fails_now() ? NULL : __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { return fails_now() ? NULL : __libc_realloc(p, n); }
#endif

static kit k;

static int start(void **state)
{
    (void)state;
    kit_open(&k);
    return 0;
}

static int end(void **state)
{
    (void)state;
    kit_close(&k);
    return 0;
}

/* ---- round trips ------------------------------------------------------------------------------------ */

static const char compare[] =
    "local a, n, b = ...\n"
    "local function same(x, y, seen)\n"
    "  if x ~= x then return y ~= y end\n"
    "  if type(x) ~= type(y) then return false end\n"
    "  if type(x) == 'userdata' then return tostring(x):match('^[^:]*') == tostring(y):match('^[^:]*') end\n"
    "  if type(x) == 'function' then return true end\n"
    "  if type(x) ~= 'table' then return x == y end\n"
    "  if getmetatable(x) ~= getmetatable(y) then return false end\n"
    "  if seen[x] then return seen[x] == y end\n"
    "  seen[x] = y\n"
    "  for k, v in next, x do\n"
    "    if type(k) ~= 'table' and not same(v, rawget(y, k), seen) then return false end\n"
    "  end\n"
    "  for k in next, y do if type(k) ~= 'table' and rawget(x, k) == nil then return false end end\n"
    "  return true\n"
    "end\n"
    "for i = 1, n do if not same(a[i], b[i], {}) then return i end end\n";

static void test_round_trips(void **state)
{
    (void)state;
    lua_State *L = k.L;
    lr_value message;
    int samples = 0;
    for (int i = 1; kit_message(&k, i, &message); i++, samples++) {
        lua_settop(L, 0);
        assert_int_equal(luaL_loadbuffer(L, compare, sizeof compare - 1, "=compare"), 0);
        int count = kit_push(&k, i);
        lua_createtable(L, count, 0);
        lua_insert(L, 2);
        for (int j = count; j >= 1; j--)
            lua_rawseti(L, 2, j);
        lua_pushinteger(L, count);
        int got = kit_decode(&k, &message);
        if (got != count) fail_msg("sample %d: %s", i, lua_tostring(L, -1));
        lua_createtable(L, count, 0);
        lua_insert(L, 4);
        for (int j = count; j >= 1; j--)
            lua_rawseti(L, 4, j);
        if (lua_pcall(L, 3, 1, 0) != 0) fail_msg("sample %d: %s", i, lua_tostring(L, -1));
        if (!lua_isnil(L, -1)) fail_msg("sample %d: value %d differs", i, (int)lua_tointeger(L, -1));
        lr_value_clear(&message);
    }
    assert_int_equal(samples, KIT_SAMPLES);
}

/* Every tag that a message can hold is in some sample, so that the tests below meet each. */
static void test_samples_have_every_tag(void **state)
{
    (void)state;
    lr_value message;
    bool seen[256] = {false};
    for (int i = 1; kit_message(&k, i, &message); i++) {
        const uint8_t *bytes = lr_value_bytes(&message);
        for (uint32_t j = 2; j < message.size_bytes; j++)
            seen[bytes[j]] = true;
        lr_value_clear(&message);
    }
    for (int tag = 0; tag < LR_TAG_COUNT; tag++)
        if (tag != LR_TAG_FUTURE) assert_true(seen[tag]); /* futures have their own test */
}

static void test_futures(void **state)
{
    (void)state;
    lr_value value = {0}, message;
    lr_builder_header(&k.S->builder, 1);
    lr_builder_number(&k.S->builder, 5);
    assert_true(lr_builder_finish(&k.S->builder, &value));
    lr_task *t = lr_task_new_value((lr_id){1, 2}, &value);
    lr_push_future(k.S, k.L, t, 0);
    lr_push_future(k.S, k.L, t, LR_RESULT_ALL);
    lr_err code;
    assert_true(lr_encode(k.S, k.L, 1, 2, LR_ROOT_VALUE, 0, &code));
    assert_true(lr_builder_finish(&k.S->builder, &message));
    lua_settop(k.L, 0);
    assert_int_equal(kit_decode(&k, &message), 2);
    assert_ptr_equal(lr_test_future(k.L, 1)->task, t);
    assert_int_equal(lr_test_future(k.L, 1)->index, 0);
    assert_int_equal(lr_test_future(k.L, 2)->index, LR_RESULT_ALL);
    /* an index that no task has */
    lua_settop(k.L, 0);
    const uint8_t forged[] = {LR_VALUE_VERSION, 1, LR_TAG_FUTURE, 0, 0x80, 0x02};
    lr_value bad;
    kit_forge(forged, sizeof forged, &message, &bad);
    assert_int_equal(kit_decode(&k, &bad), -1);
    assert_string_equal(lua_tostring(k.L, -1), "a value could not be taken in: a future without a task");
    lr_value_clear(&bad);
    lr_value_clear(&message);
    lua_settop(k.L, 0);
    lua_gc(k.L, LUA_GCCOLLECT, 0);
    lr_task_release(t);
}

/* ---- messages that are not what they should be -------------------------------------------------------- */

static void try_bytes(const uint8_t *bytes, size_t size_bytes, const lr_value *from)
{
    lr_value message;
    kit_forge(bytes, size_bytes, from, &message);
    kit_decode(&k, &message);
    lr_value_clear(&message);
    lua_settop(k.L, 0);
}

static void test_every_truncation(void **state)
{
    (void)state;
    lr_value message;
    for (int i = 1; kit_message(&k, i, &message); i++) {
        const uint8_t *bytes = lr_value_bytes(&message);
        uint32_t step = message.size_bytes > 4000 ? 37 : 1;
        for (uint32_t n = 0; n < message.size_bytes; n += step) {
            lr_value cut;
            kit_forge(bytes, n, &message, &cut);
            int count = kit_decode(&k, &cut);
            if (count != -1) fail_msg("sample %d cut to %u bytes gives %d values", i, n, count);
            lr_value_clear(&cut);
            lua_settop(k.L, 0);
        }
        uint8_t *longer = malloc(message.size_bytes + 1);
        memcpy(longer, bytes, message.size_bytes);
        longer[message.size_bytes] = LR_TAG_NIL;
        lr_value more;
        kit_forge(longer, message.size_bytes + 1, &message, &more);
        assert_int_equal(kit_decode(&k, &more), -1); /* something is left */
        lr_value_clear(&more);
        free(longer);
        lr_value_clear(&message);
    }
}

static void test_every_corrupted_byte(void **state)
{
    (void)state;
    static const uint8_t others[] = {0x00, 0x01, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11,
                                     0x12, 0x13, 0x7f, 0x80, 0x81, 0xff};
    lr_value message;
    for (int i = 1; kit_message(&k, i, &message); i++) {
        uint8_t *bytes = malloc(message.size_bytes);
        memcpy(bytes, lr_value_bytes(&message), message.size_bytes);
        uint32_t step = message.size_bytes > 4000 ? 251 : 1;
        for (uint32_t n = 0; n < message.size_bytes; n += step) {
            uint8_t old = bytes[n];
            for (size_t o = 0; o < sizeof others; o++) {
                bytes[n] = others[o];
                try_bytes(bytes, message.size_bytes, &message);
            }
            for (int bit = 0; bit < 8; bit++) {
                bytes[n] = (uint8_t)(old ^ (1 << bit));
                try_bytes(bytes, message.size_bytes, &message);
            }
            bytes[n] = old;
        }
        free(bytes);
        lr_value_clear(&message);
    }
}

static uint64_t random_state = 20160105;
static uint64_t next_random(void)
{
    random_state += 0x9e3779b97f4a7c15ull;
    return lr_mix64(random_state);
}

static void test_garbage(void **state)
{
    (void)state;
    lr_value message;
    assert_true(kit_message(&k, 16, &message)); /* it has references */
    uint8_t bytes[300];
    for (int i = 0; i < 20000; i++) {
        size_t n = 2 + next_random() % 298;
        for (size_t j = 0; j < n; j++) /* mostly tags */
            bytes[j] = (uint8_t)(next_random() % 4 ? next_random() % LR_TAG_COUNT : next_random());
        bytes[0] = LR_VALUE_VERSION | (uint8_t)(next_random() % 2 ? LR_VALUE_SHARED : 0);
        bytes[1] = (uint8_t)(next_random() % 5);
        try_bytes(bytes, n, &message);
    }
    lr_value_clear(&message);
}

/* Tables that promise more than there is: each has its count checked, and all together too. */
static void test_promises_allocate_nothing(void **state)
{
    (void)state;
    enum { LEVELS = 4000, TAIL = 100000 };
    lr_value none = {0};
    size_t size_bytes = 2 + 9 * LEVELS + TAIL;
    uint8_t *bytes = calloc(1, size_bytes), *p = bytes;
    *p++ = LR_VALUE_VERSION;
    *p++ = 1;
    for (int i = 0; i < LEVELS; i++, p += 9) {
        uint32_t array = TAIL; /* so many are left, but not for every level */
        *p = LR_TAG_TABLE;
        memcpy(p + 1, &array, 4);
    }
    lua_gc(k.L, LUA_GCCOLLECT, 0);
    size_t before = k.used_bytes;
    k.peak_bytes = before;
    try_bytes(bytes, size_bytes, &none);
    assert_true(k.peak_bytes - before < 32 * size_bytes);
    uint8_t huge[] = {LR_VALUE_VERSION, 1, LR_TAG_TABLE, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, LR_TAG_NIL};
    k.peak_bytes = before = k.used_bytes;
    try_bytes(huge, sizeof huge, &none);
    assert_true(k.peak_bytes - before < 4096);
    free(bytes);
}

static void test_too_deep(void **state)
{
    (void)state;
    lr_value none = {0}, message;
    size_t size_bytes = 2 + 9 * 5001 + 1;
    uint8_t *bytes = calloc(1, size_bytes), *p = bytes;
    *p++ = LR_VALUE_VERSION;
    *p++ = 1;
    for (int i = 0; i < 5001; i++, p += 9)
        p[0] = LR_TAG_TABLE, p[1] = 1;
    kit_forge(bytes, size_bytes, &none, &message);
    assert_int_equal(kit_decode(&k, &message), -1);
    assert_string_equal(lua_tostring(k.L, -1), "a value could not be taken in: it is nested more than 5000 deep");
    lr_value_clear(&message);
    bytes[2 + 9 * 4999] = LR_TAG_NIL; /* 4,999 tables */
    kit_forge(bytes, 2 + 9 * 4999 + 1, &none, &message);
    assert_int_equal(kit_decode(&k, &message), 1);
    lr_value_clear(&message);
    free(bytes);
    lua_settop(k.L, 0);
}

static void test_garbage_is_said(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[12];
        size_t size_bytes;
        const char *why;
    } rows[] = {
        {{LR_VALUE_VERSION + 1, 1, LR_TAG_NIL}, 3, "it is malformed"},
        {{LR_VALUE_VERSION, 1, LR_TAG_COUNT}, 3, "a value of no kind"},
        {{LR_VALUE_VERSION, 1, LR_TAG_CELL, 0}, 4, "a value of no kind"},
        {{LR_VALUE_VERSION, 1, LR_TAG_STRING, 5, 'a'}, 5, "a string beyond the end"},
        {{LR_VALUE_VERSION, 1, LR_TAG_NUMBER, 5, 'a'}, 5, "a number beyond the end"},
        {{LR_VALUE_VERSION, 1, LR_TAG_BLOB, 0, 1}, 5, "a reference that the message does not have"},
        {{LR_VALUE_VERSION, 1, LR_TAG_BACK, 0}, 4, "a reference to nothing met yet"},
        {{LR_VALUE_VERSION, 1, LR_TAG_REMOTE, 0, 0}, 5, "a function that refers to itself outside itself"},
        {{LR_VALUE_VERSION, 1, LR_TAG_OBJECT, LR_TAG_NIL, 0}, 5, "an object without a class"},
        {{LR_VALUE_VERSION, 1, LR_TAG_TENSOR, 6, 0, 0, 0}, 7, "a tensor of no kind"},
        {{LR_VALUE_VERSION, 1, LR_TAG_ERROR, 0, 0, 0, 0}, 7, "an error of no kind"},
        {{LR_VALUE_VERSION, 1, LR_TAG_MODULE, LR_TAG_NIL, LR_TAG_NIL}, 5, "a module without a name"},
        {{LR_VALUE_VERSION, 1, LR_TAG_TABLE, 0, 0, 0, 0, 1, 0, 0, 0}, 11, "a table beyond the end"},
    };
    lr_value none = {0}, message;
    for (size_t i = 0; i < LR_COUNT(rows); i++) {
        char text[200];
        kit_forge(rows[i].bytes, rows[i].size_bytes, &none, &message);
        assert_int_equal(kit_decode(&k, &message), -1);
        snprintf(text, sizeof text, "a value could not be taken in: %s", rows[i].why);
        assert_string_equal(lua_tostring(k.L, -1), text);
        lr_value_clear(&message);
        lua_settop(k.L, 0);
    }
}

/* ---- allocations that fail ---------------------------------------------------------------------------- */

typedef struct attempt {
    int sample;
    bool encoded, decoded;
    lr_value message; /* the caller clears it: what comes in between may raise */
} attempt;

/* One way out and in; whatever fails, the codec's state is as before. Protected: short strings may raise. */
static int out_and_in(lua_State *L)
{
    attempt *a = lua_touserdata(L, 1);
    lr_err code = LR_ERR_NONE;
    lua_settop(L, 0);
    int count = kit_push(&k, a->sample);
    a->encoded = lr_encode(k.S, L, 1, count, LR_ROOT_VALUE, 0, &code);
    if (!a->encoded) {
        if (code != LR_ERR_OUT_OF_MEMORY) fail_msg("sample %d: %d: %s", a->sample, code, lua_tostring(L, -1));
        return 0;
    }
    if (!lr_builder_finish(&k.S->builder, &a->message)) return 0;
    a->decoded = kit_decode(&k, &a->message) >= 0;
    return 0;
}

static void check_state(int sample, long n)
{
    lr_builder *b = &k.S->builder;
    const char *wrong = NULL;
    if (b->size_bytes != 0 || b->ref_count != 0 || b->failed) wrong = "the builder is not empty";
    if (k.S->codec->nesting != 0 || k.S->encoding_fn || k.S->makes) wrong = "still encoding";
    if (k.S->codec->classes_deep != 0 || k.S->decoding_fn) wrong = "still decoding";
    if (wrong) fail_msg("sample %d, n %ld: %s", sample, n, wrong);
}

static void fail_every(long *fail_in, int sample)
{
    lr_value message;
    for (long n = 1; n < 100000; n++) {
        attempt a = {.sample = sample};
        *fail_in = n;
        lua_cpcall(k.L, out_and_in, &a);
        lr_value_clear(&a.message);
        bool none_failed = *fail_in > 0;
        *fail_in = 0;
        lua_settop(k.L, 0);
        lr_builder_reset(&k.S->builder); /* a raise by the test's own lines between out and in */
        check_state(sample, n);
        if (none_failed) {
            assert_true(a.encoded && a.decoded);
            return;
        }
        if (n > 200) n += n / 20; /* deep ones allocate thousands of times, all alike */
        assert_true(kit_message(&k, sample, &message)); /* and now it works */
        if (kit_decode(&k, &message) < 0) fail_msg("sample %d, n %ld: %s", sample, n, lua_tostring(k.L, -1));
        lr_value_clear(&message);
        lua_settop(k.L, 0);
    }
    fail_msg("sample %d allocates without end", sample);
}

static void test_lua_allocations_fail(void **state)
{
    (void)state;
    for (int sample = 1; sample <= KIT_SAMPLES; sample++)
        fail_every(&k.fail_in, sample);
}

static void test_mallocs_fail(void **state)
{
    (void)state;
    if (!CAN_FAIL_MALLOC) skip();
    for (int sample = 1; sample <= KIT_SAMPLES; sample++)
        fail_every(&malloc_fail_in, sample);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trips, start, end),
        cmocka_unit_test_setup_teardown(test_samples_have_every_tag, start, end),
        cmocka_unit_test_setup_teardown(test_futures, start, end),
        cmocka_unit_test_setup_teardown(test_every_truncation, start, end),
        cmocka_unit_test_setup_teardown(test_every_corrupted_byte, start, end),
        cmocka_unit_test_setup_teardown(test_garbage, start, end),
        cmocka_unit_test_setup_teardown(test_promises_allocate_nothing, start, end),
        cmocka_unit_test_setup_teardown(test_too_deep, start, end),
        cmocka_unit_test_setup_teardown(test_garbage_is_said, start, end),
        cmocka_unit_test_setup_teardown(test_lua_allocations_fail, start, end),
        cmocka_unit_test_setup_teardown(test_mallocs_fail, start, end),
    };
    return RUN_ALL(tests);
}
