/* runtime/kernel_compile.c - kernel libraries from source: the include directory, the cache, the compiler.
 *
 * What is compiled is named by the hash of all that decides its bytes: name, source, flags, compiler,
 * luarun/kernel.h itself, the kind of machine. A cached file is used only when nobody else could have
 * written it. The compiler is spawned without a shell, works in a fresh directory, and its result is
 * renamed into the cache, so that two processes may do the same at once. Where no cache can be written the
 * library is opened from a fresh temporary directory, which is gone as soon as it is open.
 * One compile at a time in a process, so that the same source is compiled once. */
#define _GNU_SOURCE
#include "runtime/kernels.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OUTPUT_LINES 20
#define OUTPUT_BYTES 8192
#define WORDS_MAX 64 /* arguments of one compiler run */
#define HEADER "luarun/kernel.h"

extern char **environ;

static pthread_mutex_t compiling = PTHREAD_MUTEX_INITIALIZER;

__attribute__((format(printf, 3, 4))) static lr_err refuse(lr_err code, char **message,
                                                           const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(message, fmt, ap) < 0) *message = NULL;
    va_end(ap);
    return code;
}

/* A malloc'ed formatted string, or NULL. */
__attribute__((format(printf, 1, 2))) static char *text_of(const char *fmt, ...)
{
    char *text;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0) text = NULL;
    va_end(ap);
    return text;
}

/* ---- the include directory ------------------------------------------------------------------ */

typedef struct hunt {
    char *found; /* malloc'ed */
    char *tried; /* one line a place, malloc'ed */
} hunt;

/* Takes directory over. */
static bool has_header(hunt *h, char *directory)
{
    char *header = directory ? text_of("%s/" HEADER, directory) : NULL;
    if (header && access(header, R_OK) == 0) {
        h->found = directory;
        free(header);
        return true;
    }
    char *tried = header ? text_of("%s\n  %s", h->tried ? h->tried : "", header) : NULL;
    if (tried) {
        free(h->tried);
        h->tried = tried;
    }
    free(header);
    free(directory);
    return false;
}

/* Installed, the program is PREFIX/bin/luarun; in a build tree ROOT/build/release/luarun. */
static bool has_header_near_program(hunt *h)
{
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0) return false;
    program[n] = 0;
    char *slash = strrchr(program, '/');
    if (!slash) return false;
    *slash = 0;
    return has_header(h, text_of("%s/../include", program)) ||
           has_header(h, text_of("%s/../../bindings/include", program));
}

static bool find_include(hunt *h)
{
    const char *told = getenv("LUARUN_INCLUDE");
    if (told && *told && has_header(h, strdup(told))) return true;
    if (has_header_near_program(h)) return true;
#ifdef LR_SOURCE_INCLUDE
    if (has_header(h, strdup(LR_SOURCE_INCLUDE))) return true;
#endif
#ifdef LR_INSTALL_INCLUDE
    if (has_header(h, strdup(LR_INSTALL_INCLUDE))) return true;
#endif
    return false;
}

/* ---- the job ---------------------------------------------------------------------------------- */

typedef struct job {
    const lr_kernel_source *source;
    const char *compiler; /* its words, as in $CC */
    char *include;
    lr_id hash;
    char *cache;   /* directory; NULL: none can be used */
    char *build;   /* the fresh directory of this compile */
    char *c_path, *so_path; /* in it */
    char **message;
} job;

static void job_fini(job *j)
{
    free(j->include);
    free(j->cache);
    free(j->build);
    free(j->c_path);
    free(j->so_path);
}

static lr_err no_memory(job *j)
{
    return refuse(LR_ERR_OUT_OF_MEMORY, j->message, "no memory to compile kernel library '%s'",
                  j->source->name);
}

static void add_file(FILE *out, const char *path)
{
    char bytes[4096];
    FILE *f = fopen(path, "re");
    if (!f) return;
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, f)) > 0;)
        fwrite(bytes, 1, n, out);
    fclose(f);
}

static bool hash_job(job *j)
{
    char *bytes = NULL, *header = text_of("%s/" HEADER, j->include);
    size_t size = 0;
    struct utsname machine;
    FILE *out = header ? open_memstream(&bytes, &size) : NULL;
    if (out) {
        if (uname(&machine) == 0) fprintf(out, "%s\n", machine.machine);
        fprintf(out, "%u\n%s\n%s\n", LR_KERNEL_ABI, j->compiler, j->source->name);
        for (size_t i = 0; i < j->source->flag_count; i++)
            fprintf(out, "%zu %s\n", i, j->source->flags[i]);
        add_file(out, header);
        fwrite(j->source->source, 1, j->source->source_bytes, out);
        fclose(out);
        j->hash = lr_id_from_bytes(bytes, size);
    }
    free(header);
    free(bytes);
    return out != NULL;
}

/* ---- the cache -------------------------------------------------------------------------------- */

/* Only what nobody but this user or root can write to is trusted. */
static bool is_ours(const char *path, mode_t kind)
{
    struct stat st;
    return lstat(path, &st) == 0 && (st.st_mode & S_IFMT) == kind &&
           (st.st_uid == geteuid() || st.st_uid == 0) && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* Makes the directories that are missing on the way to path, for this user only. */
static void make_directories(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
    mkdir(path, 0700);
}

char *lr_kernels_cache(void)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *path = NULL;
    if (base && base[0] == '/')
        path = text_of("%s/luarun/kernels", base);
    else if (home && home[0] == '/')
        path = text_of("%s/.cache/luarun/kernels", home);
    if (!path) return NULL;
    make_directories(path);
    if (is_ours(path, S_IFDIR)) return path;
    free(path);
    return NULL;
}

static char *cached_path(const job *j)
{
    char hash[LR_ID_TEXT];
    lr_id_format(j->hash, hash);
    return j->cache ? text_of("%s/%s.so", j->cache, hash) : NULL;
}

static bool load_cached(job *j, const lr_kernel_set **out)
{
    char *path = cached_path(j), *ignored = NULL;
    bool ok = path && is_ours(path, S_IFREG) &&
              lr_kernels_load_source(path, j->source, j->hash, out, &ignored) == LR_ERR_NONE;
    free(ignored); /* a damaged file is compiled again */
    free(path);
    return ok;
}

/* ---- the compiler ------------------------------------------------------------------------------ */

#define STALE_S 3600 /* no compiler runs for so long: who made that directory was killed meanwhile */

static void empty_directory(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.') unlinkat(dirfd(d), e->d_name, 0);
    if (d) closedir(d);
}

/* Removes the build directories that killed processes left in the cache. */
static void sweep(const char *cache)
{
    DIR *d = opendir(cache);
    for (struct dirent *e; d && (e = readdir(d));) {
        struct stat st;
        if (strncmp(e->d_name, "build-", 6) != 0) continue;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode)) continue;
        if (st.st_uid != geteuid() || time(NULL) - st.st_mtime < STALE_S) continue;
        char *path = text_of("%s/%s", cache, e->d_name);
        if (path) {
            empty_directory(path);
            rmdir(path);
        }
        free(path);
    }
    if (d) closedir(d);
}

/* A fresh directory in the cache, else where temporary files go (the cache is then out of use). */
static bool make_build(job *j)
{
    if (j->cache) {
        sweep(j->cache);
        j->build = text_of("%s/build-XXXXXX", j->cache);
        if (j->build && mkdtemp(j->build)) return true;
        free(j->build);
        free(j->cache);
        j->cache = NULL;
    }
    const char *tmp = getenv("TMPDIR");
    j->build = text_of("%s/luarun-kernel-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    return j->build && mkdtemp(j->build);
}

static void remove_build(job *j)
{
    if (j->c_path) unlink(j->c_path);
    if (j->so_path) unlink(j->so_path);
    if (j->build) rmdir(j->build);
}

static bool write_source(const job *j)
{
    FILE *f = fopen(j->c_path, "wxe");
    if (!f) return false;
    size_t done = fwrite(j->source->source, 1, j->source->source_bytes, f);
    return fclose(f) == 0 && done == j->source->source_bytes;
}

/* The compiler's own words are cut at white space ("ccache gcc"); text is overwritten and used. */
static void compiler_words(const job *j, char *text, char *include, char **words)
{
    size_t n = 0;
    for (char *save, *w = strtok_r(text, " \t", &save); w && n < 16; w = strtok_r(NULL, " \t", &save))
        words[n++] = w;
    char *ours[] = {"-O2", "-shared", "-fPIC", include, "-o", j->so_path, j->c_path};
    for (size_t i = 0; i < LR_COUNT(ours); i++)
        words[n++] = ours[i];
    for (size_t i = 0; i < j->source->flag_count && n < WORDS_MAX - 1; i++)
        words[n++] = (char *)(uintptr_t)j->source->flags[i];
    words[n] = NULL;
}

/* Reads to the end, keeping the first OUTPUT_BYTES - 1 bytes and a 0. */
static void read_output(int fd, char *output)
{
    size_t kept = 0;
    for (;;) {
        char bytes[4096];
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        size_t room = OUTPUT_BYTES - 1 - kept, take = (size_t)n < room ? (size_t)n : room;
        memcpy(output + kept, bytes, take);
        kept += take;
    }
    output[kept] = 0;
}

static int spawn(char **words, int write_fd, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, write_fd, 1);
    posix_spawn_file_actions_adddup2(&actions, write_fd, 2);
    int rc = posix_spawnp(pid, words[0], &actions, &attributes, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

/* Runs the compiler, its output into output. 0: it succeeded; -1: it failed; else an errno. */
static int run_compiler(char **words, char *output)
{
    int ends[2], status = 0;
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) != 0) return errno;
    int rc = spawn(words, ends[1], &pid);
    close(ends[1]);
    if (rc == 0) read_output(ends[0], output);
    close(ends[0]);
    if (rc != 0) return rc;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

/* Takes every occurrence of the build directory out, so that lines begin "mine.c:3:5: error". */
static void shorten(char *output, const char *build)
{
    size_t length = strlen(build) + 1;
    char *to = output, *from = output;
    while (*from) {
        if (strncmp(from, build, length - 1) == 0 && from[length - 1] == '/')
            from += length;
        else
            *to++ = *from++;
    }
    *to = 0;
}

static void first_lines(char *output)
{
    char *at = output;
    for (int i = 0; i < OUTPUT_LINES && at; i++) {
        at = strchr(at, '\n');
        if (at) at++;
    }
    if (at && *at) strcpy(at, "..."); /* a line was cut off: there is room for it or the buffer's end */
    size_t length = strlen(output);
    while (length > 0 && output[length - 1] == '\n')
        output[--length] = 0;
}

static lr_err say_outcome(job *j, int rc, const char *compiler, char *output)
{
    const char *name = j->source->name;
    if (rc == ENOENT)
        return refuse(LR_ERR_KERNEL_ERROR, j->message,
                      "kernel library '%s' cannot be compiled: there is no compiler '%s' (install "
                      "gcc or clang, or set CC)",
                      name, compiler);
    if (rc > 0)
        return refuse(LR_ERR_KERNEL_ERROR, j->message,
                      "kernel library '%s' cannot be compiled: %s cannot be run: %s", name, compiler,
                      strerror(rc));
    shorten(output, j->build);
    first_lines(output);
    return refuse(LR_ERR_KERNEL_ERROR, j->message, "kernel library '%s' does not compile:\n%s",
                  name, *output ? output : "(the compiler says nothing)");
}

static lr_err compile(job *j)
{
    char output[OUTPUT_BYTES + 4] = "";
    char *words[WORDS_MAX];
    char *text = strdup(j->compiler), *include = text_of("-I%s", j->include);
    lr_err err = LR_ERR_NONE;
    if (!text || !include) {
        err = no_memory(j);
    } else {
        compiler_words(j, text, include, words);
        int rc = run_compiler(words, output);
        if (rc != 0) err = say_outcome(j, rc, words[0], output);
    }
    free(text);
    free(include);
    return err;
}

/* Opens what was compiled: from the cache, where there is one, so that debuggers find it later. */
static lr_err load_compiled(job *j, const lr_kernel_set **out)
{
    char *cached = cached_path(j);
    bool moved = cached && rename(j->so_path, cached) == 0;
    lr_err err = lr_kernels_load_source(moved ? cached : j->so_path, j->source, j->hash, out,
                                        j->message);
    free(cached);
    return err;
}

static lr_err build(job *j, const lr_kernel_set **out)
{
    if (!make_build(j))
        return refuse(LR_ERR_KERNEL_ERROR, j->message,
                      "kernel library '%s' cannot be compiled: no directory can be made in %s: %s",
                      j->source->name, getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", strerror(errno));
    j->c_path = text_of("%s/%s.c", j->build, j->source->name);
    j->so_path = text_of("%s/lib%s.so", j->build, j->source->name);
    lr_err err = j->c_path && j->so_path ? LR_ERR_NONE : no_memory(j);
    if (!err && !write_source(j))
        err = refuse(LR_ERR_KERNEL_ERROR, j->message,
                     "kernel library '%s' cannot be compiled: %s cannot be written: %s",
                     j->source->name, j->c_path, strerror(errno));
    if (!err) err = compile(j);
    if (!err) err = load_compiled(j, out);
    remove_build(j);
    return err;
}

/* The lock is held. */
static lr_err compile_once(job *j, const lr_kernel_set **out)
{
    *out = lr_kernels_of_source(j->hash);
    if (*out) return LR_ERR_NONE;
    j->cache = lr_kernels_cache();
    if (load_cached(j, out)) return LR_ERR_NONE;
    return build(j, out);
}

static bool is_name(const char *s)
{
    if (!isalpha((unsigned char)*s) && *s != '_') return false;
    while (isalnum((unsigned char)*s) || *s == '_')
        s++;
    return *s == 0;
}

static lr_err check_source(const lr_kernel_source *source, char **message)
{
    if (!is_name(source->name))
        return refuse(LR_ERR_KERNEL_ERROR, message,
                      "'%s' cannot name a kernel library (letters, digits and _ can)", source->name);
    if (source->flag_count > WORDS_MAX - 32)
        return refuse(LR_ERR_KERNEL_ERROR, message,
                      "kernel library '%s': at most %d flags, %zu given", source->name,
                      WORDS_MAX - 32, source->flag_count);
    return LR_ERR_NONE;
}

lr_err lr_kernels_compile(const lr_kernel_source *source, const lr_kernel_set **out, char **message)
{
    const char *cc = getenv("CC");
    job j = {.source = source, .compiler = "cc", .message = message};
    hunt h = {0};
    if (cc && cc[strspn(cc, " \t")]) j.compiler = cc;
    lr_err err = check_source(source, message);
    if (err) return err;
    if (!find_include(&h)) {
        err = refuse(LR_ERR_KERNEL_ERROR, message,
                     "kernel library '%s' cannot be compiled: " HEADER " was not found; tried:%s\n  "
                     "(LUARUN_INCLUDE can name its directory)",
                     source->name, h.tried ? h.tried : "");
    } else {
        j.include = h.found;
        pthread_mutex_lock(&compiling);
        err = hash_job(&j) ? compile_once(&j, out) : no_memory(&j);
        pthread_mutex_unlock(&compiling);
    }
    free(h.tried);
    job_fini(&j);
    return err;
}
