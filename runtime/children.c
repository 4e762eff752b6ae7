/* Starting processes, and looking how they ended. */
#define _GNU_SOURCE
#include "runtime/children.h"

#include "runtime/clock.h"
#include "runtime/process.h"
#include "runtime/store.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define END_NS LR_NS_PER_S
#define LOOK_NS 2000000
#define REPLACED_MAX 1000 /* processes started again in a job: beyond this something ends them all */
#define ENDS_MAX 64u /* of those replaced: whose connection's end may still be on its way */

static struct {
    pthread_mutex_t lock;
    unsigned count, replaced;
    char workers[20], store[24], address[300], secret[300]; /* the words that they were started with */
    struct child {
        int pid;
        bool ended;
        int status;
    } all[LR_CHILDREN_MAX], ends[ENDS_MAX]; /* the last that were replaced, a ring */
    unsigned end_count;
} children = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The environment with the secret and without what would have the child join something else. NULL: no memory. */
static char **environment_with(char *secret)
{
    static char cluster[] = "LUARUN_CLUSTER", file[] = "LUARUN_SECRET_FILE", follow[] = "LUARUN_FOLLOW_PARENT=1";
    char *const changes[] = {secret, cluster, file, follow};
    return lr_process_environment(changes, LR_COUNT(changes));
}

static int start_one(char *const *environment, int *pid)
{
    const char *const words[] = {"luarun",    "--workers",      children.workers, "--store-bytes", children.store,
                                 "--cluster", children.address, "node",           NULL};
    const lr_process_start start = {.words = words, .environment = environment, .output_fd = -1};
    return lr_process_begin(&start, pid);
}

bool lr_children_start(unsigned count, int workers, const char *address, const char *secret, char *text,
                       size_t text_bytes)
{
    snprintf(children.secret, sizeof children.secret, "LUARUN_SECRET=%s", secret);
    snprintf(children.workers, sizeof children.workers, "%d", workers);
    snprintf(children.store, sizeof children.store, "%llu", (unsigned long long)lr_store_capacity());
    snprintf(children.address, sizeof children.address, "%s", address);
    pthread_mutex_lock(&children.lock); /* the node thread looks for those that end at once */
    char **environment = environment_with(children.secret);
    int rc = environment && count <= LR_CHILDREN_MAX ? 0 : ENOMEM;
    for (unsigned i = 0; i < count && rc == 0; i++) {
        rc = start_one(environment, &children.all[i].pid);
        if (rc == 0) children.count++;
    }
    pthread_mutex_unlock(&children.lock);
    free(environment);
    if (rc == 0) return true;
    snprintf(text, text_bytes, "node process %u of %u could not be started: %s", children.count + 1, count,
             strerror(rc));
    for (unsigned i = 0; i < children.count; i++)
        kill(children.all[i].pid, SIGKILL);
    lr_children_end();
    return false;
}

/* Under the lock. */
static void look(struct child *c)
{
    if (!c->ended && waitpid(c->pid, &c->status, WNOHANG) == c->pid) c->ended = true;
}

bool lr_children_replace(void)
{
    bool any = false;
    pthread_mutex_lock(&children.lock);
    char **environment = environment_with(children.secret);
    for (unsigned i = 0; environment && i < children.count && children.replaced < REPLACED_MAX; i++) {
        struct child *c = &children.all[i];
        look(c);
        if (!c->ended) continue;
        children.replaced++;
        struct child fresh = {0};
        if (start_one(environment, &fresh.pid) != 0) continue;
        children.ends[children.end_count++ % ENDS_MAX] = *c;
        *c = fresh;
        any = true;
    }
    free(environment);
    pthread_mutex_unlock(&children.lock);
    return any;
}

unsigned lr_children_pids(int pids[LR_CHILDREN_MAX])
{
    unsigned count = 0;
    pthread_mutex_lock(&children.lock);
    for (unsigned i = 0; i < children.count; i++) {
        look(&children.all[i]);
        if (!children.all[i].ended) pids[count++] = children.all[i].pid;
    }
    pthread_mutex_unlock(&children.lock);
    return count;
}

/* Under the lock. NULL: it lives, or is none of ours. */
static const struct child *find_ended(int pid)
{
    for (unsigned i = 0; i < children.count; i++) {
        struct child *c = &children.all[i];
        if (c->pid != pid) continue;
        look(c);
        return c->ended ? c : NULL;
    }
    for (unsigned i = 0; i < ENDS_MAX; i++)
        if (children.ends[i].pid == pid) return &children.ends[i];
    return NULL;
}

bool lr_children_look(int pid, char *text, size_t text_bytes)
{
    pthread_mutex_lock(&children.lock);
    const struct child *c = find_ended(pid);
    int status = c ? c->status : 0;
    pthread_mutex_unlock(&children.lock);
    if (!c) return false;
    if (WIFSIGNALED(status))
        snprintf(text, text_bytes, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, text_bytes, "exit status %d", WEXITSTATUS(status));
    return true;
}

void lr_children_forsake(bool (*connected)(int pid))
{
    pthread_mutex_lock(&children.lock);
    for (unsigned i = 0; i < children.count; i++) {
        struct child *c = &children.all[i];
        look(c);
        if (!c->ended && !connected(c->pid)) kill(c->pid, SIGKILL);
    }
    pthread_mutex_unlock(&children.lock);
}

void lr_children_end(void)
{
    uint64_t deadline = lr_clock_ns() + END_NS;
    pthread_mutex_lock(&children.lock);
    for (unsigned i = 0; i < children.count; i++) {
        struct child *c = &children.all[i];
        while (look(c), !c->ended && lr_clock_ns() < deadline)
            usleep(LOOK_NS / 1000);
        if (c->ended) continue;
        kill(c->pid, SIGKILL);
        waitpid(c->pid, &c->status, 0);
        c->ended = true;
    }
    children.count = 0;
    memset(children.ends, 0, sizeof children.ends);
    pthread_mutex_unlock(&children.lock);
}

void lr_children_follow_parent(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == 1) _exit(EXIT_FAILURE); /* it was gone already */
}
