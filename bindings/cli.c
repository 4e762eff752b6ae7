#include "bindings/cli.h"

#include "bindings/commands.h"
#include "runtime/statedir.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <luajit.h>

#define HINT " (luarun --help lists the options)"

static const char help[] =
    "usage: luarun [options] script.lua [args]     run a script on this machine\n"
    "       luarun [options] -e 'chunk' | -        run a chunk; standard input\n"
    "       luarun [options]                       the console, where standard input is a terminal\n"
    "       luarun [options] console               the console, whatever standard input is\n"
    "       luarun up | down | status | list WHAT  a cluster: start, end, look at it (luarun up --help)\n"
    "       luarun [options] node --cluster URL    one node of a cluster, in the foreground\n"
    "\n"
    "Options of luajit:\n"
    "  -e chunk           run the string chunk\n"
    "  -l name            require the library name\n"
    "  -j cmd, -O[opt]    LuaJIT's control commands and optimization flags, for the script's own state\n"
    "  -i                 the console after the script or the chunk\n"
    "  -v                 show version information\n"
    "  -E                 ignore environment variables\n"
    "  --                 stop handling options\n"
    "  -                  run standard input and stop handling options\n"
    "\n"
    "Options of luarun, before the script (--name value or --name=value):\n"
    "  --workers N        worker threads; 0: run nothing here, only drive     (one per core)\n"
    "  --resources k=v,.. what this node offers besides cpu and memory        (gpu found by itself)\n"
    "  --seed N           seed of the job: fixes every task's random stream   (random)\n"
    "  --store-bytes N    object store capacity; K, M, G may follow           (30 % of memory)\n"
    "  --max-pending N    tasks submitted and not started; beyond it a submit waits (1,000,000)\n"
    "  --procs N          node processes on this machine, with so many workers each (1);\n"
    "                     with --workers 0 the others have one worker each\n"
    "  --cluster URL      join a live cluster; also LUARUN_CLUSTER            (none: this process alone)\n"
    "  --listen ADDRESS   where a joining script awaits nodes: tcp://HOST:PORT  (as it reaches Redis)\n"
    "  --verbose          say what is chosen by itself, such as the seed\n"
    "  --version, --help\n";

/* Named in the documentation, absent from this version: a clear word instead of a missing file. */
static const char *const commands[] = {"explain", "replay", "logs", "timeline", "profile", "doctor"};

void lr_cli_complain(const char *format, ...)
{
    va_list list;
    fputs("luarun: ", stderr);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
}

/* ---- long options ------------------------------------------------------------------------------------ */

/* Splits "--name=value". False where the name is too long to be one of ours. */
static bool split_long(const char *word, char *name, size_t name_bytes, const char **value)
{
    const char *text = word + 2, *equals = strchr(text, '=');
    size_t length = equals ? (size_t)(equals - text) : strlen(text);
    if (length >= name_bytes) return false;
    memcpy(name, text, length);
    name[length] = 0;
    *value = equals ? equals + 1 : NULL;
    return true;
}

static lr_cli_next set_option(lr_cli *cli, const char *name, const char *value)
{
    char error[500];
    if (lr_config_set(&cli->config, name, value, error, sizeof error)) return LR_CLI_RUN;
    lr_cli_complain("--%s", error);
    return LR_CLI_FAILED;
}

static lr_cli_next answer(const char *name)
{
    if (strcmp(name, "help") == 0) fputs(help, stdout);
    else printf("luarun %s (%s)\n", LR_VERSION, LUAJIT_VERSION);
    return LR_CLI_DONE;
}

/* The long option at argv[*index]; *index moves to its last word. */
static lr_cli_next read_long(lr_cli *cli, int *index)
{
    char name[40];
    const char *word = cli->argv[*index], *value;
    bool known = split_long(word, name, sizeof name, &value);
    bool asks = known && (strcmp(name, "help") == 0 || strcmp(name, "version") == 0);
    lr_config_kind kind = known ? lr_config_kind_of(name) : LR_CONFIG_UNKNOWN;
    if (kind == LR_CONFIG_UNKNOWN && !asks) {
        lr_cli_complain("unknown option '%.60s'" HINT, word);
        return LR_CLI_FAILED;
    }
    if (kind != LR_CONFIG_VALUE && value) {
        lr_cli_complain("--%s takes no value" HINT, name);
        return LR_CLI_FAILED;
    }
    if (asks) return answer(name);
    if (kind == LR_CONFIG_FLAG) return set_option(cli, name, "true");
    if (!value) {
        value = cli->argv[*index + 1];
        if (value) ++*index;
    }
    if (!value) {
        lr_cli_complain("--%s wants a value" HINT, name);
        return LR_CLI_FAILED;
    }
    return set_option(cli, name, value);
}

bool lr_cli_is_long(char **argv, int *index)
{
    if (strncmp(argv[*index], "--", 2) != 0) return false;
    char name[40];
    const char *value;
    if (split_long(argv[*index], name, sizeof name, &value) && !value &&
        lr_config_kind_of(name) == LR_CONFIG_VALUE)
        ++*index;
    return true;
}

/* ---- short options ----------------------------------------------------------------------------------- */

const char *lr_cli_value(char **argv, int *index)
{
    const char *word = argv[*index];
    return word[2] ? word + 2 : argv[++*index];
}

/* The short option at argv[*index]; *index moves to its last word. */
static lr_cli_next read_short(lr_cli *cli, int *index)
{
    const char *word = cli->argv[*index];
    char letter = word[1];
    bool alone = word[2] == 0;
    if ((letter == 'v' || letter == 'i') && !alone) letter = '?';
    switch (letter) {
    case 'v': cli->show_version = true; return LR_CLI_RUN;
    case 'E': cli->ignore_env = true; return LR_CLI_RUN;
    case 'O': return LR_CLI_RUN;
    case 'e': case 'l': case 'j':
        if (letter == 'e') cli->has_chunk = true;
        if (!alone) return LR_CLI_RUN;
        if (cli->argv[++*index]) return LR_CLI_RUN;
        lr_cli_complain("-%c wants a value" HINT, letter);
        return LR_CLI_FAILED;
    case 'i': cli->console = true; return LR_CLI_RUN;
    case 'b': lr_cli_complain("-b is not in this program: luajit -b writes bytecode"); return LR_CLI_FAILED;
    default: lr_cli_complain("unknown option '%.60s'" HINT, word); return LR_CLI_FAILED;
    }
}

/* ---- the whole --------------------------------------------------------------------------------------- */

static lr_cli_next read_words(lr_cli *cli)
{
    int i = 1;
    lr_cli_next next = LR_CLI_RUN;
    for (; i < cli->argc && next == LR_CLI_RUN; i++) {
        const char *word = cli->argv[i];
        if (word[0] != '-' || word[1] == 0) break;
        if (strcmp(word, "--") == 0) {
            cli->after_dashes = true;
            i++;
            break;
        }
        next = word[1] == '-' ? read_long(cli, &i) : read_short(cli, &i);
    }
    cli->script = i;
    return next;
}

/* Where none is given: that of the environment. */
static lr_cli_next take_environment(lr_cli *cli)
{
    char error[700];
    const char *url = getenv("LUARUN_CLUSTER");
    if (cli->ignore_env || !url || !*url || cli->config.cluster[0] || cli->config.procs > 1) return LR_CLI_RUN;
    if (lr_config_set(&cli->config, "cluster", url, error, sizeof error)) return LR_CLI_RUN;
    lr_cli_complain("LUARUN_CLUSTER: %s", error);
    return LR_CLI_FAILED;
}

/* Options may stand behind a command that is no script too. */
static lr_cli_next read_options_behind(lr_cli *cli)
{
    for (int last = cli->script + 1; last < cli->argc; last++) {
        if (strncmp(cli->argv[last], "--", 2) != 0) {
            lr_cli_complain("%s: no argument wanted, '%.60s' given", cli->argv[cli->script], cli->argv[last]);
            return LR_CLI_FAILED;
        }
        lr_cli_next next = read_long(cli, &last);
        if (next != LR_CLI_RUN) return next;
    }
    return LR_CLI_RUN;
}

/* Where the environment names none either: the cluster that luarun up started here. */
static void take_state(lr_cli *cli)
{
    char url[LR_STATE_URL], error[700];
    bool wanted = !cli->ignore_env && !cli->config.cluster[0] && cli->config.procs == 1;
    if (wanted && lr_state_url("default", url) && !lr_config_set(&cli->config, "cluster", url, error, sizeof error))
        lr_cli_complain("%s", error);
}

/* The console, on a cluster of this process or, as a script would (check_cluster), on the one it joins. */
static lr_cli_next check_console_command(lr_cli *cli)
{
    lr_cli_next next = read_options_behind(cli);
    if (next == LR_CLI_RUN) next = take_environment(cli);
    if (next == LR_CLI_RUN) take_state(cli);
    cli->console = true;
    cli->script = cli->argc; /* nothing is to be run before it */
    return next;
}

static lr_cli_next check_node(lr_cli *cli)
{
    lr_cli_next next = read_options_behind(cli);
    if (next != LR_CLI_RUN) return next;
    cli->serves = true;
    next = take_environment(cli);
    if (next != LR_CLI_RUN || cli->config.cluster[0]) return next;
    lr_cli_complain("node: --cluster URL wanted: the cluster's Redis, as in --cluster redis://127.0.0.1:6379");
    return LR_CLI_FAILED;
}

static lr_cli_next check_command(lr_cli *cli)
{
    if (cli->script >= cli->argc || cli->after_dashes) return LR_CLI_RUN;
    const char *word = cli->argv[cli->script];
    if (strcmp(word, "node") == 0) return check_node(cli);
    if (lr_command_is(word)) {
        cli->command = word;
        return lr_command_needs_lua(cli) ? take_environment(cli) : LR_CLI_RUN;
    }
    if (strcmp(word, "console") == 0) return check_console_command(cli);
    for (size_t i = 0; i < LR_COUNT(commands); i++) {
        if (strcmp(word, commands[i]) != 0) continue;
        lr_cli_complain("'%s' is not in this version (a script of that name is run as ./%s)", word, word);
        return LR_CLI_FAILED;
    }
    return LR_CLI_RUN;
}

/* A script joins by the tables' address, and has node processes of its own or a cluster's. */
static lr_cli_next check_cluster(lr_cli *cli)
{
    if (cli->serves || cli->command) return LR_CLI_RUN;
    lr_cli_next next = take_environment(cli);
    if (next != LR_CLI_RUN || !cli->config.cluster[0]) return next;
    if (!cli->config.joins)
        lr_cli_complain("--cluster: a script joins a cluster by the address of its Redis (redis://host:port); "
                        "%.60s is a node's", cli->config.cluster);
    else if (cli->config.procs > 1)
        lr_cli_complain("--cluster and --procs exclude each other: the cluster's nodes have processes of their own");
    else
        return LR_CLI_RUN;
    return LR_CLI_FAILED;
}

/* A terminal and nothing to run. */
static void choose_console(lr_cli *cli)
{
    bool nothing = cli->script == cli->argc && !cli->has_chunk && !cli->show_version;
    if (nothing && !cli->serves && !cli->command && isatty(STDIN_FILENO)) cli->console = true;
}

lr_cli_next lr_cli_read(lr_cli *cli, int argc, char **argv)
{
    *cli = (lr_cli){.argv = argv, .argc = argc};
    lr_config_init(&cli->config);
    cli->config.by_program = true;
    lr_cli_next next = read_words(cli);
    if (cli->script < argc) snprintf(cli->config.name, sizeof cli->config.name, "%s", argv[cli->script]);
    else if (cli->has_chunk) strcpy(cli->config.name, "-e");
    if (next == LR_CLI_RUN) next = check_command(cli);
    if (next == LR_CLI_RUN) next = check_cluster(cli);
    choose_console(cli);
    return next;
}
