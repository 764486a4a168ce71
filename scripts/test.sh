#!/bin/bash
# The whole suite, as root on this kernel, and every check. The last line has the totals.
#
# A test that cannot run here prints a line `skipped: <why>` and returns: it is counted as skipped.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
. scripts/lib.sh

scripts/deps.sh build test lint || exit
scripts/mounts.sh tracefs bpf
outcome=0
scripts/lint.sh || outcome=1

log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() {
    cargo --color never test --workspace --all-features --no-fail-fast "$@" 2>&1 | tee -a "$log" || outcome=1
}
say '== cargo test'
# The tests of the examples run their binaries.
cargo build --all-features --examples || outcome=1
run --tests -- --show-output
# Documentation measures nothing, so it need not run one by one.
RUST_TEST_THREADS=$(nproc) run --doc

awk -f scripts/totals.awk "$log" || outcome=1
exit $outcome
