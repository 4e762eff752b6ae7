#include "runtime/tls.h"

#include <stdio.h>
#include <stdlib.h>

#define PEM_MAX (256u << 10) /* bytes of a file */

bool lr_tls_is_there(void)
{
    const char *engine = nng_tls_engine_name();
    return engine && *engine && strcmp(engine, "none") != 0;
}

/* A file's text; free it with wipe. NULL: it cannot be read. */
static char *read_text(const char *path)
{
    FILE *f = fopen(path, "re");
    char *text = f ? calloc(1, PEM_MAX + 1) : NULL;
    size_t n = text ? fread(text, 1, PEM_MAX, f) : 0;
    if (f) fclose(f);
    if (n > 0) return text;
    free(text);
    return NULL;
}

static void wipe(char *text)
{
    if (text) explicit_bzero(text, PEM_MAX);
    free(text);
}

static int show_certificate(nng_tls_config *tls, const lr_tls_files *files)
{
    char *cert = read_text(files->cert), *key = files->key ? read_text(files->key) : NULL;
    int failed = cert && key ? nng_tls_config_own_cert(tls, cert, key, NULL) : NNG_ENOENT;
    wipe(cert);
    wipe(key);
    return failed;
}

static int fill(nng_tls_config *tls, const lr_tls_files *files, const char *host, const char **detail)
{
    *detail = "the mode of authentication";
    int failed = nng_tls_config_auth_mode(tls, files->ca ? NNG_TLS_AUTH_MODE_REQUIRED : NNG_TLS_AUTH_MODE_NONE);
    if (!failed && host) failed = nng_tls_config_server_name(tls, host);
    if (failed) return failed;
    *detail = files->ca;
    if (files->ca) failed = nng_tls_config_ca_file(tls, files->ca);
    if (failed) return failed;
    *detail = files->cert;
    return files->cert ? show_certificate(tls, files) : 0;
}

lr_ending lr_tls_make(const lr_tls_files *files, const char *host, nng_tls_config **out, const char **detail)
{
    *out = NULL;
    *detail = "listening needs a certificate file and a key file";
    if (!host && (!files->cert || !files->key)) return LR_ENDING_BAD_TLS;
    *detail = "connecting needs a CA file";
    if (host && !files->ca) return LR_ENDING_BAD_TLS;
    nng_tls_config *tls;
    *detail = NULL;
    nng_tls_mode mode = host ? NNG_TLS_MODE_CLIENT : NNG_TLS_MODE_SERVER;
    if (nng_tls_config_alloc(&tls, mode) != 0) return LR_ENDING_OUT_OF_MEMORY;
    if (fill(tls, files, host, detail) != 0) {
        nng_tls_config_free(tls);
        return LR_ENDING_BAD_TLS;
    }
    *out = tls;
    return LR_ENDING_OK;
}
