/* runtime/member.h - a driver's part in a public cluster: the tables on Redis, and the job's row among them.
 *
 * The agents of the cluster see the row and start a job process each, which connects to the address in it; the row is
 * renewed, and deleted with all that the job owns at its end. What the node machine writes about its node and its
 * job is not sent: the agents' rows and this one say more. Nothing here is on the path of a task.
 *
 *     open ─▶ (the transport listens on lr_member_listen) ─▶ join ─▶ turn ... ─▶ leave ─▶ (the machine's end) ─▶ close
 *
 * Owns: the store, the row. Thread: the leader of the node's loop. Blocks: open and join up to 2.5 s, close up to half
 * a second. */
#ifndef RUNTIME_MEMBER_H
#define RUNTIME_MEMBER_H

#include "runtime/reach.h"
#include "sched/id.h"

#define LR_MEMBER_TEXT 512
#define LR_MEMBER_LINE 2048u /* of the log of errors */

typedef struct lr_member_config {
    const char *url;
    lr_id job;        /* random: two jobs may have the same seed */
    const char *name; /* the script's */
    int workers;
    bool has_secret;
    const char *listen; /* "": the address by which Redis is reached */
} lr_member_config;

/* NULL: text says why. Replies that are not the member's own go to the handler. The texts stay the caller's. */
lr_control *lr_member_open(const lr_member_config *config, const lr_control_handler *handler,
                           char text[LR_MEMBER_TEXT]);
/* Nodes of this version that were registered then. */
unsigned lr_member_nodes(void);
/* What the transport is to listen on. */
const char *lr_member_listen(void);
/* Writes the job's row. False: text says why. */
LR_MUST_USE bool lr_member_join(const char *address, char text[LR_MEMBER_TEXT]);
/* A request of the machine's on its way to the store. False: the store need not hear it. The time in a line of the log
 * of errors becomes the wall clock's, which other processes know; the line then lies in text. */
bool lr_member_passes(lr_control_request *request, char text[LR_MEMBER_LINE]);
bool lr_member_is_open(void);
/* How a process of this job ended, where its agent has said so: "was killed by signal 9 (Killed)". False: not
 * known yet; the first call for a process asks the store. */
bool lr_member_how_ended(int pid, char *text, size_t text_bytes);
void lr_member_turn(void);
uint64_t lr_member_deadline(void);
/* Room for LR_CONTROL_REDIS_FDS. */
uint32_t lr_member_fds(struct pollfd *fds);
/* The answer of this job to who has asked with that token (runtime/inspection.h); and its removal. */
void lr_member_answer(lr_id token, lr_bytes text);
void lr_member_take_back(lr_id token);
/* The agents are told that the job is over. */
void lr_member_leave(void);
/* Waits for what was written, and lets go of the store. */
void lr_member_close(void);

#endif
