#include "runtime/reach.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

static bool is_loopback(const struct sockaddr_storage *at)
{
    if (at->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)at)->sin_addr.s_addr) >> 24 == 127;
    const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)at)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(six)) return six->s6_addr[12] == 127;
    return IN6_IS_ADDR_LOOPBACK(six);
}

static bool format(const struct sockaddr_storage *at, char url[LR_REACH_TEXT])
{
    char number[INET6_ADDRSTRLEN];
    bool six = at->ss_family == AF_INET6;
    const void *bytes = six ? (const void *)&((const struct sockaddr_in6 *)(const void *)at)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)(const void *)at)->sin_addr;
    if (!inet_ntop(at->ss_family, bytes, number, sizeof number)) return false;
    snprintf(url, LR_REACH_TEXT, six ? "tcp://[%s]:0" : "tcp://%s:0", number);
    return true;
}

bool lr_reach_url(const lr_control *control, char url[LR_REACH_TEXT])
{
    struct pollfd fds[LR_CONTROL_REDIS_FDS];
    uint32_t count = lr_control_redis_fds(control, fds);
    snprintf(url, LR_REACH_TEXT, "tcp://127.0.0.1:0");
    for (uint32_t i = 0; i < count; i++) {
        struct sockaddr_storage own = {0}, other = {0};
        socklen_t own_size = sizeof own, other_size = sizeof other;
        if (getsockname(fds[i].fd, (struct sockaddr *)&own, &own_size) != 0) continue;
        if (getpeername(fds[i].fd, (struct sockaddr *)&other, &other_size) != 0) continue;
        if (own.ss_family != AF_INET && own.ss_family != AF_INET6) continue; /* a socket of this machine */
        if (is_loopback(&own) || is_loopback(&other)) continue;
        if (format(&own, url)) return false;
    }
    return true;
}
