/* bindings/commands.h - the commands of the program that look at a cluster, start one, or end one.
 *
 * `up` and `down` are C (runtime/up.h): they start and end processes. What reads tables and writes them for people and
 * for programs is Lua (lua/luarun/cluster/), over the module luarun.tables that is opened here.
 * Owns: nothing. Thread: the program's first. */
#ifndef BINDINGS_COMMANDS_H
#define BINDINGS_COMMANDS_H

#include "bindings/cli.h"

struct lua_State;

/* Whether a word in a script's place is one of these commands. */
bool lr_command_is(const char *word);
/* Whether it is one that is run with lr_command_run; else with lr_command_run_plain, before there is any Lua. */
bool lr_command_needs_lua(const lr_cli *cli);
/* Run it; the exit status. What is wrong was said. */
int lr_command_run_plain(const lr_cli *cli);
int lr_command_run(struct lua_State *L, const lr_cli *cli);

#endif
