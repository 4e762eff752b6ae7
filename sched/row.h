/* sched/row.h - the rows by which nodes and jobs are known in the tables: written by their owners, read by all.
 *
 * A row is a line of text as in sched/record.h: its format's number, then field=value with one blank between; the
 * field `name` or `offers` stands last and goes to the end. Times are milliseconds since 1970 by the writer's clock,
 * for people only: whether a row lives is told by its version, which changes with every renewal (sched/roster.h).
 *
 *   both  1 since=MS renewed=MS lease=MS version=0.1.0 pid=N host=H user=U loopback=L workers=N ...
 *   node  ... jobs=N offers=cpu=2,gpu=1
 *   job   ... address=URL name=script.lua
 *   gone  1 swept=MS      (whoever saw its lease expire has taken it; it is deleted next)
 *
 * Owns: nothing. Thread: any. Blocks: never. */
#ifndef SCHED_ROW_H
#define SCHED_ROW_H

#include "sched/control.h"
#include "sched/resource.h"

#define LR_ROW_MAX 1536 /* bytes */

typedef struct lr_row {
    uint64_t since_ms, renewed_ms, lease_ms, pid;
    const char *host, *user, *loopback; /* runtime/here.h: without blanks */
    int workers;
    unsigned jobs;       /* node */
    const char *offers;  /* node */
    const char *address; /* job */
    const char *name;    /* job */
} lr_row;

/* Writes the row; returns its bytes. */
size_t lr_row_write_node(const lr_row *row, char text[LR_ROW_MAX]);
size_t lr_row_write_job(const lr_row *row, char text[LR_ROW_MAX]);
size_t lr_row_write_swept(uint64_t wall_ms, char text[LR_ROW_MAX]);
/* Where an agent says how a job's process ended, for the job's driver: a row of table EVENT that the job owns. */
static inline lr_id lr_row_death_key(lr_id job, int pid) { return lr_id_child(job, (uint64_t)pid); }
/* A field's text, cut where out ends; false, with out empty, where it has none. */
bool lr_row_field(lr_bytes row, const char *field, char *out, size_t out_bytes);
uint64_t lr_row_number(lr_bytes row, const char *field, uint64_t otherwise);
bool lr_row_is_swept(lr_bytes row);

#endif
