#!/bin/bash
# Live system call rates: until Ctrl-C on a terminal, for five seconds elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

scripts/deps.sh build
scripts/mounts.sh tracefs
cargo build --example pid_syscalls
if [ -t 1 ]; then
    # In a job of its own, Ctrl-C ends the example and not make.
    set -m
    cargo run --quiet --example pid_syscalls
else
    cargo run --quiet --example pid_syscalls -- --duration 5s
fi
