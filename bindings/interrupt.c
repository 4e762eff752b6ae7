#include "bindings/interrupt.h"

#include "bindings/session.h"

#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

#define STATUS (128 + SIGINT)
#define STEP_US 50000 /* what a step gets before the next is taken */

static lua_State *script;
static volatile sig_atomic_t interrupts, steps;

static void set_timer(long us)
{
    struct itimerval in = {.it_value = {.tv_usec = us}};
    setitimer(ITIMER_REAL, &in, NULL);
}

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

static void on_interrupt(int signal)
{
    (void)signal;
    if (interrupts++ > 0) _exit(STATUS);
    struct sigaction timer = {.sa_handler = on_timer, .sa_flags = SA_NODEFER};
    sigaction(SIGALRM, &timer, NULL);
    set_timer(STEP_US);
    /* as luajit does it: setting a hook is safe at any point of the interpreter */
    lua_sethook(script, end_job, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

void lr_interrupt_install(lua_State *L)
{
    script = L;
    struct sigaction interrupt = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &interrupt, NULL);
}
