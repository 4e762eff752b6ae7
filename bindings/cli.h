/* bindings/cli.h - the program's command line, read before any Lua exists.
 *
 * Short options are luajit's, in luajit's order and with its rules; our own are long (--workers 2,
 * --workers=2) and stand before the script. Nothing is run here: what runs in order (-e, -l, -j, -O)
 * stays in argv for bindings/main.c. A mistake is one line on standard error.
 * Owns: nothing; points into argv. Thread: the program's, once. Blocks: never. */
#ifndef BINDINGS_CLI_H
#define BINDINGS_CLI_H

#include "runtime/config.h"

typedef struct lr_cli {
    char **argv;
    int argc;
    int script;        /* index in argv of the script; argc: there is none */
    bool after_dashes; /* the script stands after "--": "-" is then a file's name */
    bool show_version; /* -v */
    bool ignore_env;   /* -E */
    bool has_chunk;    /* a -e was seen */
    bool serves;       /* the command `node`: no script */
    const char *command; /* one of those that bindings/commands.c knows, or NULL; its words follow argv[script] */
    bool console;      /* -i, the command `console`, or a terminal and nothing to run */
    lr_config config;
} lr_cli;

/* What main has to do after the reading. */
typedef enum lr_cli_next { LR_CLI_RUN, LR_CLI_DONE, LR_CLI_FAILED } lr_cli_next;

/* Fills *cli. DONE: --help or --version was answered; FAILED: the mistake was said. */
lr_cli_next lr_cli_read(lr_cli *cli, int argc, char **argv);

/* The value of a short option at argv[*index]: the rest of the word, or the next word (*index moves on to
 * it). For argv that lr_cli_read has accepted. */
const char *lr_cli_value(char **argv, int *index);

/* True for one of our long options; *index moves to its last word. */
bool lr_cli_is_long(char **argv, int *index);

/* "luarun: ..." on standard error, one line. */
__attribute__((format(printf, 1, 2))) void lr_cli_complain(const char *format, ...);

#endif
