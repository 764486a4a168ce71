#!/bin/bash
# The cost of a walk against the CPUs that the kernel may have: bench-cpus.sh [FOLDER]
#
# Boots a kernel of Debian's under QEMU, emulated, with 2 CPUs and room for 2, 16, 64 and 128,
# and runs `cargo bench --bench walk -- cpus` as its init; then a newer kernel with 16 CPUs that
# are there. cpus.md and cpus.svg go to FOLDER (target/bench). Emulation tells nothing of times,
# but something of their ratios.
# VMLINUZ=/path/to/vmlinuz takes another kernel, and NEWER=/path/to/vmlinuz another newer one.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/lib-vm.sh

out=${1:-target/bench}
work=$vm_folder
mkdir -p "$out"
vm_tools
# Kernels since 6.9 do not count a CPU that may come as a possible one on this emulated machine.
vmlinuz=${VMLINUZ:-$(vm_kernel 6.1)}
newer=${NEWER:-$(vm_kernel 6.12)}

bench=$(cargo bench --bench walk --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"walk".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -x "$bench" ] || die 'The benchmark does not build: cargo bench --bench walk --no-run'

root=$work/bench
vm_root "$root"
vm_add "$root" "$bench" walk
# There is no compiler inside.
cp "$("$bench" --bench compile)" "$root/walk.bpf.o"
vm_pack "$root" "$work/bench.cpio.gz" <<'INIT'
/walk --bench cpus --rounds 7 --compiled /walk.bpf.o || echo 'THE BENCHMARK FAILED'
INIT

# Rows of a machine: KERNEL SMP CPUS ROWS
machine() {
    say "== $(basename "$1"), $2"
    vm_boot "$1" "$work/bench.cpio.gz" "$2" 600 >"$work/console" || true
    grep -aE 'WRONG|FAILED|Error|^<!--' "$work/console" || true
    ! grep -aqE 'WRONG|FAILED' "$work/console" || die "A sum was wrong, or worse: see $work/console"
    grep -aE "^\| PerCpu[A-Za-z]+, $3 CPUs" "$work/console" | tee "$work/of-one" || true
    [ "$(wc -l <"$work/of-one")" -eq "$4" ] || die "A machine did not get to its end: see $work/console"
}
named() { basename "$1" | sed 's/vmlinuz-/Linux /'; }

: >"$work/rows"
for cpus in 2 16 64 128; do
    # Before 6.2 there are no addresses.
    machine "$vmlinuz" "2,maxcpus=$cpus" "$cpus" 18
    cat "$work/of-one" >>"$work/rows"
done
machine "$newer" 16 16 20

{
    echo '# A walk against possible CPUs'
    echo
    echo "A PerCpuHash of 4,000 entries \`u32 → u64\`, and a PerCpuArray, under QEMU, emulated. Made by"
    echo '`scripts/bench-cpus.sh`. The ratios tell something, the times do not. "gather" stands for each of'
    echo "the ways that a \`Gatherer\` has; which one it takes by itself is in [README.md](README.md)."
    echo
    echo "## $(named "$vmlinuz"), 2 CPUs and room for 2, 16, 64 and 128"
    echo
    echo '| possible | by | median | least | ratio |'
    echo '|---|---|---|---|---|'
    cat "$work/rows"
    echo
    echo "## $(named "$newer"), 16 CPUs"
    echo
    echo 'Addresses need Linux 6.2, which counts no CPU here that may come.'
    echo
    echo '| possible | by | median | least | ratio |'
    echo '|---|---|---|---|---|'
    cat "$work/of-one"
} >"$out/cpus.md"
"$bench" --bench --cpus-from "$work/rows" --out "$out"
