/* runtime/lending.h - objects on their way between this node and one other: lent, mapped, asked for in chunks.
 *
 * Every message that comes from the peer goes through take. What is of this file's own kinds (HOST, BORROWED, FETCH,
 * CHUNK, GONE, AWAIT, RECLAIM) ends here. A message whose value refers to objects is delivered once all are there:
 * mapped from the sender's host, found by id, or brought in chunks; until then it waits (parked), and so do those that
 * must not overtake it: messages of the same task, and all that follows a function. All others pass it.
 *
 *     sender:   offer (an object goes out by reference: lent) ... BORROWED, or the peer's end: given back
 *     receiver: take ─▶ map or find ─▶ deliver ─▶ BORROWED
 *                  └──▶ FETCH ─▶ CHUNK, DATA ... ─▶ whole ─▶ deliver ─▶ BORROWED
 *
 * One transfer for each object, however many messages and peers wait for it; when its sender ends it goes on with the
 * next peer that has named the object. Chunks are asked for a few at a time, of several objects in turns: a receiver
 * that is slow is not flooded. No more than LR_LENDING_FLIGHT chunks lie before a small message at the sender.
 * An object that cannot be brought makes its messages be delivered all the same: lr_import then fails with the reason.
 * RESULTs wait for nothing: what is neither found nor mapped stays absent (runtime/far.h), which asks for it when it is
 * needed, and says BORROWED when it has come or is not wanted any more.
 *
 * Owns: what is lent (a count each), parked messages, transfers. Thread: the node thread. Blocks: never; a thread of
 * its own makes room where an object to come finds none. */
#ifndef RUNTIME_LENDING_H
#define RUNTIME_LENDING_H

#include "runtime/channel.h"
#include "runtime/shared.h"
#include "runtime/transfer.h"
#include "sched/map.h"

#define LR_LENDING_DATA 0x7f00u /* the kind of records that are the bytes of a chunk, alone */
#define LR_LENDING_FLIGHT 3u
#define LR_LENDING_RECORD_MAX (LR_CHUNK_BYTES + 64)

typedef struct lr_lending {
    lr_channel *link;
    void (*deliver)(void *user, const lr_message *m);
    void *user;
    struct lr_lending *next;
    bool same_host;         /* it has said so */
    lr_map lent;            /* id -> lent: named in messages that it has not said to have taken in */
    struct lr_parked *first, *last;
    struct lr_sending *sending, *sending_last; /* what it asked for, in turns */
    struct lr_flight *flights;
    unsigned flight_count;
    uint64_t asked;         /* chunks that are to come from it */
    bool announced;         /* a CHUNK came, its DATA follow */
    struct {
        lr_id object;
        uint64_t offset, size, check;
    } chunk;
} lr_lending;

/* Once for the node. ring: from any thread, the node thread shall call turn. collect: garbage shall be collected.
 * spare: on the node thread; a task that was to run here waits for its objects, and others could run meanwhile. */
void lr_lending_open(void (*ring)(void), void (*collect)(void), void (*spare)(void));
/* Nothing is sent or delivered any more; before the transport closes. */
void lr_lending_close(void);

/* The peer is up: says where we are. */
void lr_lending_init(lr_lending *x, lr_channel *link, void (*deliver)(void *user, const lr_message *m), void *user);
/* The peer is gone: what was lent comes back, what was parked is dropped. */
void lr_lending_fini(lr_lending *x);
/* For lr_export_to: b goes out in a message to the peer. False: it cannot be named; it goes as bytes. */
bool lr_lending_offer(lr_lending *x, lr_buffer *b, lr_reference *out);
/* Brings the object from that peer; lr_far_came tells the end. False: no memory. */
LR_MUST_USE bool lr_lending_ask(lr_lending *x, const lr_reference *ref);
/* The absent object that a RESULT named need not be held any more. */
void lr_lending_acknowledge(lr_lending *x, lr_id object);
/* What is absent here came, or never will: whoever has asked for it is sent it, or told so. */
void lr_lending_arrived(lr_buffer *absent, bool is_here);
/* A message came: delivered now, later, or ours. */
void lr_lending_take(lr_lending *x, const lr_message *m);
/* A record of the kind LR_LENDING_DATA came. */
void lr_lending_data(lr_lending *x, const void *bytes, size_t size_bytes);
/* Sends what can be sent; works off what is due. After the transport's turn. */
void lr_lending_turn(void);
uint64_t lr_lending_deadline(void);

typedef struct lr_lending_stats {
    uint64_t lent, parked, pulls, sendings; /* now */
    uint64_t bytes_in, bytes_out;           /* in chunks */
    uint64_t mapped, found, fetched, refused; /* references that came: how they were resolved; chunks */
} lr_lending_stats;
/* From any thread; the first four about. */
void lr_lending_count(lr_lending_stats *out);

#endif
