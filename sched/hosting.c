#include "sched/hosting.h"

#include "sched/fault.h"

#define MS 1000000ull
#define BACKOFF_MIN_NS (100 * MS)
#define BACKOFF_MAX_NS (2 * LR_NS_PER_S)
#define RETRY_NS (LR_NS_PER_S / 5)
#define LIVED_NS (10 * LR_NS_PER_S) /* one that lived so long is started again at once */

static lr_hosted *job_of(lr_link *link) { return link ? LR_CONTAINER(link, lr_hosted, link) : NULL; }

void lr_hosting_begin(lr_hosting *h)
{
    lr_list_init(&h->jobs);
    h->served = 0;
}

void lr_hosting_add(lr_hosting *h, lr_hosted *job)
{
    lr_list_append(&h->jobs, &job->link);
    h->served += job->served;
}

void lr_hosting_over(lr_hosting *h, lr_hosted *job, uint64_t now_ns)
{
    h->served -= job->served;
    job->over = true;
    job->next_ns = job->runs ? now_ns + LR_HOSTING_GRACE_NS : now_ns;
}

static bool delete_death(lr_hosting *h, lr_id key, uint64_t token)
{
    lr_control_request r = {.token = token, .op = LR_CONTROL_DELETE, .table = LR_CONTROL_TABLE_EVENT,
                            .key = lr_bytes_of_id(&key)};
    return lr_control_request_make(h->control, &r) == LR_ERR_NONE;
}

static void tell_driver(lr_hosting *h, lr_hosted *job, int pid, const char *how)
{
    lr_id key = lr_row_death_key(job->id, pid);
    lr_control_request r = {.token = h->tokens, .op = LR_CONTROL_PUT, .table = LR_CONTROL_TABLE_EVENT,
                            .key = lr_bytes_of_id(&key), .value = lr_bytes_of(how, strlen(how)), .owner = job->id};
    if (lr_control_request_make(h->control, &r) != LR_ERR_NONE) return;
    if (job->death_count == LR_HOSTED_DEATHS) {
        (void)delete_death(h, job->deaths[0], h->tokens);
        memmove(&job->deaths[0], &job->deaths[1], sizeof job->deaths - sizeof job->deaths[0]);
        job->death_count--;
    }
    job->deaths[job->death_count++] = key;
}

/* Its rows first, one after the other: the store may be away. Returns when to go on. */
static uint64_t forget(lr_hosting *h, lr_hosted *job, uint64_t now_ns)
{
    if (job->death_count > 0) {
        if (job->token) return LR_NEVER;
        if (job->next_ns > now_ns) return job->next_ns;
        uint64_t token = h->tokens | (++h->serial & 0xffffffff);
        if (delete_death(h, job->deaths[job->death_count - 1], token)) job->token = token;
        return job->next_ns = now_ns + RETRY_NS;
    }
    lr_link_remove(&job->link);
    h->hooks.forget(h->hooks.user, job);
    return LR_NEVER;
}

bool lr_hosting_reply(lr_hosting *h, const lr_control_reply *reply)
{
    if ((reply->token & ~0xffffffffull) != h->tokens) return false;
    for (lr_hosted *job = job_of(lr_list_first(&h->jobs)); job; job = job_of(lr_list_next(&h->jobs, &job->link))) {
        if (!job->token || job->token != reply->token) continue;
        bool done = reply->status == LR_CONTROL_STATUS_OK || reply->status == LR_CONTROL_STATUS_NOT_FOUND;
        job->token = 0;
        job->death_count -= done;
        if (done) job->next_ns = 0;
        break;
    }
    return true;
}

bool lr_hosting_ended(lr_hosting *h, lr_hosted *job, int pid, const char *how, uint64_t now_ns)
{
    job->runs = LR_FAULT(NOT_STARTED_AGAIN) && how;
    if (now_ns - job->began_ns > LIVED_NS) job->backoff_ns = 0;
    uint64_t backoff = job->backoff_ns ? job->backoff_ns : BACKOFF_MIN_NS;
    job->next_ns = job->over ? now_ns : now_ns + backoff;
    job->backoff_ns = backoff * 2 < BACKOFF_MAX_NS ? backoff * 2 : BACKOFF_MAX_NS;
    if (job->over || !how) return false;
    tell_driver(h, job, pid, how);
    return true;
}

static void start(lr_hosting *h, lr_hosted *job, uint64_t now_ns)
{
    job->began_ns = now_ns;
    job->runs = h->hooks.start(h->hooks.user, job);
    if (!job->runs) job->next_ns = now_ns + BACKOFF_MAX_NS;
}

uint64_t lr_hosting_tend(lr_hosting *h, uint64_t now_ns)
{
    uint64_t next_ns = LR_NEVER;
    for (lr_hosted *job = job_of(lr_list_first(&h->jobs)), *after; job; job = after) {
        after = job_of(lr_list_next(&h->jobs, &job->link));
        if (job->over && !job->runs) {
            uint64_t then_ns = forget(h, job, now_ns); /* job may be gone */
            if (then_ns < next_ns) next_ns = then_ns;
            continue;
        }
        if (job->over && job->next_ns <= now_ns) {
            h->hooks.kill(h->hooks.user, job);
            job->next_ns = LR_NEVER;
        }
        if (!job->over && job->served && !job->runs && job->next_ns <= now_ns) start(h, job, now_ns);
        bool waits = job->over || (job->served && !job->runs);
        if (waits && job->next_ns < next_ns) next_ns = job->next_ns;
    }
    return next_ns;
}

void lr_hosting_end(lr_hosting *h)
{
    for (lr_link *l; (l = lr_list_pop(&h->jobs));)
        h->hooks.forget(h->hooks.user, job_of(l));
}
