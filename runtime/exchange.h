/* runtime/exchange.h - what values and functions need on their way to and from one other node.
 *
 * A function goes once over each connection, before the first message that names it; its id is the sender's. Those that
 * came are kept until the connection ends. Futures inside values are lent and borrowed by the mesh (the two
 * hooks).
 * Owns: the functions that came, and a count of those that went. Thread: the node thread. Blocks: never. */
#ifndef RUNTIME_EXCHANGE_H
#define RUNTIME_EXCHANGE_H

#include "runtime/export.h"
#include "runtime/channel.h"
#include "runtime/lending.h"
#include "sched/map.h"

typedef struct lr_exchange {
    lr_channel *link;
    lr_id self;                                    /* this node */
    void (*lend)(void *user, struct lr_task *t);   /* a future of it goes out */
    struct lr_task *(*borrow)(void *user, lr_id id); /* one has come: one count, the caller's; NULL: no memory */
    /* a result names an object that is not here: what stands for it, one count; NULL: it fails */
    lr_buffer *(*absent)(void *user, const lr_reference *ref, uint32_t index);
    void *user;
    lr_lending *lending;                             /* how large buffers go */
    char why[300];    /* why the last function that could not be made could not */
    lr_map shipped, libraries; /* of path and name -> lr_kernel_set: sent to them, come from them */
    lr_map functions; /* id there -> lr_fn: theirs; one count */
    lr_map known;     /* id here -> lr_fn: ours, sent; one count */
} lr_exchange;

void lr_exchange_fini(lr_exchange *x);

/* The id of fn for the other side, which is told what it is where it does not know. */
lr_id lr_exchange_know(lr_exchange *x, lr_fn *fn);
/* Makes b, which is reset, the value as bytes; they last as b does. */
lr_bytes lr_exchange_out(lr_exchange *x, lr_builder *b, const lr_value *v);
/* *v (empty before) from bytes. False: text says why. */
LR_MUST_USE bool lr_exchange_in(lr_exchange *x, lr_bytes bytes, lr_value *v, char *text, size_t text_bytes);
/* The same for a result: its objects may be absent. */
LR_MUST_USE bool lr_exchange_in_result(lr_exchange *x, lr_bytes bytes, lr_value *v, char *text, size_t text_bytes);
/* A FUNCTION came. Where it cannot be made (a kernel's library cannot be opened here) its tasks are refused: why. */
void lr_exchange_take_function(lr_exchange *x, const lr_message *m);
/* What has come under that id, whole; not counted. NULL: none has. */
lr_fn *lr_exchange_function(lr_exchange *x, lr_id id);

#endif
