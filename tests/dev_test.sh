#!/bin/bash
# tests/dev_test.sh - what ./dev says and installs, tried with stand-ins for apt-get, sudo and id: nothing is installed.
#
# A copy of dev lies in a folder of its own, beside an empty bench/, and sees only the programs that a case gives it.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0 failed=0

check() { # case, got, wanted
  if [ "$2" = "$3" ]; then
    passed=$((passed + 1))
    echo "ok - $1"
  else
    failed=$((failed + 1))
    echo "not ok - $1"
    diff <(echo "$3") <(echo "$2") | sed 's/^/    /'
  fi
}

mkdir -p "$scratch/tree/bench" "$scratch/tree/tests" "$scratch/bin"
cp dev "$scratch/tree/dev"
for program in bash cat dirname sed grep tail mkdir flock rm ln touch env; do
  ln -s "$(command -v $program)" "$scratch/bin/$program"
done

stand_in() { # program; its text on standard input
  { echo "#!/bin/bash"; cat; } >"$scratch/bin/$1"
  chmod +x "$scratch/bin/$1"
}

# Everything ./dev says, and its exit status.
dev() {
  (cd "$scratch" && PATH=$scratch/bin "$scratch/tree/dev" "$@" 2>&1 </dev/null)
  echo "status $?"
}

# ---- words -------------------------------------------------------------------------------------------------

check 'an unknown command' "$(dev nope)" "dev: unknown command 'nope' (./dev help lists them)
status 1"
check 'no command: the help' "$(dev)" "$(dev help)"
check 'the help ends well' "$(dev help | tail -n 1)" 'status 0'
check 'run without a script' "$(dev run)" 'dev: run: no script given (./dev run examples/hello.lua)
status 1'

# ---- packages -----------------------------------------------------------------------------------------------

missing='dev: these packages are missing:
  gcc: compiles luarun and kernels
  cmake: describes the build
  ninja-build: runs the build
  pkg-config: finds libraries
  libluajit2-5.1-dev: the Lua that luarun embeds
  libhiredis-dev: speaks with Redis, where a cluster keeps its tables'
packages='gcc cmake ninja-build pkg-config libluajit2-5.1-dev libhiredis-dev'
if [ ! -e /usr/include/stdlib.h ]; then
  echo 'tests/dev_test.sh: /usr/include/stdlib.h is not here' >&2
  exit 1
fi

check 'no apt-get' "$(dev run x.lua)" "$missing
dev: apt-get is not here: install the like of these packages yourself, then run this again
status 1"

stand_in apt-get <<<"echo \"\$0 \$*\" >>$scratch/calls; echo 'its words'; exit 100"
stand_in id <<<'echo 1000'
check 'no root and no sudo' "$(dev run x.lua)" "$missing
dev: installing needs root, and sudo is not here: as root, run: apt-get install -y --no-install-recommends $packages
status 1"
check 'nothing was asked of apt-get' "$([ -e "$scratch/calls" ] && cat "$scratch/calls")" ''

stand_in sudo <<<"echo \"sudo \$*\" >>$scratch/calls; [ \"\$1\" != -n ] || shift; exec \"\$@\""
check 'apt-get cannot' "$(dev run x.lua)" "$missing
dev: installing them: apt-get install -y --no-install-recommends $packages
dev: apt-get update failed; going on without (build/apt.log)
its words
its words
dev: apt-get could not install them (build/apt.log)
status 1"
check 'sudo is told not to ask where there is nobody' "$(grep -c '^sudo -n ' "$scratch/calls")" 2
rm "$scratch/calls"

stand_in id <<<'echo 0'
stand_in apt-get <<<"echo \"apt-get \$*\" >>$scratch/calls
[ \$1 = update ] || for p in cc cmake ninja pkg-config; do ln -sf $scratch/works $scratch/bin/\$p; done"
{ echo '#!/bin/bash'; echo "echo \"\$(basename \"\$0\") \$*\" >>$scratch/calls"; } >"$scratch/works"
chmod +x "$scratch/works"
ln -s "$(command -v basename)" "$scratch/bin/basename"
mkdir -p "$scratch/tree/build/release"
ln -s "$(command -v bash)" "$scratch/tree/build/release/luarun" # what is run in the end
check 'as root: installs, configures, builds, runs' "$(dev run -c 'echo ran $0 $*' a b)" "$missing
dev: installing them: apt-get install -y --no-install-recommends $packages
dev: configuring build/release
ran a b
status 0"
check 'what was called, in this order' "$(grep -v '^pkg-config' "$scratch/calls")" "apt-get update -q
apt-get install -y -q --no-install-recommends $packages
cmake --fresh --preset release
cmake --build build/release --target program"
rm "$scratch/calls"

touch "$scratch/tree/build/release/build.ninja"
echo "CMAKE_HOME_DIRECTORY:INTERNAL=$scratch/tree" >"$scratch/tree/build/release/CMakeCache.txt"
check 'all there: no word, no apt-get' "$(dev run -c 'echo ran')" 'ran
status 0'
check 'all there: only the build is asked' "$(grep -v '^pkg-config' "$scratch/calls")" \
  'cmake --build build/release --target program'

echo "CMAKE_HOME_DIRECTORY:INTERNAL=/elsewhere" >"$scratch/tree/build/release/CMakeCache.txt"
check 'a build folder that was moved is configured again' "$(dev run -c 'echo ran' | head -n 1)" \
  'dev: configuring build/release'

stand_in cmake <<<'echo "no such thing"; exit 1'
check 'a build that fails' "$(dev build | tail -n 3)" 'no such thing
dev: cmake failed (its words are above)
status 1'

echo "$passed passed, $failed failed"
[ $failed = 0 ]
