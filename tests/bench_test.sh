#!/bin/bash
# tests/bench_test.sh - the benchmark's harness: what it lists, what it refuses, and that one round of a figure is
# measured, kept in the history and compared with the record. Says nothing about how fast anything is.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
luarun=$PWD/${LR_BUILD:-build/release}/luarun
. tests/rules.sh

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/tree/build"
cp -r bench "$scratch/tree/bench"
cat >"$scratch/tree/build/threads" <<'EOF'
#!/bin/bash
# stands in for bench/peers/threads.c, which is not built for the tests
echo '{"workload": "calibrate", "one": 1e9, "all": 2e9}'
EOF
chmod +x "$scratch/tree/build/threads"
mkdir "$scratch/tree/build/bench"
mv "$scratch/tree/build/threads" "$scratch/tree/build/bench/threads"
ln -s "$luarun" "$scratch/tree/build/luarun"
harness() { LUARUN=$scratch/tree/build/luarun "$luarun" "$scratch/tree/bench/harness.lua" "$@" 2>&1; echo "status $?"; }
differs() { # name, got, wanted pattern
  { grep -qE -- "$3" <<<"$2" || echo "$2"; } | none "$1"
}

differs 'an unknown option' "$(harness --fast)" "^bench: unknown option '--fast' \(--help shows all\)"
differs 'an unknown figure' "$(harness nothing)" "^bench: no figure begins with 'nothing' \(--list shows all\)"
differs 'rounds that are no number' "$(harness --rounds no)" '^bench: --rounds: a whole number from 1 wanted'
listed=$(harness --list)
for figure in nested flat roundtrip handoff completed waits timeouts kernel objects codec_small memory pending \
  graph_trivial graph_stencil graph_fft graph_tree graph_random kernels start cluster_empty cluster_rate \
  cluster_kernels cluster_mcts recovery_kill recovery_host recovery_dip recovery_cost recovery_chain recovery_redis; do
  differs "the list has $figure" "$listed" "^$figure +[^ ]"
done

run=$(harness --quick completed)
differs 'one round is measured' "$run" '^completed +each +at most 1.00 us +[0-9.]+ us +[0-9.]+ us .. [0-9.]+ us'
history=$(cat "$scratch/tree/build/bench/history.jsonl")
differs 'it is kept, with the machine' "$history" '"cpu": "[^"]+", "cpus": [0-9]+, .*"figure": "completed", "want": "each"'

# A record that is ten times better than can be: a regression, and the exit status says so.
sed -E 's/"compared": [0-9.e+-]+/"compared": 1e-12/' <<<"$history" >"$scratch/tree/bench/record.jsonl"
run=$(harness --quick completed)
differs 'what fell is shown' "$run" '^completed .*REGRESSION$'
differs 'and fails' "$run" '^status 1$'

# A program that dies is a failure, in words.
echo 'os.exit(3)' >"$scratch/tree/bench/programs/completed.lua"
run=$(harness --quick completed)
differs 'a program that fails is named' "$run" '^bench: luarun completed n=10000 failed \(status 3\)'
differs 'its figure is not measured' "$run" '^completed +each +at most 1.00 us +failed'

echo "$passed passed, $failed failed"
[ $failed = 0 ]
