#include "runtime/modules.h"

#include "runtime/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NAME_MAX_BYTES 200

typedef struct module {
    struct module *next;
    char name[NAME_MAX_BYTES];
    unsigned waiting;
    bool asked, answered; /* asked: since it was last answered */
    char *path, *text;    /* path NULL: it is nowhere */
    size_t text_bytes;
} module;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    module *all;
    bool lost;
} modules = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* ---- the node that asks ----------------------------------------------------------------------------- */

static module *find(const char *name)
{
    module *m = modules.all;
    while (m && strcmp(m->name, name) != 0)
        m = m->next;
    return m;
}

static module *find_or_add(const char *name)
{
    module *m = find(name);
    if (m) return m;
    m = calloc(1, sizeof *m);
    if (!m) return NULL;
    snprintf(m->name, sizeof m->name, "%s", name);
    m->next = modules.all;
    modules.all = m;
    return m;
}

/* Under the lock. False: not in time. */
static bool wait_for(module *m)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)(LR_MODULES_WAIT_NS / LR_NS_PER_S);
    m->waiting++;
    int rc = 0;
    while (!m->answered && !modules.lost && rc == 0)
        rc = pthread_cond_timedwait(&modules.changed, &modules.lock, &until);
    m->waiting--;
    return m->answered;
}

bool lr_modules_fetch(const char *name, void (*ring)(void), lr_module_source *out, char why[160])
{
    *out = (lr_module_source){.path = "", .text = ""};
    snprintf(why, 160, "its name is too long");
    if (strlen(name) >= NAME_MAX_BYTES) return false;
    pthread_mutex_lock(&modules.lock);
    module *m = find_or_add(name);
    bool ask = m && !m->path && !m->asked;
    if (ask) m->answered = false;
    pthread_mutex_unlock(&modules.lock);
    snprintf(why, 160, "not enough memory");
    if (!m) return false;
    if (ask) ring();
    pthread_mutex_lock(&modules.lock);
    bool there = wait_for(m);
    if (there && m->path) {
        out->path = m->path;
        out->text = m->text;
        out->text_bytes = m->text_bytes;
    } else if (there) {
        snprintf(out->nowhere, sizeof out->nowhere, "%s", m->text ? m->text : "");
        out->text = out->nowhere;
        out->text_bytes = strlen(out->nowhere);
    }
    snprintf(why, 160, "%s", modules.lost ? "the driver is gone" : "the driver did not answer in 10 s");
    pthread_mutex_unlock(&modules.lock);
    return there;
}

void lr_modules_turn(void (*ask)(const lr_message *m))
{
    pthread_mutex_lock(&modules.lock);
    for (module *m = modules.all; m; m = m->next) {
        if (m->asked || m->answered) continue;
        m->asked = true;
        lr_message want = {.kind = LR_MESSAGE_WANT_MODULE, .want_module.name = lr_bytes_of(m->name, strlen(m->name))};
        ask(&want);
    }
    pthread_mutex_unlock(&modules.lock);
}

static char *copy(lr_bytes bytes) { return strndup(bytes.at ? bytes.at : "", bytes.size_bytes); }

void lr_modules_came(const lr_message *message)
{
    char name[NAME_MAX_BYTES];
    snprintf(name, sizeof name, "%.*s", (int)message->module.name.size_bytes, (const char *)message->module.name.at);
    pthread_mutex_lock(&modules.lock);
    module *m = find(name);
    if (m && m->asked && !m->path) {
        free(m->text);
        m->text = malloc(message->module.text.size_bytes + 1);
        m->text_bytes = m->text ? message->module.text.size_bytes : 0;
        if (m->text_bytes) memcpy(m->text, message->module.text.at, m->text_bytes);
        if (m->text) m->text[m->text_bytes] = 0;
        m->path = m->text && message->module.path.size_bytes ? copy(message->module.path) : NULL;
        m->answered = true;
        m->asked = false;
        pthread_cond_broadcast(&modules.changed);
    }
    pthread_mutex_unlock(&modules.lock);
}

void lr_modules_lost(void)
{
    pthread_mutex_lock(&modules.lock);
    modules.lost = true;
    pthread_cond_broadcast(&modules.changed);
    pthread_mutex_unlock(&modules.lock);
}

/* ---- the driver ------------------------------------------------------------------------------------- */

/* "./?.lua" and "a.b" give "./a/b.lua". False: too long. */
static bool file_name(const char *from, size_t length, const char *name, char *to, size_t to_bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        if (from[i] != '?') {
            if (n + 1 >= to_bytes) return false;
            to[n++] = from[i];
            continue;
        }
        for (const char *c = name; *c; c++) {
            if (n + 1 >= to_bytes) return false;
            to[n++] = *c == '.' ? '/' : *c;
        }
    }
    to[n] = 0;
    return n > 0;
}

/* Appends the file to b. False: there is none that can be read. */
static bool read_file(const char *path, lr_builder *b)
{
    FILE *f = fopen(path, "re");
    if (!f) return false;
    size_t n = 1;
    while (n > 0 && b->size_bytes <= LR_MODULE_MAX) {
        uint8_t *at = lr_builder_room(b, 65536);
        n = at ? fread(at, 1, 65536, f) : 0;
        if (at) lr_builder_commit(b, at + n);
    }
    bool whole = !ferror(f) && !b->failed && b->size_bytes <= LR_MODULE_MAX;
    fclose(f);
    return whole;
}

void lr_modules_answer(const lr_message *want, const char *path, lr_builder *b, lr_message *out)
{
    static char file[4096]; /* the node thread's */
    char name[NAME_MAX_BYTES];
    lr_bytes wanted = want->want_module.name;
    snprintf(name, sizeof name, "%.*s", (int)wanted.size_bytes, (const char *)wanted.at);
    *out = (lr_message){.kind = LR_MESSAGE_MODULE, .module.name = want->want_module.name};
    lr_builder_reset(b);
    for (const char *at = path; at && *at;) {
        size_t length = strcspn(at, ";");
        bool named = length > 0 && !strstr(name, "..") && file_name(at, length, name, file, sizeof file);
        if (named && read_file(file, b)) {
            out->module.path = lr_bytes_of(file, strlen(file));
            out->module.text = lr_bytes_of(b->data, b->size_bytes);
            return;
        }
        lr_builder_reset(b);
        at += length + (at[length] == ';');
    }
    lr_builder_bytes(b, path, path ? strlen(path) : 0);
    out->module.text = lr_bytes_of(b->data, b->failed ? 0 : b->size_bytes);
}
