/* runtime/statedir.h - what a user's clusters leave in files while they run, and where the secret of one is found.
 *
 *     $XDG_STATE_HOME/luarun/NAME/   (else ~/.local/state/luarun/NAME; NAME is the cluster's, usually "default")
 *         lock      held by the supervisor while the cluster is up; its process id
 *         url       the cluster's URL, one line
 *         secret    what its nodes share, unless LUARUN_SECRET says it
 *         log       what redis-server, the agents and the job processes say
 *         redis/    redis.conf, socket, append-only file
 *
 * Folders have mode 0700, files 0600. Owns: nothing. Thread: any. Blocks: on files. */
#ifndef RUNTIME_STATEDIR_H
#define RUNTIME_STATEDIR_H

#include "runtime/secret.h"

#define LR_STATE_PATH 512
#define LR_STATE_URL 2048

/* The folder of a cluster: not made. False, with a sentence in text: there is no home, or the path is too long. */
LR_MUST_USE bool lr_state_folder(const char *cluster, char path[LR_STATE_PATH], char text[LR_SECRET_TEXT]);
/* The URL of the cluster of that name that is up here; false: there is none. */
bool lr_state_url(const char *cluster, char url[LR_STATE_URL]);
/* The secret for the cluster at a URL: LUARUN_SECRET, the file LUARUN_SECRET_FILE, the secret of a cluster of this user
 * that has this URL; none of them: empty. False: text says what is wrong with it. */
LR_MUST_USE bool lr_state_secret(const char *url, lr_secret *secret, char text[LR_SECRET_TEXT]);
/* What is said where a cluster leaves its machine and there is no secret. */
extern const char lr_state_needs_secret[];
/* Reads the first line of a small file; false: it is not there, or empty. */
bool lr_state_read_line(const char *path, char *line, size_t line_bytes);

#endif
