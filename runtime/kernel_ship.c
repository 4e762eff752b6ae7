#include "runtime/kernel_ship.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FLAGS_MAX 64

static lr_err refuse(char **message, const char *format, ...) __attribute__((format(printf, 2, 3)));

static lr_err refuse(char **message, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    if (vasprintf(message, format, list) < 0) *message = NULL;
    va_end(list);
    return LR_ERR_KERNEL_ERROR;
}

static void machine(char text[80])
{
    struct utsname u;
    snprintf(text, 80, "%s", uname(&u) == 0 ? u.machine : "?");
}

/* ---- out -------------------------------------------------------------------------------------------- */

static void write_text(lr_builder *b, const char *text)
{
    size_t size = text ? strlen(text) : 0;
    lr_builder_varint(b, size);
    lr_builder_bytes(b, text, size);
}

static void write_file(lr_builder *b, const char *path)
{
    struct stat s;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *bytes = NULL;
    size_t size = 0, got = 0;
    if (fd >= 0 && fstat(fd, &s) == 0 && s.st_size > 0 && s.st_size <= LR_KERNEL_FILE_MAX) size = (size_t)s.st_size;
    if (size > 0) bytes = malloc(size);
    for (ssize_t n = 1; bytes && got < size && n > 0; got += n > 0 ? (size_t)n : 0)
        n = read(fd, bytes + got, size - got);
    if (fd >= 0) close(fd);
    lr_builder_varint(b, got == size ? size : 0);
    if (bytes && got == size) lr_builder_bytes(b, bytes, size);
    free(bytes);
}

void lr_kernel_ship(const lr_kernel_set *set, lr_builder *b)
{
    char kind[80];
    machine(kind);
    write_text(b, kind);
    write_file(b, set->path);
    write_text(b, set->text);
    lr_builder_varint(b, set->flag_count);
    for (size_t i = 0; i < set->flag_count; i++)
        write_text(b, set->flags[i]);
}

/* ---- in --------------------------------------------------------------------------------------------- */

typedef struct text { const uint8_t *at; size_t size_bytes; } text;

static text read_text(lr_reader *r)
{
    uint64_t size = lr_read_varint(r);
    const uint8_t *at = lr_read_bytes(r, size);
    return (text){at, at ? (size_t)size : 0};
}

static bool write_all(int fd, text file)
{
    for (size_t done = 0; done < file.size_bytes;) {
        ssize_t n = write(fd, file.at + done, file.size_bytes - done);
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

/* Renamed into its place when it is whole: two processes may do the same at once. */
static bool keep(const char *directory, const char *path, text file)
{
    char *draft = NULL;
    if (asprintf(&draft, "%s/shipped-XXXXXX", directory) < 0) return false;
    int fd = mkostemp(draft, O_CLOEXEC);
    bool done = fd >= 0 && write_all(fd, file);
    if (fd >= 0) done = close(fd) == 0 && done;
    done = done && rename(draft, path) == 0;
    if (!done && fd >= 0) unlink(draft);
    free(draft);
    return done;
}

static lr_err open_file(const char *name, text file, const lr_kernel_set **out, char **message)
{
    char hash[LR_ID_TEXT], *directory = lr_kernels_cache(), *path = NULL;
    lr_id_format(lr_id_from_bytes(file.at, file.size_bytes), hash);
    if (!directory || asprintf(&path, "%s/%s.so", directory, hash) < 0) path = NULL;
    lr_err err;
    if (!path)
        err = refuse(message, "kernel library '%s' came from another node and cannot be kept: there is no cache (HOME, "
                     "XDG_CACHE_HOME)", name);
    else if (access(path, R_OK) != 0 && !keep(directory, path, file))
        err = refuse(message, "kernel library '%s' came from another node and cannot be written to %s", name, path);
    else
        err = lr_kernels_load(path, name, out, message);
    free(directory);
    free(path);
    return err;
}

static lr_err compile(const char *name, text source, lr_reader *r, const lr_kernel_set **out, char **message)
{
    char *flags[FLAGS_MAX];
    uint64_t count = lr_read_varint(r), made = 0;
    if (count > FLAGS_MAX) return refuse(message, "kernel library '%s' came malformed from another node", name);
    for (; made < count; made++) {
        text flag = read_text(r);
        flags[made] = r->ok ? strndup((const char *)flag.at, flag.size_bytes) : NULL;
        if (!flags[made]) break;
    }
    lr_kernel_source s = {name, (const char *)source.at, source.size_bytes, (const char *const *)flags, (size_t)count};
    lr_err err = made == count ? lr_kernels_compile(&s, out, message)
                               : refuse(message, "kernel library '%s' came malformed from another node", name);
    while (made > 0)
        free(flags[--made]);
    return err;
}

lr_err lr_kernel_unship(const char *name, const void *bytes, size_t size_bytes, const lr_kernel_set **out,
                        char **message)
{
    char here[80];
    lr_reader r = lr_reader_of(bytes, size_bytes);
    text kind = read_text(&r), file = read_text(&r), source = read_text(&r);
    machine(here);
    *message = NULL;
    if (!r.ok) return refuse(message, "kernel library '%s' came malformed from another node", name);
    bool same = kind.size_bytes == strlen(here) && memcmp(kind.at, here, kind.size_bytes) == 0;
    if (same && file.size_bytes > 0) return open_file(name, file, out, message);
    if (source.size_bytes > 0) return compile(name, source, &r, out, message);
    if (same)
        return refuse(message, "kernel library '%s' could not be read, or is larger than %u MiB: it is not sent; "
                      "install it on every node", name, LR_KERNEL_FILE_MAX >> 20);
    return refuse(message, "kernel library '%s' is for %.*s and this node is %s: install it there, or give its source",
                  name, (int)kind.size_bytes, (const char *)kind.at, here);
}
