/* bindings/console.h - what the console's Lua files need of the system: the C module "luarun.tty".
 *
 * Lines from the terminal (edited, or plain where nothing edits), ^C around what runs, the history's file, names of
 * files. The rest of the console is Lua: lua/luarun/terminal.lua runs it, console.lua is its logic.
 * Owns: the lines that tasks print while a line is edited. Thread: the script's; printing any. */
#ifndef BINDINGS_CONSOLE_H
#define BINDINGS_CONSOLE_H

struct lua_State;

/* The module (lua_CFunction), for package.preload of the program. */
int luaopen_luarun_tty(struct lua_State *L);

#endif
