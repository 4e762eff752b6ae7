#include "runtime/control_redis_url.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Bytes of the text that is read; the end is not a 0. */
typedef struct span {
    const char *at;
    size_t length;
} span;

typedef struct reader {
    lr_redis_targets *targets;
    bool cluster_given;
    char *error;
    size_t error_bytes;
} reader;

static bool say(reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes the sentence; false, so that `return say(...)` refuses. */
static bool say(reader *r, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->error, r->error_bytes, format, arguments);
    va_end(arguments);
    return false;
}

static bool begins(span s, const char *prefix)
{
    return s.length >= strlen(prefix) && memcmp(s.at, prefix, strlen(prefix)) == 0;
}

static bool equals(span s, const char *text) { return s.length == strlen(text) && begins(s, text); }

static span skip(span s, size_t bytes) { return (span){s.at + bytes, s.length - bytes}; }

/* Cuts what stands before the first of a byte off; false where there is none. */
static bool cut(span *rest, char byte, span *before)
{
    const char *found = memchr(rest->at, byte, rest->length);
    if (!found) return false;
    *before = (span){rest->at, (size_t)(found - rest->at)};
    *rest = skip(*rest, before->length + 1);
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Copies with %xx resolved. False: it does not fit, is no hex, or would be a 0. */
static bool decode(span s, char *out, size_t out_bytes)
{
    size_t length = 0;
    for (size_t i = 0; i < s.length; i++, length++) {
        if (length + 1 >= out_bytes) return false;
        out[length] = s.at[i];
        if (s.at[i] != '%') continue;
        if (s.length - i < 3) return false;
        int high = hex_digit(s.at[i + 1]), low = hex_digit(s.at[i + 2]);
        if (high < 0 || low < 0 || high + low == 0) return false;
        out[length] = (char)(high * 16 + low);
        i += 2;
    }
    out[length] = 0;
    return true;
}

static bool number(span s, unsigned long max, unsigned long *out)
{
    char text[12];
    if (s.length == 0 || s.length >= sizeof text) return false;
    memcpy(text, s.at, s.length);
    text[s.length] = 0;
    if (strspn(text, "0123456789") != s.length) return false;
    *out = strtoul(text, NULL, 10);
    return *out <= max;
}

bool lr_redis_address_parse(lr_redis_address *address, const char *text, size_t length, uint16_t port)
{
    span rest = {text, length}, host = rest;
    unsigned long given = port;
    if (length > 0 && text[0] == '[') {
        rest = skip(rest, 1);
        if (!cut(&rest, ']', &host)) return false;
        if (rest.length > 0 && (rest.at[0] != ':' || !number(skip(rest, 1), 65535, &given))) return false;
    } else if (cut(&rest, ':', &host)) {
        if (!number(rest, 65535, &given)) return false;
    } else {
        host = rest;
    }
    if (host.length == 0 || host.at[0] == '/' || given == 0) return false;
    address->port = (uint16_t)given;
    return decode(host, address->host, sizeof address->host);
}

void lr_redis_address_format(const lr_redis_address *address, char text[LR_REDIS_ADDRESS_TEXT])
{
    const char *form = strchr(address->host, ':') ? "[%s]:%u" : "%s:%u";
    if (address->host[0] == '/') form = "%s";
    snprintf(text, LR_REDIS_ADDRESS_TEXT, form, address->host, (unsigned)address->port);
}

/* "user:password@" or "user@" or ":password@" in front of the rest. */
static bool read_user(reader *r, lr_redis_target *t, span *rest)
{
    const char *at = NULL;
    for (size_t i = 0; i < rest->length && !strchr("/?", rest->at[i]); i++)
        if (rest->at[i] == '@') at = rest->at + i;
    if (!at) return true;
    span given = {rest->at, (size_t)(at - rest->at)}, user;
    *rest = skip(*rest, given.length + 1);
    if (!cut(&given, ':', &user)) {
        user = given;
        given.length = 0;
    }
    if (decode(user, t->user, sizeof t->user) && decode(given, t->password, sizeof t->password)) return true;
    return say(r, "user name or password too long, or with a %% that is no %%xx (write %%25 for %%)");
}

static bool read_cluster(reader *r, span name)
{
    char *cluster = r->targets->cluster;
    bool fits = name.length > 0 && name.length < LR_REDIS_CLUSTER_TEXT;
    for (size_t i = 0; fits && i < name.length; i++)
        fits = isalnum((unsigned char)name.at[i]) || strchr("_-.", name.at[i]);
    if (!fits)
        return say(r, "cluster: 1 to %d letters, digits, _ - . wanted, '%.*s' given", LR_REDIS_CLUSTER_TEXT - 1,
                   (int)name.length, name.at);
    if (r->cluster_given && !equals(name, cluster))
        return say(r, "two cluster names, '%s' and '%.*s': all shards are of one cluster", cluster, (int)name.length,
                   name.at);
    memcpy(cluster, name.at, name.length);
    cluster[name.length] = 0;
    r->cluster_given = true;
    return true;
}

static bool read_database(reader *r, lr_redis_target *t, span given)
{
    unsigned long n;
    if (!number(given, 9999, &n))
        return say(r, "database: a number wanted, '%.*s' given", (int)given.length, given.at);
    t->database = (uint32_t)n;
    return true;
}

static bool read_option(reader *r, lr_redis_target *t, span given)
{
    span name;
    if (!cut(&given, '=', &name))
        return say(r, "'%.*s' behind the ?: name=value wanted", (int)given.length, given.at);
    if (equals(name, "cluster")) return read_cluster(r, given);
    if (equals(name, "database")) return read_database(r, t, given);
    if (equals(name, "sentinel_password")) {
        if (decode(given, t->sentinel_password, sizeof t->sentinel_password)) return true;
        return say(r, "sentinel_password: too long, or with a %% that is no %%xx");
    }
    return say(r, "unknown option '%.*s': cluster, database and sentinel_password are known", (int)name.length,
               name.at);
}

static bool read_options(reader *r, lr_redis_target *t, span options)
{
    for (span one; options.length > 0;) {
        if (!cut(&options, '&', &one)) {
            one = options;
            options.length = 0;
        }
        if (!read_option(r, t, one)) return false;
    }
    return true;
}

static bool read_address(reader *r, lr_redis_target *t, span given, uint16_t port)
{
    if (t->count == LR_REDIS_SENTINELS_MAX) return say(r, "more than %d Sentinels", LR_REDIS_SENTINELS_MAX);
    if (lr_redis_address_parse(&t->at[t->count], given.at, given.length, port)) {
        t->count++;
        return true;
    }
    return say(r, "'%.*s' is no host or host:port", (int)given.length, given.at);
}

static bool read_socket(reader *r, lr_redis_target *t, span path)
{
    if (path.length == 0 || path.at[0] != '/')
        return say(r, "redis+unix wants the path of a socket: redis+unix:///run/redis.sock");
    if (path.length > 107 || !decode(path, t->at[0].host, sizeof t->at[0].host))
        return say(r, "the socket's path is too long (107 bytes are the system's limit)");
    t->count = 1;
    return true;
}

/* "/database" */
static bool read_path(reader *r, lr_redis_target *t, span path)
{
    return path.length == 0 || read_database(r, t, path);
}

static bool read_sentinels(reader *r, lr_redis_target *t, span rest)
{
    span hosts, one, name;
    t->sentinel = true;
    if (!cut(&rest, '/', &hosts) || rest.length == 0)
        return say(r, "redis+sentinel wants the primary's name: redis+sentinel://host:26379/mymaster");
    if (!cut(&rest, '/', &name)) {
        name = rest;
        rest.length = 0;
    }
    if (!decode(name, t->primary, sizeof t->primary)) return say(r, "the primary's name is too long");
    while (cut(&hosts, ',', &one))
        if (!read_address(r, t, one, 26379)) return false;
    return read_address(r, t, hosts, 26379) && read_path(r, t, rest);
}

static bool read_server(reader *r, lr_redis_target *t, span rest)
{
    span host;
    if (!cut(&rest, '/', &host)) {
        host = rest;
        rest.length = 0;
    }
    return read_address(r, t, host, 6379) && read_path(r, t, rest);
}

static bool read_target(reader *r, lr_redis_target *t, span url)
{
    static const struct {
        const char *scheme;
        bool (*read)(reader *r, lr_redis_target *t, span rest);
    } forms[] = {{"redis://", read_server},
                 {"unix://", read_socket}, {"redis+unix://", read_socket},
                 {"sentinel://", read_sentinels}, {"redis+sentinel://", read_sentinels}};
    for (size_t i = 0; i < LR_COUNT(forms); i++) {
        if (!begins(url, forms[i].scheme)) continue;
        span rest = skip(url, strlen(forms[i].scheme)), body;
        if (!read_user(r, t, &rest)) return false;
        if (!cut(&rest, '?', &body)) {
            body = rest;
            rest.length = 0;
        }
        return forms[i].read(r, t, body) && read_options(r, t, rest);
    }
    return say(r, "redis://host:port, unix:///path or sentinel://host:port/name wanted");
}

/* Cuts the first address off; a comma is a border only before a scheme (Sentinels have commas of their own). */
static span next_url(span *rest)
{
    for (size_t i = 0; i < rest->length; i++) {
        if (rest->at[i] != ',') continue;
        span behind = skip(*rest, i + 1);
        if (!begins(behind, "redis://") && !begins(behind, "redis+") && !begins(behind, "unix://") &&
            !begins(behind, "sentinel://"))
            continue;
        span url = {rest->at, i};
        *rest = behind;
        return url;
    }
    span url = *rest;
    rest->length = 0;
    return url;
}

static bool same_place(const lr_redis_target *a, const lr_redis_target *b)
{
    return a->sentinel == b->sentinel && a->at[0].port == b->at[0].port && a->database == b->database &&
           strcmp(a->at[0].host, b->at[0].host) == 0 && strcmp(a->primary, b->primary) == 0;
}

bool lr_redis_targets_parse(lr_redis_targets *targets, const char *text, char *error, size_t error_bytes)
{
    memset(targets, 0, sizeof *targets);
    strcpy(targets->cluster, "default");
    reader r = {targets, false, error, error_bytes};
    span rest = {text, strlen(text)};
    do {
        if (targets->count == LR_REDIS_SHARDS_MAX) return say(&r, "more than %d shards", LR_REDIS_SHARDS_MAX);
        lr_redis_target *t = &targets->shard[targets->count];
        if (!read_target(&r, t, next_url(&rest))) return false;
        for (uint32_t i = 0; i < targets->count; i++)
            if (same_place(&targets->shard[i], t)) return say(&r, "shards %u and %u are the same server", i + 1,
                                                              targets->count + 1);
        targets->count++;
    } while (rest.length > 0);
    return true;
}
