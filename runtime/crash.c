/* runtime/crash.c - the signal handlers and the alternate stacks they run on.
 *
 * The handler uses only what is async-signal-safe: write, raise, sigaction, and
 * backtrace_symbols_fd. backtrace is called once beforehand, because its first call loads a library.
 * The thread's kernel is one thread-local pointer, touched before any signal can come, so that
 * reading it in a handler never allocates. */
#define _GNU_SOURCE
#include "runtime/crash.h"

#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define FRAMES 64

static _Thread_local const char *volatile running;
static _Thread_local bool prepared;
static pthread_key_t stack_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic bool reporting;
static _Thread_local volatile sig_atomic_t reported; /* the signal that this thread tells of */

static const struct {
    int number;
    const char *name, *meaning;
    bool has_address;
} signals[] = {
    {SIGSEGV, "SIGSEGV", "invalid memory access", true},
    {SIGBUS, "SIGBUS", "memory that cannot be reached", true},
    {SIGFPE, "SIGFPE", "integer division by zero or overflow", true},
    {SIGILL, "SIGILL", "illegal instruction", true},
    {SIGABRT, "SIGABRT", "abort", false},
};

typedef struct line {
    char text[512];
    size_t bytes;
} line;

static void put(line *l, const char *s)
{
    while (*s && l->bytes < sizeof l->text)
        l->text[l->bytes++] = *s++;
}

static void put_hex(line *l, uintptr_t v)
{
    char digits[2 * sizeof v + 1];
    size_t at = sizeof digits - 1;
    digits[at] = 0;
    do {
        digits[--at] = "0123456789abcdef"[v & 15];
        v >>= 4;
    } while (v);
    put(l, "0x");
    put(l, digits + at);
}

static void write_all(const line *l)
{
    size_t done = 0;
    while (done < l->bytes) {
        ssize_t n = write(STDERR_FILENO, l->text + done, l->bytes - done);
        if (n <= 0) return;
        done += (size_t)n;
    }
}

static void report(int number, const siginfo_t *info)
{
    line l = {.bytes = 0};
    const char *kernel = running;
    put(&l, "luarun: ");
    if (kernel) {
        put(&l, "kernel ");
        put(&l, kernel);
        put(&l, " ");
    }
    for (size_t i = 0; i < LR_COUNT(signals); i++) {
        if (signals[i].number != number) continue;
        put(&l, "crashed: ");
        put(&l, signals[i].name);
        put(&l, " (");
        put(&l, signals[i].meaning);
        put(&l, ")");
        if (!signals[i].has_address || info->si_code <= 0) continue;
        put(&l, " at ");
        put_hex(&l, (uintptr_t)info->si_addr);
    }
    put(&l, "\n");
    write_all(&l);
}

/* As if nobody had caught it. */
static void end_by(int number)
{
    struct sigaction fallback = {.sa_handler = SIG_DFL};
    sigset_t one;
    sigaction(number, &fallback, NULL);
    sigemptyset(&one);
    sigaddset(&one, number);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    raise(number);
}

static void handle(int number, siginfo_t *info, void *unused)
{
    (void)unused;
    if (reported) end_by(reported); /* telling crashed: unwinding may abort in the midst of compiled Lua code */
    if (atomic_exchange(&reporting, true))
        for (;;)
            pause(); /* another thread is reporting: the process ends when it is done */
    reported = number;
    report(number, info);
    void *frames[FRAMES];
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES), STDERR_FILENO);
    struct sigaction fallback = {.sa_handler = SIG_DFL};
    sigaction(number, &fallback, NULL);
    if (info->si_code <= 0) raise(number); /* sent, not caused: it would not come back by itself */
}

static void free_stack(void *stack)
{
    stack_t off = {.ss_flags = SS_DISABLE};
    sigaltstack(&off, NULL);
    free(stack);
}

static void install(void)
{
    void *frame;
    backtrace(&frame, 1);
    pthread_key_create(&stack_key, free_stack);
    for (size_t i = 0; i < LR_COUNT(signals); i++) {
        struct sigaction now, ours = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
        sigemptyset(&ours.sa_mask);
        if (sigaction(signals[i].number, NULL, &now) != 0 || now.sa_handler != SIG_DFL) continue;
        sigaction(signals[i].number, &ours, NULL);
    }
}

void lr_crash_install(void)
{
    pthread_once(&once, install);
}

/* Without memory for it the thread goes on without: only stack overflows then go unreported. */
static void prepare_thread(void)
{
    lr_crash_install();
    prepared = true;
    stack_t stack, before;
    if (sigaltstack(NULL, &before) == 0 && !(before.ss_flags & SS_DISABLE)) return;
    long least = sysconf(_SC_SIGSTKSZ);
    size_t bytes = least > 65536 ? (size_t)least : 65536;
    stack = (stack_t){.ss_sp = malloc(bytes), .ss_size = bytes};
    if (!stack.ss_sp) return;
    if (sigaltstack(&stack, NULL) != 0 || pthread_setspecific(stack_key, stack.ss_sp) != 0)
        free_stack(stack.ss_sp);
}

const char *lr_crash_enter(const char *kernel_name)
{
    if (__builtin_expect(!prepared, 0)) prepare_thread();
    const char *before = running;
    running = kernel_name;
    return before;
}

void lr_crash_leave(const char *before)
{
    running = before;
}
