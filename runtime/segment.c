#include "runtime/segment.h"

#include "runtime/arena.h"
#include "runtime/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_NS 100000000ull
#define FREEING (UINT64_C(1) << 63) /* in a stamp: its owner is looking whether anybody has it */

struct lr_segment {
    lr_segment *next;
    lr_id id;
    uint64_t pid, fd; /* how it was opened */
    int own_fd;
    const uint8_t *base;
    uint64_t span_bytes;
    uint64_t locked; /* ranges */
};

static lr_segment *segments;

static uint64_t map_bytes(uint64_t span_bytes) { return span_bytes + lr_arena_table_bytes(span_bytes); }

/* ---- the host ------------------------------------------------------------------------------------------- */

lr_id lr_host_id(void)
{
    char text[160] = "";
    struct stat pids;
    const char *share = getenv("LUARUN_SHARE");
    FILE *f = share && strcmp(share, "0") == 0 ? NULL : fopen("/proc/sys/kernel/random/boot_id", "re");
    bool known = f && fgets(text, 64, f) && stat("/proc/self/ns/pid", &pids) == 0;
    if (f) fclose(f);
    if (!known) return LR_ID_NIL;
    size_t length = strlen(text);
    snprintf(text + length, sizeof text - length, "%llu:%llu:%u", (unsigned long long)pids.st_dev,
             (unsigned long long)pids.st_ino, (unsigned)geteuid());
    return lr_id_from_bytes(text, strlen(text));
}

/* ---- this process's file ---------------------------------------------------------------------------------- */

bool lr_segment_own(lr_place *place)
{
    const lr_arena_table *table = lr_arena_table_of();
    if (!table) return false;
    *place = (lr_place){.pid = (uint64_t)getpid(), .fd = (uint64_t)lr_arena_fd(), .segment = table->segment,
                        .span_bytes = table->span_bytes};
    return true;
}

static bool is_locked(int fd, uint64_t offset, uint64_t bytes)
{
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)offset, .l_len = (off_t)bytes};
    return fcntl(fd, F_OFD_GETLK, &range) != 0 || range.l_type != F_UNLCK;
}

bool lr_segment_is_locked(uint64_t offset, uint64_t bytes) { return is_locked(lr_arena_fd(), offset, bytes); }

void lr_segment_stamp(uint64_t offset, uint64_t serial)
{
    atomic_store(&lr_arena_table_of()->stamps[offset / LR_ARENA_PAGE], serial);
}

bool lr_segment_withdraw(uint64_t offset, uint64_t bytes, uint64_t serial)
{
    lr_segment_stamp(offset, FREEING | serial);
    bool locked = lr_segment_is_locked(offset, bytes);
    lr_segment_stamp(offset, locked ? serial : 0);
    return !locked;
}

/* ---- others' ------------------------------------------------------------------------------------------------- */

static lr_segment *known(lr_id id)
{
    for (lr_segment *s = segments; s; s = s->next)
        if (lr_id_equal(s->id, id)) return s;
    return NULL;
}

/* A memory file that neither shrinks nor grows, and is large enough for its span. */
static bool is_sound(int fd, uint64_t span_bytes)
{
    struct stat file;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK) && fstat(fd, &file) == 0 && S_ISREG(file.st_mode) &&
           span_bytes % LR_ARENA_PAGE == 0 && span_bytes < INT64_MAX / 2 &&
           (uint64_t)file.st_size == map_bytes(span_bytes);
}

static bool is_segment(const uint8_t *base, const lr_place *place)
{
    const lr_arena_table *table = (const lr_arena_table *)(const void *)(base + place->span_bytes);
    return table->magic == LR_ARENA_MAGIC && table->span_bytes == place->span_bytes &&
           lr_id_equal(table->segment, place->segment);
}

static int open_file(uint64_t pid, uint64_t fd)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%llu/fd/%llu", (unsigned long long)pid, (unsigned long long)fd);
    return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static const uint8_t *map_file(int fd, const lr_place *place)
{
    if (!is_sound(fd, place->span_bytes)) return NULL;
    void *base = mmap(NULL, map_bytes(place->span_bytes), PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED) return NULL;
    if (is_segment(base, place)) return base;
    munmap(base, map_bytes(place->span_bytes));
    return NULL;
}

lr_segment *lr_segment_open(const lr_place *place)
{
    lr_segment *s = known(place->segment);
    if (s || place->pid == 0) return s;
    int fd = open_file(place->pid, place->fd);
    if (fd < 0) return NULL;
    const uint8_t *base = map_file(fd, place);
    s = base ? calloc(1, sizeof *s) : NULL;
    if (!s) {
        if (base) munmap((void *)(uintptr_t)base, map_bytes(place->span_bytes));
        close(fd);
        return NULL;
    }
    *s = (lr_segment){.next = segments, .id = place->segment, .pid = place->pid, .fd = place->fd, .own_fd = fd,
                      .base = base, .span_bytes = place->span_bytes};
    segments = s;
    return s;
}

static bool set_lock(const lr_segment *s, short type, uint64_t offset, uint64_t size_bytes)
{
    struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)offset,
                          .l_len = (off_t)lr_arena_pages(size_bytes)};
    return fcntl(s->own_fd, F_OFD_SETLK, &range) == 0;
}

/* The owner looks at locks while its stamp says FREEING: microseconds, unless it dies there. */
static bool stamp_is(const lr_segment *s, uint64_t offset, uint64_t serial)
{
    const lr_arena_table *table = (const lr_arena_table *)(const void *)(s->base + s->span_bytes);
    const _Atomic uint64_t *stamp = &table->stamps[offset / LR_ARENA_PAGE];
    uint64_t until = 0;
    while (atomic_load(stamp) == (FREEING | serial)) {
        uint64_t now = lr_clock_ns();
        if (until == 0) until = now + WAIT_NS;
        if (now > until) return false;
        usleep(10);
    }
    return atomic_load(stamp) == serial;
}

const void *lr_segment_lock(lr_segment *s, const lr_place *place, uint64_t size_bytes)
{
    bool inside = place->offset % LR_ARENA_PAGE == 0 && place->serial > 0 && place->serial < FREEING &&
                  size_bytes > 0 && size_bytes <= s->span_bytes && place->offset <= s->span_bytes - size_bytes;
    if (!inside || !set_lock(s, F_RDLCK, place->offset, size_bytes)) return NULL;
    s->locked++;
    if (stamp_is(s, place->offset, place->serial)) return s->base + place->offset;
    lr_segment_unlock(s, place->offset, size_bytes);
    return NULL;
}

bool lr_segment_unlock(lr_segment *s, uint64_t offset, uint64_t size_bytes)
{
    LR_ASSERT(s->locked > 0);
    if (set_lock(s, F_UNLCK, offset, size_bytes)) s->locked--; /* else it stays so until this process ends */
    return s->locked == 0;
}

void lr_segment_name(const lr_segment *s, lr_place *place)
{
    place->pid = (uint64_t)getpid();
    place->fd = (uint64_t)s->own_fd;
    place->segment = s->id;
    place->span_bytes = s->span_bytes;
}

/* Whoever it was opened from still has it open. */
static bool is_there(const lr_segment *s)
{
    char path[64];
    struct stat theirs, ours;
    snprintf(path, sizeof path, "/proc/%llu/fd/%llu", (unsigned long long)s->pid, (unsigned long long)s->fd);
    return stat(path, &theirs) == 0 && fstat(s->own_fd, &ours) == 0 && theirs.st_ino == ours.st_ino &&
           theirs.st_dev == ours.st_dev;
}

void lr_segment_drop_gone(void)
{
    for (lr_segment **at = &segments, *s; (s = *at);) {
        if (s->locked > 0 || is_there(s)) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        munmap((void *)(uintptr_t)s->base, map_bytes(s->span_bytes));
        close(s->own_fd);
        free(s);
    }
}

unsigned lr_segment_count(void)
{
    unsigned count = 0;
    for (const lr_segment *s = segments; s; s = s->next)
        count++;
    return count;
}
