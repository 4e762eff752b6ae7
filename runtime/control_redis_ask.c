/* runtime/control_redis_ask.c - requests as bytes: one function for each operation that goes to a server.
 *
 * The keys (docs/internals-control.md), all behind luarun:{cluster}: ; T is a table's name, K a key, O an owner.
 *   version                 the last version given
 *   row:T:K                 version in 16 digits, owner, value
 *   index:T                 sorted set: keys by the version they were first written with
 *   owner:O                 sorted set: T:K likewise
 *   log:T:K, logged:T:K     entries; the last one's number
 *   wake:T:K                channel
 * Owns nothing. Thread: the store's. Blocks: never. */
#include "runtime/control_redis_scripts.h"
#include "runtime/control_redis_store.h"

#define SCAN_LOOKS 1000 /* members that a scan with a prefix looks at in one call */
#define NAME_BYTES 128  /* prefix, kind and table together: less than this */

typedef struct asked {
    lr_redis_shard *shard;
    lr_redis_out *out;
    const lr_control_request *request;
    lr_bytes prefix, table;
    uint64_t cursor;
} asked;

static lr_bytes text(const char *t) { return lr_bytes_of(t, strlen(t)); }

/* prefix + kind + table [+ ":" + key] */
static void name_part(const asked *a, const char *kind, bool with_key)
{
    const lr_bytes pieces[] = {a->prefix, text(kind), a->table, text(":"), a->request->key};
    lr_redis_out_pieces(a->out, pieces, with_key ? 5 : 3);
}

/* table ":" key, as an owner's index has it */
static void member_part(const asked *a)
{
    const lr_bytes pieces[] = {a->table, text(":"), a->request->key};
    lr_redis_out_pieces(a->out, pieces, 3);
}

static void prefixed_part(const asked *a, const char *rest)
{
    const lr_bytes pieces[] = {a->prefix, text(rest)};
    lr_redis_out_pieces(a->out, pieces, 2);
}

static void owner_key_part(const asked *a, const lr_id *owner)
{
    const lr_bytes pieces[] = {a->prefix, text("owner:"), lr_bytes_of_id(owner)};
    lr_redis_out_pieces(a->out, pieces, 3);
}

static void channel_part(const asked *a)
{
    if (a->request->notify)
        name_part(a, "wake:", true);
    else
        lr_redis_out_text(a->out, "");
}

/* EVALSHA, hash, number of keys; then parts more. */
static bool begin_script(const asked *a, lr_redis_script script, unsigned keys, unsigned parts)
{
    const lr_control_request *r = a->request;
    size_t size_bytes = 64 + parts * (size_t)NAME_BYTES + 8 * r->key.size_bytes + r->value.size_bytes;
    if (!lr_redis_out_begin(a->out, 3 + parts, size_bytes)) return false;
    lr_redis_out_text(a->out, "EVALSHA");
    lr_redis_out_part(a->out, lr_redis_script_sha(script), LR_REDIS_SHA_TEXT - 1);
    lr_redis_out_number(a->out, keys);
    return true;
}

static bool begin(const asked *a, const char *command, unsigned parts)
{
    size_t size_bytes = strlen(command) + parts * (NAME_BYTES + a->request->key.size_bytes);
    if (!lr_redis_out_begin(a->out, 1 + parts, size_bytes)) return false;
    lr_redis_out_text(a->out, command);
    return true;
}

static bool ask_write(const asked *a)
{
    const lr_control_request *r = a->request;
    if (!begin_script(a, LR_REDIS_SCRIPT_WRITE, 3, 10)) return false;
    name_part(a, "row:", true);
    prefixed_part(a, "version");
    name_part(a, "index:", false);
    lr_redis_out_part(a->out, &r->owner, sizeof r->owner);
    lr_redis_out_part(a->out, r->key.at, r->key.size_bytes);
    member_part(a);
    prefixed_part(a, "owner:");
    lr_redis_out_part(a->out, r->value.at, r->value.size_bytes);
    channel_part(a);
    if (r->op == LR_CONTROL_COMPARE_AND_SET)
        lr_redis_out_number(a->out, r->version);
    else
        lr_redis_out_text(a->out, "");
    return true;
}

static bool ask_get(const asked *a)
{
    if (!begin(a, "GET", 1)) return false;
    name_part(a, "row:", true);
    return true;
}

static bool ask_delete(const asked *a)
{
    if (!begin_script(a, LR_REDIS_SCRIPT_DELETE, 2, 6)) return false;
    name_part(a, "row:", true);
    name_part(a, "index:", false);
    lr_redis_out_part(a->out, a->request->key.at, a->request->key.size_bytes);
    member_part(a);
    prefixed_part(a, "owner:");
    channel_part(a);
    return true;
}

static uint32_t limit_of(const lr_control_request *r)
{
    return r->limit == 0 || r->limit > LR_CONTROL_ROWS_MAX ? LR_CONTROL_ROWS_MAX : r->limit;
}

static bool ask_scan(const asked *a)
{
    const lr_control_request *r = a->request;
    bool by_owner = !lr_id_is_nil(r->owner);
    if (!begin_script(a, LR_REDIS_SCRIPT_SCAN, 1, 6)) return false;
    if (by_owner)
        owner_key_part(a, &r->owner);
    else
        name_part(a, "index:", false);
    lr_redis_out_number(a->out, a->cursor);
    lr_redis_out_number(a->out, limit_of(r));
    if (by_owner) {
        member_part(a);
        prefixed_part(a, "row:");
    } else {
        const lr_bytes row_prefix[] = {a->prefix, text("row:"), a->table, text(":")};
        lr_redis_out_part(a->out, r->key.at, r->key.size_bytes);
        lr_redis_out_pieces(a->out, row_prefix, 4);
    }
    lr_redis_out_number(a->out, by_owner || r->key.size_bytes > 0 ? SCAN_LOOKS : limit_of(r));
    return true;
}

static bool ask_append(const asked *a)
{
    if (!begin_script(a, LR_REDIS_SCRIPT_APPEND, 2, 5)) return false;
    name_part(a, "log:", true);
    name_part(a, "logged:", true);
    lr_redis_out_part(a->out, a->request->value.at, a->request->value.size_bytes);
    lr_redis_out_number(a->out, a->request->limit);
    channel_part(a);
    return true;
}

static bool ask_read(const asked *a)
{
    if (!begin_script(a, LR_REDIS_SCRIPT_READ, 2, 4)) return false;
    name_part(a, "log:", true);
    name_part(a, "logged:", true);
    lr_redis_out_number(a->out, a->cursor);
    lr_redis_out_number(a->out, limit_of(a->request));
    return true;
}

static bool ask_delete_log(const asked *a)
{
    if (!begin(a, "UNLINK", 2)) return false;
    name_part(a, "log:", true);
    name_part(a, "logged:", true);
    return true;
}

static bool ask_publish(const asked *a)
{
    if (!begin(a, "PUBLISH", 2)) return false;
    name_part(a, "wake:", true);
    lr_redis_out_text(a->out, "");
    return true;
}

static bool (*const asks[LR_CONTROL_OP_COUNT])(const asked *a) = {
    [LR_CONTROL_PUT] = ask_write,       [LR_CONTROL_GET] = ask_get,
    [LR_CONTROL_DELETE] = ask_delete,   [LR_CONTROL_COMPARE_AND_SET] = ask_write,
    [LR_CONTROL_SCAN] = ask_scan,       [LR_CONTROL_APPEND] = ask_append,
    [LR_CONTROL_READ] = ask_read,       [LR_CONTROL_DELETE_LOG] = ask_delete_log,
    [LR_CONTROL_PUBLISH] = ask_publish,
};

static asked asked_of(lr_redis_shard *shard, const lr_control_request *request)
{
    return (asked){shard, &shard->link.out, request, text(shard->store->prefix),
                   text(lr_control_table_name(request->table)), 0};
}

bool lr_redis_ask(lr_redis_shard *shard, const lr_control_request *request, uint64_t cursor)
{
    asked a = asked_of(shard, request);
    a.cursor = cursor;
    LR_ASSERT(asks[request->op]);
    return asks[request->op](&a);
}

bool lr_redis_ask_delete_owned(lr_redis_shard *shard, lr_id owner, bool notify)
{
    lr_control_request request = {.op = LR_CONTROL_DELETE_OWNED};
    asked a = asked_of(shard, &request);
    if (!begin_script(&a, LR_REDIS_SCRIPT_DELETE_OWNED, 1, 4)) return false;
    owner_key_part(&a, &owner);
    prefixed_part(&a, "");
    lr_redis_out_number(a.out, LR_REDIS_DELETE_BATCH);
    lr_redis_out_number(a.out, notify);
    return true;
}

bool lr_redis_ask_hello(lr_redis_shard *shard)
{
    lr_control_request request = {.op = LR_CONTROL_GET};
    asked a = asked_of(shard, &request);
    if (!begin_script(&a, LR_REDIS_SCRIPT_HELLO, 2, 3)) return false;
    prefixed_part(&a, "format");
    prefixed_part(&a, "version");
    lr_redis_out_text(a.out, LR_REDIS_FORMAT);
    return true;
}
