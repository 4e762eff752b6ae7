#include "sched/lease.h"

#define RETRY_NS (LR_NS_PER_S / 5)

void lr_lease_begin(lr_lease *lease)
{
    lease->version = 0;
    lease->held = lease->asked = false;
    lease->started = true;
    lease->next_ns = 0;
}

static void ask(lr_lease *lease, uint64_t now_ns)
{
    char text[LR_ROW_MAX];
    size_t size = lease->write(lease->user, text);
    lease->token = LR_LEASE_TOKEN | ((lease->token + 1) & 0xffffffff);
    lr_control_request r = {.token = lease->token, .op = LR_CONTROL_COMPARE_AND_SET, .table = lease->table,
                            .key = lr_bytes_of_id(&lease->key), .value = lr_bytes_of(text, size),
                            .owner = lease->owner, .version = lease->version, .notify = lease->version == 0};
    lease->asked = lr_control_request_make(lease->control, &r) == LR_ERR_NONE;
    lease->next_ns = now_ns + (lease->asked ? lease->lease_ns / 3 : RETRY_NS);
}

void lr_lease_turn(lr_lease *lease, uint64_t now_ns)
{
    lease->now_ns = now_ns;
    if (lease->started && !lease->asked && lease->next_ns <= now_ns) ask(lease, now_ns);
}

uint64_t lr_lease_deadline(const lr_lease *lease)
{
    return lease->started && !lease->asked ? lease->next_ns : LR_NEVER;
}

/* Another's row stands there, or none. */
static void on_conflict(lr_lease *lease, const lr_control_reply *reply)
{
    bool swept = reply->count > 0 && lr_row_is_swept(reply->rows[0].value);
    if (reply->count > 0 && !swept) {
        lease->version = reply->rows[0].version; /* a write of ours whose answer was lost */
        lease->next_ns = 0;
        return;
    }
    bool was_held = lease->held;
    lease->version = 0;
    lease->held = false;
    lease->next_ns = swept ? lease->now_ns + RETRY_NS : 0; /* it is about to be deleted */
    if (was_held && lease->lost) lease->lost(lease->user);
}

bool lr_lease_reply(lr_lease *lease, const lr_control_reply *reply)
{
    if (!lease->started || reply->token != lease->token || reply->op != LR_CONTROL_COMPARE_AND_SET) return false;
    lease->asked = false;
    lease->status = reply->status;
    if (reply->status == LR_CONTROL_STATUS_OK) {
        lease->version = reply->version;
        lease->held = true;
    } else if (reply->status == LR_CONTROL_STATUS_CONFLICT) {
        on_conflict(lease, reply);
    } else {
        lease->next_ns = lease->now_ns + RETRY_NS;
    }
    return true;
}

void lr_lease_end(lr_lease *lease)
{
    if (!lease->started) return;
    lease->started = false;
    lr_control_request r = {.token = LR_LEASE_TOKEN, .op = LR_CONTROL_DELETE, .table = lease->table,
                            .key = lr_bytes_of_id(&lease->key), .notify = true};
    lr_err err = lr_control_request_make(lease->control, &r);
    (void)err; /* the row's lease will expire */
}
