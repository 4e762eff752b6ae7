/* runtime/inspection.h - what lives in the processes of a job, told as text to a command or console that asks.
 *
 * Whoever asks publishes a wake-up of table INSPECTION whose key is the question, `tasks:running:TOKEN`; nothing is
 * written for it. Every driver of the cluster hears it, asks the nodes of its job, and writes what it has got after
 * WAIT_NS at most: one row, which its job owns, under the token and the job's id (lr_member_answer). The asker reads
 * and deletes it; what nobody has fetched the driver takes back. A question that is heard twice is answered once.
 *
 *     luarun list tasks        driver                         each node of its job
 *       PUBLISH ─────────────▶  INSPECT token ──────────────▶  looks at its memory
 *                               ◀──────────────────────────── INSPECTED token, lines
 *       row token+job ◀───────  writes all lines
 *
 * Lines are as in sched/record.h. The first is of the answer, then those of each process, after one of its own:
 *
 *   answer   1 asked=N answered=N                                             (nodes)
 *   process  1 process=ID host=H pid=N total=N guests=N                       (tasks; guests: also told by their owner)
 *   process  1 process=ID host=H pid=N total=N used=BYTES capacity=BYTES peak=BYTES spilled=BYTES held=BYTES
 *            elsewhere=BYTES                                                  (objects; one line)
 *   process  1 process=ID host=H pid=N total=N                                (functions)
 *   task     1 task=ID state=S age=MS attempt=N children=N progress=1/65535 guest=0|1 away=0|1 name=f
 *   object   1 bytes=N references=N where=memory pid=N id=ID site=tensor made at x.lua:1
 *   function 1 fn=ID kind=lua|module|kernel bytes=N mean=NS name=f
 *
 * A task that was given away is told twice: by its owner (away=1; its state is that of the record, `running`), and by
 * the process that has it (guest=1), which knows its state. A function is told by every process that has it, under the
 * hash of what it is made of.
 *
 * Owns: the questions that are being answered. Thread: the leader of the node's loop. Blocks: never. */
#ifndef RUNTIME_INSPECTION_H
#define RUNTIME_INSPECTION_H

#include "sched/message.h"

#define LR_INSPECTION_ROWS 1000u /* of one job */

enum { LR_INSPECT_TASKS, LR_INSPECT_OBJECTS, LR_INSPECT_FUNCTIONS }; /* what: of an INSPECT */

/* This process's lines for an INSPECT, ended with a 0; to be freed. NULL: no memory. */
char *lr_inspection_write(const lr_message *inspect, lr_id node, size_t *size_bytes);
/* A driver was woken by this key. */
void lr_inspection_asked(lr_bytes key);
void lr_inspection_came(const lr_message *inspected);
void lr_inspection_turn(void);
uint64_t lr_inspection_deadline(void);
void lr_inspection_close(void);

#endif
