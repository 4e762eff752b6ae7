/* sched/hosting.h - which job processes a machine of a cluster runs: one for each live job that it may serve.
 *
 *     row came ──▶ (pause over) start ──▶ runs ──▶ ended: after a pause that grows, again
 *     row gone ──▶ it is left a moment to end by itself ──▶ kill ──▶ ended ──▶ forgotten
 *
 * How a process ended, where it was not well, is a row of table EVENT under a key made of job and process id: its
 * driver looks for it when it has lost the connection. The job owns it, so that it goes with the job; one that is
 * written when the job is over already is deleted from here. The last few of each job are kept.
 * Owns: nothing; jobs lie in the caller's memory. Thread: the store's. Blocks: never. */
#ifndef SCHED_HOSTING_H
#define SCHED_HOSTING_H

#include "sched/list.h"
#include "sched/row.h"

#define LR_HOSTED_DEATHS 8
#define LR_HOSTING_GRACE_NS LR_NS_PER_S /* a process whose job has ended ends by itself, within */

typedef struct lr_hosted {
    lr_link link;
    lr_id id;
    bool served;        /* false: of another version, or out of reach */
    bool over;          /* its row is gone: the process is to end */
    bool runs;          /* it has a process */
    uint64_t began_ns;
    uint64_t next_ns;   /* no process: when to start one; over: when to kill */
    uint64_t backoff_ns;
    lr_id deaths[LR_HOSTED_DEATHS]; /* rows that say how its last processes ended */
    unsigned death_count;           /* of them */
    uint64_t token;                 /* of the request that deletes the last of them; 0: none is under way */
} lr_hosted;

typedef struct lr_hosting_hooks {
    bool (*start)(void *user, lr_hosted *job);  /* a process for it; false: it could not be, and is tried again */
    void (*kill)(void *user, lr_hosted *job);   /* at once; that it has ended is told as ever */
    void (*forget)(void *user, lr_hosted *job); /* it is not known here any more */
    void *user;
} lr_hosting_hooks;

typedef struct lr_hosting {
    lr_control *control;
    uint64_t tokens; /* base of its requests' */
    lr_hosting_hooks hooks;
    lr_list jobs;
    uint64_t serial;
    unsigned served; /* live jobs that are served */
} lr_hosting;

/* The fields above jobs are set. */
void lr_hosting_begin(lr_hosting *h);
/* A job's row came: job is of zeros but for id and served. */
void lr_hosting_add(lr_hosting *h, lr_hosted *job);
void lr_hosting_over(lr_hosting *h, lr_hosted *job, uint64_t now_ns);
/* Its process has ended; how: in words, NULL where it ended well: its driver is gone, and its row will be, too, or the
 * driver's machine is cut off. True: the driver will be told. */
bool lr_hosting_ended(lr_hosting *h, lr_hosted *job, int pid, const char *how, uint64_t now_ns);
/* True where the reply was this one's. */
bool lr_hosting_reply(lr_hosting *h, const lr_control_reply *reply);
/* Starts, kills and forgets what is due; returns when the next is. */
uint64_t lr_hosting_tend(lr_hosting *h, uint64_t now_ns);
/* The machine leaves: its processes have ended, all jobs are forgotten. What they own goes with its row. */
void lr_hosting_end(lr_hosting *h);

#endif
