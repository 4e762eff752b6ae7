#include "runtime/control_redis_lookup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct lr_redis_lookup {
    _Atomic int holders; /* the caller and the thread */
    _Atomic bool done;
    int fd;
    const char *error; /* a literal of the C library's */
    char host[256];
    char number[LR_REDIS_NUMBER_TEXT];
};

bool lr_redis_is_number(const char *host)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

void lr_redis_lookup_drop(lr_redis_lookup *lookup)
{
    if (!lookup || atomic_fetch_sub(&lookup->holders, 1) > 1) return;
    close(lookup->fd);
    free(lookup);
}

static void *ask(void *argument)
{
    lr_redis_lookup *lookup = argument;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found;
    int failed = getaddrinfo(lookup->host, NULL, &hints, &found);
    if (failed) {
        lookup->error = gai_strerror(failed);
    } else {
        getnameinfo(found->ai_addr, found->ai_addrlen, lookup->number, sizeof lookup->number, NULL, 0, NI_NUMERICHOST);
        freeaddrinfo(found);
    }
    atomic_store(&lookup->done, true);
    uint64_t one = 1;
    ssize_t written = write(lookup->fd, &one, sizeof one);
    (void)written; /* an eventfd takes it */
    lr_redis_lookup_drop(lookup);
    return NULL;
}

/* A detached thread that takes no signals: they are for the program's own. */
static bool start_thread(lr_redis_lookup *lookup)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    bool started = pthread_create(&thread, &attributes, ask, lookup) == 0;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

lr_redis_lookup *lr_redis_lookup_start(const char *host)
{
    lr_redis_lookup *lookup = calloc(1, sizeof *lookup);
    if (!lookup) return NULL;
    lookup->holders = 2;
    snprintf(lookup->host, sizeof lookup->host, "%s", host);
    lookup->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (lookup->fd >= 0 && start_thread(lookup)) return lookup;
    if (lookup->fd >= 0) close(lookup->fd);
    free(lookup);
    return NULL;
}

int lr_redis_lookup_fd(const lr_redis_lookup *lookup) { return lookup->fd; }

bool lr_redis_lookup_done(lr_redis_lookup *lookup, char number[LR_REDIS_NUMBER_TEXT], const char **error)
{
    if (!atomic_load(&lookup->done)) return false;
    memcpy(number, lookup->number, LR_REDIS_NUMBER_TEXT);
    *error = lookup->error ? lookup->error : "no address";
    return true;
}
