#!/bin/bash
# Every benchmark: bench.sh [--quick] [FOLDER]. Tables, JSON and curves go to FOLDER (target/bench).
#
# --quick has few rounds and small maps, and leaves aya out, which takes minutes to build: only
# a wrong sum can fail it.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
. scripts/lib.sh

quick=()
if [ "${1-}" = --quick ]; then
    quick=(--quick)
    shift
fi
out=${1:-target/bench}
mkdir -p "$out" || exit
# A benchmark runs in the folder of its package.
args=("${quick[@]}" --out "$(realpath "$out")")
scripts/deps.sh build || exit

where=()
if [ ${#quick[@]} -eq 0 ]; then
    peers=(--manifest-path benches/peers/Cargo.toml)
    if cargo bench "${peers[@]}" --no-run; then
        where=("${peers[@]}")
    else
        say 'aya is left out: benches/peers does not build, as said above.'
    fi
fi
# The program that is compared with others.
cargo build --release --example pid_syscalls || exit

outcome=0
for bench in walk ring; do
    cargo bench "${where[@]}" --bench "$bench" -- "${args[@]}" || outcome=1
done
for bench in programs probe_cost; do
    cargo bench --bench "$bench" -- "${args[@]}" || outcome=1
done
exit $outcome
