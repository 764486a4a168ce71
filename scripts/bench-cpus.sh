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

out=${1:-target/bench}
work=target/vm
mkdir -p "$work/kernel" "$out"
for tool in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static; do
    command -v "${tool%:*}" >/dev/null || die "${tool%:*} is missing: apt-get install ${tool#*:}"
done
[ "$(uname -m)" = x86_64 ] || die 'The emulated machine is an x86-64, and so must the benchmark be.'

# A kernel of Debian's by a pattern of its package's name; unpacked here, not installed.
kernel() {
    local found package
    found=$(find "$work/kernel" -name "vmlinuz-$1*-cloud-amd64" 2>/dev/null | sort -V | tail -n 1)
    if [ -z "$found" ]; then
        package=$(apt-cache search --names-only "^linux-image-$1[^ ]*-cloud-amd64\$" |
            awk '{ print $1 }' | sort -V | tail -n 1)
        [ -n "$package" ] || return 0
        say "== $package"
        (cd "$work" && apt-get download "$package" && dpkg-deb -x "$package"_*.deb kernel && rm "$package"_*.deb) >&2
        found=$(find "$work/kernel" -name "vmlinuz-$1*-cloud-amd64" | sort -V | tail -n 1)
    fi
    printf '%s' "$found"
}
# Kernels since 6.9 do not count a CPU that may come as a possible one on this emulated machine.
vmlinuz=${VMLINUZ:-$(kernel 6.1.0-)}
[ -n "$vmlinuz" ] || die 'Debian 12 has the kernel for this: set VMLINUZ to one of 5.19 to 6.8.'
newer=${NEWER:-$(kernel 6.12.)}
[ -n "$newer" ] || die 'Debian has a newer kernel: set NEWER to one of 6.2 or later.'

bench=$(cargo bench --bench walk --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"walk".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -x "$bench" ] || die 'The benchmark does not build: cargo bench --bench walk --no-run'

root=$work/root
rm -rf "$root"
mkdir -p "$root"/{bin,proc,sys,tmp}
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$bench" "$root/walk"
# There is no compiler inside.
cp "$("$bench" --bench compile)" "$root/walk.bpf.o"
# The program's libraries, at the places where it looks for them.
ldd "$bench" | grep -o '/[^ )]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
ulimit -l unlimited
/walk --bench cpus --rounds 7 --compiled /walk.bpf.o || echo 'THE BENCHMARK FAILED'
/bin/busybox poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$work/root.cpio.gz"

# Rows of a machine: KERNEL SMP CPUS ROWS
machine() {
    say "== $(basename "$1"), $2"
    timeout 600 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp "$2" -m 3G \
        -nographic -no-reboot -kernel "$1" -initrd "$work/root.cpio.gz" \
        -append 'console=ttyS0 quiet panic=-1' </dev/null | tr -d '\r' >"$work/console" || true
    grep -aE 'WRONG|FAILED|Error|^<!--' "$work/console" || true
    grep -aE "^\| PerCpu[A-Za-z]+, $3 CPUs" "$work/console" | tee "$work/of-one"
    [ "$(wc -l <"$work/of-one")" -eq "$4" ] || die "A machine did not get to its end: see $work/console"
}
named() { basename "$1" | sed 's/vmlinuz-/Linux /'; }

: >"$work/rows"
for cpus in 2 16 64 128; do
    # Before 6.2 there are no addresses.
    machine "$vmlinuz" "2,maxcpus=$cpus" "$cpus" 16
    cat "$work/of-one" >>"$work/rows"
done
machine "$newer" 16 16 18

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
