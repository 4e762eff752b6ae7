#include "runtime/room.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define STRETCH 58 /* bits of a resource's stretch: beyond any amount of it */

struct lr_room_hold {
    struct lr_room_hold *next, **link;
    int64_t at[LR_RESOURCE_COUNT], amount[LR_RESOURCE_COUNT]; /* amount 0: none of it */
};

static struct {
    int fd; /* 0: none */
    lr_room_hold *holds;
} room;

int lr_room_make(void) { return memfd_create("luarun-room", 0); }

void lr_room_open(void)
{
    const char *told = getenv(LR_ROOM_VARIABLE);
    char path[64];
    if (!told || room.fd) return;
    int inherited = atoi(told);
    snprintf(path, sizeof path, "/proc/self/fd/%d", inherited);
    int fd = open(path, O_RDWR | O_CLOEXEC); /* a description of our own: the inherited one is everybody's */
    if (fd > 0) room.fd = fd;
    if (fd > 0 && inherited > 2) close(inherited);
}

bool lr_room_is_open(void) { return room.fd > 0; }

static struct flock lock_of(short type, int resource, int64_t at, int64_t amount)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET,
                          .l_start = (off_t)(((int64_t)resource << STRETCH) + at), .l_len = (off_t)amount};
}

/* The end of a hold of this process's own that overlaps; 0: none does. */
static int64_t own_end(int resource, int64_t at, int64_t amount)
{
    for (const lr_room_hold *h = room.holds; h; h = h->next) {
        int64_t start = h->at[resource], end = start + h->amount[resource];
        if (h->amount[resource] && start < at + amount && at < end) return end;
    }
    return 0;
}

/* The end of another process's lock that overlaps; 0: none does. */
static int64_t others_end(int resource, int64_t at, int64_t amount)
{
    struct flock l = lock_of(F_WRLCK, resource, at, amount);
    if (fcntl(room.fd, F_OFD_GETLK, &l) != 0 || l.l_type == F_UNLCK) return 0;
    return (int64_t)(l.l_start + l.l_len) - ((int64_t)resource << STRETCH);
}

/* Where the stretch has so much free that it can be locked; -1: nowhere. */
static int64_t lock_some(int resource, int64_t amount, int64_t total)
{
    for (int64_t at = 0; at + amount <= total;) {
        int64_t end = own_end(resource, at, amount);
        if (!end) end = others_end(resource, at, amount);
        struct flock l = lock_of(F_WRLCK, resource, at, amount);
        if (!end && fcntl(room.fd, F_OFD_SETLK, &l) == 0) return at;
        at = end ? end : at + 1; /* somebody was faster by a hair: past its first byte, then past its end */
    }
    return -1;
}

static void unlock(lr_room_hold *h)
{
    for (int i = 0; i < LR_RESOURCE_COUNT; i++) {
        struct flock l = lock_of(F_UNLCK, i, h->at[i], h->amount[i]);
        if (h->amount[i]) (void)fcntl(room.fd, F_OFD_SETLK, &l);
        h->amount[i] = 0;
    }
}

static bool asks(const lr_resources *need)
{
    for (int i = LR_RESOURCE_CPU + 1; i < LR_RESOURCE_COUNT; i++)
        if (need->amount[i] > 0) return true;
    return false;
}

bool lr_room_take(const lr_resources *need, const lr_resources *total, lr_room_hold **hold)
{
    *hold = NULL;
    if (!lr_room_is_open() || !asks(need)) return true;
    lr_room_hold *h = calloc(1, sizeof *h);
    if (!h) return false;
    for (int i = LR_RESOURCE_CPU + 1; i < LR_RESOURCE_COUNT; i++) {
        int64_t amount = need->amount[i];
        if (amount == 0) continue;
        h->at[i] = lock_some(i, amount, total->amount[i]);
        if (h->at[i] >= 0) {
            h->amount[i] = amount;
            continue;
        }
        unlock(h);
        free(h);
        return false;
    }
    h->next = room.holds;
    h->link = &room.holds;
    if (h->next) h->next->link = &h->next;
    room.holds = h;
    *hold = h;
    return true;
}

void lr_room_give(lr_room_hold *h)
{
    if (!h) return;
    unlock(h);
    *h->link = h->next;
    if (h->next) h->next->link = h->link;
    free(h);
}
