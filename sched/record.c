#include "sched/record.h"

#include "sched/text.h"

static void free_text(lr_text *t, const char *string)
{
    if (!string) string = "?";
    lr_text_line(t, string, strlen(string));
}

static void field_u64(lr_text *t, const char *field, uint64_t number)
{
    lr_text_string(t, field);
    lr_text_u64(t, number);
}

static void field_id(lr_text *t, const char *field, lr_id id)
{
    lr_text_string(t, field);
    lr_text_id(t, id);
}

static lr_text begin(char *text, size_t size_bytes)
{
    lr_text t = lr_text_of(text, size_bytes);
    lr_text_string(&t, "1");
    return t;
}

static size_t end(const lr_text *t)
{
    if (t->size_bytes == 0) return 0;
    return t->needed_bytes < t->size_bytes ? t->needed_bytes : t->size_bytes - 1;
}

size_t lr_record_node(char *text, size_t size_bytes, uint64_t now_ns, const lr_resources *offers,
                      const lr_resource_names *names)
{
    char list[LR_RECORD_MAX];
    lr_resources_format(offers, names, list, sizeof list);
    lr_text t = begin(text, size_bytes);
    field_u64(&t, " since=", now_ns);
    lr_text_string(&t, " offers=");
    lr_text_string(&t, list);
    return end(&t);
}

size_t lr_record_job(char *text, size_t size_bytes, uint64_t now_ns, const char *name)
{
    lr_text t = begin(text, size_bytes);
    field_u64(&t, " since=", now_ns);
    lr_text_string(&t, " name=");
    free_text(&t, name);
    return end(&t);
}

size_t lr_record_history(char *text, size_t size_bytes, uint64_t now_ns, lr_id job,
                         const char *status)
{
    lr_text t = begin(text, size_bytes);
    field_id(&t, " job=", job);
    field_u64(&t, " ended=", now_ns);
    lr_text_string(&t, " status=");
    free_text(&t, status);
    return end(&t);
}

size_t lr_record_error(char *text, size_t size_bytes, uint64_t now_ns, lr_id task, lr_id job,
                       lr_err err, const char *function_name, const char *message)
{
    lr_text t = begin(text, size_bytes);
    field_id(&t, " task=", task);
    field_id(&t, " job=", job);
    field_u64(&t, " at=", now_ns);
    lr_text_string(&t, " code=");
    lr_text_string(&t, lr_err_code(err));
    lr_text_string(&t, " function=");
    free_text(&t, function_name);
    lr_text_string(&t, ": ");
    free_text(&t, message);
    return end(&t);
}
