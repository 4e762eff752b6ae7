/* runtime/config.c - see runtime/config.h. An option is one row of the table below and one function. */
#define _GNU_SOURCE
#include "runtime/config.h"

#include "runtime/address.h"
#include "runtime/control_redis_url.h"
#include "runtime/pool.h"
#include "sched/resource.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DEFAULT_MAX_PENDING 1000000
#define LR_PROCS_MAX 64
#define TEXT_OF(macro) TEXT_OF_EXPANDED(macro)
#define TEXT_OF_EXPANDED(text) #text
#define VALUE_SHOWN 60 /* how much of a wrong value a sentence repeats */

/* What a setter needs: where to write, what was given, where to complain. */
typedef struct setting {
    lr_config *config;
    const char *name, *value;
    char *error;
    size_t error_bytes;
} setting;

__attribute__((format(printf, 2, 3))) static bool refuse(const setting *s, const char *format, ...)
{
    char why[400];
    va_list list;
    va_start(list, format);
    vsnprintf(why, sizeof why, format, list);
    va_end(list);
    snprintf(s->error, s->error_bytes, "%s: %s", s->name, why);
    return false;
}

static bool refuse_value(const setting *s, const char *wanted)
{
    return refuse(s, "%s wanted, '%.*s' given", wanted, VALUE_SHOWN, s->value);
}

/* Decimal or 0x digits only. */
static bool parse_digits(const char *text, uint64_t *out)
{
    if (text[0] < '0' || text[0] > '9') return false; /* strtoull would take a sign and blanks */
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    char *end = NULL;
    errno = 0;
    unsigned long long n = strtoull(text, &end, hex ? 16 : 10);
    if (errno || *end) return false;
    *out = n;
    return true;
}

/* A whole number; "1e6", as Lua writes a large one, too. */
static bool parse_whole(const char *text, uint64_t *out)
{
    if (parse_digits(text, out)) return true;
    if (text[0] < '0' || text[0] > '9') return false;
    char *end = NULL;
    double d = strtod(text, &end);
    if (*end || !(d >= 0) || d >= 0x1p63 || d != floor(d)) return false;
    *out = (uint64_t)d;
    return true;
}

/* "123", "4.5M", "2GB", "512KiB": powers of 1024. */
static bool parse_size(const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    if (text[0] < '0' || text[0] > '9') return false;
    if (parse_digits(text, out)) return true;
    char *end = NULL;
    double d = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end & ~0x20) : NULL;
    if (unit && *unit) {
        d *= (double)(UINT64_C(1024) << (10 * (unit - units)));
        end++;
        if (*end == 'i') end++;
    }
    if (*end == 'B') end++;
    if (*end || !(d >= 0) || d >= 0x1p63) return false;
    *out = (uint64_t)d;
    return true;
}

/* ---- one function an option -------------------------------------------------------------------------- */

static bool set_workers(const setting *s)
{
    uint64_t n;
    if (!parse_whole(s->value, &n) || n > LR_WORKERS_MAX)
        return refuse_value(s, "a whole number from 0 to " TEXT_OF(LR_WORKERS_MAX));
    s->config->workers = (int)n;
    s->config->workers_given = true;
    return true;
}

static bool set_seed(const setting *s)
{
    uint64_t n;
    if (!parse_whole(s->value, &n)) return refuse_value(s, "a whole number from 0 to 2^64-1");
    s->config->seed = n;
    s->config->seed_given = true;
    return true;
}

static bool set_store_bytes(const setting *s)
{
    uint64_t n;
    if (!parse_size(s->value, &n) || n == 0)
        return refuse_value(s, "a size in bytes (500000000, 512K, 64M, 2G)");
    s->config->store_bytes = n;
    return true;
}

static bool set_max_pending(const setting *s)
{
    uint64_t n;
    if (!parse_whole(s->value, &n) || n == 0) return refuse_value(s, "a whole number of at least 1");
    s->config->max_pending = n;
    return true;
}

static bool set_resources(const setting *s)
{
    static const char own_name[] = "resources: "; /* the parser's sentences begin with it, ours too */
    lr_resource_names names;
    lr_resources amounts;
    char why[200];
    if (strlen(s->value) >= LR_RESOURCES_TEXT)
        return refuse(s, "a text of at most %d bytes wanted, %zu given", LR_RESOURCES_TEXT - 1, strlen(s->value));
    lr_resource_names_init(&names);
    if (!lr_resources_parse(s->value, &names, &amounts, why, sizeof why)) {
        bool doubled = strncmp(why, own_name, sizeof own_name - 1) == 0;
        return refuse(s, "%s", doubled ? why + sizeof own_name - 1 : why);
    }
    if (amounts.amount[LR_RESOURCE_CPU] != 0) return refuse(s, "cpu is the number of workers; set that");
    strcpy(s->config->resources, s->value);
    return true;
}

static bool set_verbose(const setting *s)
{
    bool on = strcmp(s->value, "true") == 0;
    if (!on && strcmp(s->value, "false") != 0) return refuse_value(s, "true or false");
    s->config->verbose = on;
    return true;
}

static bool set_procs(const setting *s)
{
    uint64_t n;
    if (!parse_whole(s->value, &n) || n == 0) return refuse_value(s, "a whole number of at least 1");
    if (n > LR_PROCS_MAX) return refuse_value(s, "a whole number from 1 to " TEXT_OF(LR_PROCS_MAX));
    s->config->procs = (int)n;
    return true;
}

static bool is_of_a_node(const char *address)
{
    static const char *const own[] = {"tcp://", "ipc://", "tls+tcp://"};
    for (size_t i = 0; i < LR_COUNT(own); i++)
        if (strncmp(address, own[i], strlen(own[i])) == 0) return true;
    return false;
}

static bool set_cluster(const setting *s)
{
    char why[300];
    bool of_a_node = is_of_a_node(s->value);
    if (strlen(s->value) >= LR_CLUSTER_URL_TEXT) return refuse(s, "an address shorter than this one wanted");
    if (!of_a_node) {
        lr_redis_targets *targets = malloc(sizeof *targets);
        bool parsed = targets && lr_redis_targets_parse(targets, s->value, why, sizeof why);
        if (targets) explicit_bzero(targets, sizeof *targets);
        if (!targets) strcpy(why, "not enough memory");
        free(targets);
        if (!parsed) return refuse(s, "%s", why);
    }
    strcpy(s->config->cluster, s->value);
    s->config->joins = !of_a_node;
    return true;
}

static bool set_listen(const setting *s)
{
    lr_address address;
    bool fits = strlen(s->value) < LR_LISTEN_TEXT;
    if (fits) lr_address_parse(s->value, &address);
    if (!fits || (address.kind != LR_ADDRESS_TCP && address.kind != LR_ADDRESS_TLS))
        return refuse_value(s, "tcp://HOST:PORT (port 0: any free one)");
    strcpy(s->config->listen, s->value);
    return true;
}

static bool set_trace(const setting *s)
{
    return refuse(s, "the timeline is not in this version (" LR_VERSION ")");
}

static const struct row {
    const char *name;
    lr_config_kind kind;
    bool (*set)(const setting *s);
} rows[] = {
    {"workers", LR_CONFIG_VALUE, set_workers},
    {"cluster", LR_CONFIG_VALUE, set_cluster},
    {"listen", LR_CONFIG_VALUE, set_listen},
    {"procs", LR_CONFIG_VALUE, set_procs},
    {"resources", LR_CONFIG_VALUE, set_resources},
    {"seed", LR_CONFIG_VALUE, set_seed},
    {"trace", LR_CONFIG_VALUE, set_trace},
    {"store-bytes", LR_CONFIG_VALUE, set_store_bytes},
    {"max-pending", LR_CONFIG_VALUE, set_max_pending},
    {"verbose", LR_CONFIG_FLAG, set_verbose},
};

static const struct row *row_of(const char *name)
{
    for (size_t i = 0; i < LR_COUNT(rows); i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    return NULL;
}

/* ---- the interface ----------------------------------------------------------------------------------- */

/* Cores this process may run on: an affinity mask (taskset, a container's cpuset) counts. */
static int usable_cores(void)
{
    cpu_set_t set;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    if (sched_getaffinity(0, sizeof set, &set) == 0) online = CPU_COUNT(&set);
    if (online < 1) return 1;
    return online > LR_WORKERS_MAX ? LR_WORKERS_MAX : (int)online;
}

void lr_config_init(lr_config *config)
{
    *config = (lr_config){.workers = usable_cores(), .procs = 1, .max_pending = DEFAULT_MAX_PENDING,
                          .name = "script"};
}

lr_config_kind lr_config_kind_of(const char *name)
{
    const struct row *row = row_of(name);
    return row ? row->kind : LR_CONFIG_UNKNOWN;
}

bool lr_config_set(lr_config *config, const char *name, const char *value, char *error,
                   size_t error_bytes)
{
    const struct row *row = row_of(name);
    setting s = {config, name, value, error, error_bytes};
    if (!row) {
        snprintf(error, error_bytes, "unknown option '%.*s'", VALUE_SHOWN, name);
        return false;
    }
    return row->set(&s);
}
