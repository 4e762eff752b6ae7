#include "runtime/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, host, &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
    return strcmp(host, "localhost") == 0;
}

static bool is_port(const char *at)
{
    unsigned port = 0, digits = 0;
    for (; *at >= '0' && *at <= '9' && digits < 6; at++, digits++)
        port = port * 10 + (unsigned)(*at - '0');
    return digits > 0 && *at == 0 && port <= 65535;
}

static bool parse_host(const char *at, lr_address *out)
{
    const char *colon = strrchr(at, ':'), *end = colon;
    if (!colon || !is_port(colon + 1)) return false;
    if (*at == '[') {
        at++;
        end--;
        if (end < at || *end != ']') return false;
    }
    size_t n = (size_t)(end - at);
    if (n == 0 || n >= sizeof out->host || memchr(at, '/', n)) return false;
    memcpy(out->host, at, n);
    out->host[n] = 0;
    out->loopback = is_loopback(out->host);
    return true;
}

void lr_address_parse(const char *url, lr_address *out)
{
    *out = (lr_address){0};
    if (strncmp(url, "ipc://", 6) == 0) {
        out->loopback = true;
        out->kind = url[6] == '/' && url[7] ? LR_ADDRESS_IPC : LR_ADDRESS_BAD;
    } else if (strncmp(url, "tcp://", 6) == 0) {
        out->kind = parse_host(url + 6, out) ? LR_ADDRESS_TCP : LR_ADDRESS_BAD;
    } else if (strncmp(url, "tls+tcp://", 10) == 0) {
        out->kind = parse_host(url + 10, out) ? LR_ADDRESS_TLS : LR_ADDRESS_BAD;
    }
}
