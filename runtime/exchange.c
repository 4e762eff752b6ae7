#include "runtime/exchange.h"

#include "runtime/allocator.h"
#include "runtime/kernel_ship.h"
#include "runtime/task.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- out -------------------------------------------------------------------------------------------- */

static void lend(void *exchange, lr_task *t)
{
    lr_exchange *x = exchange;
    x->lend(x->user, t);
}

static bool offer(void *exchange, lr_buffer *b, lr_reference *out)
{
    return lr_lending_offer(((lr_exchange *)exchange)->lending, b, out);
}

static lr_id know(void *exchange, lr_fn *fn) { return lr_exchange_know(exchange, fn); }

static lr_bytes text_of(const char *s) { return lr_bytes_of(s, s ? strlen(s) : 0); }

lr_bytes lr_exchange_out(lr_exchange *x, lr_builder *b, const lr_value *v)
{
    lr_export_to to = {lend, know, x, offer};
    lr_builder_reset(b);
    lr_export(b, v, &to);
    return lr_bytes_of(b->data, b->failed ? 0 : b->size_bytes);
}

static lr_id library_id(const char *path, const char *name)
{
    return lr_id_child(lr_id_from_bytes(path, strlen(path)), lr_id_from_bytes(name, strlen(name)).lo);
}

/* The library of a kernel, where the other side has not had it. */
static lr_bytes ship(lr_exchange *x, const lr_kernel_set *set, lr_builder *b)
{
    lr_id id = library_id(set->path, set->name);
    if (x->lending->same_host || lr_map_find(&x->shipped, id)) return lr_bytes_of(NULL, 0);
    if (lr_map_add(&x->shipped, id, (void *)(uintptr_t)set, &lr_process_allocator)) lr_kernel_ship(set, b);
    return lr_bytes_of(b->data, b->failed ? 0 : b->size_bytes);
}

static void send_function(lr_exchange *x, lr_fn *fn, lr_id id)
{
    lr_builder b; /* functions lie inside functions: each level has its own */
    lr_builder_init(&b);
    lr_message m = {.kind = LR_MESSAGE_FUNCTION};
    m.function.function = id;
    m.function.kind = fn->kind;
    m.function.name = text_of(fn->name);
    m.function.module = text_of(fn->kind == LR_FN_KERNEL ? fn->kernel->set->path : fn->module);
    m.function.field = text_of(fn->kind == LR_FN_KERNEL ? fn->kernel->set->name : fn->field);
    if (fn->kind == LR_FN_LUA) m.function.body = lr_exchange_out(x, &b, &fn->body);
    if (fn->kind == LR_FN_KERNEL) m.function.library = ship(x, fn->kernel->set, &b);
    lr_channel_send(x->link, &m);
    lr_builder_fini(&b);
}

lr_id lr_exchange_know(lr_exchange *x, lr_fn *fn)
{
    lr_id id = lr_id_child(x->self, fn->serial);
    if (lr_map_find(&x->known, id) || !lr_map_add(&x->known, id, fn, &lr_process_allocator)) return id;
    lr_object_retain(&fn->base);
    send_function(x, fn, id);
    return id;
}

/* ---- in --------------------------------------------------------------------------------------------- */

static lr_task *borrow(void *exchange, lr_id id)
{
    lr_exchange *x = exchange;
    return x->borrow(x->user, id);
}

/* One that was not sent yet is on its way: functions may refer to each other. */
static lr_fn *find(void *exchange, lr_id id)
{
    lr_exchange *x = exchange;
    lr_fn *fn = lr_map_find(&x->functions, id);
    if (fn) return fn;
    lr_value nothing = {0};
    fn = lr_fn_new_lua("?", &nothing);
    if (fn && lr_map_add(&x->functions, id, fn, &lr_process_allocator)) return fn;
    if (fn) lr_object_release(&fn->base);
    return NULL;
}

static lr_buffer *absent(void *exchange, const lr_reference *ref, uint32_t index)
{
    lr_exchange *x = exchange;
    return x->absent(x->user, ref, index);
}

static bool take_in(lr_exchange *x, lr_bytes bytes, lr_value *v, bool is_result, char *text, size_t text_bytes)
{
    lr_import_from from = {borrow, find, is_result ? absent : NULL, x};
    lr_reader r = lr_reader_of(bytes.at, bytes.size_bytes);
    *v = (lr_value){0};
    return lr_import(&r, v, &from, text, text_bytes);
}

bool lr_exchange_in(lr_exchange *x, lr_bytes bytes, lr_value *v, char *text, size_t text_bytes)
{
    return take_in(x, bytes, v, false, text, text_bytes);
}

bool lr_exchange_in_result(lr_exchange *x, lr_bytes bytes, lr_value *v, char *text, size_t text_bytes)
{
    return take_in(x, bytes, v, true, text, text_bytes);
}

/* The library of a kernel: the sender's own file, or what it has shipped, now or before. NULL: x->why. */
static const lr_kernel_set *find_library(lr_exchange *x, const char *path, const char *name, lr_bytes shipped)
{
    char *message = NULL;
    const lr_kernel_set *set = NULL;
    lr_id id = library_id(path, name);
    if (!x->lending->same_host && shipped.size_bytes == 0 && (set = lr_map_find(&x->libraries, id))) return set;
    lr_err err = x->lending->same_host || shipped.size_bytes == 0
                     ? lr_kernels_load(path, name, &set, &message)
                     : lr_kernel_unship(name, shipped.at, shipped.size_bytes, &set, &message);
    if (err == LR_ERR_NONE && !x->lending->same_host)
        err = lr_map_add(&x->libraries, id, (void *)(uintptr_t)set, &lr_process_allocator) ? LR_ERR_NONE
                                                                                           : LR_ERR_OUT_OF_MEMORY;
    if (err != LR_ERR_NONE) snprintf(x->why, sizeof x->why, "%s", message ? message : lr_err_meaning(err));
    free(message);
    return err == LR_ERR_NONE ? set : NULL;
}

static lr_kernel *find_kernel(lr_exchange *x, const char *name, const char *path, const char *set_name,
                              lr_bytes shipped)
{
    const char *dot = strrchr(name, '.');
    const lr_kernel_set *set = find_library(x, path, set_name, shipped);
    lr_kernel *kernel = set ? lr_kernels_get(set, dot ? dot + 1 : name) : NULL;
    if (set && !kernel) snprintf(x->why, sizeof x->why, "kernel library %s has no kernel '%s'", set->path, name);
    return kernel;
}

static void cut(lr_bytes from, char *text, size_t text_bytes)
{
    snprintf(text, text_bytes, "%.*s", (int)from.size_bytes, (const char *)from.at);
}

void lr_exchange_take_function(lr_exchange *x, const lr_message *m)
{
    char name[200], module[4096], field[200], text[256];
    lr_fn *fn = find(x, m->function.function);
    if (!fn || m->function.kind > LR_FN_KERNEL) return;
    cut(m->function.name, name, sizeof name);
    cut(m->function.module, module, sizeof module);
    cut(m->function.field, field, sizeof field);
    lr_value body = {0};
    if (m->function.kind == LR_FN_LUA && !lr_exchange_in(x, m->function.body, &body, text, sizeof text)) {
        snprintf(x->why, sizeof x->why, "%s", text);
        return;
    }
    lr_kernel *kernel = NULL;
    if (m->function.kind == LR_FN_KERNEL) kernel = find_kernel(x, name, module, field, m->function.library);
    if (m->function.kind == LR_FN_KERNEL && !kernel) return;
    lr_fn_become(fn, (lr_fn_kind)m->function.kind, name, module, field, kernel, &body);
}

lr_fn *lr_exchange_function(lr_exchange *x, lr_id id)
{
    lr_fn *fn = lr_map_find(&x->functions, id);
    return fn && lr_fn_is_whole(fn) ? fn : NULL;
}

static void release_all(lr_map *map)
{
    size_t position = 0;
    lr_object *o;
    while (map->slots && (o = lr_map_next(map, &position)))
        lr_object_release(o);
    lr_map_free(map, &lr_process_allocator);
}

void lr_exchange_fini(lr_exchange *x)
{
    release_all(&x->functions);
    release_all(&x->known);
    lr_map_free(&x->libraries, &lr_process_allocator);
    lr_map_free(&x->shipped, &lr_process_allocator);
}
