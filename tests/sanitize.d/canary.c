/* Faults that a sanitizer must report, by name: tests/sanitize runs them first, so that its silence means something. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static volatile int sink;

static void use_after_free(void)
{
    int *p = malloc(sizeof *p);
    free(p);
    sink = *(volatile int *)p;
}

static void leak(void)
{
    char *volatile p = malloc(1000);
    p[0] = 1;
    p = NULL;
}

static void overflow(void)
{
    volatile int n = INT32_MAX;
    n = n + 1;
}

static void shift(void)
{
    volatile int by = 40;
    sink = 1 << by;
}

static void alignment(void)
{
    static _Alignas(8) char bytes[16];
    char *volatile at = bytes + 1;
    sink = *(volatile int *)at;
}

static int shared;

static void *writer(void *unused)
{
    for (int i = 0; i < 1000; i++)
        shared++;
    return unused;
}

static void race(void)
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, writer, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static void unlocked(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_unlock(&lock);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fault)(void);
    } faults[] = {{"use_after_free", use_after_free}, {"leak", leak}, {"overflow", overflow}, {"shift", shift},
                  {"alignment", alignment},           {"race", race}, {"unlocked", unlocked}};
    for (size_t i = 0; argc > 1 && i < sizeof faults / sizeof faults[0]; i++)
        if (strcmp(faults[i].name, argv[1]) == 0) faults[i].fault();
    return 0;
}
