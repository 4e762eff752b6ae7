#include "runtime/spill.h"

#include "runtime/clock.h"
#include "runtime/large.h"
#include "runtime/shared.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define VICTIMS 32u
#define WRITE_BYTES ((size_t)8 << 20)
#define WAIT_NS 1000000000ull
#define PREFIX "luarun-spill-"

static struct {
    pthread_mutex_t lock; /* who spills; before all others */
    int fd;               /* -1: not opened yet, or it cannot be */
    bool refused;
    char directory[200];  /* it is in, as far as that fits */
    _Atomic int full;     /* why it took no more, the last time; 0: it did */
    _Atomic(void (*)(void)) tell;
} spill = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

void lr_spill_on_need(void (*tell)(void)) { atomic_store(&spill.tell, tell); }

/* ---- the file -------------------------------------------------------------------------------------------- */

static bool is_memory(const char *directory)
{
    struct statfs fs;
    return statfs(directory, &fs) != 0 || fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
}

/* Files of ours whose process ended between making and unlinking them. */
static void sweep(const char *directory)
{
    DIR *d = opendir(directory);
    struct dirent *entry;
    while (d && (entry = readdir(d))) {
        struct stat file;
        char *end;
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0) continue;
        long pid = strtol(entry->d_name + strlen(PREFIX), &end, 10);
        bool ours = *end == '-' && pid > 0 && fstatat(dirfd(d), entry->d_name, &file, AT_SYMLINK_NOFOLLOW) == 0 &&
                    S_ISREG(file.st_mode) && file.st_uid == geteuid();
        if (ours && kill((pid_t)pid, 0) != 0 && errno == ESRCH) unlinkat(dirfd(d), entry->d_name, 0);
    }
    if (d) closedir(d);
}

static int named_file(const char *directory)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/" PREFIX "%d-XXXXXX", directory, (int)getpid());
    if (length < 0 || (size_t)length >= sizeof path) return -1;
    sweep(directory);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) unlink(path);
    return fd;
}

static int file_in(const char *directory)
{
    snprintf(spill.directory, sizeof spill.directory, "%s", directory);
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd >= 0 ? fd : named_file(directory);
}

static int new_file(void)
{
    const char *told = getenv("LUARUN_SPILL_DIR"), *temporary = getenv("TMPDIR");
    if (told && strcmp(told, "off") == 0) return -1;
    if (told && *told) return file_in(told);
    if (temporary && *temporary && !is_memory(temporary)) return file_in(temporary);
    return is_memory("/var/tmp") ? -1 : file_in("/var/tmp");
}

/* Under spill.lock. */
static bool is_open(void)
{
    if (spill.fd >= 0 || spill.refused) return spill.fd >= 0;
    int fd = lr_arena_fd() < 0 ? -1 : new_file();
    spill.refused = fd < 0;
    if (fd >= 0 && ftruncate(fd, (off_t)lr_arena_span()) != 0) {
        close(fd);
        fd = -1;
        spill.refused = true;
    }
    spill.fd = fd;
    return fd >= 0;
}

void lr_spill_close(void)
{
    if (spill.fd >= 0) close(spill.fd);
    spill.fd = -1;
    spill.refused = false;
}

static bool write_all(int fd, const void *bytes, uint64_t size_bytes, uint64_t offset)
{
    for (uint64_t at = 0; at < size_bytes;) {
        size_t n = size_bytes - at < WRITE_BYTES ? (size_t)(size_bytes - at) : WRITE_BYTES;
        ssize_t done = pwrite(fd, (const uint8_t *)bytes + at, n, (off_t)(offset + at));
        if (done == 0) errno = ENOSPC;
        if (done <= 0 && errno != EINTR) return false;
        if (done > 0) at += (uint64_t)done;
    }
    return true;
}

static bool map_over(const lr_extent *e, int fd, int protection)
{
    void *at = lr_arena_at(e->offset);
    return mmap(at, e->bytes, protection, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, (off_t)e->offset) == at;
}

static void punch(int fd, const lr_extent *e)
{
    (void)!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)e->offset, (off_t)e->bytes);
}

/* ---- out -------------------------------------------------------------------------------------------------- */

static bool is_candidate(const lr_extent *e)
{
    if (!e->owner || e->owner == LR_ARENA_NOBODY) return false;
    lr_large *l = e->owner;
    return !l->spilled && !l->spilling && !l->shared.in_limbo && lr_buffer_is_sealed(&l->shared.base);
}

static uint32_t age(const lr_large *l) { return atomic_load(&lr_store_time) - l->shared.base.used_at; }

/* The oldest, oldest first, each with a count of ours and marked. */
static unsigned choose(lr_large *chosen[VICTIMS])
{
    unsigned count = 0;
    lr_arena_lock();
    for (lr_extent *e = lr_arena_first(); e; e = e->after) {
        if (!is_candidate(e)) continue;
        unsigned at = count;
        while (at > 0 && age(chosen[at - 1]) < age(e->owner))
            at--;
        if (at == VICTIMS) continue;
        if (count < VICTIMS) count++;
        memmove((void *)&chosen[at + 1], (void *)&chosen[at], sizeof chosen[0] * (count - 1 - at));
        chosen[at] = e->owner;
    }
    unsigned living = 0;
    for (unsigned i = 0; i < count; i++)
        if (lr_buffer_retain_living(&chosen[i]->shared.base)) {
            chosen[i]->spilling = true;
            chosen[living++] = chosen[i];
        }
    lr_arena_unlock();
    return living;
}

static bool write_out(lr_large *l)
{
    lr_extent *e = l->place;
    if (!lr_shared_withdraw(&l->shared.base)) return false;
    bool written = write_all(spill.fd, l->shared.base.data, l->shared.base.size_bytes, e->offset);
    atomic_store(&spill.full, written ? 0 : errno);
    if (!written) {
        punch(spill.fd, e);
        return false;
    }
    (void)!sync_file_range(spill.fd, (off_t)e->offset, (off_t)e->bytes, SYNC_FILE_RANGE_WRITE);
    if (!map_over(e, spill.fd, PROT_READ)) return false;
    punch(lr_arena_fd(), e);
    return true;
}

bool lr_spill_some(uint64_t bytes)
{
    lr_large *chosen[VICTIMS + 1];
    uint64_t freed = 0;
    pthread_mutex_lock(&spill.lock);
    unsigned count = is_open() ? choose(chosen) : 0;
    for (unsigned i = 0; i < count; i++) {
        lr_large *l = chosen[i];
        bool done = freed < bytes && !(i > 0 && lr_spill_is_full()) && write_out(l);
        lr_arena_lock();
        l->spilling = false;
        if (done) {
            l->spilled = true;
            lr_store_count_spilled((int64_t)l->place->bytes);
            freed += l->place->bytes;
        }
        lr_arena_unlock();
        lr_buffer_release(&l->shared.base);
    }
    pthread_mutex_unlock(&spill.lock);
    return freed > 0;
}

bool lr_spill_is_full(void) { return atomic_load(&spill.full) != 0; }

void lr_spill_say_full(FILE *out)
{
    int why = atomic_load(&spill.full);
    if (why) fprintf(out, "; the disk of %s takes no more (%s)", spill.directory, strerror(why));
}

bool lr_spill_make_room(uint64_t bytes)
{
    if (lr_shared_sweep() > 0 || lr_spill_some(bytes)) return true;
    uint64_t until = lr_clock_ns() + WAIT_NS;
    void (*tell)(void) = atomic_load(&spill.tell);
    if (tell && lr_shared_has_limbo()) tell();
    while (lr_shared_has_limbo() && lr_clock_ns() < until) {
        usleep(500);
        if (lr_shared_sweep() > 0) return true;
    }
    return false;
}

/* ---- back ------------------------------------------------------------------------------------------------- */

/* Marks it and counts it as in memory, where there is room. */
static bool begin_return(lr_large *l)
{
    lr_arena_lock();
    bool fits = l->spilled && !l->spilling && lr_store_fits(l->place->bytes);
    if (fits) {
        l->spilling = true;
        lr_store_count_spilled(-(int64_t)l->place->bytes);
    }
    lr_arena_unlock();
    return fits;
}

bool lr_spill_return(lr_buffer *b)
{
    lr_large *l = lr_large_of(b);
    if (!b->in_arena) return false;
    pthread_mutex_lock(&spill.lock);
    bool done = false;
    if (begin_return(l)) {
        done = write_all(lr_arena_fd(), b->data, b->size_bytes, l->place->offset) &&
               map_over(l->place, lr_arena_fd(), PROT_READ | PROT_WRITE);
        if (done)
            punch(spill.fd, l->place);
        else
            punch(lr_arena_fd(), l->place);
        lr_arena_lock();
        l->spilling = false;
        l->spilled = !done;
        if (!done) lr_store_count_spilled((int64_t)l->place->bytes);
        lr_arena_unlock();
    }
    pthread_mutex_unlock(&spill.lock);
    return done;
}

bool lr_spill_forget(lr_extent *e)
{
    bool done = map_over(e, lr_arena_fd(), PROT_READ | PROT_WRITE);
    if (done) punch(spill.fd, e);
    return done;
}
