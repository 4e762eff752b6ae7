/* sched/message.h - what nodes say to each other: a kind and its fields, as bytes and back.
 *
 * Everything here is made of the rows of messages.def: a new message is a row there and a function that handles it.
 * A message travels as one record of the transport, which carries the kind; the bytes are the fields one after the
 * other. The decoder believes nothing: it never reads beyond the bytes, and refuses what is cut off, what has bytes
 * left over, and unknown kinds. It copies nothing: fields of bytes point into the record.
 * Owns: nothing. Thread: any. Blocks: never. */
#ifndef SCHED_MESSAGE_H
#define SCHED_MESSAGE_H

#include "sched/control.h"

typedef enum lr_message_kind {
    LR_MESSAGE_NONE, /* no record is of this kind */
#define LR_MESSAGE(id, name, meaning) LR_MESSAGE_##id,
#define LR_MESSAGE_END(id, name)
#define LR_FIELD_ID(field)
#define LR_FIELD_UINT(field)
#define LR_FIELD_BYTES(field)
#include "sched/messages.def"
    LR_MESSAGE_COUNT
} lr_message_kind;

typedef struct lr_message {
    lr_message_kind kind;
    union {
#define LR_MESSAGE(id, name, meaning) struct {
#define LR_MESSAGE_END(id, name) } name;
#define LR_FIELD_ID(field) lr_id field;
#define LR_FIELD_UINT(field) uint64_t field;
#define LR_FIELD_BYTES(field) lr_bytes field;
#include "sched/messages.def"
    };
} lr_message;

const char *lr_message_name(lr_message_kind kind);    /* "task"; "?" for none */
const char *lr_message_meaning(lr_message_kind kind); /* a sentence; "?" for none */

/* How many bytes it takes. */
size_t lr_message_size(const lr_message *m);
/* Writes them at `to`, which has room for as many. */
void lr_message_encode(const lr_message *m, uint8_t *to);
/* False: no message of that kind has these bytes. */
LR_MUST_USE bool lr_message_decode(uint16_t kind, const void *bytes, size_t size_bytes, lr_message *out);

#endif
