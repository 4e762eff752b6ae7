/* runtime/control_redis_answer.c - a server's replies as answers: one function for each operation.
 *
 * An error reply becomes `full` where memory is out (nothing was changed), else `unavailable`, with the server's words
 * in the link's line; some of them end the connection (lr_redis_link_judge). A reply of another form than the scripts
 * give is treated as an error: somebody else wrote under our prefix.
 * Owns nothing. Thread: the store's. Blocks: never. */
#include "runtime/control_redis_scripts.h"
#include "runtime/control_redis_store.h"

typedef struct answer {
    lr_redis_shard *shard;
    const lr_redis_record *record;
    lr_control_reply reply;
    lr_control_row rows[LR_CONTROL_ROWS_MAX];
} answer;

static bool is_string(const redisReply *r) { return r->type == REDIS_REPLY_STRING; }
static bool is_number(const redisReply *r) { return r->type == REDIS_REPLY_INTEGER && r->integer >= 0; }
static bool is_list(const redisReply *r) { return r->type == REDIS_REPLY_ARRAY; }

static lr_bytes bytes_of(const redisReply *r) { return lr_bytes_of(r->str, (size_t)r->len); }

static lr_bytes key_of(const answer *a) { return lr_bytes_of(a->record->key, a->record->key_bytes); }

static bool digits(const char *at, size_t count, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < count; i++) {
        if (at[i] < '0' || at[i] > '9') return false;
        *out = *out * 10 + (uint64_t)(at[i] - '0');
    }
    return count > 0 && count < 20;
}

static bool add_row(answer *a, lr_bytes key, const redisReply *stored)
{
    lr_control_row *row = &a->rows[a->reply.count];
    if (a->reply.count == LR_CONTROL_ROWS_MAX || !is_string(stored)) return false;
    if (stored->len < LR_REDIS_ROW_HEAD || !digits(stored->str, 16, &row->version)) return false;
    memcpy(&row->owner, stored->str + 16, sizeof row->owner);
    row->key = key;
    row->value = lr_bytes_of(stored->str + LR_REDIS_ROW_HEAD, (size_t)stored->len - LR_REDIS_ROW_HEAD);
    a->reply.count++;
    return true;
}

static bool answer_write(answer *a, const redisReply *r)
{
    if (is_number(r)) {
        a->reply.version = (uint64_t)r->integer;
        return true;
    }
    if (!is_list(r) || r->elements > 1 || a->record->op != LR_CONTROL_COMPARE_AND_SET) return false;
    a->reply.status = LR_CONTROL_STATUS_CONFLICT;
    if (r->elements == 0) return true;
    if (!add_row(a, key_of(a), r->element[0])) return false;
    a->reply.version = a->rows[0].version;
    return true;
}

static bool answer_get(answer *a, const redisReply *r)
{
    if (r->type == REDIS_REPLY_NIL) {
        a->reply.status = LR_CONTROL_STATUS_NOT_FOUND;
        return true;
    }
    if (!add_row(a, key_of(a), r)) return false;
    a->reply.version = a->rows[0].version;
    return true;
}

/* DELETE, DELETE_LOG: how many there were. */
static bool answer_delete(answer *a, const redisReply *r)
{
    if (!is_number(r)) return false;
    a->reply.status = r->integer > 0 ? LR_CONTROL_STATUS_OK : LR_CONTROL_STATUS_NOT_FOUND;
    return true;
}

/* The cursor's upper bits are the shard. Where this shard has no more, the next one begins. */
static bool answer_scan(answer *a, const redisReply *r)
{
    if (!is_list(r) || r->elements % 2 == 0 || !is_string(r->element[0])) return false;
    if (!digits(r->element[0]->str, (size_t)r->element[0]->len, &a->reply.cursor)) return false;
    size_t strip = a->record->by_owner ? strlen(lr_control_table_name(a->record->table)) + 1 : 0;
    for (size_t i = 1; i < r->elements; i += 2) {
        lr_bytes key = bytes_of(r->element[i]);
        if (!is_string(r->element[i]) || key.size_bytes < strip) return false;
        if (key.size_bytes - strip > LR_CONTROL_KEY_MAX) return false;
        key = lr_bytes_of((const char *)key.at + strip, key.size_bytes - strip);
        if (!add_row(a, key, r->element[i + 1])) return false;
    }
    uint64_t shard = a->shard->index;
    if (a->reply.cursor == 0 && ++shard == a->shard->store->shard_count) return true;
    a->reply.cursor |= shard << LR_REDIS_CURSOR_BITS;
    return true;
}

static bool answer_append(answer *a, const redisReply *r)
{
    a->reply.version = is_number(r) ? (uint64_t)r->integer : 0;
    return is_number(r);
}

static bool answer_read(answer *a, const redisReply *r)
{
    if (!is_list(r) || r->elements < 1 || !is_number(r->element[0])) return false;
    a->reply.cursor = a->record->cursor;
    for (size_t i = 1; i < r->elements; i++) {
        if (!is_string(r->element[i]) || a->reply.count == LR_CONTROL_ROWS_MAX) return false;
        uint64_t number = (uint64_t)r->element[0]->integer + i - 1;
        a->rows[a->reply.count++] = (lr_control_row){key_of(a), bytes_of(r->element[i]), LR_ID_NIL, number};
        a->reply.cursor = number;
    }
    return true;
}

static bool answer_publish(answer *a, const redisReply *r)
{
    (void)a;
    return is_number(r);
}

static bool (*const answers[LR_CONTROL_OP_COUNT])(answer *a, const redisReply *r) = {
    [LR_CONTROL_PUT] = answer_write,       [LR_CONTROL_GET] = answer_get,
    [LR_CONTROL_DELETE] = answer_delete,   [LR_CONTROL_COMPARE_AND_SET] = answer_write,
    [LR_CONTROL_SCAN] = answer_scan,       [LR_CONTROL_APPEND] = answer_append,
    [LR_CONTROL_READ] = answer_read,       [LR_CONTROL_DELETE_LOG] = answer_delete,
    [LR_CONTROL_PUBLISH] = answer_publish,
};

/* --- errors --- */

static lr_control_status judge(lr_redis_shard *shard, const redisReply *r)
{
    lr_redis_link *link = &shard->link;
    const char *error = r->type == REDIS_REPLY_ERROR ? r->str : "WRONGTYPE an answer of another form";
    if (strstr(error, "OOM ")) {
        lr_redis_link_note(link, "it is out of memory: raise maxmemory in redis.conf, or delete something");
        return LR_CONTROL_STATUS_FULL;
    }
    if (lr_redis_link_judge(link, error)) return LR_CONTROL_STATUS_UNAVAILABLE;
    if (strstr(error, "WRONGTYPE"))
        lr_redis_link_note(link, "another program uses keys that begin with %s: choose another ?cluster= or database",
                           shard->store->prefix);
    else if (strstr(error, "MISCONF"))
        lr_redis_link_note(link, "it cannot save its data and takes no writes: see its log, and its disk");
    else
        lr_redis_link_note(link, "it answered '%.200s': see its log", error);
    return LR_CONTROL_STATUS_UNAVAILABLE;
}

/* The next batch of an owner's rows, or the end of this shard's part. */
static void answer_gather(lr_redis_shard *shard, lr_redis_gather *gather, const redisReply *r)
{
    lr_control_status status = is_number(r) ? LR_CONTROL_STATUS_OK : judge(shard, r);
    uint64_t count = is_number(r) ? (uint64_t)r->integer : 0;
    if (count == LR_REDIS_DELETE_BATCH) {
        gather->count += count;
        if (lr_redis_delete_owned(shard, gather)) return;
        status = LR_CONTROL_STATUS_UNAVAILABLE;
        count = 0;
    }
    lr_redis_gather_part(shard->store, gather, status, count);
}

/* A writing that went well ends the complaint about memory. */
static void clear_line(lr_redis_shard *shard, const lr_redis_record *record)
{
    bool wrote = record->op == LR_CONTROL_PUT || record->op == LR_CONTROL_COMPARE_AND_SET ||
                 record->op == LR_CONTROL_APPEND;
    if (wrote && !shard->link.hello_due) lr_redis_link_clear(&shard->link);
}

static void answer_own(lr_redis_shard *shard, const redisReply *r)
{
    if (!shard->link.hello_due || r->type != REDIS_REPLY_INTEGER) return;
    shard->link.hello_due = false;
    lr_redis_link_clear(&shard->link);
}

void lr_redis_answer(lr_redis_shard *shard, const lr_redis_record *record, const redisReply *reply)
{
    if (record->kind == LR_REDIS_RECORD_OWN) {
        answer_own(shard, reply);
        return;
    }
    if (record->gather) {
        answer_gather(shard, record->gather, reply);
        return;
    }
    answer a;
    a.shard = shard;
    a.record = record;
    a.reply = (lr_control_reply){.token = record->token, .op = record->op, .rows = a.rows};
    if (reply->type == REDIS_REPLY_ERROR || !answers[record->op](&a, reply))
        a.reply = (lr_control_reply){.token = record->token, .op = record->op, .rows = a.rows,
                                     .status = judge(shard, reply)};
    else
        clear_line(shard, record);
    lr_redis_deliver(shard->store, &a.reply);
}
