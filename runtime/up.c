#include "runtime/up.h"

#include "runtime/clock.h"
#include "runtime/control_redis_url.h"
#include "runtime/supervisor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOCKET_MAX 107 /* bytes of a socket's path: the system's limit */
#define DOWN_NS (10 * LR_NS_PER_S)
#define KILL_NS (5 * LR_NS_PER_S)
#define LOOK_US 2000
#define PATH_TEXT (LR_STATE_PATH + 64)

static struct {
    char name[LR_REDIS_CLUSTER_TEXT], folder[LR_STATE_PATH], url[LR_STATE_URL];
    char conf[PATH_TEXT], log[PATH_TEXT];
    char secret_entry[sizeof "LUARUN_SECRET=" + LR_SECRET_MAX];
    int lock_fd;
} up = {.lock_fd = -1};

static int complain(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int complain(const char *command, const char *format, ...)
{
    char line[1000];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    fprintf(stderr, "luarun: %s: %s\n", command, line);
    return EXIT_FAILURE;
}

static void path_of(const char *file, char path[PATH_TEXT]) { snprintf(path, PATH_TEXT, "%s/%s", up.folder, file); }

/* ---- the state folder ------------------------------------------------------------------------------------- */

/* Every folder of the path that is not there. */
static bool make_folders(const char *path)
{
    char part[LR_STATE_PATH];
    for (const char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", slash ? (int)(slash - path) : (int)strlen(path), path);
        if (mkdir(part, 0700) != 0 && errno != EEXIST) return false;
        if (!slash) return true;
    }
}

/* The lock is free, and ours now; or held, and *holder is the process that says so in it (0: unknown). */
static bool take_lock(bool make, int *holder, int *why)
{
    char path[PATH_TEXT], line[24];
    struct stat mine, there;
    path_of("lock", path);
    *holder = *why = 0;
    for (;;) {
        int fd = open(path, (make ? O_CREAT : 0) | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0) {
            *why = errno;
            return false;
        }
        bool taken = flock(fd, LOCK_EX | LOCK_NB) == 0;
        bool same = fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_ino == there.st_ino;
        if (taken && same) {
            up.lock_fd = fd;
            return true;
        }
        close(fd);
        if (taken) continue; /* who had it has removed it meanwhile */
        *why = EWOULDBLOCK;
        if (lr_state_read_line(path, line, sizeof line)) *holder = atoi(line);
        return false;
    }
}

static bool write_file(const char *name, const char *text)
{
    char path[PATH_TEXT], fresh[PATH_TEXT];
    path_of(name, path);
    path_of("fresh", fresh);
    int fd = open(fresh, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return false;
    size_t size = strlen(text);
    bool ok = write(fd, text, size) == (ssize_t)size;
    return close(fd) == 0 && ok && rename(fresh, path) == 0;
}

/* Everything in a folder of ours, and the folder. */
static void remove_folder(const char *path)
{
    char inner[PATH_TEXT];
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        struct stat s;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (snprintf(inner, sizeof inner, "%s/%s", path, e->d_name) >= (int)sizeof inner) continue;
        if (lstat(inner, &s) == 0 && S_ISDIR(s.st_mode)) remove_folder(inner);
        else unlink(inner);
    }
    if (d) closedir(d);
    rmdir(path);
}

/* All but the lock, which is ours. */
static void clear_folder(void)
{
    static const char *const files[] = {"url", "secret", "log", "fresh"};
    char path[PATH_TEXT];
    for (size_t i = 0; i < LR_COUNT(files); i++) {
        path_of(files[i], path);
        unlink(path);
    }
    path_of("redis", path);
    remove_folder(path);
}

/* Nothing is left, and the lock is nobody's. */
static void leave_folder(void)
{
    char path[PATH_TEXT];
    clear_folder();
    path_of("lock", path);
    unlink(path);
    rmdir(up.folder);
    char *slash = strrchr(up.folder, '/');
    *slash = 0;
    rmdir(up.folder); /* luarun/, where no other cluster is in it */
    *slash = '/';
    close(up.lock_fd);
    up.lock_fd = -1;
}

/* ---- what it is started with -------------------------------------------------------------------------------- */

/* A path in a URL: what could mean something else there is written as %xx. */
static void append_path(char *out, size_t out_bytes, const char *path)
{
    size_t n = strlen(out);
    for (; *path && n + 4 < out_bytes; path++) {
        unsigned char c = (unsigned char)*path;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("/._-+", c);
        n += (size_t)snprintf(out + n, out_bytes - n, plain ? "%c" : "%%%02X", c);
    }
}

/* A word of redis.conf. */
static void print_quoted(FILE *f, const char *word, const char *text)
{
    fprintf(f, "%s \"", word);
    for (; *text; text++)
        fprintf(f, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    fputs("\"\n", f);
}

static bool prepare_redis(char text[LR_SUPERVISOR_TEXT])
{
    char folder[PATH_TEXT], socket[PATH_TEXT];
    path_of("redis", folder);
    path_of("redis/conf", up.conf);
    path_of("redis/socket", socket);
    if (strlen(socket) > SOCKET_MAX) {
        snprintf(text, LR_SUPERVISOR_TEXT, "the socket's path %.300s is longer than %d bytes: set XDG_STATE_HOME to a "
                 "shorter folder", socket, SOCKET_MAX);
        return false;
    }
    FILE *f = mkdir(folder, 0700) == 0 ? fopen(up.conf, "we") : NULL;
    if (!f) {
        snprintf(text, LR_SUPERVISOR_TEXT, "%s: %s", up.conf, strerror(errno));
        return false;
    }
    print_quoted(f, "dir", folder);
    print_quoted(f, "unixsocket", socket);
    fputs("unixsocketperm 700\nport 0\nappendonly yes\nappendfsync everysec\nsave \"\"\nmaxmemory-policy noeviction\n"
          "daemonize no\ntcp-keepalive 60\n", f);
    fclose(f);
    strcpy(up.url, "unix://");
    append_path(up.url, sizeof up.url, socket);
    if (strcmp(up.name, "default") != 0) {
        size_t n = strlen(up.url);
        snprintf(up.url + n, sizeof up.url - n, "?cluster=%s", up.name);
    }
    return true;
}

static bool prepare_secret(char text[LR_SUPERVISOR_TEXT])
{
    const char *given = getenv("LUARUN_SECRET"), *file = getenv("LUARUN_SECRET_FILE");
    lr_secret secret;
    char words[LR_SECRET_TEXT];
    if (given || (file && *file)) {
        bool ok = lr_secret_load(&secret, given, file, words);
        if (ok) snprintf(up.secret_entry, sizeof up.secret_entry, "LUARUN_SECRET=%.*s", (int)secret.size_bytes,
                         (const char *)secret.bytes);
        else snprintf(text, LR_SUPERVISOR_TEXT, "%s", words);
        return ok;
    }
    uint8_t bytes[32];
    char made[sizeof bytes * 2 + 2] = "";
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) abort(); /* it does not fail for so few */
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(made + 2 * i, 3, "%02x", bytes[i]);
    snprintf(up.secret_entry, sizeof up.secret_entry, "LUARUN_SECRET=%s", made);
    strcat(made, "\n");
    if (write_file("secret", made)) return true;
    snprintf(text, LR_SUPERVISOR_TEXT, "%s/secret cannot be written: %s", up.folder, strerror(errno));
    return false;
}

/* The cluster's name: of the URL, or as told. */
static bool find_name(const lr_up_config *c, char text[LR_SUPERVISOR_TEXT])
{
    static lr_redis_targets targets;
    char probe[LR_STATE_URL], words[300];
    int n;
    const char *url = c->config->cluster, *separator = strchr(url, '?') ? "&" : "?";
    if (c->name[0] && url[0]) n = snprintf(probe, sizeof probe, "%s%scluster=%s", url, separator, c->name);
    else if (c->name[0]) n = snprintf(probe, sizeof probe, "unix:///?cluster=%s", c->name);
    else n = snprintf(probe, sizeof probe, "%s", url[0] ? url : "unix:///");
    if (n >= (int)sizeof probe) {
        snprintf(text, LR_SUPERVISOR_TEXT, "the URL is too long");
        return false;
    }
    if (!lr_redis_targets_parse(&targets, probe, words, sizeof words)) {
        snprintf(text, LR_SUPERVISOR_TEXT, "%s", words);
        return false;
    }
    strcpy(up.name, targets.cluster);
    explicit_bzero(&targets, sizeof targets);
    if (url[0]) strcpy(up.url, probe);
    return true;
}

static bool prepare_folder(char text[LR_SUPERVISOR_TEXT])
{
    char words[LR_SECRET_TEXT];
    int holder, why;
    if (!lr_state_folder(up.name, up.folder, words)) {
        snprintf(text, LR_SUPERVISOR_TEXT, "%s", words);
        return false;
    }
    if (!make_folders(up.folder)) {
        snprintf(text, LR_SUPERVISOR_TEXT, "the folder %s cannot be made: %s", up.folder, strerror(errno));
        return false;
    }
    if (take_lock(true, &holder, &why)) {
        clear_folder(); /* of one that was killed */
        return true;
    }
    if (why == EWOULDBLOCK)
        snprintf(text, LR_SUPERVISOR_TEXT, "cluster '%s' is up already (process %d): end it with luarun down, or give "
                 "another --name", up.name, holder);
    else
        snprintf(text, LR_SUPERVISOR_TEXT, "%s/lock: %s", up.folder, strerror(why));
    return false;
}

/* ---- up ----------------------------------------------------------------------------------------------------- */

/* Fit to be pasted: in quotes where a shell would read something else. */
static void print_url(FILE *f)
{
    bool plain = strspn(up.url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/._-+@%=,") ==
                 strlen(up.url);
    fprintf(f, plain ? "luarun --cluster %s\n" : "luarun --cluster '%s'\n", up.url);
}

static bool begin(const lr_up_config *c, char text[LR_SUPERVISOR_TEXT])
{
    char pid[24], line[LR_STATE_URL + 1];
    snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    lr_supervisor_config config = {.config = c->config, .nodes = c->nodes, .url = up.url,
                                   .redis_conf = c->config->cluster[0] ? NULL : up.conf,
                                   .log = c->foreground ? NULL : up.log, .secret_entry = up.secret_entry};
    bool ok = ftruncate(up.lock_fd, 0) == 0 && pwrite(up.lock_fd, pid, strlen(pid), 0) > 0;
    if (!ok) snprintf(text, LR_SUPERVISOR_TEXT, "%s/lock: %s", up.folder, strerror(errno));
    if (!ok || !lr_supervisor_start(&config, text)) return false;
    snprintf(line, sizeof line, "%s\n", up.url);
    if (write_file("url", line)) return true;
    snprintf(text, LR_SUPERVISOR_TEXT, "%s/url cannot be written: %s", up.folder, strerror(errno));
    kill(getpid(), SIGTERM); /* it waits to be read: the end of all that runs */
    lr_supervisor_run();
    return false;
}

/* In the background: a session of its own, words into the log. */
static void become_background(void)
{
    setsid();
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int log = open(up.log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    dup2(nothing, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    close(nothing);
    close(log);
    if (chdir("/") != 0) return; /* no folder is kept from being unmounted */
}

static _Noreturn void run_background(const lr_up_config *c, int told)
{
    char text[LR_SUPERVISOR_TEXT] = "";
    become_background();
    if (begin(c, text)) {
        if (write(told, "+", 1) < 0) _exit(EXIT_FAILURE);
        close(told);
        lr_supervisor_run();
        leave_folder();
        _exit(EXIT_SUCCESS);
    }
    leave_folder();
    if (write(told, text, strlen(text)) < 0) _exit(EXIT_FAILURE);
    _exit(EXIT_FAILURE);
}

static int start_background(const lr_up_config *c)
{
    char text[LR_SUPERVISOR_TEXT] = "";
    int ends[2];
    if (pipe(ends) != 0) return complain("up", "%s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0) return complain("up", "the background process cannot be started: %s", strerror(errno));
    if (pid == 0) {
        close(ends[0]);
        fcntl(ends[1], F_SETFD, FD_CLOEXEC);
        run_background(c, ends[1]);
    }
    close(ends[1]);
    close(up.lock_fd); /* the other's copy holds it */
    size_t n = 0;
    for (ssize_t got; n + 1 < sizeof text && (got = read(ends[0], text + n, sizeof text - 1 - n)) != 0;) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) break;
        n += (size_t)got;
        if (text[0] == '+') break;
    }
    text[n] = 0;
    if (text[0] != '+') return complain("up", "%s", n ? text : "the background process was killed");
    print_url(stdout);
    return EXIT_SUCCESS;
}

static int run_foreground(const lr_up_config *c)
{
    char text[LR_SUPERVISOR_TEXT];
    bool ok = begin(c, text);
    if (ok) {
        print_url(stdout);
        fflush(stdout);
        lr_supervisor_run();
    }
    leave_folder();
    return ok ? EXIT_SUCCESS : complain("up", "%s", text);
}

int lr_up_run(const lr_up_config *c)
{
    char text[LR_SUPERVISOR_TEXT];
    if (!find_name(c, text) || !prepare_folder(text)) return complain("up", "%s", text);
    path_of("log", up.log);
    if (!prepare_secret(text) || (!c->config->cluster[0] && !prepare_redis(text))) {
        leave_folder();
        return complain("up", "%s", text);
    }
    return c->foreground ? run_foreground(c) : start_background(c);
}

/* ---- down --------------------------------------------------------------------------------------------------- */

int lr_down_run(const char *name)
{
    char text[LR_SECRET_TEXT];
    int holder, why;
    uint64_t begin_ns = lr_clock_ns(), killed_ns = 0;
    snprintf(up.name, sizeof up.name, "%s", name);
    if (!lr_state_folder(up.name, up.folder, text)) return complain("down", "%s", text);
    for (bool asked = false; !take_lock(false, &holder, &why); usleep(LOOK_US)) {
        uint64_t now_ns = lr_clock_ns();
        if (why == ENOENT && asked) return EXIT_SUCCESS; /* it has cleared everything itself */
        if (why == ENOENT || why == ENOTDIR)
            return complain("down", "no cluster '%s' is up here (luarun up starts one)", up.name);
        if (why != EWOULDBLOCK) return complain("down", "%s/lock: %s", up.folder, strerror(why));
        if (!asked && holder > 1) asked = kill(holder, SIGTERM) == 0;
        if (holder > 1 && !killed_ns && now_ns - begin_ns > KILL_NS) killed_ns = now_ns, kill(holder, SIGKILL);
        if (now_ns - begin_ns > DOWN_NS) return complain("down", "process %d does not end: kill it", holder);
    }
    leave_folder(); /* of one that was killed: its processes have died with it */
    return EXIT_SUCCESS;
}
