#include "runtime/process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* In the child, in our memory: system calls only. */
static void become(const lr_process_start *s, const char *program, pid_t parent, int told)
{
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int i = 1; i < NSIG; i++)
        sigaction(i, &usual, NULL); /* KILL, STOP and the C library's own refuse */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    if (!s->outlives) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(127); /* it was gone already */
    }
    if (s->output_fd >= 0) {
        dup2(s->output_fd, STDOUT_FILENO);
        dup2(s->output_fd, STDERR_FILENO);
    }
    execvpe(program, (char *const *)(uintptr_t)s->words, s->environment ? s->environment : environ);
    int why = errno;
    if (write(told, &why, sizeof why) < 0) _exit(126);
    _exit(127);
}

int lr_process_begin(const lr_process_start *s, int *pid)
{
    int pipe_fds[2], why = 0;
    sigset_t all, before;
    const char *program = s->program ? s->program : "/proc/self/exe";
    pid_t parent = getpid();
    if (pipe2(pipe_fds, O_CLOEXEC) != 0) return errno;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* no handler of ours may run in the child */
    pid_t child = vfork();
    if (child == 0) become(s, program, parent, pipe_fds[1]); /* NOLINT: system calls only, as posix_spawn's own */
    if (child < 0) why = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(pipe_fds[1]);
    if (child > 0 && read(pipe_fds[0], &why, sizeof why) == sizeof why) waitpid(child, NULL, 0);
    close(pipe_fds[0]);
    *pid = why ? 0 : (int)child;
    return why;
}

static bool is_changed(const char *entry, char *const *changes, size_t count)
{
    size_t length = strcspn(entry, "=");
    for (size_t i = 0; i < count; i++)
        if (strcspn(changes[i], "=") == length && memcmp(entry, changes[i], length) == 0) return true;
    return false;
}

char **lr_process_environment(char *const *changes, size_t count)
{
    size_t all = 0, kept = 0;
    while (environ[all])
        all++;
    char **out = calloc(all + count + 1, sizeof *out);
    for (size_t i = 0; out && i < all; i++)
        if (!is_changed(environ[i], changes, count)) out[kept++] = environ[i];
    for (size_t i = 0; out && i < count; i++)
        if (strchr(changes[i], '=')) out[kept++] = changes[i];
    return out;
}

int lr_process_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void lr_process_explain(int status, char text[LR_PROCESS_TEXT])
{
    if (WIFSIGNALED(status))
        snprintf(text, LR_PROCESS_TEXT, "was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, LR_PROCESS_TEXT, "ended with exit status %d", WEXITSTATUS(status));
}
