#!/bin/bash
# tests/sim/sim_test.sh - seeds of the simulator: each alone and twice in its world; and some with every allocation failing once.
#
# LR_SIM_SEEDS says how many. A seed that fails prints the command that runs it again.
set -uo pipefail

sim=${LR_BUILD:-build/release}/sim/sim
passed=0 failed=0

# Runs one set and adds up its last line, "N passed, N failed"; one that says nothing of the kind has failed.
add() { # arguments
  local out sum p f
  out=$("$sim" "$@" 2>&1)
  sed '$d' <<<"$out"
  sum=$(tail -1 <<<"$out" | grep -E '^[0-9]+ passed, [0-9]+ failed$') || sum='0 passed, 1 failed'
  read -r p _ f _ <<<"$sum"
  [ "$p" -gt 0 ] || [ "$f" -gt 0 ] || f=1
  passed=$((passed + p)) failed=$((failed + f))
}

add --seeds "${LR_SIM_SEEDS:-10000}"
add --oom --seeds 3

echo "$passed passed, $failed failed"
[ $failed = 0 ]
