#include "runtime/control_redis_link.h"

#include "runtime/clock.h"
#include "runtime/control_redis_greeting.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (16u << 10) /* more makes hiredis' parser move more, see its redisReaderGetReply */
#define READS_PER_STEP 64      /* then the other links have their turn */
#define PARSER_KEEP_BYTES (1u << 20)

void lr_redis_link_init(lr_redis_link *link, const lr_redis_target *target, const lr_redis_link_config *config,
                        const lr_redis_link_owner *owner)
{
    *link = (lr_redis_link){.target = target, .config = config, .owner = *owner};
    link->asking = target->sentinel;
    if (!target->sentinel) link->address = target->at[0];
    link->pause_ns = config->retry_min_ns;
    lr_prng_seed(&link->prng, lr_mix64(lr_clock_ns() ^ (uintptr_t)link) ^ (uint64_t)getpid());
}

static void disconnect(lr_redis_link *link)
{
    lr_redis_lookup_drop(link->lookup);
    link->lookup = NULL;
    if (link->context) redisFree(link->context);
    link->context = NULL;
    link->attempt++;
    lr_redis_out_fini(&link->greeting);
    link->paused = false;
}

void lr_redis_link_fini(lr_redis_link *link)
{
    disconnect(link);
    lr_redis_out_fini(&link->out);
}

/* --- what is wrong --- */

/* Who is spoken to now. */
static const lr_redis_address *peer(const lr_redis_link *link)
{
    return link->asking ? &link->target->at[link->sentinel % link->target->count] : &link->address;
}

static void set_line(lr_redis_link *link, const char *format, va_list arguments)
{
    char text[LR_REDIS_ERROR_TEXT] = "", where[LR_REDIS_ADDRESS_TEXT];
    lr_redis_address_format(peer(link), where);
    int length = snprintf(text, sizeof text, "%s at %s: ", link->asking ? "sentinel" : "redis", where);
    vsnprintf(text + length, sizeof text - (size_t)length, format, arguments);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ') *c = ' '; /* one line, whatever a server says */
    if (strcmp(text, link->line) == 0) return;
    memcpy(link->line, text, sizeof text);
    link->owner.on_line(link->owner.user);
}

void lr_redis_link_note(lr_redis_link *link, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set_line(link, format, arguments);
    va_end(arguments);
}

void lr_redis_link_clear(lr_redis_link *link)
{
    if (!link->line[0]) return;
    link->line[0] = 0;
    link->owner.on_line(link->owner.user);
}

/* Between a half and the whole of the pause, so that the nodes of a cluster do not come all at once. */
static void retry_later(lr_redis_link *link)
{
    uint64_t pause = link->pause_ns / 2 + lr_prng_below(&link->prng, link->pause_ns / 2 + 1);
    link->retry_ns = lr_clock_ns() + pause;
    link->pause_ns *= 2;
    if (link->pause_ns > link->config->retry_max_ns) link->pause_ns = link->config->retry_max_ns;
    link->state = LR_REDIS_LINK_WAITING;
}

void lr_redis_link_fail(lr_redis_link *link, bool refused, const char *format, ...)
{
    va_list arguments;
    bool was_ready = link->state == LR_REDIS_LINK_READY;
    link->refused = refused;
    va_start(arguments, format);
    set_line(link, format, arguments);
    va_end(arguments);
    disconnect(link);
    if (link->asking) link->sentinel++;
    link->asking = link->target->sentinel; /* the primary may be another by now */
    retry_later(link);
    if (was_ready) link->owner.on_lost(link->owner.user);
}

static void fail_by_errno(lr_redis_link *link, int error)
{
    const char *to_do = "see that the host is up and reachable";
    if (error == ECONNREFUSED) to_do = "nothing listens there: start redis-server, or correct the address";
    if (error == ENOENT) to_do = "there is no such socket: start redis-server, or correct the path";
    if (error == EACCES) to_do = "this user may not use the socket: see its mode (unixsocketperm)";
    lr_redis_link_fail(link, false, "%s: %s", strerror(error), to_do);
}

/* --- finding and connecting --- */

static void open_socket(lr_redis_link *link, const char *host, uint16_t port)
{
    link->context = port ? redisConnectNonBlock(host, port) : redisConnectUnixNonBlock(host);
    if (!link->context) {
        lr_redis_link_fail(link, false, "out of memory: free some");
    } else if (link->context->err) {
        if (link->context->err == REDIS_ERR_IO && errno != 0)
            fail_by_errno(link, errno);
        else
            lr_redis_link_fail(link, false, "%s: see that the address is right", link->context->errstr);
    } else {
        link->context->reader->maxbuf = PARSER_KEEP_BYTES;
        link->state = LR_REDIS_LINK_CONNECTING;
    }
}

static void start(lr_redis_link *link, uint64_t now_ns)
{
    const lr_redis_address *to = peer(link);
    link->give_up_ns = now_ns + link->config->connect_timeout_ns;
    if (to->port == 0 || lr_redis_is_number(to->host)) {
        open_socket(link, to->host, to->port);
        return;
    }
    link->lookup = lr_redis_lookup_start(to->host);
    if (link->lookup)
        link->state = LR_REDIS_LINK_LOOKING_UP;
    else
        lr_redis_link_fail(link, false, "no thread to look the name up with: see the limits of this process");
}

static void look_up(lr_redis_link *link)
{
    char number[LR_REDIS_NUMBER_TEXT];
    const char *error;
    if (!lr_redis_lookup_done(link->lookup, number, &error)) return;
    lr_redis_lookup_drop(link->lookup);
    link->lookup = NULL;
    if (number[0])
        open_socket(link, number, peer(link)->port);
    else
        lr_redis_link_fail(link, false, "the host name does not resolve (%s): correct it, or see the resolver",
                           error);
}

static void connect_done(lr_redis_link *link)
{
    struct pollfd fd = {link->context->fd, POLLOUT, 0};
    if (poll(&fd, 1, 0) <= 0) return;
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(link->context->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    if (error) {
        fail_by_errno(link, error);
        return;
    }
    link->step = 0;
    if (!lr_redis_greeting_write(link)) {
        lr_redis_link_fail(link, false, "out of memory: free some");
        return;
    }
    link->state = LR_REDIS_LINK_GREETING;
}

/* The Sentinel's answer: the primary's address. */
static void take_address(lr_redis_link *link, const lr_redis_address *address, uint64_t now_ns)
{
    disconnect(link);
    link->address = *address;
    link->asking = false;
    start(link, now_ns);
}

static void ready(lr_redis_link *link, uint64_t now_ns)
{
    link->state = LR_REDIS_LINK_READY;
    link->heard_ns = now_ns;
    link->was_awaiting = false;
    link->refused = false;
    link->connections++;
    link->pause_ns = link->config->retry_min_ns;
    if (!link->hello_due) lr_redis_link_clear(link);
    link->owner.on_ready(link->owner.user);
}

/* --- bytes --- */

/* False: the connection was lost. */
static bool flush(lr_redis_link *link, lr_redis_out *out)
{
    while (lr_redis_out_size(out) > 0) {
        ssize_t sent = send(link->context->fd, out->memory + out->head, lr_redis_out_size(out), MSG_NOSIGNAL);
        if (sent > 0) {
            lr_redis_out_drop(out, (size_t)sent);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return true;
        } else if (errno != EINTR) {
            fail_by_errno(link, errno);
            return false;
        }
    }
    return true;
}

static void greeted(lr_redis_link *link, const redisReply *reply, uint64_t now_ns)
{
    lr_redis_address address;
    switch (lr_redis_greeting_read(link, reply, &address)) {
    case LR_REDIS_GREETING_MORE: break;
    case LR_REDIS_GREETING_DONE: ready(link, now_ns); break;
    case LR_REDIS_GREETING_ADDRESS: take_address(link, &address, now_ns); break;
    case LR_REDIS_GREETING_FAILED: break; /* it was told */
    }
}

/* Hands out the replies that are complete. False: no connection any more. */
static bool hand_out(lr_redis_link *link, uint64_t now_ns)
{
    const redisContext *context = link->context;
    uint32_t attempt = link->attempt;
    for (void *reply = NULL; !link->paused; freeReplyObject(reply)) {
        if (redisReaderGetReply(context->reader, &reply) != REDIS_OK) {
            lr_redis_link_fail(link, true, "it does not answer as a Redis does (%.80s): correct the address",
                               context->reader->errstr);
            return false;
        }
        if (!reply) return true;
        if (link->state == LR_REDIS_LINK_READY)
            link->owner.on_reply(link->owner.user, reply);
        else
            greeted(link, reply, now_ns);
        if (link->attempt != attempt) {
            freeReplyObject(reply);
            return false;
        }
    }
    return true;
}

static void lost(lr_redis_link *link, int error)
{
    if (error)
        fail_by_errno(link, error);
    else if (link->state == LR_REDIS_LINK_GREETING)
        lr_redis_link_fail(link, false, "it closed the connection before its first answer: see its log");
    else
        lr_redis_link_fail(link, false, "the connection was closed: see whether redis-server still runs");
}

static void receive(lr_redis_link *link, uint64_t now_ns)
{
    char bytes[READ_BYTES];
    if (!hand_out(link, now_ns)) return; /* what is left from before a pause */
    for (int i = 0; i < READS_PER_STEP && !link->paused; i++) {
        ssize_t got = recv(link->context->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (got <= 0) {
            lost(link, got < 0 ? errno : 0);
            return;
        }
        link->heard_ns = now_ns;
        redisReaderFeed(link->context->reader, bytes, (size_t)got);
        if (!hand_out(link, now_ns)) return;
        if ((size_t)got < sizeof bytes) return;
    }
}

/* --- timers --- */

static void watch(lr_redis_link *link, uint64_t now_ns)
{
    bool awaiting = link->owner.is_awaiting(link->owner.user);
    if ((awaiting && !link->was_awaiting) || link->paused) link->heard_ns = now_ns;
    link->was_awaiting = awaiting;
    uint64_t silence_ns = now_ns - link->heard_ns;
    if (awaiting && silence_ns >= link->config->answer_timeout_ns)
        lr_redis_link_fail(link, false, "no answer for %.1f s: see whether the server hangs or the network is cut",
                           (double)silence_ns / 1e9);
    else if (!awaiting && silence_ns >= link->config->idle_ns)
        link->owner.on_idle(link->owner.user);
}

uint64_t lr_redis_link_deadline(const lr_redis_link *link)
{
    if (link->state == LR_REDIS_LINK_WAITING) return link->retry_ns;
    if (link->state != LR_REDIS_LINK_READY) return link->give_up_ns;
    bool awaiting = link->owner.is_awaiting(link->owner.user);
    return link->heard_ns + (awaiting ? link->config->answer_timeout_ns : link->config->idle_ns);
}

static void talk(lr_redis_link *link, uint64_t now_ns)
{
    lr_redis_out *out = link->state == LR_REDIS_LINK_READY ? &link->out : &link->greeting;
    if (!flush(link, out)) return;
    receive(link, now_ns);
    if (link->state == LR_REDIS_LINK_READY) watch(link, now_ns);
}

void lr_redis_link_step(lr_redis_link *link, uint64_t now_ns)
{
    if (link->state == LR_REDIS_LINK_WAITING && now_ns >= link->retry_ns) start(link, now_ns);
    if (link->state == LR_REDIS_LINK_LOOKING_UP) look_up(link);
    if (link->state == LR_REDIS_LINK_CONNECTING) connect_done(link);
    if (link->state == LR_REDIS_LINK_GREETING || link->state == LR_REDIS_LINK_READY) talk(link, now_ns);
    if (link->state == LR_REDIS_LINK_WAITING || link->state == LR_REDIS_LINK_READY || now_ns < link->give_up_ns) return;
    static const char *const doing[] = {[LR_REDIS_LINK_LOOKING_UP] = "looking its name up",
                                        [LR_REDIS_LINK_CONNECTING] = "connecting",
                                        [LR_REDIS_LINK_GREETING] = "waiting for its first answer"};
    lr_redis_link_fail(link, false, "%.1f s went by %s: see that the host is up and the port open",
                       (double)link->config->connect_timeout_ns / 1e9, doing[link->state]);
}

bool lr_redis_link_wants(const lr_redis_link *link, struct pollfd *out)
{
    const lr_redis_out *bytes = link->state == LR_REDIS_LINK_READY ? &link->out : &link->greeting;
    short events = 0;
    if (link->state == LR_REDIS_LINK_CONNECTING || lr_redis_out_size(bytes) > 0) events |= POLLOUT;
    if (link->state != LR_REDIS_LINK_CONNECTING && !link->paused) events |= POLLIN;
    if (link->state == LR_REDIS_LINK_LOOKING_UP)
        *out = (struct pollfd){lr_redis_lookup_fd(link->lookup), POLLIN, 0};
    else if (link->context)
        *out = (struct pollfd){link->context->fd, events, 0};
    return link->lookup || link->context;
}
