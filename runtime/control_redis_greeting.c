#include "runtime/control_redis_greeting.h"

#include "runtime/control_redis_scripts.h"

#include <stdio.h>
#include <stdlib.h>

#define VERSION_MIN 6 /* ACL users, scripts whose effects are replicated, UNLINK */

typedef enum step_result { NEXT, FAILED, ADDRESS } step_result;

typedef struct step {
    bool (*wanted)(const lr_redis_link *link);
    bool (*write)(lr_redis_link *link);
    step_result (*read)(lr_redis_link *link, const redisReply *reply, lr_redis_address *address);
} step;

static bool always(const lr_redis_link *link)
{
    (void)link;
    return true;
}

static bool words(lr_redis_link *link, unsigned count, const char *const *word)
{
    size_t size_bytes = 0;
    for (unsigned i = 0; i < count; i++)
        size_bytes += strlen(word[i]);
    if (!lr_redis_out_begin(&link->greeting, count, size_bytes)) return false;
    for (unsigned i = 0; i < count; i++)
        lr_redis_out_text(&link->greeting, word[i]);
    return true;
}

#define WORDS(link, ...)                                                                                               \
    words(link, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *const[]){__VA_ARGS__})

/* --- errors of a server --- */

static bool judge_auth(lr_redis_link *link, const char *error)
{
    const char *user = link->target->user[0] ? link->target->user : "default";
    if (strncmp(error, "WRONGPASS", 9) == 0 || strstr(error, "invalid password"))
        lr_redis_link_fail(link, true, "wrong password for user '%s': give the right one (redis://user:password@host)",
                           user);
    else if (strncmp(error, "NOAUTH", 6) == 0)
        lr_redis_link_fail(link, true, "it wants a password: give one (redis://:password@host)");
    else if (strstr(error, "without any password configured"))
        lr_redis_link_fail(link, true, "a password was given, but the server has none: leave it out");
    else if (strncmp(error, "NOPERM", 6) == 0)
        lr_redis_link_fail(link, true, "user '%s' may not do what is needed (%.120s): allow it ~luarun:* &* "
                           "+@all -@dangerous +info", user, error);
    else
        return false;
    return true;
}

bool lr_redis_link_judge(lr_redis_link *link, const char *error)
{
    if (judge_auth(link, error)) return true;
    if (strstr(error, "READONLY"))
        lr_redis_link_fail(link, !link->target->sentinel,
                           "a read-only replica: give the primary's address, or a redis+sentinel:// one");
    else if (strncmp(error, "LOADING", 7) == 0)
        lr_redis_link_fail(link, false, "it is still loading its data: this is tried again");
    else if (strncmp(error, "MASTERDOWN", 10) == 0)
        lr_redis_link_fail(link, false, "a replica without its primary: see the primary");
    else if (strncmp(error, "DENIED", 6) == 0)
        lr_redis_link_fail(link, true, "it is in protected mode: set a password there (requirepass), and give it");
    else if (strstr(error, "max number of clients"))
        lr_redis_link_fail(link, false, "it has no place for more clients: raise maxclients in redis.conf");
    else if (strncmp(error, "NOSCRIPT", 8) == 0)
        lr_redis_link_fail(link, false, "somebody flushed its scripts: they are loaded again");
    else
        return false;
    return true;
}

static step_result refuse(lr_redis_link *link, const redisReply *reply)
{
    const char *error = reply->type == REDIS_REPLY_ERROR ? reply->str : "an answer of another form";
    if (!lr_redis_link_judge(link, error))
        lr_redis_link_fail(link, true, "it does not take part (%.160s): see that it is a Redis server of version %d or "
                           "later", error, VERSION_MIN);
    return FAILED;
}

static step_result take_ok(lr_redis_link *link, const redisReply *reply, lr_redis_address *address)
{
    (void)address;
    return reply->type == REDIS_REPLY_STATUS ? NEXT : refuse(link, reply);
}

/* --- Sentinel --- */

static bool has_sentinel_password(const lr_redis_link *link) { return link->target->sentinel_password[0] != 0; }

static bool write_sentinel_auth(lr_redis_link *link)
{
    return WORDS(link, "AUTH", link->target->sentinel_password);
}

static bool write_question(lr_redis_link *link)
{
    return WORDS(link, "SENTINEL", "get-master-addr-by-name", link->target->primary);
}

static step_result read_answer(lr_redis_link *link, const redisReply *reply, lr_redis_address *address)
{
    const char *primary = link->target->primary;
    if (reply->type == REDIS_REPLY_NIL || (reply->type == REDIS_REPLY_ARRAY && reply->elements == 0)) {
        lr_redis_link_fail(link, false, "it knows no primary named '%s': see sentinel.conf", primary);
        return FAILED;
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        if (reply->type != REDIS_REPLY_ERROR || !judge_auth(link, reply->str))
            lr_redis_link_fail(link, true, "it is no Sentinel (%.120s): for a server itself write redis://",
                               reply->type == REDIS_REPLY_ERROR ? reply->str : "an answer of another form");
        return FAILED;
    }
    const redisReply *host = reply->element[0], *port = reply->element[1];
    char text[300];
    snprintf(text, sizeof text, strchr(host->str, ':') ? "[%s]:%s" : "%s:%s", host->str, port->str);
    if (lr_redis_address_parse(address, text, strlen(text), 0)) return ADDRESS;
    lr_redis_link_fail(link, false, "it names '%.100s' as the primary, which is no address: see sentinel.conf", text);
    return FAILED;
}

/* --- server --- */

static bool has_password(const lr_redis_link *link) { return link->target->password[0] != 0; }
static bool has_database(const lr_redis_link *link) { return link->target->database != 0; }
static bool has_scripts(const lr_redis_link *link) { return link->config->scripts; }

static bool write_auth(lr_redis_link *link)
{
    const lr_redis_target *t = link->target;
    return t->user[0] ? WORDS(link, "AUTH", t->user, t->password) : WORDS(link, "AUTH", t->password);
}

static step_result read_auth(lr_redis_link *link, const redisReply *reply, lr_redis_address *address)
{
    if (reply->type != REDIS_REPLY_ERROR || !strstr(reply->str, "wrong number of arguments"))
        return take_ok(link, reply, address);
    lr_redis_link_fail(link, true, "it is too old, it has no users: version %d or later is wanted", VERSION_MIN);
    return FAILED;
}

static bool write_name(lr_redis_link *link) { return WORDS(link, "CLIENT", "SETNAME", link->config->name); }

/* The name is for people: whoever may not set it goes on. */
static step_result read_name(lr_redis_link *link, const redisReply *reply, lr_redis_address *address)
{
    bool forbidden = reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOPERM", 6) == 0;
    return forbidden ? NEXT : take_ok(link, reply, address);
}

static bool write_select(lr_redis_link *link)
{
    char number[12];
    snprintf(number, sizeof number, "%u", link->target->database);
    return WORDS(link, "SELECT", number);
}

static step_result read_select(lr_redis_link *link, const redisReply *reply, lr_redis_address *address)
{
    if (reply->type != REDIS_REPLY_ERROR || !strstr(reply->str, "out of range")) return take_ok(link, reply, address);
    lr_redis_link_fail(link, true, "it has no database %u: give a smaller number, or raise databases in redis.conf",
                       link->target->database);
    return FAILED;
}

static bool write_info(lr_redis_link *link) { return WORDS(link, "INFO"); }

/* The value of a line "name:value" of INFO; "" where there is none. */
static void info(const redisReply *reply, const char *name, char *out, size_t out_bytes)
{
    size_t length = strlen(name);
    out[0] = 0;
    for (const char *line = reply->str; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, name, length) != 0 || line[length] != ':') continue;
        snprintf(out, out_bytes, "%.*s", (int)strcspn(line + length + 1, "\r\n"), line + length + 1);
        return;
    }
}

static step_result read_info(lr_redis_link *link, const redisReply *reply, lr_redis_address *address)
{
    (void)address;
    if (reply->type != REDIS_REPLY_STRING) return refuse(link, reply);
    char mode[16], role[16], loading[4], policy[24], maxmemory[24];
    info(reply, "redis_version", link->version, sizeof link->version);
    info(reply, "redis_mode", mode, sizeof mode);
    info(reply, "role", role, sizeof role);
    info(reply, "loading", loading, sizeof loading);
    info(reply, "maxmemory_policy", policy, sizeof policy);
    info(reply, "maxmemory", maxmemory, sizeof maxmemory);
    if (atoi(link->version) < VERSION_MIN)
        lr_redis_link_fail(link, true, "version %s is too old: %d or later is wanted", link->version, VERSION_MIN);
    else if (strcmp(mode, "sentinel") == 0)
        lr_redis_link_fail(link, true, "it is a Sentinel: write redis+sentinel://host:port/name-of-the-primary");
    else if (strcmp(mode, "cluster") == 0)
        lr_redis_link_fail(link, true, "it is part of a Redis Cluster: give single servers, several as shards");
    else if (strcmp(role, "slave") == 0)
        lr_redis_link_judge(link, "READONLY");
    else if (strcmp(loading, "1") == 0)
        lr_redis_link_judge(link, "LOADING");
    else if (strncmp(policy, "allkeys", 7) == 0 && strcmp(maxmemory, "0") != 0)
        lr_redis_link_fail(link, true, "it throws keys away when it is full (maxmemory-policy %s): set noeviction",
                           policy);
    else
        return NEXT;
    return FAILED;
}

static bool write_scripts(lr_redis_link *link)
{
    bool ok = true;
    for (lr_redis_script i = 0; ok && i < LR_REDIS_SCRIPT_COUNT; i++)
        ok = WORDS(link, "SCRIPT", "LOAD", lr_redis_script_text(i));
    return ok;
}

static step_result read_script(lr_redis_link *link, const redisReply *reply, lr_redis_address *address)
{
    (void)address;
    if (reply->type == REDIS_REPLY_STRING && reply->len == LR_REDIS_SHA_TEXT - 1) return NEXT;
    return refuse(link, reply);
}

static bool write_hello(lr_redis_link *link)
{
    char format[80], version[80];
    snprintf(format, sizeof format, "%sformat", link->config->prefix);
    snprintf(version, sizeof version, "%sversion", link->config->prefix);
    return WORDS(link, "EVALSHA", lr_redis_script_sha(LR_REDIS_SCRIPT_HELLO), "2", format, version, LR_REDIS_FORMAT);
}

static step_result read_hello(lr_redis_link *link, const redisReply *reply, lr_redis_address *address)
{
    (void)address;
    link->hello_due = reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "OOM ");
    if (link->hello_due) /* reading and deleting are still possible */
        lr_redis_link_note(link, "it is out of memory: raise maxmemory in redis.conf, or delete something");
    if (link->hello_due || reply->type == REDIS_REPLY_INTEGER) return NEXT;
    if (reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "WRONGTYPE"))
        lr_redis_link_fail(link, true, "another program uses keys that begin with %s: choose another ?cluster=",
                           link->config->prefix);
    else if (reply->type == REDIS_REPLY_STRING)
        lr_redis_link_fail(link, true, "its tables under %s have format %.20s, this luarun writes %s: choose another "
                           "?cluster=, or use the luarun that wrote them",
                           link->config->prefix, reply->str, LR_REDIS_FORMAT);
    else
        return refuse(link, reply);
    return FAILED;
}

#define SCRIPT_STEP {has_scripts, NULL, read_script}

static const step to_sentinel[] = {
    {has_sentinel_password, write_sentinel_auth, take_ok},
    {always, write_question, read_answer},
};

static const step to_server[] = {
    {has_password, write_auth, read_auth},
    {always, write_name, read_name},
    {has_database, write_select, read_select},
    {always, write_info, read_info},
    {has_scripts, write_scripts, read_script}, /* one answer each */
    SCRIPT_STEP, SCRIPT_STEP, SCRIPT_STEP, SCRIPT_STEP, SCRIPT_STEP, SCRIPT_STEP,
    {has_scripts, write_hello, read_hello},
};
_Static_assert(LR_REDIS_SCRIPT_COUNT == 7, "as many answers as scripts");

static const step *steps(const lr_redis_link *link, uint32_t *count)
{
    *count = link->asking ? LR_COUNT(to_sentinel) : LR_COUNT(to_server);
    return link->asking ? to_sentinel : to_server;
}

bool lr_redis_greeting_write(lr_redis_link *link)
{
    uint32_t count;
    const step *s = steps(link, &count);
    bool ok = true;
    for (uint32_t i = 0; ok && i < count; i++)
        if (s[i].write && s[i].wanted(link)) ok = s[i].write(link);
    return ok;
}

lr_redis_greeting lr_redis_greeting_read(lr_redis_link *link, const redisReply *reply, lr_redis_address *address)
{
    uint32_t count;
    const step *s = steps(link, &count);
    while (link->step < count && !s[link->step].wanted(link))
        link->step++;
    LR_ASSERT(link->step < count);
    step_result result = s[link->step++].read(link, reply, address);
    if (result == FAILED) return LR_REDIS_GREETING_FAILED;
    if (result == ADDRESS) return LR_REDIS_GREETING_ADDRESS;
    for (uint32_t i = link->step; i < count; i++)
        if (s[i].wanted(link)) return LR_REDIS_GREETING_MORE;
    return LR_REDIS_GREETING_DONE;
}
