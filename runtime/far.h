/* runtime/far.h - objects that stay on the node where they were made until somebody here needs them.
 *
 * A result that names objects of another node ends its task at once. Where an object can neither be found nor mapped
 * here an *absent* buffer takes its place in the value: it knows which node has the object, and keeps it there (its
 * sender holds it until BORROWED is said). The task is marked LR_TASK_FAR. Who needs the bytes says so and waits for
 * the object's *arrival*, an ordinary record:
 *
 *     get of a ready future ─┐                   ┌─ found here, or fetched from its holder or from who named it
 *     inputs of a task ──────┼─▶ want ─▶ arrival ┼─ lost with its node: its task is run again (runtime/lineage.h)
 *     another node's FETCH ──┘                   └─ fails: object_lost, with the reason
 *
 * A task whose inputs are far is placed where most of their bytes lie, where that is possible; else its inputs are
 * brought first. So bytes move once, from who has them to who needs them, and not by the node that submitted.
 *
 * Owns: absent buffers, arrivals, tasks that wait for their inputs' bytes. Thread: the node thread, where not said
 * otherwise. Blocks: never. */
#ifndef RUNTIME_FAR_H
#define RUNTIME_FAR_H

#include "runtime/lending.h"
#include "runtime/lineage.h"

typedef enum lr_far_state { LR_FAR_HERE, LR_FAR_COMING, LR_FAR_LOST } lr_far_state;

/* ring: from any thread, the node thread shall call turn. of: the connection to that node; NULL: there is none. near:
 * a task whose inputs lie on another node, so many bytes: true where it was placed. run: a task that was queued before
 * and has all its inputs here now. */
typedef struct lr_far_hooks {
    void (*ring)(void);
    lr_lending *(*of)(lr_id node);
    bool (*near)(lr_task *t, lr_id node, uint64_t bytes);
    void (*run)(lr_task *t);
} lr_far_hooks;

void lr_far_open(const lr_far_hooks *hooks);
/* Nothing comes any more: what is waited for fails as cancelled. */
void lr_far_close(void);
void lr_far_turn(void);
/* From any thread. */
bool lr_far_is_open(void);
/* From any thread: nobody waits for anything. */
bool lr_far_rests(void);

/* ---- absent buffers --- */

/* The object at ref, which lender has named in the result of record as its index-th reference. origin may be NULL; it
 * is counted once more. One count; NULL: no memory. */
lr_buffer *lr_far_new(const lr_reference *ref, lr_lending *lender, lr_id sender, lr_origin *origin, lr_id record,
                      uint32_t index);
/* How it is named to others. */
void lr_far_show(const lr_buffer *b, lr_reference *out);
/* Somebody needs it: lr_lending_arrived follows, perhaps within this call. */
void lr_far_want(lr_buffer *b);
/* From lending: the object came (NULL: not from there); a connection is over. */
void lr_far_came(lr_id object, lr_buffer *b);
void lr_far_peer_gone(const lr_lending *x);
/* From lineage: its task was run again and gave b in its place; or why it did not. */
void lr_far_remade(lr_buffer *absent, lr_buffer *b, const char *why);
/* The task t, which o's call has made again, has ended: what its first result had named and is lost, wanted or not, is
 * from now on what this one names. */
void lr_far_made_too(lr_origin *o, const lr_task *t);
/* What it can be made again by; NULL: nothing, or it is here. */
lr_origin *lr_far_origin(const lr_buffer *b);
/* Nobody but lineage holds it: its bytes are let go of where they lie; they can be made again. */
void lr_far_let_go(lr_buffer *b);

/* ---- values --- */

/* Whether some of its objects are not here. From any thread. */
bool lr_far_any(const lr_value *v);
/* From any thread, of a READY task with LR_TASK_FAR: are its objects here? If not they are wanted from now on, and
 * *arrival (one count) is what to wait for (COMING), or has failed with the error to raise (LOST). */
lr_far_state lr_far_look(const lr_task *t, lr_task **arrival);
/* Of the inputs of t: the node with most of the bytes that are not here, and how many. */
uint64_t lr_far_nearest(const lr_task *t, lr_id *node);
/* From any thread: the value of t is needed here, once it has ended. */
void lr_far_will_get(lr_task *t);
/* It has ended, with objects that are not here; what lr_far_will_get has said is done. */
void lr_far_ended(const lr_task *t);
/* From any thread: a task whose inputs have all ended, some far. Takes over a count. */
void lr_far_bring(lr_task *t);

#endif
