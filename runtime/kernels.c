/* runtime/kernels.c - the libraries that are open, how they are checked and where they are looked for.
 *
 * One list, one lock, held over dlopen too: two threads that ask for one library get one. The dynamic
 * linker itself tells whether a file is open already (same handle), so links and relative
 * paths need no care here. Nothing is ever closed but a library that was refused. */
#define _GNU_SOURCE
#include "runtime/kernels.h"

#include "runtime/crash.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define KERNELS_MAX 4096
#define SYMBOL "luarun_kernel_library"

static struct {
    pthread_mutex_t lock;
    lr_kernel_set *first;
} sets = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Writes a sentence into *message and returns code. */
__attribute__((format(printf, 3, 4))) static lr_err refuse(lr_err code, char **message,
                                                           const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(message, fmt, ap) < 0) *message = NULL;
    va_end(ap);
    return code;
}

/* ---- checking ------------------------------------------------------------------------------- */

static bool is_name(const char *s)
{
    if (!isalpha((unsigned char)*s) && *s != '_') return false;
    while (isalnum((unsigned char)*s) || *s == '_')
        s++;
    return *s == 0;
}

static bool is_earlier(const lr_kernel_library *table, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++)
        if (strcmp(table->entries[i].name, table->entries[index].name) == 0) return true;
    return false;
}

static lr_err check_entry(const lr_kernel_library *table, uint32_t index, const char *path,
                          char **message)
{
    const lr_kernel_entry *e = &table->entries[index];
    if (!e->name)
        return refuse(LR_ERR_KERNEL_ERROR, message, "kernel library %s: kernel %u has no name",
                      path, index + 1);
    if (!is_name(e->name))
        return refuse(LR_ERR_KERNEL_ERROR, message,
                      "kernel library %s: '%s' cannot name a kernel (letters, digits and _ can)",
                      path, e->name);
    if (!e->fn)
        return refuse(LR_ERR_KERNEL_ERROR, message,
                      "kernel library %s: kernel '%s' has no function", path, e->name);
    if (is_earlier(table, index))
        return refuse(LR_ERR_KERNEL_ERROR, message,
                      "kernel library %s has two kernels named '%s'", path, e->name);
    return LR_ERR_NONE;
}

/* The ABI first: nothing else of another version's table can be trusted to be where it is here. */
static lr_err check_table(const lr_kernel_library *table, const char *path, char **message)
{
    if (!table)
        return refuse(LR_ERR_KERNEL_ERROR, message,
                      "%s is not a kernel library: it does not export " SYMBOL
                      " (see LR_KERNELS in luarun/kernel.h)",
                      path);
    if (table->abi != LR_KERNEL_ABI)
        return refuse(LR_ERR_VERSION_MISMATCH, message,
                      "kernel library %s was built for kernel ABI %u; this luarun has ABI %u: "
                      "rebuild it against this luarun's luarun/kernel.h",
                      path, table->abi, LR_KERNEL_ABI);
    if (table->count == 0 || table->count > KERNELS_MAX || !table->entries)
        return refuse(LR_ERR_KERNEL_ERROR, message,
                      "kernel library %s: its table has %u kernels: 1 to %d wanted", path,
                      table->entries ? table->count : 0, KERNELS_MAX);
    for (uint32_t i = 0; i < table->count; i++) {
        lr_err err = check_entry(table, i, path, message);
        if (err) return err;
    }
    return LR_ERR_NONE;
}

/* ---- sets ----------------------------------------------------------------------------------- */

static void set_free(lr_kernel_set *set)
{
    for (uint32_t i = 0; set->kernels && i < set->count; i++) {
        free(set->kernels[i].name);
        free(set->kernels[i].site);
    }
    free(set->kernels);
    free(set->name);
    free(set->path);
    free(set);
}

/* "libgo.so.1" at any place is "go". */
static char *name_of_path(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    if (strncmp(base, "lib", 3) == 0 && base[3] && base[3] != '.') base += 3;
    return strndup(base, strcspn(base, "."));
}

static bool kernel_fill(lr_kernel *k, const lr_kernel_entry *entry, const lr_kernel_set *set)
{
    k->entry = entry;
    k->set = set;
    if (asprintf(&k->name, "%s.%s", set->name, entry->name) < 0) k->name = NULL;
    if (k->name && asprintf(&k->site, "tensor from kernel %s", k->name) < 0) k->site = NULL;
    return k->name && k->site;
}

static lr_kernel_set *set_new(const lr_kernel_library *table, const char *path, const char *name)
{
    lr_kernel_set *set = calloc(1, sizeof *set);
    if (!set) return NULL;
    set->count = table->count;
    set->name = name ? strdup(name) : name_of_path(path);
    set->path = strdup(path);
    set->kernels = calloc(table->count, sizeof *set->kernels);
    bool ok = set->name && set->path && set->kernels;
    for (uint32_t i = 0; ok && i < table->count; i++)
        ok = kernel_fill(&set->kernels[i], &table->entries[i], set);
    if (ok) return set;
    set_free(set);
    return NULL;
}

/* What dlerror says, without the path in front that the sentence has already. */
static const char *linker_says(const char *path)
{
    const char *text = dlerror();
    if (!text) return "unknown reason";
    size_t length = strlen(path);
    if (strncmp(text, path, length) == 0 && strncmp(text + length, ": ", 2) == 0)
        text += length + 2;
    return text;
}

static lr_err check_and_keep(void *handle, const char *path, const char *name,
                             lr_kernel_set **out, char **message)
{
    const lr_kernel_library *table = dlsym(handle, SYMBOL);
    lr_err err = check_table(table, path, message);
    if (err) return err;
    *out = set_new(table, path, name);
    if (!*out) return refuse(LR_ERR_OUT_OF_MEMORY, message, "no memory for kernel library %s", path);
    (*out)->handle = handle;
    (*out)->next = sets.first;
    sets.first = *out;
    lr_crash_install();
    return LR_ERR_NONE;
}

/* The lock is held. */
static lr_err open_set(const char *path, const char *name, lr_kernel_set **out, char **message)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return refuse(LR_ERR_KERNEL_ERROR, message, "kernel library %s cannot be opened: %s", path,
                      linker_says(path));
    for (lr_kernel_set *s = sets.first; s; s = s->next) {
        if (s->handle != handle) continue;
        dlclose(handle); /* it counts: this one is one too many */
        *out = s;
        return LR_ERR_NONE;
    }
    lr_err err = check_and_keep(handle, path, name, out, message);
    if (err) dlclose(handle);
    return err;
}

static lr_err load(const char *path, const char *name, lr_kernel_set **out, char **message)
{
    char *real = realpath(path, NULL); /* has a slash: the linker must not search */
    if (!real)
        return refuse(LR_ERR_KERNEL_ERROR, message, "kernel library %s cannot be opened: %s", path,
                      strerror(errno));
    *out = NULL;
    lr_err err = open_set(real, name, out, message);
    free(real);
    return err;
}

/* Where there is no memory for it the library is only not sent to machines of another kind. */
static void keep_source(lr_kernel_set *set, const lr_kernel_source *source)
{
    set->flags = calloc(source->flag_count + 1, sizeof(char *));
    for (; set->flags && set->flag_count < source->flag_count; set->flag_count++)
        if (!(set->flags[set->flag_count] = strdup(source->flags[set->flag_count]))) return;
    if (set->flags) set->text = strndup(source->source, source->source_bytes);
}

lr_err lr_kernels_load_source(const char *path, const lr_kernel_source *source, lr_id hash,
                              const lr_kernel_set **out, char **message)
{
    lr_kernel_set *set = NULL;
    pthread_mutex_lock(&sets.lock);
    lr_err err = load(path, source->name, &set, message);
    if (!err && lr_id_is_nil(set->source)) {
        set->source = hash;
        keep_source(set, source);
    }
    pthread_mutex_unlock(&sets.lock);
    *out = set;
    return err;
}

lr_err lr_kernels_load(const char *path, const char *name, const lr_kernel_set **out, char **message)
{
    lr_kernel_set *set = NULL;
    pthread_mutex_lock(&sets.lock);
    lr_err err = load(path, name, &set, message);
    pthread_mutex_unlock(&sets.lock);
    *out = set;
    return err;
}

const lr_kernel_set *lr_kernels_of_source(lr_id source)
{
    pthread_mutex_lock(&sets.lock);
    const lr_kernel_set *s = sets.first;
    while (s && !lr_id_equal(s->source, source))
        s = s->next;
    pthread_mutex_unlock(&sets.lock);
    return s;
}

lr_kernel *lr_kernels_get(const lr_kernel_set *set, const char *name)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (strcmp(set->kernels[i].entry->name, name) == 0) return &set->kernels[i];
    return NULL;
}

/* ---- finding -------------------------------------------------------------------------------- */

typedef struct search {
    const char *file; /* "libgo.so" */
    char *found;      /* the path, malloc'ed */
    FILE *tried;      /* one line a place */
    char *tried_text; /* what was written there, after a flush */
    size_t tried_bytes;
    bool failed;      /* no memory */
} search;

/* Two rules may name one place (the script's directory leads package.cpath): it is told once. */
static void note_tried(search *s, const char *path)
{
    size_t length = strlen(path);
    fflush(s->tried);
    for (const char *at = s->tried_text; at && (at = strstr(at, path)); at++)
        if (at[-1] == ' ' && (at[length] == '\n' || at[length] == 0)) return;
    fprintf(s->tried, "\n  %s", path);
}

/* Takes path over. True: there it is. */
static bool try_path(search *s, char *path)
{
    if (!path) {
        s->failed = true;
        return false;
    }
    if (access(path, F_OK) == 0) {
        s->found = path;
        return true;
    }
    note_tried(s, path);
    free(path);
    return false;
}

static bool try_directory(search *s, const char *directory, size_t length)
{
    char *path = NULL;
    if (length == 0) return false;
    if (asprintf(&path, "%.*s/%s", (int)length, directory, s->file) < 0) path = NULL;
    return try_path(s, path);
}

/* One of package.cpath's templates, with "?" replaced by "libgo". A template without one names another
 * library altogether. */
static bool try_template(search *s, const char *text, size_t length)
{
    const char *mark = memchr(text, '?', length);
    if (!mark) return false;
    char *path = NULL;
    int head = (int)(mark - text), stem = (int)strlen(s->file) - 3;
    int tail = (int)length - head - 1;
    if (asprintf(&path, "%.*s%.*s%.*s", head, text, stem, s->file, tail, mark + 1) < 0) path = NULL;
    return try_path(s, path);
}

static bool try_list(search *s, const char *list, char separator,
                     bool (*try_one)(search *, const char *, size_t))
{
    const char separators[] = {separator, 0};
    while (list && *list) {
        size_t length = strcspn(list, separators);
        if (try_one(s, list, length)) return true;
        list += length;
        if (*list) list++;
    }
    return false;
}

static bool cut_last(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash) *slash = 0;
    return slash != NULL;
}

static bool try_below(search *s, const char *directory, const char *folder)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s/%s", directory, folder, s->file) < 0) path = NULL;
    return try_path(s, path);
}

/* In a build tree the examples' kernels lie in kernels/ beside the program; installed, somewhere above it, wherever
 * the whole was moved to. */
static bool try_near_program(search *s)
{
    char directory[4096];
    ssize_t n = readlink("/proc/self/exe", directory, sizeof directory - 1);
    if (n <= 0) return false;
    directory[n] = 0;
    if (!cut_last(directory)) return false;
    if (try_below(s, directory, "kernels")) return true;
    const char *folder = LR_PROGRAM_TO_KERNELS; /* "../lib/luarun/kernels" */
    for (; strncmp(folder, "../", 3) == 0 && cut_last(directory); folder += 3) {
    }
    return try_below(s, directory, folder);
}

static bool try_places(search *s, const lr_kernel_places *places)
{
    for (size_t i = 0; i < places->directory_count; i++)
        if (try_directory(s, places->directories[i], strlen(places->directories[i]))) return true;
    if (try_list(s, places->cpath, ';', try_template)) return true;
    const char *kernels = getenv("LUARUN_KERNELS");
    if (try_list(s, kernels, ':', try_directory)) return true;
    if (try_near_program(s) || try_directory(s, LR_INSTALL_KERNELS, strlen(LR_INSTALL_KERNELS))) return true;
    if (!kernels || !*kernels) fprintf(s->tried, "\n  (LUARUN_KERNELS is not set)");
    return false;
}

static lr_err find_file(const char *name, const char *file, const lr_kernel_places *places,
                        const lr_kernel_set **out, char **message)
{
    search s = {.file = file};
    s.tried = open_memstream(&s.tried_text, &s.tried_bytes);
    if (!s.tried) return refuse(LR_ERR_OUT_OF_MEMORY, message, "no memory for a search");
    bool found = try_places(&s, places);
    fclose(s.tried);
    lr_err err;
    if (found)
        err = lr_kernels_load(s.found, name, out, message);
    else
        err = refuse(s.failed ? LR_ERR_OUT_OF_MEMORY : LR_ERR_KERNEL_ERROR, message,
                     "kernel library '%s' was not found; tried:%s", name, s.tried_text ? s.tried_text : "");
    free(s.found);
    free(s.tried_text);
    return err;
}

lr_err lr_kernels_find(const char *name, const lr_kernel_places *places, const lr_kernel_set **out,
                       char **message)
{
    if (strchr(name, '/')) return lr_kernels_load(name, NULL, out, message);
    if (!is_name(name))
        return refuse(LR_ERR_KERNEL_ERROR, message,
                      "'%s' cannot name a kernel library (letters, digits and _ can; or a path)",
                      name);
    char *file = NULL;
    if (asprintf(&file, "lib%s.so", name) < 0)
        return refuse(LR_ERR_OUT_OF_MEMORY, message, "no memory for a search");
    lr_err err = find_file(name, file, places, out, message);
    free(file);
    return err;
}
