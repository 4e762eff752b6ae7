#!/bin/bash
# tests/layers_test.sh - who may use whom: what each folder includes, and what sched's archive wants from outside.
#
# The table is the design's: sched knows only itself and four headers of the C library; runtime knows sched and the
# system, never Lua; bindings are the only C that sees Lua, and of sched they see what values and names are made of.
# Lua files know luarun.core and each other; examples only the public names and luarun/kernel.h.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
build=${LR_BUILD:-build/release}
. tests/rules.sh

# Included names of a folder's files, "FILE: NAME", without the wanted ones.
includes() { # folder, pattern of allowed names
  grep -rnoE --include='*.[ch]' '^[[:space:]]*#[[:space:]]*include[[:space:]]+["<][^">]+[">]' "$1" |
    sed -E 's/#[[:space:]]*include[[:space:]]+["<]([^">]+)[">]/\1/' | grep -vE ":($2)\$"
}

values='base|error|id|list|prng|resource|row|text|value|spec'
libc='[a-z_]+\.h|(sys|linux|arpa|netinet)/[a-z_]+\.h'
transport='nng/[a-z0-9_/]+\.h|mbedtls/[a-z_]+\.h'

includes sched 'sched/[a-z_]+\.(h|def)|stdint\.h|stdbool\.h|stddef\.h|string\.h' |
  none 'sched includes itself, stdint, stdbool, stddef and string'
includes runtime "(runtime|sched)/[a-z_]+\.(h|def)|luarun/kernel\.h|sanitizer/[a-z_]+\.h|$transport|hiredis/[a-z]+\.h|xxhash\.h|$libc" |
  none 'runtime includes itself, sched, the kernel interface, nng, mbedtls, hiredis, xxhash and the system'
grep -rnE --include='*.[ch]' 'include.*["<](lua|lauxlib|lualib|luajit)\.h' sched runtime |
  none 'no C but bindings includes lua.h'
includes bindings "(bindings|runtime)/[a-z_]+\.h|sched/($values)\.h|luarun/kernel\.h|$libc" |
  none "bindings include themselves, runtime, sched's values, Lua and the system"
includes bindings/include 'std(arg|bool|def|int)\.h|luarun/kernel\.h' |
  none 'luarun/kernel.h needs four standard headers'
includes examples "luarun/kernel\.h|$libc" | none "the examples' kernels include luarun/kernel.h and the C library"

ours='luarun(\.[a-z_.]+)?|ffi|bit|jit(\.[a-z]+)?|table\.(new|clear)'
grep -rnoE "require *\(?[\"'][^\"']+" lua | grep -vE "[\"']($ours)\$" |
  none "lua/ requires luarun.* and what LuaJIT brings"
grep -rnE "require *\(?[\"']luarun\." examples | none 'examples use the public module only'

wanted=$(nm -u "$build/liblr_sched.a" 2>/dev/null | awk '$1 == "U" {print $2}' | sort -u)
made=$(nm --defined-only "$build/liblr_sched.a" 2>/dev/null | awk 'NF == 3 {print $3}' | sort -u)
{ [ -n "$made" ] || echo "$build/liblr_sched.a has no symbols: is it built?"; } | none 'sched is built'
# the compiler's own helpers (stack protector, fortified forms of mem* and str*, sanitizers) are not sched's doing
helpers='__(mem|str)[a-z]+_chk|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__(asan|ubsan|tsan)_.*'
comm -23 <(echo "$wanted") <(echo "$made") | grep -vE "^(mem[a-z]+|str[a-z]+|lr_assert_failed|$helpers|)\$" |
  none "sched's archive wants mem*, str* and the assertion hook"

echo "$passed passed, $failed failed"
[ $failed = 0 ]
