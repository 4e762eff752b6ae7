#include "runtime/inspection.h"

#include "runtime/clock.h"
#include "runtime/cluster.h"
#include "runtime/fn.h"
#include "runtime/here.h"
#include "runtime/member.h"
#include "runtime/shared.h"
#include "runtime/store.h"
#include "runtime/task_list.h"
#include "sched/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MS 1000000ull
#define WAIT_NS (300 * MS)
#define KEPT_NS (2 * LR_NS_PER_S) /* an answer that nobody fetches */
#define QUESTIONS_MAX 16u
#define NAME_BYTES 256
#define OBJECTS_MORE 64u /* that may come between counting and listing */
#define ROWS_MIN 8u /* of each process, however many there are */

typedef struct question {
    struct question *next;
    lr_id token;
    lr_message inspect;
    uint64_t at_ns; /* when to answer, then when to take the answer back */
    unsigned asked, answered;
    bool told;
    char *text;
    size_t size_bytes;
} question;

static question *questions;

/* ---- this process's lines ---------------------------------------------------------------------------------- */

static void write_line(FILE *out, const char *field, const char *string)
{
    char line[NAME_BYTES];
    lr_text t = lr_text_of(line, sizeof line);
    if (!string) string = "?";
    lr_text_line(&t, string, strlen(string));
    fprintf(out, " %s=%s\n", field, line);
}

static void write_id(FILE *out, const char *field, lr_id id)
{
    char text[LR_ID_TEXT];
    lr_id_format(id, text);
    fprintf(out, " %s=%s", field, text);
}

static void write_process(FILE *out, lr_id node, uint64_t total)
{
    lr_here here;
    lr_here_find(&here);
    fputc('1', out);
    write_id(out, "process", node);
    fprintf(out, " host=%s pid=%d total=%llu", here.host, (int)getpid(), (unsigned long long)total);
}

static bool write_tasks(FILE *out, const lr_message *m, lr_id node)
{
    uint64_t total = 0, guests = 0, now = lr_clock_ticks();
    size_t count = 0;
    const lr_task_query query = {.state = (int)m->inspect.state - 1, .limit = (size_t)m->inspect.limit,
                                 .guests = &guests};
    lr_task_row *rows = lr_task_list(&query, &count, &total);
    if (!rows) return false;
    write_process(out, node, total);
    fprintf(out, " guests=%llu\n", (unsigned long long)guests);
    for (size_t i = 0; i < count; i++) {
        const lr_task_row *r = &rows[i];
        uint64_t age = now > r->submitted_ticks ? lr_clock_ticks_ns(now - r->submitted_ticks) : 0;
        fputc('1', out);
        write_id(out, "task", r->id);
        bool away = !r->guest && r->state == LR_TASK_RUNNING && lr_cluster_has_away(r->id);
        fprintf(out, " state=%s age=%llu attempt=%u children=%u", lr_task_state_name(r->state),
                (unsigned long long)(age / MS), r->attempt, r->children);
        fprintf(out, " progress=%u guest=%d away=%d", r->progress, r->guest, away);
        write_line(out, "name", r->name);
    }
    free(rows);
    return true;
}

static void write_store(FILE *out, lr_id node)
{
    struct lr_store_stats s;
    lr_store_stats(&s);
    write_process(out, node, s.count);
    fprintf(out, " used=%llu capacity=%llu peak=%llu spilled=%llu held=%llu elsewhere=%llu\n",
            (unsigned long long)s.used_bytes, (unsigned long long)s.capacity_bytes, (unsigned long long)s.peak_bytes,
            (unsigned long long)s.spilled_bytes, (unsigned long long)s.limbo_bytes, (unsigned long long)s.view_bytes);
}

static bool write_objects(FILE *out, const lr_message *m, lr_id node)
{
    size_t room = lr_shared_list(NULL, 0) + OBJECTS_MORE;
    lr_object_info *list = malloc(room * sizeof *list);
    if (!list) return false;
    size_t count = lr_shared_list(list, room);
    if (count > room) count = room;
    write_store(out, node);
    for (size_t i = 0; i < count && i < m->inspect.limit; i++) {
        const lr_object_info *o = &list[i];
        fprintf(out, "1 bytes=%llu references=%llu where=%s", (unsigned long long)o->size_bytes,
                (unsigned long long)o->holders, lr_object_place(o->where));
        if (o->pid) fprintf(out, " pid=%llu", (unsigned long long)o->pid);
        if (!lr_id_is_nil(o->id)) write_id(out, "id", o->id);
        write_line(out, "site", o->site);
    }
    free(list);
    return true;
}

/* The same in every process that has it: code is sent as it is. Bytes: of the code and of what it caught. */
static lr_id function_id(const lr_fn *fn, uint64_t *bytes)
{
    lr_id id = lr_id_from_bytes(fn->name ? fn->name : "", fn->name ? strlen(fn->name) : 0);
    lr_object *const *refs = lr_value_refs(&fn->body);
    lr_id body = lr_id_from_bytes(lr_value_bytes(&fn->body), fn->body.size_bytes);
    *bytes = fn->body.size_bytes;
    id = lr_id_child(id, body.lo);
    for (uint32_t i = 0; i < lr_value_ref_count(&fn->body); i++) {
        if (refs[i]->kind != LR_OBJECT_CODE) continue;
        const lr_code *code = (const lr_code *)(const void *)refs[i];
        id = lr_id_child(id, code->hash.lo);
        *bytes += code->size_bytes;
    }
    return id;
}

typedef struct function_list {
    FILE *out; /* NULL: they are counted */
    uint64_t count, limit;
} function_list;

static void write_function(void *user, const lr_fn *fn)
{
    static const char *const kinds[] = {[LR_FN_LUA] = "lua", [LR_FN_MODULE] = "module", [LR_FN_KERNEL] = "kernel"};
    function_list *l = user;
    uint64_t bytes;
    if (!lr_fn_is_whole(fn) || l->count++ >= l->limit || !l->out) return;
    fputc('1', l->out);
    write_id(l->out, "fn", function_id(fn, &bytes));
    fprintf(l->out, " kind=%s bytes=%llu", kinds[fn->kind], (unsigned long long)bytes);
    fprintf(l->out, " mean=%llu", (unsigned long long)atomic_load(&fn->mean_ns));
    write_line(l->out, "name", fn->name);
}

static bool write_functions(FILE *out, const lr_message *m, lr_id node)
{
    function_list all = {NULL, 0, m->inspect.limit}, list = {out, 0, m->inspect.limit};
    lr_fn_each(write_function, &all);
    write_process(out, node, all.count);
    fputc('\n', out);
    lr_fn_each(write_function, &list);
    return true;
}

char *lr_inspection_write(const lr_message *m, lr_id node, size_t *size_bytes)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, size_bytes);
    if (!out) return NULL;
    bool (*const write)(FILE *, const lr_message *, lr_id) = m->inspect.what == LR_INSPECT_TASKS ? write_tasks
                                                             : m->inspect.what == LR_INSPECT_OBJECTS ? write_objects
                                                                                                     : write_functions;
    bool whole = write(out, m, node);
    if (fclose(out) == 0 && whole) return text;
    free(text);
    return NULL;
}

/* ---- a driver's questions ------------------------------------------------------------------------------------ */

static question *find(lr_id token)
{
    question *q = questions;
    while (q && !lr_id_equal(q->token, token))
        q = q->next;
    return q;
}

static bool add_text(question *q, const char *text, size_t size_bytes)
{
    if (q->size_bytes + size_bytes > LR_CONTROL_VALUE_MAX / 2) return false;
    char *bigger = realloc(q->text, q->size_bytes + size_bytes + 1);
    if (!bigger) return false;
    memcpy(bigger + q->size_bytes, text, size_bytes);
    q->text = bigger;
    q->size_bytes += size_bytes;
    return true;
}

/* "tasks:running:TOKEN", "objects:any:TOKEN" */
static bool parse(lr_bytes key, lr_message *m)
{
    char text[LR_CONTROL_KEY_MAX + 1], *rest = text;
    if (key.size_bytes == 0 || key.size_bytes >= sizeof text) return false; /* empty: the connection was made anew */
    memcpy(text, key.at, key.size_bytes);
    text[key.size_bytes] = 0;
    const char *what = strsep(&rest, ":"), *state = strsep(&rest, ":");
    if (!state || !rest || !lr_id_parse(rest, &m->inspect.token)) return false;
    m->kind = LR_MESSAGE_INSPECT;
    static const char *const names[] = {"tasks", "objects", "functions"};
    m->inspect.what = LR_COUNT(names);
    for (unsigned i = 0; i < LR_COUNT(names); i++)
        if (strcmp(what, names[i]) == 0) m->inspect.what = i;
    m->inspect.state = strcmp(state, "any") == 0 ? 0 : (uint64_t)lr_task_state_from_name(state) + 1;
    return m->inspect.what < LR_COUNT(names) && m->inspect.state <= LR_TASK_STATE_COUNT;
}

static question *new_question(const lr_message *m)
{
    unsigned count = 0;
    for (const question *q = questions; q; q = q->next)
        count++;
    question *q = count < QUESTIONS_MAX ? calloc(1, sizeof *q) : NULL;
    if (!q) return NULL;
    *q = (question){.next = questions, .token = m->inspect.token, .inspect = *m,
                    .at_ns = lr_clock_ns() + WAIT_NS};
    questions = q;
    return q;
}

void lr_inspection_asked(lr_bytes key)
{
    lr_message m;
    if (!parse(key, &m) || find(m.inspect.token)) return;
    question *q = new_question(&m);
    if (!q) return; /* the asker says that nobody answered */
    m.inspect.limit = LR_INSPECTION_ROWS / (lr_cluster_node_count() + 1);
    if (m.inspect.limit < ROWS_MIN) m.inspect.limit = ROWS_MIN;
    q->asked = lr_cluster_tell_all(&m);
}

void lr_inspection_came(const lr_message *m)
{
    question *q = find(m->inspected.token);
    if (!q || q->told || q->answered >= q->asked) return;
    lr_bytes text = m->inspected.text;
    if (text.size_bytes > 0 && add_text(q, text.at, text.size_bytes)) q->answered++;
}

static size_t count_lines(const question *q)
{
    size_t count = 0;
    for (size_t i = 0; i < q->size_bytes; i++)
        count += q->text[i] == '\n';
    return count;
}

/* The driver's own lines come last: they have the room that the others have left. */
static void add_own(question *q)
{
    size_t size = 0, taken = count_lines(q);
    q->inspect.inspect.limit = taken + ROWS_MIN < LR_INSPECTION_ROWS ? LR_INSPECTION_ROWS - taken : ROWS_MIN;
    char *own = lr_inspection_write(&q->inspect, lr_cluster_node(), &size);
    if (!own || !add_text(q, own, size)) q->asked++; /* so that it is said that some is missing */
    free(own);
}

static void answer(question *q)
{
    char head[64];
    add_own(q);
    int n = snprintf(head, sizeof head, "1 asked=%u answered=%u\n", q->asked, q->answered);
    size_t size = (size_t)n + q->size_bytes;
    char *all = malloc(size);
    if (all) {
        memcpy(all, head, (size_t)n);
        if (q->text) memcpy(all + n, q->text, q->size_bytes);
        lr_member_answer(q->token, lr_bytes_of(all, size));
    }
    free(all);
    free(q->text);
    q->text = NULL;
    q->told = true;
    q->at_ns = lr_clock_ns() + KEPT_NS;
}

void lr_inspection_turn(void)
{
    for (question **link = &questions, *q; (q = *link);) {
        bool due = lr_clock_ns() >= q->at_ns;
        if (!q->told && (due || q->answered == q->asked)) answer(q);
        else if (q->told && due) {
            lr_member_take_back(q->token);
            *link = q->next;
            free(q);
            continue;
        }
        link = &q->next;
    }
}

uint64_t lr_inspection_deadline(void)
{
    uint64_t deadline = LR_NEVER;
    for (const question *q = questions; q; q = q->next)
        if (!q->told && q->answered == q->asked) return 0;
        else if (q->at_ns < deadline) deadline = q->at_ns;
    return deadline;
}

void lr_inspection_close(void)
{
    for (question *q; (q = questions);) {
        questions = q->next;
        free(q->text);
        free(q);
    }
}
