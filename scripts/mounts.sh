#!/bin/sh
# Mounts the kernel's file systems that are named and not mounted yet: scripts/mounts.sh tracefs|bpf...
# What cannot be mounted, as in a container, is said; whether it was needed is the program's to say.
set -eu
cd "$(dirname "$0")/.."
. scripts/lib.sh

for type; do
    case $type in
    tracefs) at=/sys/kernel/tracing ;;
    bpf) at=/sys/fs/bpf ;;
    *) die "scripts/mounts.sh knows tracefs and bpf, not $type." ;;
    esac
    if grep -q "^[^ ]* $at $type " /proc/mounts; then
        continue
    fi
    if [ "$(id -u)" -ne 0 ] && ! have sudo; then
        say "$type is not mounted on $at: mounting it takes root, and sudo was not found."
        continue
    fi
    say "Mounting $type on $at."
    as_root mount -t "$type" "$type" "$at" || say "$type could not be mounted on $at."
done
