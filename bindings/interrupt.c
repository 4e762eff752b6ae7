#include "bindings/interrupt.h"

#include "bindings/session.h"

#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

#define STATUS (128 + SIGINT)
#define STEP_US 50000 /* what a step gets before the next is taken */
#define AGAIN_NS (LR_NS_PER_S / 2) /* the console's last step: so long after the one before */

static lua_State *script;
static volatile sig_atomic_t interrupts, steps;
static volatile sig_atomic_t is_console, is_terminal, chunk_runs, line_dropped;
static volatile uint64_t second_ns; /* when the chunk was told to stop; this thread and its handler only */

static void set_timer(long us)
{
    struct itimerval in = {.it_value = {.tv_usec = us}};
    setitimer(ITIMER_REAL, &in, NULL);
}

/* ---- a script ------------------------------------------------------------------------------------------- */

/* Between two Lua instructions: everything may be done here. */
static void end_job(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    set_timer(0);
    lua_sethook(L, NULL, 0, 0);
    lr_session_exit(STATUS);
}

/* Lua did not come to its hook, so it is not inside a short write to stdout either. */
static void on_timer(int signal)
{
    (void)signal;
    if (steps++ > 0) _exit(STATUS);
    set_timer(STEP_US);
    if (ftrylockfile(stdout) == 0) fflush_unlocked(stdout);
    _exit(STATUS);
}

static void end_program(void)
{
    struct sigaction timer = {.sa_handler = on_timer, .sa_flags = SA_NODEFER};
    sigaction(SIGALRM, &timer, NULL);
    set_timer(STEP_US);
    /* as luajit does it: setting a hook is safe at any point of the interpreter */
    lua_sethook(script, end_job, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

/* ---- the console ------------------------------------------------------------------------------------------ */

static void say(const char *line)
{
    ssize_t written = write(STDOUT_FILENO, line, strlen(line));
    (void)written;
}

/* At every instruction until the chunk is over: one that catches the error is raised again outside its pcall. Not in
 * luarun's own functions, which show the error, nor in those of C that they call. */
static void stop_chunk(lua_State *L, lua_Debug *ar)
{
    static const char own[] = "@luarun/";
    if (!lua_getinfo(L, "S", ar) || *ar->what == 'C' || strncmp(ar->source, own, sizeof own - 1) == 0) return;
    luaL_error(L, "interrupted: a second ^C stopped the chunk");
}

static void interrupt_chunk(int count)
{
    lr_pool *pool = lr_session_pool();
    uint64_t now = lr_clock_ns();
    if (count > 2) {
        if (now - second_ns >= AGAIN_NS) end_program();
        return;
    }
    bool waits = pool && lr_pool_interrupt(pool, count > 1);
    if (count == 1) {
        if (is_terminal) say("\n"); /* behind the terminal's own ^C */
        if (!waits) say("^C: nothing is being waited for; ^C again stops what runs\n");
        return;
    }
    if (is_terminal) say("\n");
    second_ns = now;
    lua_sethook(script, stop_chunk, LUA_MASKCOUNT, 1);
}

static void on_interrupt(int signal)
{
    (void)signal;
    int count = ++interrupts, error = errno;
    if (!is_console) {
        if (count > 1) _exit(STATUS);
        end_program();
    } else if (chunk_runs) {
        interrupt_chunk(count);
    } else {
        line_dropped = 1;
    }
    errno = error;
}

void lr_interrupt_console(bool on)
{
    is_console = on;
    is_terminal = isatty(STDOUT_FILENO);
    interrupts = 0;
}

void lr_interrupt_chunk(bool runs)
{
    chunk_runs = runs;
    interrupts = 0;
    if (runs) return;
    lua_sethook(script, NULL, 0, 0);
    lr_pool *pool = lr_session_pool();
    if (pool) atomic_store(&pool->interrupted, LR_INTERRUPT_NONE);
}

bool lr_interrupt_take(void)
{
    bool dropped = line_dropped;
    line_dropped = 0;
    return dropped;
}

/* ---- both --------------------------------------------------------------------------------------------------- */

void lr_interrupt_install(lua_State *L)
{
    script = L;
    struct sigaction interrupt = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &interrupt, NULL);
}
