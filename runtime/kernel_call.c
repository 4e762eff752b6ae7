/* runtime/kernel_call.c - one call of a kernel: arguments, results, errors, and what else it may ask.
 *
 * The argument message is scanned once for where each value begins; a value is looked at when the
 * kernel asks for it, a future among them resolved then. Results go straight into the worker's
 * builder. The first error recorded stands, whatever the kernel returns afterwards. Nothing a kernel
 * passes in (positions, sizes, pointers to nothing) is trusted as far as it can be told.
 * Never: Lua, a lock, an allocation for a plain call. Thread: the worker's. */
#define _GNU_SOURCE
#include "runtime/kernels.h"

#include "runtime/buffer.h"
#include "runtime/crash.h"
#include "runtime/spill.h"
#include "runtime/store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FEW 16                    /* arguments indexed on the stack */
#define BLOB_BYTES (64u * 1024u)  /* strings above this lie in the object store */
#define EXACT ((int64_t)1 << 53)  /* whole numbers up to here are exact doubles */

/* Where an argument's value begins, and the message it is part of. */
typedef struct argument {
    const uint8_t *at, *end;
    const lr_value *message;
    bool resolved; /* a future is looked into once, not what it holds */
} argument;

typedef struct call {
    lr_call base; /* first: what the kernel sees */
    const lr_kernel *kernel;
    const lr_kernel_context *ctx;
    lr_kernel_fault *fault;
    argument *arguments;
    uint32_t argument_count;
    uint64_t result_count;
    uint64_t stream[4];
    uint32_t span_depth;
    bool failed, streaming;
    bool plain; /* all results so far can be read in the short way: lr_value.plain */
    argument few[FEW];
} call;

static call *call_of(lr_call *c) { return LR_CONTAINER(c, call, base); }

/* ---- errors --------------------------------------------------------------------------------- */

static int vrecord(call *c, lr_err code, const char *fmt, va_list ap)
{
    if (c->failed) return LR_ERR;
    c->failed = true;
    c->fault->code = code;
    char *text = c->fault->message;
    size_t room = sizeof c->fault->message;
    int head = snprintf(text, room, "%s: ", c->kernel->name);
    if (head < 0 || (size_t)head >= room) return LR_ERR;
    if (vsnprintf(text + head, room - (size_t)head, fmt, ap) < 0)
        snprintf(text + head, room - (size_t)head, "the kernel's message cannot be formatted");
    return LR_ERR;
}

__attribute__((format(printf, 3, 4))) static int record(call *c, lr_err code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vrecord(c, code, fmt, ap);
    va_end(ap);
    return LR_ERR;
}

static int api_vfail(lr_call *lc, const char *fmt, va_list ap)
{
    call *c = call_of(lc);
    if (!fmt) return record(c, LR_ERR_KERNEL_ERROR, "the kernel failed without a message");
    return vrecord(c, LR_ERR_KERNEL_ERROR, fmt, ap);
}

/* ---- words for values ------------------------------------------------------------------------- */

static const char *const dtype_names[LR_DTYPE_COUNT] = {"f32", "f64", "i8", "u8", "i32", "i64"};
static const uint8_t dtype_bytes[LR_DTYPE_COUNT] = {4, 8, 1, 1, 4, 8};

/* As it sounds: "an f64", "a function", "an i8", "a u8", "a uint64". */
static const char *article(const char *word)
{
    if (word[0] == 'f') return word[1] == '3' || word[1] == '6' ? "an" : "a";
    return word[0] != 'u' && strchr("aeio", word[0]) ? "an" : "a";
}

static bool read_tensor(const argument *a, lr_tensor *out);

typedef struct words {
    char text[96];
} words;

static words tensor_words(int dtype, int rank)
{
    words w;
    int n = 0;
    if (dtype < 0)
        n = snprintf(w.text, sizeof w.text, "a tensor");
    else
        n = snprintf(w.text, sizeof w.text, "%s %s tensor", article(dtype_names[dtype]),
                     dtype_names[dtype]);
    if (rank >= 0) snprintf(w.text + n, sizeof w.text - (size_t)n, " of rank %d", rank);
    return w;
}

/* What was given, for refusals: "a string", "an f32 tensor of rank 1", "nil". */
static words given_words(const argument *a)
{
    words w;
    lr_tensor t;
    uint8_t tag = *a->at;
    const char *name = lr_tag_name(tag);
    if (tag == LR_TAG_TENSOR && read_tensor(a, &t)) return tensor_words(t.dtype, t.rank);
    if (tag == LR_TAG_NIL)
        snprintf(w.text, sizeof w.text, "nil");
    else
        snprintf(w.text, sizeof w.text, "%s %s", article(name), name);
    return w;
}

/* ---- arguments -------------------------------------------------------------------------------- */

static const uint8_t nil_value[1] = {LR_TAG_NIL};

static lr_reader reader_of(const argument *a)
{
    return (lr_reader){a->at, a->end, true};
}

/* The object a value refers to, or NULL when the message has no such reference or it is of another kind. */
static lr_object *referred(const argument *a, uint64_t index, lr_object_kind kind)
{
    if (index >= lr_value_ref_count(a->message)) return NULL;
    lr_object *o = lr_value_refs(a->message)[index];
    return o->kind == (uint8_t)kind ? o : NULL;
}

/* Puts the wanted value of an ended task's message in the argument's place; nil where it has too few. */
static bool look_into(argument *a, const lr_value *message, uint64_t index)
{
    lr_reader r = lr_value_reader(message);
    uint64_t count = lr_read_header(&r);
    for (uint64_t i = 0; i < index && i < count; i++)
        lr_skip_value(&r);
    if (!r.ok) return false;
    if (index < count)
        *a = (argument){r.p, r.end, message, true};
    else
        *a = (argument){nil_value, nil_value + 1, message, true};
    return true;
}

static int resolve(call *c, int position, argument *a)
{
    lr_reader r = reader_of(a);
    lr_read_u8(&r);
    uint64_t ref = lr_read_varint(&r), index = lr_read_varint(&r);
    if (index == UINT32_MAX) index = 0; /* a future of all values: the first */
    lr_object *task = r.ok ? referred(a, ref, LR_OBJECT_TASK) : NULL;
    const lr_value *message = task && c->ctx->resolve ? c->ctx->resolve(c->ctx->self, task) : NULL;
    if (!message || !look_into(a, message, index))
        return record(c, LR_ERR_KERNEL_ERROR, "argument %d: the future has no value", position);
    return LR_OK;
}

/* The argument at that position, or NULL with the error recorded. */
static argument *want(call *c, int position, const char *wanted)
{
    if (position < 1) {
        record(c, LR_ERR_KERNEL_ERROR, "argument %d: the kernel counts wrong, positions start at 1",
               position);
        return NULL;
    }
    if ((uint32_t)position > c->argument_count) {
        record(c, LR_ERR_KERNEL_ERROR, "argument %d is missing: %s wanted", position, wanted);
        return NULL;
    }
    argument *a = &c->arguments[position - 1];
    if (*a->at == LR_TAG_FUTURE && !a->resolved && resolve(c, position, a)) return NULL;
    return a;
}

static int refuse(call *c, int position, const char *wanted, const argument *a)
{
    return record(c, LR_ERR_KERNEL_ERROR, "argument %d: %s wanted, %s given", position, wanted,
                  given_words(a).text);
}

static int api_arg_count(lr_call *lc)
{
    return (int)call_of(lc)->argument_count;
}

static int api_arg_is_nil(lr_call *lc, int position)
{
    call *c = call_of(lc);
    if (position < 1 || (uint32_t)position > c->argument_count) return 1;
    argument *a = want(c, position, "");
    return a && *a->at == LR_TAG_NIL;
}

static int api_arg_number(lr_call *lc, int position, double *out)
{
    call *c = call_of(lc);
    argument *a = want(c, position, "a number");
    if (!a) return LR_ERR;
    lr_reader r = reader_of(a);
    uint8_t tag = lr_read_u8(&r);
    if (tag & LR_TAG_SMALL)
        *out = tag & 0x7f;
    else if (tag == LR_TAG_NUMBER)
        *out = lr_read_f64(&r);
    else if (tag == LR_TAG_INT64)
        *out = (double)(int64_t)lr_read_u64(&r);
    else if (tag == LR_TAG_UINT64)
        *out = (double)lr_read_u64(&r);
    else
        return refuse(c, position, "a number", a);
    return LR_OK;
}

static int integer_of_number(call *c, int position, double v, int64_t *out)
{
    if (!(v == floor(v)))
        return record(c, LR_ERR_KERNEL_ERROR, "argument %d: an integer wanted, %.14g given",
                      position, v);
    if (v < -9223372036854775808.0 || v >= 9223372036854775808.0)
        return record(c, LR_ERR_KERNEL_ERROR,
                      "argument %d: an integer that fits an int64 wanted, %.14g given", position, v);
    *out = (int64_t)v;
    return LR_OK;
}

static int api_arg_integer(lr_call *lc, int position, int64_t *out)
{
    call *c = call_of(lc);
    argument *a = want(c, position, "an integer");
    if (!a) return LR_ERR;
    lr_reader r = reader_of(a);
    uint8_t tag = lr_read_u8(&r);
    if (tag & LR_TAG_SMALL) {
        *out = tag & 0x7f;
        return LR_OK;
    }
    if (tag == LR_TAG_NUMBER) return integer_of_number(c, position, lr_read_f64(&r), out);
    if (tag != LR_TAG_INT64 && tag != LR_TAG_UINT64) return refuse(c, position, "an integer", a);
    uint64_t v = lr_read_u64(&r);
    if (tag == LR_TAG_UINT64 && v > INT64_MAX)
        return record(c, LR_ERR_KERNEL_ERROR,
                      "argument %d: an integer that fits an int64 wanted, %llu given", position,
                      (unsigned long long)v);
    *out = (int64_t)v;
    return LR_OK;
}

static int api_arg_bool(lr_call *lc, int position, bool *out)
{
    call *c = call_of(lc);
    argument *a = want(c, position, "a boolean");
    if (!a) return LR_ERR;
    if (*a->at != LR_TAG_TRUE && *a->at != LR_TAG_FALSE) return refuse(c, position, "a boolean", a);
    *out = *a->at == LR_TAG_TRUE;
    return LR_OK;
}

static int malformed(call *c, int position)
{
    return record(c, LR_ERR_KERNEL_ERROR, "argument %d: its bytes are malformed", position);
}

/* NULL: malformed, or on another node: whoever begins a kernel has waited for its inputs. */
static lr_buffer *buffer_ref(const argument *a, uint64_t ref)
{
    lr_object *o = referred(a, ref, LR_OBJECT_BUFFER);
    lr_buffer *b = o ? LR_CONTAINER(o, lr_buffer, base) : NULL;
    return b ? lr_buffer_here(b) : NULL;
}

/* A long string: its bytes lie in a buffer. */
static int blob(call *c, int position, const argument *a, lr_reader *r, const char **bytes,
                size_t *length_bytes)
{
    uint64_t ref = lr_read_varint(r), length = lr_read_varint(r);
    lr_buffer *b = r->ok ? buffer_ref(a, ref) : NULL;
    if (!b || length > b->size_bytes) return malformed(c, position);
    *bytes = b->data;
    *length_bytes = length;
    return LR_OK;
}

static int api_arg_string(lr_call *lc, int position, const char **bytes, size_t *length_bytes)
{
    call *c = call_of(lc);
    argument *a = want(c, position, "a string");
    if (!a) return LR_ERR;
    lr_reader r = reader_of(a);
    uint8_t tag = lr_read_u8(&r);
    if (tag == LR_TAG_BLOB) return blob(c, position, a, &r, bytes, length_bytes);
    if (tag != LR_TAG_STRING) return refuse(c, position, "a string", a);
    uint64_t length = lr_read_varint(&r);
    const uint8_t *at = lr_read_bytes(&r, length);
    if (!at) return malformed(c, position);
    *bytes = (const char *)at;
    *length_bytes = length;
    return LR_OK;
}

/* Reads dimensions up to rank; false when their product does not fit. */
static bool read_shape(lr_reader *r, lr_tensor *out)
{
    int64_t count = 1;
    bool ok = true;
    for (int32_t i = 0; i < out->rank; i++) {
        uint64_t n = lr_read_varint(r);
        if (n > INT64_MAX) return false;
        out->shape[i] = (int64_t)n;
        if (__builtin_mul_overflow(count, out->shape[i], &count)) ok = false;
    }
    out->count = count;
    return ok;
}

/* Fills a view of the tensor in a message, having checked all of it; false: malformed. */
static bool read_tensor(const argument *a, lr_tensor *out)
{
    lr_reader r = reader_of(a);
    lr_read_u8(&r);
    uint8_t dtype = lr_read_u8(&r), rank = lr_read_u8(&r);
    if (dtype >= LR_DTYPE_COUNT || rank > LR_MAX_RANK) return false;
    out->dtype = dtype;
    out->rank = rank;
    if (!read_shape(&r, out)) return false;
    uint64_t offset = lr_read_varint(&r), ref = lr_read_varint(&r);
    lr_buffer *b = r.ok ? buffer_ref(a, ref) : NULL;
    if (!b) return false;
    uint64_t room = b->size_bytes / dtype_bytes[dtype];
    if (offset > room || (uint64_t)out->count > room - offset) return false;
    lr_buffer_use(b);
    out->data = (char *)b->data + offset * dtype_bytes[dtype];
    return true;
}

static int api_arg_tensor(lr_call *lc, int position, int dtype, int rank, lr_tensor *out)
{
    call *c = call_of(lc);
    if (dtype < -1 || dtype >= LR_DTYPE_COUNT || rank < -1 || rank > LR_MAX_RANK)
        return record(c, LR_ERR_KERNEL_ERROR,
                      "argument %d: the kernel asks for dtype %d and rank %d, which no tensor has",
                      position, dtype, rank);
    argument *a = position < 1 || (uint32_t)position > c->argument_count
                      ? want(c, position, tensor_words(dtype, rank).text)
                      : want(c, position, "");
    if (!a) return LR_ERR;
    if (*a->at != LR_TAG_TENSOR) return refuse(c, position, tensor_words(dtype, rank).text, a);
    if (!read_tensor(a, out)) return malformed(c, position);
    if ((dtype >= 0 && out->dtype != dtype) || (rank >= 0 && out->rank != rank))
        return refuse(c, position, tensor_words(dtype, rank).text, a);
    return LR_OK;
}

/* ---- results ------------------------------------------------------------------------------------ */

static int api_return_nil(lr_call *lc)
{
    call *c = call_of(lc);
    c->result_count++;
    lr_builder_u8(c->ctx->builder, LR_TAG_NIL);
    return LR_OK;
}

static int api_return_number(lr_call *lc, double v)
{
    call *c = call_of(lc);
    c->result_count++;
    lr_builder_number(c->ctx->builder, v);
    return LR_OK;
}

static int api_return_integer(lr_call *lc, int64_t v)
{
    call *c = call_of(lc);
    if (v >= -EXACT && v <= EXACT) return api_return_number(lc, (double)v);
    c->result_count++;
    c->plain = false;
    lr_builder_u8(c->ctx->builder, LR_TAG_INT64);
    lr_builder_bytes(c->ctx->builder, &v, sizeof v);
    return LR_OK;
}

static int api_return_bool(lr_call *lc, bool v)
{
    call *c = call_of(lc);
    c->result_count++;
    lr_builder_u8(c->ctx->builder, v ? LR_TAG_TRUE : LR_TAG_FALSE);
    return LR_OK;
}

/* A buffer that the builder holds, to be filled. NULL with the error recorded. */
static lr_buffer *result_buffer(call *c, uint64_t size_bytes, uint32_t *ref)
{
    char message[512] = "";
    lr_buffer *b = lr_buffer_new(size_bytes, c->kernel->site, message, sizeof message);
    bool hopeless = size_bytes > lr_store_capacity() || !c->ctx->reclaim;
    for (unsigned i = 0; !b && !hopeless && c->ctx->reclaim(c->ctx->self, i); i++)
        do {
            b = lr_buffer_new(size_bytes, c->kernel->site, message, sizeof message);
        } while (!b && lr_spill_make_room(size_bytes));
    if (!b) {
        record(c, LR_ERR_OUT_OF_MEMORY, "result %llu: %s", (unsigned long long)c->result_count,
               message);
        return NULL;
    }
    *ref = lr_builder_ref(c->ctx->builder, &b->base);
    lr_buffer_release(b); /* the builder holds it */
    if (!c->ctx->builder->failed) return b;
    record(c, LR_ERR_OUT_OF_MEMORY, "no memory for the results");
    return NULL;
}

static int return_blob(call *c, const char *bytes, size_t length_bytes)
{
    uint32_t ref;
    lr_buffer *b = result_buffer(c, length_bytes, &ref);
    if (!b) return LR_ERR;
    memcpy(b->data, bytes, length_bytes);
    lr_builder_u8(c->ctx->builder, LR_TAG_BLOB);
    lr_builder_varint(c->ctx->builder, ref);
    lr_builder_varint(c->ctx->builder, length_bytes);
    return LR_OK;
}

static int api_return_string(lr_call *lc, const char *bytes, size_t length_bytes)
{
    call *c = call_of(lc);
    c->result_count++;
    if (length_bytes > PTRDIFF_MAX || (length_bytes > 0 && !bytes))
        return record(c, LR_ERR_KERNEL_ERROR,
                      "result %llu: the kernel returned a string of %zu bytes at %p",
                      (unsigned long long)c->result_count, length_bytes, (const void *)bytes);
    if (length_bytes >= 128) c->plain = false;
    if (length_bytes > BLOB_BYTES) return return_blob(c, bytes, length_bytes);
    lr_builder_string(c->ctx->builder, bytes, length_bytes);
    return LR_OK;
}

/* "(3, -1)" */
static words shape_words(int rank, const int64_t *shape)
{
    words w = {"("};
    size_t n = 1;
    for (int i = 0; i < rank && n < sizeof w.text - 1; i++)
        n += (size_t)snprintf(w.text + n, sizeof w.text - n, "%s%lld", i ? ", " : "",
                              (long long)shape[i]);
    if (n > sizeof w.text - 2) n = sizeof w.text - 2;
    memcpy(w.text + n, ")", 2);
    return w;
}

/* The product of a shape that a kernel asks for, and its size; LR_ERR with the error recorded. */
static int measure(call *c, int dtype, int rank, const int64_t *shape, int64_t *count)
{
    unsigned long long n = c->result_count;
    if (dtype < 0 || dtype >= LR_DTYPE_COUNT)
        return record(c, LR_ERR_KERNEL_ERROR, "result %llu: there is no dtype %d", n, dtype);
    if (rank < 0 || rank > LR_MAX_RANK)
        return record(c, LR_ERR_KERNEL_ERROR, "result %llu: a rank of 0 to %d wanted, %d given", n,
                      LR_MAX_RANK, rank);
    if (rank > 0 && !shape) return record(c, LR_ERR_KERNEL_ERROR, "result %llu: no shape given", n);
    int64_t product = 1, bytes;
    bool overflow = false;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0)
            return record(c, LR_ERR_KERNEL_ERROR,
                          "result %llu: the shape %s has a negative dimension", n,
                          shape_words(rank, shape).text);
        overflow = overflow || __builtin_mul_overflow(product, shape[i], &product);
    }
    if (overflow || __builtin_mul_overflow(product, (int64_t)dtype_bytes[dtype], &bytes))
        return record(c, LR_ERR_KERNEL_ERROR,
                      "result %llu: the shape %s has more elements than memory can hold", n,
                      shape_words(rank, shape).text);
    *count = product;
    return LR_OK;
}

static void write_tensor(lr_builder *b, int dtype, int rank, const int64_t *shape, uint32_t ref)
{
    uint8_t *p = lr_builder_room(b, 3 + LR_VARINT_MAX * (LR_MAX_RANK + 2));
    if (!p) return;
    *p++ = LR_TAG_TENSOR;
    *p++ = (uint8_t)dtype;
    *p++ = (uint8_t)rank;
    for (int i = 0; i < rank; i++)
        p = lr_write_varint(p, (uint64_t)shape[i]);
    *p++ = 0; /* offset */
    lr_builder_commit(b, lr_write_varint(p, ref));
}

static int api_return_tensor(lr_call *lc, int dtype, int rank, const int64_t *shape, lr_tensor *out)
{
    call *c = call_of(lc);
    int64_t count = 0;
    uint32_t ref;
    c->result_count++;
    c->plain = false;
    if (!out) return record(c, LR_ERR_KERNEL_ERROR, "lr_return_tensor: no place for the view");
    if (measure(c, dtype, rank, shape, &count)) return LR_ERR;
    lr_buffer *b = result_buffer(c, (uint64_t)count * dtype_bytes[dtype], &ref);
    if (!b) return LR_ERR;
    write_tensor(c->ctx->builder, dtype, rank, shape, ref);
    out->data = b->data;
    out->count = count;
    out->rank = rank;
    out->dtype = dtype;
    for (int i = 0; i < rank; i++)
        out->shape[i] = shape[i];
    return LR_OK;
}

/* ---- cancelling, random numbers, progress, spans ---------------------------------------------------- */

static bool api_cancelled(lr_call *lc)
{
    const lr_kernel_context *x = call_of(lc)->ctx;
    if (x->cancel_word &&
        (atomic_load_explicit(x->cancel_word, memory_order_relaxed) & x->cancel_mask))
        return true;
    return x->cancelled && x->cancelled(x->self);
}

static uint64_t rotate(uint64_t v, int by) { return v << by | v >> (64 - by); }

/* xoshiro256** (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021). */
static uint64_t next_random(uint64_t s[4])
{
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

static uint64_t api_random(lr_call *lc)
{
    call *c = call_of(lc);
    if (!c->streaming) {
        uint64_t x = c->ctx->task.hi ^ lr_mix64(c->ctx->task.lo) ^ lr_mix64(~c->ctx->seed);
        for (int i = 0; i < 4; i++)
            c->stream[i] = lr_mix64(x += 0x9e3779b97f4a7c15u);
        c->streaming = true;
    }
    return next_random(c->stream);
}

static void api_progress(lr_call *lc, double done, double total)
{
    call *c = call_of(lc);
    if (!c->ctx->progress || !(total > 0)) return;
    double part = done / total;
    part = part > 0 ? (part < 1 ? part : 1) : 0;
    atomic_store_explicit(c->ctx->progress, (uint16_t)(part * 65535), memory_order_relaxed);
}

static void api_span_begin(lr_call *lc, const char *name)
{
    call *c = call_of(lc);
    c->span_depth++;
    if (c->ctx->span_begin) c->ctx->span_begin(c->ctx->self, name ? name : "?");
}

static void api_span_end(lr_call *lc)
{
    call *c = call_of(lc);
    if (c->span_depth == 0) return; /* one end too many: nothing to end */
    c->span_depth--;
    if (c->ctx->span_end) c->ctx->span_end(c->ctx->self);
}

/* ---- workers' states -------------------------------------------------------------------------------- */

typedef struct state {
    const lr_kernel *kernel; /* who made it: its set is part of the key */
    int (*init)(void *);
    void (*fini)(void *);
    size_t bytes;
    void *memory;
} state;

struct lr_kernel_workers {
    state *states;
    size_t count, capacity;
};

lr_kernel_workers *lr_kernel_workers_new(void)
{
    return calloc(1, sizeof(lr_kernel_workers));
}

void lr_kernel_workers_free(lr_kernel_workers *w)
{
    while (w && w->count > 0) {
        state *s = &w->states[--w->count];
        const char *before = lr_crash_enter(s->kernel->name);
        if (s->fini) s->fini(s->memory);
        lr_crash_leave(before);
        free(s->memory);
    }
    if (w) free(w->states);
    free(w);
}

static state *state_find(lr_kernel_workers *w, const lr_kernel_set *set, int (*init)(void *))
{
    for (size_t i = 0; i < w->count; i++)
        if (w->states[i].kernel->set == set && w->states[i].init == init) return &w->states[i];
    return NULL;
}

static void *zeroed(size_t bytes)
{
    if (bytes > PTRDIFF_MAX - 64) return NULL;
    size_t whole = (bytes + 64) & ~(size_t)63;
    void *memory = aligned_alloc(64, whole);
    return memory ? memset(memory, 0, whole) : NULL;
}

static state *state_slot(lr_kernel_workers *w)
{
    if (w->count < w->capacity) return &w->states[w->count];
    size_t capacity = w->capacity ? 2 * w->capacity : 4;
    state *states = realloc(w->states, capacity * sizeof *states);
    if (!states) return NULL;
    w->states = states;
    w->capacity = capacity;
    return &states[w->count];
}

static void *state_make(call *c, size_t bytes, int (*init)(void *), void (*fini)(void *))
{
    lr_kernel_workers *w = c->ctx->workers;
    state *slot = state_slot(w);
    void *memory = slot ? zeroed(bytes) : NULL;
    if (!memory) {
        record(c, LR_ERR_OUT_OF_MEMORY, "no memory for a worker state of %zu bytes", bytes);
        return NULL;
    }
    if (init && init(memory) != LR_OK) {
        free(memory);
        record(c, LR_ERR_KERNEL_ERROR, "the worker state could not be made: its init failed");
        return NULL;
    }
    *slot = (state){c->kernel, init, fini, bytes, memory};
    w->count++;
    return memory;
}

static void *api_worker_state(lr_call *lc, size_t bytes, int (*init)(void *), void (*fini)(void *))
{
    call *c = call_of(lc);
    const state *s = state_find(c->ctx->workers, c->kernel->set, init);
    if (!s) return state_make(c, bytes, init, fini);
    if (s->bytes >= bytes) return s->memory;
    record(c, LR_ERR_KERNEL_ERROR, "the worker state was made with %zu bytes; now %zu are wanted",
           s->bytes, bytes);
    return NULL;
}

/* ---- the call ------------------------------------------------------------------------------------------ */

static const lr_kernel_api api = {
    .abi = LR_KERNEL_ABI,
    .bytes = sizeof(lr_kernel_api),
    .arg_count = api_arg_count,
    .arg_number = api_arg_number,
    .arg_integer = api_arg_integer,
    .arg_string = api_arg_string,
    .arg_bool = api_arg_bool,
    .arg_is_nil = api_arg_is_nil,
    .arg_tensor = api_arg_tensor,
    .return_nil = api_return_nil,
    .return_number = api_return_number,
    .return_integer = api_return_integer,
    .return_string = api_return_string,
    .return_bool = api_return_bool,
    .return_tensor = api_return_tensor,
    .vfail = api_vfail,
    .cancelled = api_cancelled,
    .random = api_random,
    .worker_state = api_worker_state,
    .progress = api_progress,
    .span_begin = api_span_begin,
    .span_end = api_span_end,
};

/* Notes where each argument begins. LR_ERR with the error recorded; the index may then be partly made. */
static int index_arguments(call *c, const lr_value *args)
{
    c->argument_count = 0;
    c->arguments = c->few;
    if (lr_value_is_empty(args)) return LR_OK;
    lr_reader r = lr_value_reader(args);
    uint64_t count = lr_read_header(&r);
    if (!r.ok || count > INT32_MAX || count > (uint64_t)(r.end - r.p)) /* each takes a byte at least */
        return record(c, LR_ERR_KERNEL_ERROR, "the argument message is malformed");
    if (count > FEW) c->arguments = malloc(count * sizeof *c->arguments);
    if (!c->arguments) return record(c, LR_ERR_OUT_OF_MEMORY, "no memory for %u arguments", (unsigned)count);
    for (uint64_t i = 0; i < count; i++) {
        c->arguments[i] = (argument){r.p, r.end, args, false};
        if (!lr_skip_value(&r))
            return record(c, LR_ERR_KERNEL_ERROR, "the argument message is malformed");
    }
    c->argument_count = (uint32_t)count;
    return LR_OK;
}

/* What a kernel's return value means when nothing was recorded before. */
static void judge(call *c, int rc)
{
    if (rc == LR_OK || c->failed) return;
    if (rc != LR_ERR)
        record(c, LR_ERR_KERNEL_ERROR, "the kernel returned %d: LR_OK or LR_ERR wanted", rc);
    else if (api_cancelled(&c->base))
        record(c, LR_ERR_CANCELLED, "the kernel stopped because the task was cancelled");
    else
        record(c, LR_ERR_KERNEL_ERROR, "the kernel failed without a message");
}

/* The header was written with one byte for the count: most results are few. */
static void write_count(lr_builder *b, uint64_t count)
{
    uint8_t varint[LR_VARINT_MAX];
    size_t bytes = (size_t)(lr_write_varint(varint, count) - varint);
    if (bytes > 1) {
        if (!lr_builder_room(b, bytes - 1)) return;
        memmove(b->data + 1 + bytes, b->data + 2, b->size_bytes - 2);
        b->size_bytes += bytes - 1;
    }
    if (!b->failed) memcpy(b->data + 1, varint, bytes);
}

static void finish(call *c, lr_value *result)
{
    lr_builder *b = c->ctx->builder;
    if (!c->failed) {
        write_count(b, c->result_count);
        for (uint32_t i = 0; i < b->ref_count; i++)
            lr_buffer_seal(LR_CONTAINER(b->refs[i], lr_buffer, base));
        if (lr_builder_finish(b, result)) {
            result->plain = c->plain && result->form == 1 && c->result_count <= LR_PLAIN_COUNT_MAX;
            return;
        }
        record(c, LR_ERR_OUT_OF_MEMORY, "no memory for the results");
    }
    lr_builder_reset(b);
}

static void invoke(call *c)
{
    const char *before = lr_crash_enter(c->kernel->name);
    int rc = c->kernel->entry->fn(&c->base);
    lr_crash_leave(before);
    while (c->span_depth > 0)
        api_span_end(&c->base);
    judge(c, rc);
}

lr_err lr_kernel_run(const lr_kernel *k, const lr_kernel_context *ctx, const lr_value *args,
                     lr_value *result, lr_kernel_fault *fault)
{
    call c; /* but for what is set here its members are set by their first user */
    c.base.api = &api;
    c.kernel = k;
    c.ctx = ctx;
    c.fault = fault;
    c.result_count = 0;
    c.span_depth = 0;
    c.failed = c.streaming = false;
    c.plain = true;
    LR_ASSERT(ctx->builder->size_bytes == 0);
    if (index_arguments(&c, args) == LR_OK) {
        lr_builder_header(ctx->builder, 0);
        invoke(&c);
    }
    finish(&c, result);
    if (c.arguments != c.few) free(c.arguments);
    return c.failed ? fault->code : LR_ERR_NONE;
}
