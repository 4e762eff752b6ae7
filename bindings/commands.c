#include "bindings/commands.h"

#include "bindings/tables.h"
#include "runtime/here.h"
#include "runtime/up.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char up_help[] =
    "usage: luarun up [--nodes N] [--redis URL] [--workers N] [--resources k=v,..] [--name NAME] [--foreground]\n"
    "       luarun down [--name NAME]\n"
    "       luarun status [--cluster URL | --name NAME] [--json] [--watch]\n"
    "       luarun list nodes|jobs|errors|functions|tasks|actors|objects [--json] [field=value ...]\n"
    "       luarun memory [--cluster URL | --name NAME] [--json]\n"
    "\n"
    "up starts a cluster on this machine, in the background: a redis-server of its own, unless the URL of one is\n"
    "given, and N node agents. It prints how scripts join it. down ends it and leaves nothing.\n"
    "status, list and memory take the cluster of --cluster, LUARUN_CLUSTER, or the one that is up here.\n";

typedef struct words {
    const lr_cli *cli;
    lr_up_config up;
    lr_config config;
    char name[64];
    int at; /* of argv: the next word */
} words;

static bool refuse(const words *w, const char *what)
{
    lr_cli_complain("%s: %s (luarun up --help)", w->cli->command, what);
    return false;
}

/* The value of the option in the word before: behind its =, or the next word. */
static const char *value_of(words *w, const char *word)
{
    const char *equals = strchr(word, '=');
    if (equals) return equals + 1;
    return w->at < w->cli->argc ? w->cli->argv[w->at++] : NULL;
}

static bool set(words *w, const char *name, const char *value)
{
    char error[700];
    if (lr_config_set(&w->config, name, value, error, sizeof error)) return true;
    lr_cli_complain("%s: --%s", w->cli->command, error);
    return false;
}

static bool set_nodes(words *w, const char *value)
{
    char *end;
    unsigned long n = strtoul(value, &end, 10);
    if (*end || value[0] < '0' || value[0] > '9' || n < 1 || n > LR_UP_NODES_MAX)
        return refuse(w, "--nodes: a whole number from 1 to 64 wanted");
    w->up.nodes = (unsigned)n;
    return true;
}

static bool read_option(words *w, const char *word)
{
    char name[24];
    size_t length = strcspn(word, "=") - 2;
    bool starts = strcmp(w->cli->command, "up") == 0;
    snprintf(name, sizeof name, "%.*s", length < sizeof name ? (int)length : 0, word + 2);
    if (starts && strcmp(name, "foreground") == 0) return w->up.foreground = true;
    bool known = strcmp(name, "name") == 0 ||
                 (starts && (strcmp(name, "nodes") == 0 || strcmp(name, "redis") == 0 || strcmp(name, "workers") == 0 ||
                             strcmp(name, "resources") == 0));
    if (!known) {
        lr_cli_complain("%s: unknown option '%.60s' (luarun up --help)", w->cli->command, word);
        return false;
    }
    const char *value = value_of(w, word);
    if (!value) {
        lr_cli_complain("%s: --%s wants a value (luarun up --help)", w->cli->command, name);
        return false;
    }
    if (strcmp(name, "name") == 0) {
        snprintf(w->name, sizeof w->name, "%s", value);
        return true;
    }
    if (strcmp(name, "nodes") == 0) return set_nodes(w, value);
    return set(w, strcmp(name, "redis") == 0 ? "cluster" : name, value);
}

/* Each node gets its share of the cores, unless told. */
static void share_workers(words *w)
{
    if (w->config.workers_given) return;
    w->config.workers = w->config.workers > (int)w->up.nodes ? w->config.workers / (int)w->up.nodes : 1;
}

/* And of the memory. */
static bool share_memory(words *w)
{
    char more[LR_RESOURCES_TEXT + 40];
    if (strstr(w->config.resources, "memory=")) return true;
    snprintf(more, sizeof more, "%s%smemory=%llu", w->config.resources, w->config.resources[0] ? "," : "",
             (unsigned long long)(lr_here_memory_bytes() / w->up.nodes));
    return set(w, "resources", more);
}

static int run_up(words *w)
{
    if (w->config.cluster[0] && !w->config.joins) {
        refuse(w, "--redis: redis://host:port or unix:///path wanted");
        return EXIT_FAILURE;
    }
    share_workers(w);
    if (w->up.nodes > 1 && !share_memory(w)) return EXIT_FAILURE;
    w->up.config = &w->config;
    w->up.name = w->name;
    return lr_up_run(&w->up);
}

static int run_down(const words *w)
{
    return lr_down_run(w->name[0] ? w->name : "default");
}

bool lr_command_is(const char *word)
{
    static const char *const all[] = {"up", "down", "status", "list", "memory"};
    for (size_t i = 0; i < LR_COUNT(all); i++)
        if (strcmp(word, all[i]) == 0) return true;
    return false;
}

bool lr_command_needs_lua(const lr_cli *cli)
{
    return strcmp(cli->command, "up") != 0 && strcmp(cli->command, "down") != 0;
}

int lr_command_run_plain(const lr_cli *cli)
{
    words w = {.cli = cli, .up.nodes = 1, .config = cli->config, .at = cli->script + 1};
    while (w.at < cli->argc) {
        const char *word = cli->argv[w.at++];
        if (strcmp(word, "--help") == 0) {
            fputs(up_help, stdout);
            return EXIT_SUCCESS;
        }
        if (strncmp(word, "--", 2) != 0) {
            lr_cli_complain("%s: no argument wanted, '%.60s' given", cli->command, word);
            return EXIT_FAILURE;
        }
        if (!read_option(&w, word)) return EXIT_FAILURE;
    }
    return strcmp(cli->command, "up") == 0 ? run_up(&w) : run_down(&w);
}

int lr_command_run(lua_State *L, const lr_cli *cli)
{
    lr_tables_preload(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "luarun.cluster.commands");
    if (lua_pcall(L, 1, 1, 0) != 0) return lua_error(L);
    lua_getfield(L, -1, "run");
    lua_pushstring(L, cli->command);
    lua_createtable(L, cli->argc - cli->script, 0);
    for (int i = cli->script + 1; i < cli->argc; i++) {
        lua_pushstring(L, cli->argv[i]);
        lua_rawseti(L, -2, i - cli->script);
    }
    if (cli->config.cluster[0]) lua_pushstring(L, cli->config.cluster);
    else lua_pushnil(L);
    lua_pushstring(L, up_help);
    lua_call(L, 4, 1);
    return (int)lua_tointeger(L, -1);
}
