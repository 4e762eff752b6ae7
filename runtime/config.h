/* runtime/config.h - the configuration of a job on this node, and the reading of its options.
 *
 * One list of names and rules for the program's long options (--max-pending 5) and lr.init's fields
 * (max_pending = 5; the caller turns _ into -). Values are texts; what is wrong with one is a sentence
 * that begins with the option's name: "workers: a whole number from 0 to 1024 wanted, 'x' given".
 * Owns: nothing; an lr_config may be copied as it is. Thread: any. Blocks: never. */
#ifndef RUNTIME_CONFIG_H
#define RUNTIME_CONFIG_H

#include "sched/base.h"

#define LR_RESOURCES_TEXT 512
#define LR_CLUSTER_URL_TEXT 2048
#define LR_JOB_NAME_TEXT 128
#define LR_LISTEN_TEXT 280

typedef struct lr_config {
    int workers;          /* worker threads; 0: drive only */
    bool seed_given;
    uint64_t seed;        /* of the job, where given */
    uint64_t store_bytes; /* 0: the store's default */
    uint64_t max_pending; /* tasks submitted and not started */
    bool verbose;
    bool workers_given;
    int procs;            /* node processes, this one too */
    bool joins;           /* cluster is the address of a cluster's Redis; else of a node that drives, or empty */
    char cluster[LR_CLUSTER_URL_TEXT];
    char listen[LR_LISTEN_TEXT]; /* a driver's address for the cluster's nodes; empty: found by itself */
    bool by_program;      /* read from the program's command line */
    char name[LR_JOB_NAME_TEXT]; /* of the job, for people */
    char resources[LR_RESOURCES_TEXT]; /* "tpu=2,gpu=1": checked, in lr_resources_parse's form */
} lr_config;

/* All defaults: a worker for each core this process may use. */
void lr_config_init(lr_config *config);

/* Whether there is an option of that name, and whether it wants a value. */
typedef enum lr_config_kind { LR_CONFIG_UNKNOWN, LR_CONFIG_FLAG, LR_CONFIG_VALUE } lr_config_kind;
lr_config_kind lr_config_kind_of(const char *name);

/* Sets an option from its text ("true" or "false" for a flag). False, with nothing changed and a sentence
 * in error, for an unknown name, a bad value, and what this version does not have. */
LR_MUST_USE bool lr_config_set(lr_config *config, const char *name, const char *value, char *error,
                               size_t error_bytes);

#endif
