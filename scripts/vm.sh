#!/bin/bash
# Tests on other kernels, emulated: vm.sh [VERSION]... (5.10 and 6.1).
# TESTS='walk gather' runs these alone.
#
# Runs the test programs of tests/vm/programs in a machine of nothing else. Tests that a kernel
# cannot pass, for what it does not have yet, are in tests/vm/VERSION, each with the reason: they
# count as skipped, and if one passes after all, or another fails, this fails.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/lib-vm.sh

[ $# -gt 0 ] || set -- 5.10 6.1
scripts/deps.sh build
vm_tools

say '== building'
cargo test --quiet --all-features --test objects >&2
built=$vm_folder/programs
cargo test --package bpf-atlas --package bpf-atlas-build-e2e --all-features --no-run \
    --message-format=json-render-diagnostics | grep -o '"executable":"[^"]*/deps/[^"]*"' |
    sed 's/.*:"//; s/"$//' | sort -u >"$built"

root=$vm_folder/tests
vm_root "$root"
wanted=" ${TESTS-} "
awk -v wanted="$wanted" '!/^#/ && (wanted ~ /^ +$/ || index(wanted, " " $1 " "))' tests/vm/programs >"$root/order"
while read -r name _; do
    program=$(grep -E "/$name-[0-9a-f]+$" "$built") || die "tests/vm/programs has $name, and there is no such test."
    vm_add "$root" "$program" "$name"
done <"$root/order"
# busybox has none that takes sets.
vm_add "$root" "$(command -v setpriv)" usr/bin/setpriv
# Tests know the places of their sources and objects.
mkdir -p "$root$PWD/target/tmp"
cp -r include tests "$root$PWD"
cp target/tmp/*.bpf.o "$root$PWD/target/tmp"
{
    echo "cd '$PWD'"
    cat <<'INIT'
version=$(uname -r | cut -d . -f 1,2)
while read -r name options; do
    grep -q "^$name \*" "tests/vm/$version" 2>/dev/null && continue
    echo "     Running $name ($name)"
    timeout -s KILL 600 "/$name" --show-output $options 2>&1
done </order
echo 'THE END'
INIT
} | vm_pack "$root" "$vm_folder/tests.cpio.gz"

outcome=0
for version; do
    vmlinuz=$(vm_kernel "$version")
    say "== $(basename "$vmlinuz")"
    console=$vm_folder/console-$version
    vm_boot "$vmlinuz" "$vm_folder/tests.cpio.gz" 2 2400 >"$console" || true
    grep -q '^THE END' "$console" || { say "The machine did not get to its end: see $console"; outcome=1; }
    cannot=tests/vm/$version
    [ -e "$cannot" ] || cannot=/dev/null
    awk -v cannot="$cannot" -f scripts/totals.awk "$console" || outcome=1
done
exit $outcome
