#include "runtime/secret.h"
#include "runtime/address.h"
#include "tests/unit/test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *file_with(const char *words, mode_t mode)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/luarun-secret-test-%d", (int)getpid());
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_int_equal(write(fd, words, strlen(words)), strlen(words));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    return path;
}

static void it_comes_from_the_variable_or_the_file(void **state)
{
    (void)state;
    lr_secret secret;
    char text[LR_SECRET_TEXT];
    assert_true(lr_secret_load(&secret, NULL, NULL, text));
    assert_int_equal(secret.size_bytes, 0);
    assert_true(lr_secret_load(&secret, " word \n", NULL, text));
    assert_int_equal(secret.size_bytes, 4);
    assert_memory_equal(secret.bytes, "word", 4);
    assert_true(lr_secret_load(&secret, NULL, file_with("from the file\n", 0600), text));
    assert_int_equal(secret.size_bytes, 13);
    lr_secret_clear(&secret);
    assert_int_equal(secret.size_bytes, 0);
}

static void what_is_wrong_with_it_is_said(void **state)
{
    (void)state;
    lr_secret secret;
    char text[LR_SECRET_TEXT], long_words[2000];
    assert_false(lr_secret_load(&secret, "", NULL, text));
    assert_non_null(strstr(text, "LUARUN_SECRET is empty"));
    memset(long_words, 'x', sizeof long_words - 1);
    long_words[sizeof long_words - 1] = 0;
    assert_false(lr_secret_load(&secret, long_words, NULL, text));
    assert_non_null(strstr(text, "longer than 1024 bytes"));
    assert_false(lr_secret_load(&secret, NULL, file_with("word", 0640), text));
    assert_non_null(strstr(text, "mode 0640"));
    assert_non_null(strstr(text, "chmod 600"));
    assert_false(lr_secret_load(&secret, NULL, file_with(long_words, 0600), text));
    unlink(file_with("", 0600));
    assert_false(lr_secret_load(&secret, NULL, "/nowhere/at/all", text));
    assert_non_null(strstr(text, "No such file"));
    assert_false(lr_secret_load(&secret, NULL, "/tmp", text));
    assert_int_equal(secret.size_bytes, 0);
}

static void addresses_are_sorted(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        lr_address_kind kind;
        bool loopback;
        const char *host;
    } rows[] = {
        {"tcp://127.0.0.1:7000", LR_ADDRESS_TCP, true, "127.0.0.1"},
        {"tcp://127.9.9.9:0", LR_ADDRESS_TCP, true, "127.9.9.9"},
        {"tcp://[::1]:7000", LR_ADDRESS_TCP, true, "::1"},
        {"tcp://localhost:1", LR_ADDRESS_TCP, true, "localhost"},
        {"tcp://localhost.example.com:1", LR_ADDRESS_TCP, false, "localhost.example.com"},
        {"tcp://0.0.0.0:7000", LR_ADDRESS_TCP, false, "0.0.0.0"},
        {"tls+tcp://node1:7000", LR_ADDRESS_TLS, false, "node1"},
        {"ipc:///tmp/x", LR_ADDRESS_IPC, true, ""},
        {"ipc://x", LR_ADDRESS_BAD, true, ""},
        {"tcp://:7000", LR_ADDRESS_BAD, false, ""},
        {"tcp://host", LR_ADDRESS_BAD, false, ""},
        {"tcp://host:70000", LR_ADDRESS_BAD, false, ""},
        {"tcp://host:7x", LR_ADDRESS_BAD, false, ""},
        {"tcp://[::1:7000", LR_ADDRESS_BAD, false, ""},
        {"ws://host:1", LR_ADDRESS_BAD, false, ""},
        {"", LR_ADDRESS_BAD, false, ""},
    };
    for (size_t i = 0; i < LR_COUNT(rows); i++) {
        lr_address a;
        lr_address_parse(rows[i].url, &a);
        assert_int_equal(a.kind, rows[i].kind);
        if (a.kind == LR_ADDRESS_BAD) continue;
        assert_int_equal(a.loopback, rows[i].loopback);
        assert_string_equal(a.host, rows[i].host);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_comes_from_the_variable_or_the_file),
        cmocka_unit_test(what_is_wrong_with_it_is_said),
        cmocka_unit_test(addresses_are_sorted),
    };
    return RUN_ALL(tests);
}
