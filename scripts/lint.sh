#!/bin/bash
# Every check that runs nothing. All of them, though one fails.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
. scripts/lib.sh

failed=()
check() {
    local name=$1
    shift
    say "== $name"
    "$@" || failed+=("$name")
}

check_c() {
    find src include tests examples benches/bpf -name '*.[ch]' -print0 |
        xargs -0 clang-format --dry-run -Werror
}

scripts/deps.sh build lint || exit
check 'cargo fmt' cargo fmt --all --check
check 'clang-format' check_c
check 'cargo clippy' cargo clippy --workspace --all-targets --all-features -- -D warnings
check 'cargo clippy, library alone' cargo clippy --package bpf-atlas --no-default-features -- -D warnings
check 'cargo doc' env RUSTDOCFLAGS='-D warnings' cargo doc --workspace --all-features --no-deps

if [ ${#failed[@]} -gt 0 ]; then
    printf -v names '%s; ' "${failed[@]}"
    die "Checks that failed: ${names%; }"
fi
