# tests/rules.sh - what the rule tests share; sourced by them. A rule is broken by lines that its check prints.
#
# Owns the sums: passed, failed.
# shellcheck shell=bash disable=SC2034
shopt -s lastpipe # so that `none` counts in this shell
passed=0 failed=0

# Reads offending lines from standard input; none: the case passed.
none() { # case
  local lines
  lines=$(cat)
  if [ -z "$lines" ]; then
    passed=$((passed + 1))
    echo "ok - $1"
  else
    failed=$((failed + 1))
    echo "not ok - $1"
    sed 's/^/    /' <<<"$lines"
  fi
}
