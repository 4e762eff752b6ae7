#include "sched/leftover.h"

#define AGENT_NS 250000000u /* all together look four times a second at most */

static const lr_control_table tables[] = {LR_CONTROL_TABLE_EVENT, LR_CONTROL_TABLE_INSPECTION};

void lr_leftover_begin(lr_leftover *l, uint64_t now_ns)
{
    l->next_ns = now_ns + LR_LEFTOVER_LEAST_NS;
    l->looks = false;
    l->before_count = l->now_count = 0;
}

static void ask(lr_leftover *l)
{
    lr_control_request r = {.token = l->token, .op = LR_CONTROL_SCAN, .table = tables[l->table], .cursor = l->cursor};
    l->looks = lr_control_request_make(l->control, &r) == LR_ERR_NONE;
}

void lr_leftover_turn(lr_leftover *l, uint64_t now_ns)
{
    if (l->looks || now_ns < l->next_ns) return;
    uint64_t pause_ns = (uint64_t)l->agents(l->user) * AGENT_NS;
    l->next_ns = now_ns + (pause_ns > LR_LEFTOVER_LEAST_NS ? pause_ns : LR_LEFTOVER_LEAST_NS);
    l->table = 0;
    l->cursor = 0;
    l->now_count = 0;
    ask(l);
}

uint64_t lr_leftover_deadline(const lr_leftover *l) { return l->looks ? LR_NEVER : l->next_ns; }

static bool is_among(const lr_id *list, unsigned count, lr_id id)
{
    for (unsigned i = 0; i < count; i++)
        if (lr_id_equal(list[i], id)) return true;
    return false;
}

static void suspect(lr_leftover *l, lr_id owner)
{
    if (lr_id_is_nil(owner) || l->lives(l->user, owner) || is_among(l->now, l->now_count, owner)) return;
    if (l->now_count < LR_LEFTOVER_SUSPECTS) l->now[l->now_count++] = owner;
}

static void end_look(lr_leftover *l)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < l->now_count; i++) {
        lr_control_request r = {.token = l->token, .op = LR_CONTROL_DELETE_OWNED, .owner = l->now[i]};
        bool deleted = is_among(l->before, l->before_count, l->now[i]) &&
                       lr_control_request_make(l->control, &r) == LR_ERR_NONE;
        if (!deleted) l->now[kept++] = l->now[i];
    }
    memcpy(l->before, l->now, sizeof l->before);
    l->before_count = kept;
    l->looks = false;
}

bool lr_leftover_reply(lr_leftover *l, const lr_control_reply *reply)
{
    if (reply->token != l->token) return false;
    if (reply->op != LR_CONTROL_SCAN) return true;
    if (reply->status != LR_CONTROL_STATUS_OK) { /* it may be a new store: from the beginning */
        lr_leftover_begin(l, l->next_ns - LR_LEFTOVER_LEAST_NS);
        return true;
    }
    for (uint32_t i = 0; i < reply->count; i++)
        suspect(l, reply->rows[i].owner);
    l->cursor = reply->cursor;
    if (!l->cursor) l->table++;
    if (l->table < LR_COUNT(tables))
        ask(l);
    else
        end_look(l);
    return true;
}
