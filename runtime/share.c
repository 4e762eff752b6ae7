#include "runtime/share.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x316572616873726cull /* "lrshare1" */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

static bool read_boot(uint8_t out[16])
{
    char text[64] = "";
    unsigned digits = 0;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    memset(out, 0, 16);
    for (ssize_t i = 0; i < n && digits < 32; i++) {
        char c = text[i];
        int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (value < 0) continue;
        out[digits / 2] = (uint8_t)(out[digits / 2] << 4 | value);
        digits++;
    }
    return digits == 32;
}

static bool read_namespace(const char *path, uint8_t out[8])
{
    struct stat st;
    if (stat(path, &st) != 0) return false;
    uint64_t number = (uint64_t)st.st_ino;
    memcpy(out, &number, 8);
    return true;
}

void lr_share_host(uint8_t host[LR_HOST_BYTES])
{
    bool known = read_boot(host) && read_namespace("/proc/self/ns/pid", host + 16) &&
                 read_namespace("/proc/self/ns/net", host + 24);
    if (!known) memset(host, 0, LR_HOST_BYTES);
}

bool lr_share_same_host(const uint8_t a[LR_HOST_BYTES], const uint8_t b[LR_HOST_BYTES])
{
    static const uint8_t unknown[LR_HOST_BYTES];
    return memcmp(a, unknown, LR_HOST_BYTES) != 0 && memcmp(a, b, LR_HOST_BYTES) == 0;
}

static bool map(lr_share *s, int fd, size_t size_bytes)
{
    void *at = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) return false;
    *s = (lr_share){.at = at, .size_bytes = size_bytes, .fd = fd};
    return true;
}

bool lr_share_make(lr_share *s, size_t size_bytes)
{
    *s = (lr_share){.fd = -1};
    lr_share_head head = {.magic = MAGIC};
    int fd = memfd_create("luarun", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return false;
    if (getrandom(head.nonce, sizeof head.nonce, 0) != (ssize_t)sizeof head.nonce ||
        ftruncate(fd, (off_t)size_bytes) != 0 || fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) != 0 ||
        !map(s, fd, size_bytes)) {
        close(fd);
        return false;
    }
    memcpy(s->at, &head, sizeof head);
    return true;
}

static bool is_ours(int fd, size_t size_bytes)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & SEALS) == SEALS && fstat(fd, &st) == 0 && st.st_size == (off_t)size_bytes;
}

bool lr_share_open(lr_share *s, uint32_t pid, uint32_t fd_there, const uint8_t nonce[LR_SHARE_NONCE_BYTES],
                   size_t size_bytes)
{
    char path[64];
    *s = (lr_share){.fd = -1};
    snprintf(path, sizeof path, "/proc/%u/fd/%u", pid, fd_there);
    /* a descriptor of another kind (a fifo, a device) must not block or do anything when it is opened */
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) return false;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return false;
    bool good = is_ours(fd, size_bytes) && map(s, fd, size_bytes);
    close(fd);
    s->fd = -1;
    if (!good) return false;
    lr_share_head head;
    memcpy(&head, s->at, sizeof head);
    if (head.magic == MAGIC && memcmp(head.nonce, nonce, sizeof head.nonce) == 0) return true;
    lr_share_close(s);
    return false;
}

void lr_share_close_fd(lr_share *s)
{
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
}

void lr_share_close(lr_share *s)
{
    lr_share_close_fd(s);
    if (s->at) munmap(s->at, s->size_bytes);
    s->at = NULL;
}
