#include "runtime/watcher.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct {
    pthread_t thread;
    bool runs; /* the leader's */
    int call_fd;
    void (*ring)(void);
    pthread_mutex_t lock; /* everything below */
    struct pollfd fds[LR_WATCHER_FDS];
    uint32_t count;
    bool rang; /* and waits for a turn */
    bool stopping;
} watcher = {.lock = PTHREAD_MUTEX_INITIALIZER, .call_fd = -1};

/* What is waited for now; false: it is over. Before a turn has answered the last ring, only for a call. */
static bool take_fds(struct pollfd *fds, uint32_t *count)
{
    pthread_mutex_lock(&watcher.lock);
    *count = watcher.rang ? 0 : watcher.count;
    for (uint32_t i = 0; i < *count; i++)
        fds[i] = watcher.fds[i];
    bool goes_on = !watcher.stopping;
    pthread_mutex_unlock(&watcher.lock);
    return goes_on;
}

static void *watch(void *unused)
{
    struct pollfd fds[LR_WATCHER_FDS + 1];
    uint32_t count;
    (void)unused;
    pthread_setname_np(pthread_self(), "luarun/store");
    while (take_fds(fds, &count)) {
        uint64_t called;
        fds[count] = (struct pollfd){.fd = watcher.call_fd, .events = POLLIN};
        int ready = poll(fds, count + 1, -1);
        if (ready <= 0) continue; /* a signal */
        bool by_call = fds[count].revents != 0;
        if (by_call && read(watcher.call_fd, &called, sizeof called) < 0) LR_ASSERT(errno == EAGAIN);
        if (ready == (int)by_call) continue;
        pthread_mutex_lock(&watcher.lock);
        watcher.rang = true;
        pthread_mutex_unlock(&watcher.lock);
        watcher.ring();
    }
    return NULL;
}

static void call(void)
{
    uint64_t one = 1;
    if (write(watcher.call_fd, &one, sizeof one) < 0) LR_ASSERT(errno == EAGAIN); /* it is called already */
}

bool lr_watcher_start(void (*ring)(void))
{
    sigset_t all, before;
    watcher.call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (watcher.call_fd < 0) return false;
    watcher.ring = ring;
    watcher.stopping = watcher.rang = false;
    watcher.count = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    watcher.runs = pthread_create(&watcher.thread, NULL, watch, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return watcher.runs;
}

static bool same(const struct pollfd *a, const struct pollfd *b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (a[i].fd != b[i].fd || a[i].events != b[i].events) return false;
    return true;
}

void lr_watcher_turned(const struct pollfd *fds, uint32_t count)
{
    if (!watcher.runs) return;
    LR_ASSERT(count <= LR_WATCHER_FDS);
    pthread_mutex_lock(&watcher.lock);
    bool news = watcher.rang || count != watcher.count || !same(fds, watcher.fds, count);
    watcher.rang = false;
    watcher.count = count;
    for (uint32_t i = 0; i < count; i++)
        watcher.fds[i] = fds[i];
    pthread_mutex_unlock(&watcher.lock);
    if (news) call();
}

void lr_watcher_stop(void)
{
    if (watcher.runs) {
        pthread_mutex_lock(&watcher.lock);
        watcher.stopping = true;
        pthread_mutex_unlock(&watcher.lock);
        call();
        pthread_join(watcher.thread, NULL);
    }
    watcher.runs = false;
    if (watcher.call_fd >= 0) close(watcher.call_fd);
    watcher.call_fd = -1;
}
