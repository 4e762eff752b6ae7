#!/bin/bash
# tests/style_test.sh - what can be checked of the style by a machine: how files open, tabs, blanks, length of lines and
# functions, luacheck. Looks at the files git tracks, so that build products and results do not count.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
skipped=0
. tests/rules.sh

# Where git cannot tell (an unpacked archive, another user's checkout), every file that lies where sources lie.
tree=$(git ls-files 2>/dev/null)
[ -n "$tree" ] || tree=$(find . -type f -not -path './build*' -not -path './.git/*' -not -path '*/results/*' | cut -c 3-)
files() { # patterns as the shell takes them; none: all
  local f pattern
  while read -r f; do
    [ $# -gt 0 ] || echo "$f"
    for pattern in "$@"; do
      # shellcheck disable=SC2254
      case $f in $pattern) echo "$f" ;; esac
    done
  done <<<"$tree"
}

scripts() {
  files | while read -r f; do
    [ -f "$f" ] && head -c 30 "$f" | head -1 | grep -qaE '^#!.*(bash|sh|luajit|luarun)' && echo "$f"
  done
}

sources=$(files '*.c' '*.h' '*.lua' '*.def' '*.cmake' CMakeLists.txt; scripts)

# A C file may open with its own header instead, which then says it.
opens() {
  local f line
  while read -r f; do
    line=$(sed -n '/^#!/d; p; q' "$f" | head -1)
    [ "${line:0:2}" != '#!' ] || line=$(sed -n 2p "$f")
    case $f:$line in
    *.c:'/* '* | *.h:'/* '* | *.def:'/* '* | *.lua:--* | *.c:'#include "'*) ;;
    *.cmake:'# '* | CMakeLists.txt:'# '* | *:'# '*) ;;
    *) echo "$f: $line" ;;
    esac
  done
}

echo "$sources" | sort -u | opens | none 'every file opens with what it is about'
echo "$sources" | xargs grep -nP '\t' | none 'no tabs'
files | grep -vE '\.(png|sgf|out)$' | xargs grep -nIE '[[:blank:]]+$' | none 'no blanks at the end of a line'
# Tests quote whole sentences; rows of a list are tables.
{
  echo "$sources" | grep -v '\.def$' | grep -v '^tests/' | LC_ALL=C.UTF-8 xargs grep -nE '^.{121}'
  echo "$sources" | grep '^tests/' | LC_ALL=C.UTF-8 xargs grep -nE '^.{141}'
} | none 'lines have 120 columns at most, 140 in tests'
files | grep -vE '\.(png|out)$' | while read -r f; do
  [ -z "$(tail -c 1 "$f")" ] || echo "$f"
done | none 'every file ends with a newline'
# A definition begins in the first column and ends with a brace there.
files 'sched/*.c' 'runtime/*.c' 'bindings/*.c' | xargs awk '
  FNR == 1 {start = 0}
  /^[a-zA-Z_].*\(/ && !/;[[:space:]]*$/ {start = FNR; name = $0}
  /^}/ {if (start && FNR - start > 70) print FILENAME ":" start ": " FNR - start " lines: " name; start = 0}' |
  none 'no C function has more than 70 lines'

if command -v luacheck >/dev/null; then
  files '*.lua' | xargs luacheck -q --no-color 2>&1 | grep -E '^ +[^ ]+:[0-9]+:[0-9]+:|error|not found' |
    grep -v '^Total' | none 'luacheck finds nothing'
else
  skipped=$((skipped + 1))
  echo "ok - luacheck finds nothing # skip luacheck is not installed (lua-check)"
fi

sum="$passed passed, $failed failed"
[ $skipped = 0 ] || sum+=", $skipped skipped"
echo "$sum"
[ $failed = 0 ]
