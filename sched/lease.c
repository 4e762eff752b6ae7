#include "sched/lease.h"

#include "sched/fault.h"

#define RETRY_NS (LR_NS_PER_S / 5)

void lr_lease_begin(lr_lease *lease)
{
    lease->version = lease->swept_version = 0;
    lease->held = lease->asked = lease->clearing = false;
    lease->started = true;
    lease->next_ns = 0;
}

static uint64_t next_token(lr_lease *lease)
{
    return lease->token = LR_LEASE_TOKEN | ((lease->token + 1) & 0xffffffff);
}

static void ask(lr_lease *lease, uint64_t now_ns)
{
    char text[LR_ROW_MAX];
    size_t size = lease->write(lease->user, text);
    lr_control_request r = {.token = next_token(lease), .op = LR_CONTROL_COMPARE_AND_SET, .table = lease->table,
                            .key = lr_bytes_of_id(&lease->key), .value = lr_bytes_of(text, size),
                            .version = lease->version, .notify = !lease->held};
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
        /* a write of ours whose answer was lost */
        if (!LR_FAULT(STALE_VERSION)) lease->version = reply->rows[0].version;
        lease->next_ns = 0;
        return;
    }
    if (reply->count == 0 && LR_FAULT(NOT_WRITTEN_AGAIN)) {
        lease->next_ns = lease->now_ns + RETRY_NS;
        return;
    }
    bool was_held = lease->held;
    uint64_t version = swept ? reply->rows[0].version : 0;
    if (lease->swept_version != version) lease->swept_ns = lease->now_ns;
    lease->swept_version = version;
    lease->version = swept && lease->now_ns - lease->swept_ns > LR_LEASE_NS ? version : 0;
    lease->held = false;
    lease->next_ns = swept ? lease->now_ns + RETRY_NS : 0; /* it is about to be deleted */
    if (was_held && lease->lost) lease->lost(lease->user);
}

static void delete_row(lr_lease *lease)
{
    lr_control_request r = {.token = next_token(lease), .op = LR_CONTROL_DELETE, .table = lease->table,
                            .key = lr_bytes_of_id(&lease->key), .notify = true};
    lease->clearing = lr_control_request_make(lease->control, &r) == LR_ERR_NONE;
}

static void go_on_clearing(lr_lease *lease, const lr_control_reply *reply)
{
    lease->clearing = false;
    if (reply->op == LR_CONTROL_DELETE_OWNED && reply->status == LR_CONTROL_STATUS_OK) delete_row(lease);
}

bool lr_lease_reply(lr_lease *lease, const lr_control_reply *reply)
{
    if (lease->clearing && reply->token == lease->token) {
        go_on_clearing(lease, reply);
        return true;
    }
    if (!lease->started || reply->token != lease->token || reply->op != LR_CONTROL_COMPARE_AND_SET) return false;
    lease->asked = false;
    lease->status = reply->status;
    if (reply->status == LR_CONTROL_STATUS_OK) {
        if (!LR_FAULT(STALE_VERSION)) lease->version = reply->version;
        lease->held = true;
    } else if (reply->status == LR_CONTROL_STATUS_CONFLICT) {
        on_conflict(lease, reply);
    } else {
        lease->next_ns = lease->now_ns + RETRY_NS;
    }
    return true;
}

void lr_lease_end(lr_lease *lease, uint64_t wall_ms)
{
    char text[LR_ROW_MAX];
    if (!lease->started) return;
    lease->started = false;
    lr_control_request r = {.token = LR_LEASE_TOKEN, .op = LR_CONTROL_PUT, .table = lease->table,
                            .key = lr_bytes_of_id(&lease->key), .notify = true};
    r.value = lr_bytes_of(text, lr_row_write_swept(wall_ms, text));
    lr_err err = lr_control_request_make(lease->control, &r);
    (void)err; /* the row's lease will expire */
}

void lr_lease_clear(lr_lease *lease)
{
    lr_control_request r = {.token = next_token(lease), .op = LR_CONTROL_DELETE_OWNED, .owner = lease->key};
    lease->clearing = lr_control_request_make(lease->control, &r) == LR_ERR_NONE;
}
