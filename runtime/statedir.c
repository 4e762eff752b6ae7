#include "runtime/statedir.h"

#include "runtime/control_redis_url.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char lr_state_needs_secret[] =
    "this cluster is not on the loopback, and there is no secret: set LUARUN_SECRET, or LUARUN_SECRET_FILE to a file "
    "of mode 0600 that holds it, the same on every node";

bool lr_state_folder(const char *cluster, char path[LR_STATE_PATH], char text[LR_SECRET_TEXT])
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    bool given = state && state[0] == '/';
    if (!given && !(home && home[0] == '/')) {
        snprintf(text, LR_SECRET_TEXT, "there is no home directory: set HOME or XDG_STATE_HOME to a folder's path");
        return false;
    }
    int n = given ? snprintf(path, LR_STATE_PATH, "%s/luarun/%s", state, cluster)
                  : snprintf(path, LR_STATE_PATH, "%s/.local/state/luarun/%s", home, cluster);
    if (n < LR_STATE_PATH - 64) return true;
    snprintf(text, LR_SECRET_TEXT, "the path of the state folder is too long: set XDG_STATE_HOME to a shorter one");
    return false;
}

bool lr_state_read_line(const char *path, char *line, size_t line_bytes)
{
    FILE *f = fopen(path, "re");
    line[0] = 0;
    if (!f) return false;
    bool read = fgets(line, (int)line_bytes, f) != NULL;
    fclose(f);
    line[strcspn(line, "\n")] = 0;
    return read && line[0];
}

bool lr_state_url(const char *cluster, char url[LR_STATE_URL])
{
    char folder[LR_STATE_PATH], path[LR_STATE_PATH + 8], text[LR_SECRET_TEXT];
    url[0] = 0;
    if (!lr_state_folder(cluster, folder, text)) return false;
    snprintf(path, sizeof path, "%s/url", folder);
    return lr_state_read_line(path, url, LR_STATE_URL);
}

static bool is_here(const char *url, char folder[LR_STATE_PATH])
{
    static lr_redis_targets targets; /* large; filled by one thread at a start */
    char text[LR_SECRET_TEXT], known[LR_STATE_URL];
    bool found = lr_redis_targets_parse(&targets, url, text, sizeof text) && lr_state_url(targets.cluster, known) &&
                 strcmp(known, url) == 0 && lr_state_folder(targets.cluster, folder, text);
    explicit_bzero(&targets, sizeof targets);
    return found;
}

bool lr_state_secret(const char *url, lr_secret *secret, char text[LR_SECRET_TEXT])
{
    char folder[LR_STATE_PATH], path[LR_STATE_PATH + 8];
    const char *value = getenv("LUARUN_SECRET"), *file = getenv("LUARUN_SECRET_FILE");
    if (value || (file && *file)) return lr_secret_load(secret, value, file, text);
    *secret = (lr_secret){0};
    if (!is_here(url, folder)) return true;
    snprintf(path, sizeof path, "%s/secret", folder);
    return access(path, F_OK) != 0 || lr_secret_load(secret, NULL, path, text);
}
