#!/bin/bash
# tests/sim/faults_test.sh - the proof that the simulator's checkers see: each planted fault (sched/faults.def) is found.
#
# Each must be found within so many seeds; there must be fifteen at least, and one for each invariant that is checked.
set -uo pipefail

sim=${LR_BUILD:-build/release}/sim/sim_faults
seeds=10000
passed=0 failed=0

ok() { # condition's status, words
  if [ "$1" = 0 ]; then
    passed=$((passed + 1))
    echo "ok - $2"
  else
    failed=$((failed + 1))
    echo "not ok - $2"
  fi
}

list=$("$sim" --faults)
[ "$(wc -l <<<"$list")" -ge 15 ]
ok $? 'fifteen faults are planted, or more'
for invariant in 1 2 3 4 5 6 8; do
  awk -v i=$invariant '$2 == i {found = 1} END {exit !found}' <<<"$list"
  ok $? "one of them breaks invariant $invariant"
done
while read -r name invariant meaning; do
  said=$("$sim" --fault "$name" --seeds $seeds 2>&1)
  ok $? "$name ($meaning): ${said:0:150}"
done <<<"$list"
# and with none planted the same build finds nothing
"$sim" --seeds 500 >/dev/null
ok $? 'without a fault nothing is found'

echo "$passed passed, $failed failed"
[ $failed = 0 ]
