#include "runtime/death.h"

#include "runtime/clock.h"
#include "runtime/lineage.h"

#include <stdio.h>
#include <stdlib.h>

#define LOOK_FIRST_NS 1000000u
#define LOOK_MOST_NS 16000000u

typedef struct failing {
    struct failing *next;
    lr_task *t;
    char why[LR_DEATH_TEXT];
} failing;

struct lr_death {
    lr_death *next;
    lr_id node;
    int pid;
    size_t tasks;
    char text[LR_DEATH_TEXT];
    uint64_t over_ns, look_ns, pause_ns;
    failing *first, **last;
};

static struct {
    bool (*how_ended)(int pid, char *text, size_t text_bytes);
    void (*fail)(lr_task *t, const char *why);
    lr_death *first, **last; /* oldest first */
    size_t count, tasks;
} deaths;

void lr_deaths_open(bool (*how_ended)(int pid, char *text, size_t text_bytes),
                    void (*fail)(lr_task *t, const char *why))
{
    deaths.how_ended = how_ended;
    deaths.fail = fail;
    deaths.first = NULL;
    deaths.last = &deaths.first;
}

lr_death *lr_death_begin(lr_id node, int pid, size_t tasks, const char *text)
{
    lr_death *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    *d = (lr_death){.node = node, .pid = pid, .tasks = tasks, .pause_ns = LOOK_FIRST_NS};
    snprintf(d->text, sizeof d->text, "%s", text);
    if (pid && deaths.how_ended) d->over_ns = lr_clock_ns() + LR_DEATH_NS;
    d->last = &d->first;
    *deaths.last = d;
    deaths.last = &d->next;
    deaths.count++;
    return d;
}

bool lr_death_fail(lr_death *d, lr_task *t, const char *why)
{
    failing *f = calloc(1, sizeof *f);
    if (!f) return false;
    f->t = t;
    snprintf(f->why, sizeof f->why, "%s", why);
    *d->last = f;
    d->last = &f->next;
    deaths.tasks++;
    return true;
}

/* The words are known, or will not be. */
static bool is_settled(lr_death *d, uint64_t now_ns)
{
    if (now_ns < d->look_ns && now_ns < d->over_ns) return false;
    if (d->over_ns && deaths.how_ended(d->pid, d->text, sizeof d->text)) return true;
    if (now_ns >= d->over_ns) return true;
    d->look_ns = now_ns + d->pause_ns;
    if (d->pause_ns < LOOK_MOST_NS) d->pause_ns *= 2;
    return false;
}

static void settle(lr_death *d)
{
    char id[LR_ID_TEXT], why[2 * LR_DEATH_TEXT];
    lr_id_format(d->node, id);
    fprintf(stderr, "luarun: node %.8s is lost (process %d: %s); its %zu tasks %s\n", id, d->pid, d->text, d->tasks,
            lr_lineage_is_kept() ? "are run again" : "fail");
    for (failing *f; (f = d->first);) {
        d->first = f->next;
        deaths.tasks--;
        snprintf(why, sizeof why, "%s%s", f->why, d->text);
        deaths.fail(f->t, why);
        free(f);
    }
    free(d);
}

static bool settle_all(uint64_t now_ns)
{
    bool any = false;
    for (lr_death **at = &deaths.first, *d; (d = *at);) {
        if (!is_settled(d, now_ns)) {
            at = &d->next;
            continue;
        }
        *at = d->next;
        if (!*at) deaths.last = at;
        deaths.count--;
        any = true;
        settle(d); /* begins no other */
    }
    return any;
}

bool lr_deaths_turn(uint64_t now_ns) { return deaths.first && settle_all(now_ns); }

uint64_t lr_deaths_deadline(void)
{
    uint64_t first = LR_NEVER;
    for (const lr_death *d = deaths.first; d; d = d->next) {
        uint64_t at_ns = d->look_ns < d->over_ns ? d->look_ns : d->over_ns;
        if (at_ns < first) first = at_ns;
    }
    return first;
}

size_t lr_deaths_count(void) { return deaths.count; }
size_t lr_deaths_tasks(void) { return deaths.tasks; }

void lr_deaths_close(void)
{
    while (deaths.first)
        if (!settle_all(LR_NEVER)) return;
}
