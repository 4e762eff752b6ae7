#include "bindings/console.h"

#include "bindings/interrupt.h"
#include "bindings/lineedit.h"
#include "bindings/output.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

#define QUEUE_BYTES_MAX (1u << 20) /* printed and not yet shown: more waits */
#define NAMES_MAX 2000
#define SLICE_NS 100000 /* the shortest */
#define RESET_ON_FORK 1

/* ---- what tasks print while a line is edited ----------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t shown;
    bool editing;
    char *text;
    size_t bytes, capacity;
    int wake_fd;
} printed = {.lock = PTHREAD_MUTEX_INITIALIZER, .shown = PTHREAD_COND_INITIALIZER, .wake_fd = -1};

/* Under the lock. False: no memory. */
static bool append(const char *text, size_t bytes)
{
    if (printed.bytes + bytes > printed.capacity) {
        size_t capacity = 2 * (printed.bytes + bytes) + 256;
        char *bigger = realloc(printed.text, capacity);
        if (!bigger) return false;
        printed.text = bigger;
        printed.capacity = capacity;
    }
    memcpy(printed.text + printed.bytes, text, bytes);
    printed.bytes += bytes;
    return true;
}

static bool take_line(const char *mark, const char *text, size_t text_bytes)
{
    pthread_mutex_lock(&printed.lock);
    while (printed.editing && printed.bytes > QUEUE_BYTES_MAX)
        pthread_cond_wait(&printed.shown, &printed.lock);
    bool taken = printed.editing;
    if (taken) {
        uint64_t one = 1;
        if (append(mark, strlen(mark)) && append(text, text_bytes)) append("\n", 1);
        if (write(printed.wake_fd, &one, sizeof one) < 0) taken = true; /* it is set already */
    }
    pthread_mutex_unlock(&printed.lock);
    return taken;
}

static char *take_output(size_t *bytes)
{
    uint64_t count;
    pthread_mutex_lock(&printed.lock);
    if (read(printed.wake_fd, &count, sizeof count) < 0) count = 0;
    char *text = printed.text;
    *bytes = printed.bytes;
    printed.text = NULL;
    printed.bytes = printed.capacity = 0;
    pthread_cond_broadcast(&printed.shown);
    pthread_mutex_unlock(&printed.lock);
    return text;
}

static void set_editing(bool on)
{
    pthread_mutex_lock(&printed.lock);
    printed.editing = on;
    pthread_cond_broadcast(&printed.shown);
    pthread_mutex_unlock(&printed.lock);
    if (on) return;
    size_t bytes;
    char *text = take_output(&bytes);
    if (text) fwrite(text, 1, bytes, stdout);
    free(text);
}

/* ---- lines ------------------------------------------------------------------------------------------------------ */

static lua_State *completing; /* the state whose function the editor's TAB calls, with the registry's reference: */
static int completer = LUA_NOREF;

static char *text_at(lua_State *L, int index)
{
    const char *text = lua_tostring(L, index);
    return text ? strdup(text) : NULL;
}

static void complete(void *context, const char *line, size_t line_bytes, size_t cursor, char **insert, char **list)
{
    (void)context;
    lua_State *L = completing;
    int top = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, completer);
    lua_pushlstring(L, line, line_bytes);
    lua_pushnumber(L, (lua_Number)cursor);
    if (lua_pcall(L, 2, 2, 0) == 0) {
        *insert = text_at(L, -2);
        *list = text_at(L, -1);
    }
    lua_settop(L, top);
}

static void on_resize(int signal)
{
    (void)signal;
    lr_lineedit_resized();
}

/* A thread that asks for short slices is let in sooner when it wakes: keys are echoed while every processor is busy.
 * Linux 6.12 and later know it, without any right; elsewhere nothing changes. Threads begun later do not inherit it. */
static void ask_for_short_slices(void)
{
    struct { /* struct sched_attr, as far as it is wanted */
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes = {.size = sizeof attributes, .flags = RESET_ON_FORK, .runtime = SLICE_NS};
    attributes.nice = getpriority(PRIO_PROCESS, 0);
    syscall(SYS_sched_setattr, 0, &attributes, 0);
}

/* edit(complete): lines are edited from now on; complete(line, cursor) gives what to insert and what to show. true, or
 * nil and why not. */
static int tty_edit(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    printed.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    lr_lineedit_hooks hooks = {.complete = complete, .wake_fd = printed.wake_fd, .take_output = take_output,
                               .take_interrupt = lr_interrupt_take};
    const char *why = printed.wake_fd < 0 ? "no file descriptor is left" : lr_lineedit_open(&hooks);
    if (why) {
        lua_pushnil(L);
        lua_pushstring(L, why);
        return 2;
    }
    ask_for_short_slices();
    completing = L;
    lua_pushvalue(L, 1);
    completer = luaL_ref(L, LUA_REGISTRYINDEX);
    struct sigaction resize = {.sa_handler = on_resize};
    sigaction(SIGWINCH, &resize, NULL);
    lr_output_take_by(take_line);
    lua_pushboolean(L, true);
    return 1;
}

static int push_line(lua_State *L, lr_line_end end, const char *line, size_t bytes)
{
    if (end == LR_LINE_WHOLE) {
        lua_pushlstring(L, line, bytes);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, end == LR_LINE_DROPPED ? "dropped" : "end");
    return 2;
}

/* read_edited(prompt): a line, or nil and "dropped" or "end". */
static int tty_read_edited(lua_State *L)
{
    const char *prompt = luaL_checkstring(L, 1), *line = NULL;
    fflush(stdout);
    completing = L;
    set_editing(true);
    lr_line_end end = lr_lineedit_read(prompt, &line);
    set_editing(false);
    return push_line(L, end, line, line ? strlen(line) : 0);
}

static int tty_remember(lua_State *L)
{
    lr_lineedit_remember(luaL_checkstring(L, 1));
    return 0;
}

/* Standard input, line by line, without stdio's reading ahead: what runs may read it too. */
static struct {
    char bytes[4096];
    size_t at, count;
} input;

/* Whether there is a byte; false and *end: how it stopped. */
static bool fill(lr_line_end *end)
{
    if (input.at < input.count) return true;
    for (;;) {
        struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
        if (lr_interrupt_take()) {
            *end = LR_LINE_DROPPED;
            return false;
        }
        if (poll(&fd, 1, -1) < 0 && errno == EINTR) continue;
        ssize_t got = read(STDIN_FILENO, input.bytes, sizeof input.bytes);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        input.at = 0;
        input.count = got > 0 ? (size_t)got : 0;
        *end = LR_LINE_NO_MORE;
        return got > 0;
    }
}

/* read_plain(prompt): as read_edited, with nothing but what the terminal itself does. */
static int tty_read_plain(lua_State *L)
{
    fputs(luaL_checkstring(L, 1), stdout);
    fflush(stdout);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    lr_line_end end = LR_LINE_NO_MORE;
    bool any = false;
    while (fill(&end)) {
        any = true;
        char c = input.bytes[input.at++];
        if (c == '\n') break;
        luaL_addchar(&b, c);
    }
    if (!any || end == LR_LINE_DROPPED) return push_line(L, end, NULL, 0);
    luaL_pushresult(&b);
    return 1;
}

/* ---- the terminal ---------------------------------------------------------------------------------------- */

static int tty_is_terminal(lua_State *L)
{
    lua_pushboolean(L, isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
    return 1;
}

/* columns(): 80 where nobody knows. */
static int tty_columns(lua_State *L)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    lua_pushinteger(L, known ? size.ws_col : 80);
    return 1;
}

/* runs(bool): a chunk begins or is over, for ^C. */
static int tty_runs(lua_State *L)
{
    lr_interrupt_chunk(lua_toboolean(L, 1));
    return 0;
}

/* interactive(bool): whether ^C is the console's business or ends the program. */
static int tty_interactive(lua_State *L)
{
    lr_interrupt_console(lua_toboolean(L, 1));
    return 0;
}

/* close(): the terminal as it was. */
static int tty_close(lua_State *L)
{
    (void)L;
    lr_output_take_by(NULL);
    lr_lineedit_close();
    signal(SIGWINCH, SIG_DFL);
    fflush(stdout);
    return 0;
}

/* ---- files ------------------------------------------------------------------------------------------------ */

static int open_locked(const char *path)
{
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return -1;
    while (flock(fd, LOCK_EX) != 0)
        if (errno != EINTR) {
            close(fd);
            return -1;
        }
    return fd;
}

static int complain(lua_State *L, const char *path)
{
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", path, strerror(errno));
    return 2;
}

/* append(path, text): whole, behind whatever others have written. true, or nil and why not. */
static int tty_append(lua_State *L)
{
    size_t bytes;
    const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &bytes);
    int fd = open_locked(path);
    if (fd < 0) return complain(L, path);
    bool written = write(fd, text, bytes) == (ssize_t)bytes;
    if (!written) complain(L, path);
    close(fd);
    if (!written) return 2;
    lua_pushboolean(L, true);
    return 1;
}

static bool replace(int fd, const char *text, size_t bytes)
{
    return ftruncate(fd, 0) == 0 && write(fd, text, bytes) == (ssize_t)bytes;
}

/* rewrite(path, change): gives change the file's text and writes what it returns, or leaves it where that is nil;
 * nobody appends meanwhile. The text, or nil and why not. */
static int tty_rewrite(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    int fd = open_locked(path);
    if (fd < 0) return complain(L, path);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (ssize_t got = 1; got > 0;) {
        got = read(fd, luaL_prepbuffer(&b), LUAL_BUFFERSIZE);
        if (got > 0) luaL_addsize(&b, (size_t)got);
    }
    luaL_pushresult(&b);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    bool ok = lua_pcall(L, 1, 1, 0) == 0;
    size_t bytes;
    const char *text = ok ? lua_tolstring(L, -1, &bytes) : NULL;
    bool written = !text || replace(fd, text, bytes);
    if (!written) complain(L, path);
    close(fd);
    if (!written) return 2;
    if (!text) lua_pop(L, 1);
    return 1;
}

/* make_folder(path): with no access for others. */
static int tty_make_folder(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct stat s;
    bool there = mkdir(path, 0700) == 0 || (errno == EEXIST && stat(path, &s) == 0 && S_ISDIR(s.st_mode));
    lua_pushboolean(L, there);
    return 1;
}

/* files(pattern): names that the shell's pattern matches. */
static int tty_files(lua_State *L)
{
    glob_t found;
    lua_newtable(L);
    if (glob(luaL_checkstring(L, 1), GLOB_MARK, NULL, &found) != 0) return 1;
    for (size_t i = 0; i < found.gl_pathc && i < NAMES_MAX; i++) {
        lua_pushstring(L, found.gl_pathv[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    globfree(&found);
    return 1;
}

int luaopen_luarun_tty(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"edit", tty_edit}, {"read_edited", tty_read_edited}, {"read_plain", tty_read_plain},
        {"remember", tty_remember}, {"is_terminal", tty_is_terminal}, {"columns", tty_columns},
        {"runs", tty_runs}, {"interactive", tty_interactive}, {"close", tty_close}, {"append", tty_append},
        {"rewrite", tty_rewrite}, {"make_folder", tty_make_folder}, {"files", tty_files}, {NULL, NULL}};
    lua_newtable(L);
    for (const luaL_Reg *f = functions; f->name; f++) {
        lua_pushcfunction(L, f->func);
        lua_setfield(L, -2, f->name);
    }
    return 1;
}
