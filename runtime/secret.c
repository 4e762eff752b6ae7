#include "runtime/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void lr_secret_clear(lr_secret *secret) { explicit_bzero(secret, sizeof *secret); }

static bool is_blank(uint8_t c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static bool take(lr_secret *out, const uint8_t *bytes, size_t size_bytes, const char *from, char *text)
{
    while (size_bytes > 0 && is_blank(bytes[size_bytes - 1]))
        size_bytes--;
    while (size_bytes > 0 && is_blank(*bytes))
        bytes++, size_bytes--;
    if (size_bytes == 0 || size_bytes > LR_SECRET_MAX) {
        snprintf(text, LR_SECRET_TEXT, "the secret in %s %s; put 32 random characters there, the same on every node",
                 from, size_bytes == 0 ? "is empty" : "is longer than 1024 bytes");
        return false;
    }
    memcpy(out->bytes, bytes, size_bytes);
    out->size_bytes = size_bytes;
    return true;
}

/* Is the file one that nobody else can read or has planted? */
static bool is_private(int fd, const char *path, char *text)
{
    struct stat s;
    if (fstat(fd, &s) != 0) {
        snprintf(text, LR_SECRET_TEXT, "the secret file %s cannot be examined: %s", path, strerror(errno));
    } else if (!S_ISREG(s.st_mode)) {
        snprintf(text, LR_SECRET_TEXT, "the secret file %s is not a file; give the path of one", path);
    } else if (s.st_uid != geteuid()) {
        snprintf(text, LR_SECRET_TEXT, "the secret file %s belongs to another user; make it your own: chown %u %s",
                 path, (unsigned)geteuid(), path);
    } else if (s.st_mode & 077) {
        snprintf(text, LR_SECRET_TEXT, "the secret file %s can be read by others (mode %04o); run: chmod 600 %s", path,
                 (unsigned)(s.st_mode & 07777), path);
    } else {
        return true;
    }
    return false;
}

static bool load_file(lr_secret *out, const char *path, char *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        snprintf(text, LR_SECRET_TEXT, "the secret file %s cannot be read: %s; check the path and its mode", path,
                 strerror(errno));
        return false;
    }
    uint8_t bytes[LR_SECRET_MAX + 16];
    size_t size_bytes = 0;
    bool good = is_private(fd, path, text);
    while (good && size_bytes < sizeof bytes) {
        ssize_t n = read(fd, bytes + size_bytes, sizeof bytes - size_bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            snprintf(text, LR_SECRET_TEXT, "the secret file %s cannot be read: %s", path, strerror(errno));
            good = false;
        }
        if (n <= 0) break;
        size_bytes += (size_t)n;
    }
    close(fd);
    good = good && take(out, bytes, size_bytes, path, text);
    explicit_bzero(bytes, sizeof bytes);
    return good;
}

bool lr_secret_load(lr_secret *out, const char *value, const char *path, char text[LR_SECRET_TEXT])
{
    *out = (lr_secret){0};
    text[0] = 0;
    if (value) return take(out, (const uint8_t *)value, strlen(value), "LUARUN_SECRET", text);
    return !path || load_file(out, path, text);
}
