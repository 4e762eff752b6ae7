/* runtime/address.h - the addresses of nodes: which kind one is, and whether it leaves the machine.
 *
 * Owns: nothing. Thread: any. Blocks: never: names are not resolved; localhost is loopback, any other name is not. */
#ifndef RUNTIME_ADDRESS_H
#define RUNTIME_ADDRESS_H

#include "sched/base.h"

#define LR_HOST_MAX 256u /* room for a host's name with its 0 */

typedef enum lr_address_kind { LR_ADDRESS_BAD, LR_ADDRESS_TCP, LR_ADDRESS_TLS, LR_ADDRESS_IPC } lr_address_kind;

typedef struct lr_address {
    lr_address_kind kind;
    bool loopback;
    char host[LR_HOST_MAX]; /* tcp and tls; without the brackets of IPv6 */
} lr_address;

/* kind is BAD for what is none of tcp://HOST:PORT, tls+tcp://HOST:PORT, ipc:///PATH. */
void lr_address_parse(const char *url, lr_address *out);

#endif
