/* sched/record.h - what the machine writes into the control store: rows as lines of text.
 *
 * A record is  version field=value field=value ...  with one blank between; ids are 32 hex digits, times
 * nanoseconds of the writer's clock; a field of free text stands last and goes to the end. Text, so
 * that redis-cli and a log show it as it is. The same records come from every node of a cluster, so a
 * change of meaning is a new version.
 *
 *   node      1 since=NS offers=cpu=2,gpu=1
 *   job       1 since=NS name=script.lua
 *   history   1 job=ID ended=NS status=ok            (a log: jobs that are over)
 *   error     1 task=ID job=ID at=NS code=timeout function=f: message
 *
 * Every function writes into the buffer (cut where it ends) and returns the bytes written, without the 0.
 * Owns: nothing. Thread: any. Blocks: never. */
#ifndef SCHED_RECORD_H
#define SCHED_RECORD_H

#include "sched/error.h"
#include "sched/id.h"
#include "sched/resource.h"

#define LR_RECORD_MAX 1024u /* bytes; longer free text is cut */

size_t lr_record_node(char *text, size_t size_bytes, uint64_t now_ns, const lr_resources *offers,
                      const lr_resource_names *names);
size_t lr_record_job(char *text, size_t size_bytes, uint64_t now_ns, const char *name);
size_t lr_record_history(char *text, size_t size_bytes, uint64_t now_ns, lr_id job,
                         const char *status);
size_t lr_record_error(char *text, size_t size_bytes, uint64_t now_ns, lr_id task, lr_id job,
                       lr_err err, const char *function_name, const char *message);

#endif
