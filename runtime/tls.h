/* runtime/tls.h - the TLS configuration of a listener or a dialer, made of PEM files.
 *
 * A listener shows its certificate; where there is a CA file it wants one of the dialer too, and each is checked
 * against it. A dialer always checks the listener's certificate, and its name. TLS stands under the handshake
 * (handshake.h), it does not replace it.
 * Owns: nothing; the configuration is the caller's. Thread: any. Blocks: on the files. */
#ifndef RUNTIME_TLS_H
#define RUNTIME_TLS_H

#include "runtime/ending.h"

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>

typedef struct lr_tls_files {
    const char *ca, *cert, *key; /* paths; NULL: none */
} lr_tls_files;

/* Was nng built with it? */
bool lr_tls_is_there(void);
/* host: the name that the listener's certificate must bear; NULL: for a listener. Free it with nng_tls_config_free.
 * Where it fails *detail says what of. */
lr_ending LR_MUST_USE lr_tls_make(const lr_tls_files *files, const char *host, nng_tls_config **out,
                                    const char **detail);

#endif
