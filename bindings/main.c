/* bindings/main.c - the program: a lua_State set up as luajit's is, the script in it, an orderly end.
 *
 * It follows luajit's own main file by file habit by habit (arg, ..., LUA_INIT, the order of -e and -l,
 * messages, tracebacks) and adds three things: the script's directory leads package.path, `luarun` is
 * already there for `require`, and whatever ends the program (a return, an error, os.exit, ^C) ends the
 * job with it. A script that never asks for luarun starts no thread.
 * Thread: the program's first. */
#include "bindings/cli.h"
#include "bindings/commands.h"
#include "bindings/console.h"
#include "bindings/embedded.h"
#include "bindings/interrupt.h"
#include "bindings/session.h"
#include "bindings/tables.h"
#include "runtime/agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <luajit.h>

typedef struct program {
    lr_cli cli;
    int status; /* not 0: an error was reported */
} program;

/* ---- errors ------------------------------------------------------------------------------------------ */

static int report(lua_State *L, int status)
{
    if (status == 0 || lua_isnil(L, -1)) return status;
    const char *message = lua_tostring(L, -1);
    fflush(stdout); /* what the script said comes first where both go to one place */
    fprintf(stderr, "luarun: %s\n", message ? message : "(error object is not a string)");
    lua_pop(L, 1);
    return status;
}

/* The message handler: the error's text and the script's traceback. */
static int add_traceback(lua_State *L)
{
    if (!lua_isstring(L, 1)) {
        if (lua_isnoneornil(L, 1) || !luaL_callmeta(L, 1, "__tostring") || !lua_isstring(L, -1)) return 1;
        lua_remove(L, 1);
    }
    luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

static int call(lua_State *L, int argument_count)
{
    int base = lua_gettop(L) - argument_count;
    lua_pushcfunction(L, add_traceback);
    lua_insert(L, base);
    int status = lua_pcall(L, argument_count, 0, base);
    lua_remove(L, base);
    return status;
}

/* ---- what runs --------------------------------------------------------------------------------------- */

/* NULL: standard input. */
static int run_file(lua_State *L, const char *name)
{
    int status = luaL_loadfile(L, name);
    return report(L, status ? status : call(L, 0));
}

static int run_chunk(lua_State *L, const char *chunk, const char *name)
{
    int status = luaL_loadbuffer(L, chunk, strlen(chunk), name);
    return report(L, status ? status : call(L, 0));
}

static int run_library(lua_State *L, const char *name)
{
    lua_getglobal(L, "require");
    lua_pushstring(L, name);
    return report(L, call(L, 1));
}

static int run_init(lua_State *L)
{
    const char *init = getenv("LUA_INIT");
    if (!init) return 0;
    return init[0] == '@' ? run_file(L, init + 1) : run_chunk(L, init, "=LUA_INIT");
}

/* Pushes arg[1], arg[2], ... until a hole: LUA_INIT or -e may have changed them. Returns how many. */
static int push_arguments(lua_State *L)
{
    int count = 0;
    lua_getglobal(L, "arg");
    if (lua_istable(L, -1)) {
        int table = lua_gettop(L);
        for (;; count++) {
            luaL_checkstack(L, 1, "too many arguments to script");
            lua_rawgeti(L, table, count + 1);
            if (lua_isnil(L, -1)) break;
        }
        lua_pop(L, 1);
        lua_remove(L, table);
    } else {
        lua_pop(L, 1);
    }
    return count;
}

static int run_script(lua_State *L, const lr_cli *cli)
{
    const char *name = cli->argv[cli->script];
    if (strcmp(name, "-") == 0 && !cli->after_dashes) name = NULL;
    int status = luaL_loadfile(L, name);
    if (status == 0) status = call(L, push_arguments(L));
    return report(L, status);
}

/* Until its end; then the job ends at once, whatever still runs. */
static int run_console(lua_State *L)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "luarun.terminal");
    int status = lua_pcall(L, 1, 1, 0);
    return report(L, status ? status : call(L, 0));
}

/* ---- LuaJIT's -j and -O ------------------------------------------------------------------------------ */

/* Calls the function on the top with the words of a list "a,b,c" (an empty word is nil). */
static int call_with_words(lua_State *L, const char *list)
{
    int count = 0;
    while (list && (*list || count > 0)) {
        const char *comma = strchr(list, ',');
        size_t length = comma ? (size_t)(comma - list) : strlen(list);
        luaL_checkstack(L, 1, "too many words");
        if (length > 0) lua_pushlstring(L, list, length);
        else lua_pushnil(L);
        count++;
        if (!comma) break;
        list = comma + 1;
    }
    return report(L, lua_pcall(L, count, 0, 0));
}

/* Pushes require("jit.NAME").start. */
static bool push_jit_module(lua_State *L, const char *name, size_t length)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "jit.");
    lua_pushlstring(L, name, length);
    lua_concat(L, 2);
    if (lua_pcall(L, 1, 1, 0) == 0 && lua_istable(L, -1)) {
        lua_getfield(L, -1, "start");
        lua_remove(L, -2);
        if (lua_isfunction(L, -1)) return true;
    }
    lua_pop(L, 1);
    lr_cli_complain("unknown LuaJIT command '%.*s', or jit.* modules not installed", (int)length, name);
    return false;
}

/* "off", "v=file", "dump": a function of the jit table, or a module's start. */
static int run_jit_command(lua_State *L, const char *command)
{
    const char *equals = strchr(command, '=');
    size_t length = equals ? (size_t)(equals - command) : strlen(command);
    lua_getglobal(L, "jit");
    lua_pushlstring(L, command, length);
    lua_gettable(L, -2);
    lua_remove(L, -2);
    if (!lua_isfunction(L, -1)) {
        lua_pop(L, 1);
        if (!push_jit_module(L, command, length)) return 1;
    }
    return call_with_words(L, equals ? equals + 1 : NULL);
}

static int run_jit_flags(lua_State *L, const char *flags)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_getfield(L, -1, "jit.opt");
    lua_getfield(L, -1, "start");
    lua_replace(L, -3);
    lua_pop(L, 1);
    return call_with_words(L, flags);
}

/* -e, -l, -j and -O in the order given. */
static int run_options(lua_State *L, const lr_cli *cli)
{
    for (int i = 1, status = 0; i < cli->script && !status; i++) {
        if (lr_cli_is_long(cli->argv, &i)) continue;
        switch (cli->argv[i][1]) {
        case 'e': status = run_chunk(L, lr_cli_value(cli->argv, &i), "=(command line)"); break;
        case 'l': status = run_library(L, lr_cli_value(cli->argv, &i)); break;
        case 'j': status = run_jit_command(L, lr_cli_value(cli->argv, &i)); break;
        case 'O': status = run_jit_flags(L, cli->argv[i] + 2); break;
        default: break;
        }
        if (status) return status;
    }
    return 0;
}

/* ---- the state --------------------------------------------------------------------------------------- */

static void set_arg(lua_State *L, const lr_cli *cli)
{
    lua_createtable(L, cli->argc - cli->script, cli->script + 1);
    for (int i = 0; i < cli->argc; i++) {
        lua_pushstring(L, cli->argv[i]);
        lua_rawseti(L, -2, i - cli->script);
    }
    lua_setglobal(L, "arg");
}

/* package[field] = "<dir>/?.lua;..." before what is there. The package table is on the top. */
static void lead_path(lua_State *L, const char *field, const char *directory, const char *const *tails)
{
    int package = lua_gettop(L);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (; *tails; tails++) {
        luaL_addstring(&b, directory);
        luaL_addstring(&b, *tails);
    }
    lua_getfield(L, package, field);
    luaL_addvalue(&b);
    luaL_pushresult(&b);
    lua_setfield(L, package, field);
}

/* Modules beside the script are found, in the script and, since tasks get the same paths, in tasks. */
static void lead_with_script_directory(lua_State *L, const lr_cli *cli)
{
    static const char *const lua_tails[] = {"/?.lua;", "/?/init.lua;", NULL}, *const c_tails[] = {"/?.so;", NULL};
    if (cli->script >= cli->argc) return;
    const char *name = cli->argv[cli->script], *slash = strrchr(name, '/');
    if (strcmp(name, "-") == 0 && !cli->after_dashes) return;
    lua_getglobal(L, "package");
    if (slash) lua_pushlstring(L, name, slash == name ? 1 : (size_t)(slash - name));
    else lua_pushliteral(L, ".");
    const char *directory = lua_tostring(L, -1);
    lua_setfield(L, -2, "luarun_scriptdir");
    if (!strpbrk(directory, "?;")) { /* these mean something else in a path */
        lead_path(L, "path", directory, lua_tails);
        lead_path(L, "cpath", directory, c_tails);
    }
    lua_pop(L, 1);
}

/* os.exit([true | false | status]): the job ends too. */
static int os_exit(lua_State *L)
{
    int status;
    if (lua_isboolean(L, 1)) status = lua_toboolean(L, 1) ? EXIT_SUCCESS : EXIT_FAILURE;
    else status = (int)luaL_optinteger(L, 1, EXIT_SUCCESS);
    lr_session_exit(status);
}

static void open_libraries(lua_State *L)
{
    lua_gc(L, LUA_GCSTOP, 0);
    luaL_openlibs(L);
    lua_gc(L, LUA_GCRESTART, -1);
    lua_getglobal(L, "os");
    lua_pushcfunction(L, os_exit);
    lua_setfield(L, -2, "exit");
    lua_pop(L, 1);
    lr_embedded_preload(L);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, luaopen_luarun_core);
    lua_setfield(L, -2, "luarun.core");
    lua_pushcfunction(L, luaopen_luarun_tty);
    lua_setfield(L, -2, "luarun.tty");
    lr_tables_preload(L);
    lua_pop(L, 2);
}

static int run_all(lua_State *L, const lr_cli *cli)
{
    if (cli->command) return lr_command_run(L, cli);
    int status = cli->ignore_env ? 0 : run_init(L);
    if (!status && cli->show_version) puts("luarun " LR_VERSION "\n" LUAJIT_VERSION " -- " LUAJIT_COPYRIGHT);
    if (!status) status = run_options(L, cli);
    if (status) return status;
    if (cli->script < cli->argc) status = run_script(L, cli);
    else if (!cli->has_chunk && !cli->show_version && !cli->console) status = run_file(L, NULL);
    if (!status && cli->console) status = run_console(L);
    return status;
}

/* Under lua_cpcall: what fails here is out of memory. */
static int protected_main(lua_State *L)
{
    program *p = lua_touserdata(L, 1);
    if (p->cli.ignore_env) {
        lua_pushboolean(L, 1);
        lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
    }
    open_libraries(L);
    set_arg(L, &p->cli);
    lead_with_script_directory(L, &p->cli);
    p->status = run_all(L, &p->cli);
    return 0;
}

int main(int argc, char **argv)
{
    static char name[] = "luarun", *no_arguments[] = {name, NULL};
    program p = {0};
    if (argc < 1) argv = no_arguments, argc = 1;
    lr_cli_next next = lr_cli_read(&p.cli, argc, argv);
    if (next != LR_CLI_RUN) return next == LR_CLI_DONE ? EXIT_SUCCESS : EXIT_FAILURE;
    if (p.cli.serves && p.cli.config.joins) return lr_agent_run(&p.cli.config);
    if (p.cli.command && !lr_command_needs_lua(&p.cli)) return lr_command_run_plain(&p.cli);
    lua_State *L = luaL_newstate();
    if (!L) {
        lr_cli_complain("cannot create state: not enough memory");
        return EXIT_FAILURE;
    }
    lr_session_configure(&p.cli.config);
    lr_interrupt_install(L);
    if (p.cli.serves) {
        int served = lr_session_serve(L);
        fflush(NULL);
        _exit(served);
    }
    int status = report(L, lua_cpcall(L, protected_main, &p)) | p.status;
    if (!lr_session_finish(L, status == 0 && !p.cli.console)) status = 1;
    lua_close(L);
    lr_session_close();
    return status ? EXIT_FAILURE : EXIT_SUCCESS;
}
