/* tests/fuzz/export_fuzz.c - values as they come from another node: any bytes into lr_export_objects and lr_import.
 *
 * The objects that are found must be those that the import asks for, and a value that is taken in must go out and
 * come in again as it is. Nothing is mapped: what a reference says of processes and files is not followed here
 * (tests/unit/shared_test.c does). */
#include "runtime/export.h"
#include "runtime/store.h"
#include "runtime/task.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

static lr_task *borrow(void *user, lr_id id)
{
    (void)user;
    return lr_task_new_elsewhere(id);
}

static lr_fn *find(void *user, lr_id id)
{
    (void)user;
    (void)id;
    return NULL;
}

static void lend(void *user, lr_task *t) { (void)user, (void)t; }

static lr_id know(void *user, lr_fn *fn)
{
    (void)user, (void)fn;
    return LR_ID_NIL;
}

static bool offer(void *user, lr_buffer *b, lr_reference *out)
{
    (void)user;
    return lr_shared_show(b, out);
}

static lr_buffer *object;

/* A message of two strings' worth of bytes with a future, a small buffer, code, and an object by reference. */
static void make(lr_builder *b, unsigned index)
{
    lr_value v = {0};
    lr_builder message;
    lr_builder_init(&message);
    lr_builder_header(&message, 1);
    lr_builder_string(&message, "a string", 8);
    lr_task *t = lr_task_new_elsewhere(lr_id_from_seed(7));
    lr_buffer *small = lr_buffer_new(100, "small", NULL, 0);
    memset(small->data, 1, 100);
    lr_buffer_seal(small);
    if (index & 1) lr_builder_ref(&message, &t->base);
    if (index & 2) lr_builder_ref(&message, &small->base);
    if (index & 4) lr_builder_ref(&message, &object->base);
    lr_task_release(t);
    lr_buffer_release(small);
    bool made = lr_builder_finish(&message, &v);
    LR_ASSERT(made);
    lr_builder_fini(&message);
    lr_export_to to = {lend, know, NULL, offer};
    lr_export(b, &v, &to);
    lr_value_clear(&v);
}

static void open_once(void)
{
    if (object) return;
    object = lr_buffer_new(100000, "an object", NULL, 0);
    memset(object->data, 2, 100000);
    lr_buffer_seal(object);
}

size_t lr_fuzz_seed(unsigned index, uint8_t *bytes, size_t room)
{
    open_once();
    if (index >= 8) return 0;
    lr_builder b;
    lr_builder_init(&b);
    make(&b, index);
    size_t size = b.size_bytes < room ? b.size_bytes : room;
    memcpy(bytes, b.data, size);
    lr_builder_fini(&b);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size_bytes)
{
    open_once();
    uint8_t *own = malloc(size_bytes ? size_bytes : 1);
    LR_ASSERT(own);
    if (size_bytes) memcpy(own, bytes, size_bytes);
    lr_reader r = lr_reader_of(own, size_bytes);
    lr_reference refs[4];
    char text[300];
    lr_value v = {0};
    size_t count = lr_export_objects(r, refs, LR_COUNT(refs));
    LR_ASSERT(count <= size_bytes);
    for (size_t i = 0; i < count && i < LR_COUNT(refs); i++)
        LR_ASSERT(refs[i].site_bytes <= size_bytes);
    lr_import_from from = {borrow, find, NULL};
    if (lr_import(&r, &v, &from, text, sizeof text)) {
        LR_ASSERT(count <= lr_value_ref_count(&v));
        lr_builder b;
        lr_builder_init(&b);
        lr_export_to to = {lend, know, NULL, offer};
        lr_export(&b, &v, &to);
        LR_ASSERT(lr_export_objects(lr_reader_of(b.data, b.size_bytes), NULL, 0) == count);
        lr_builder_fini(&b);
        lr_value_clear(&v);
    }
    free(own);
    return 0;
}
