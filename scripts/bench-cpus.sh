#!/bin/bash
# The cost of a walk against the CPUs that the kernel may have: bench-cpus.sh [FOLDER]
#
# Boots a kernel of Debian's under QEMU, emulated, with 2 CPUs and room for 2, 16, 64 and 128,
# and runs `cargo bench --bench walk -- cpus` as its init. cpus.md and cpus.svg go to FOLDER
# (target/bench). Emulation tells nothing of times, but something of their ratios.
# VMLINUZ=/path/to/vmlinuz takes another kernel.
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

vmlinuz=${VMLINUZ:-$(find "$work/kernel" -name 'vmlinuz-*' 2>/dev/null | head -n 1)}
if [ -z "$vmlinuz" ]; then
    # The package is unpacked here, not installed. Kernels since 6.9 do not count a CPU that may
    # come as a possible one on this emulated machine, so Debian 12's it is.
    package=$(apt-cache search --names-only '^linux-image-6\.1\.0-[0-9]+-cloud-amd64$' |
        awk '{ print $1 }' | sort -V | tail -n 1)
    [ -n "$package" ] || die 'Debian 12 has the kernel for this: set VMLINUZ to one of 5.19 to 6.8.'
    say "== $package"
    (cd "$work" && apt-get download "$package" && dpkg-deb -x "$package"_*.deb kernel && rm "$package"_*.deb)
    vmlinuz=$(find "$work/kernel" -name 'vmlinuz-*' | head -n 1)
fi

bench=$(cargo bench --bench walk --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"walk".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -x "$bench" ] || die 'The benchmark does not build: cargo bench --bench walk --no-run'

root=$work/root
rm -rf "$root"
mkdir -p "$root"/{bin,proc,sys,tmp}
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$bench" "$root/walk"
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
/walk --bench cpus --rounds 7 || echo 'THE BENCHMARK FAILED'
/bin/busybox poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$work/root.cpio.gz"

: >"$work/rows"
for cpus in 2 16 64 128; do
    say "== room for $cpus CPUs"
    timeout 600 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp "2,maxcpus=$cpus" -m 3G \
        -nographic -no-reboot -kernel "$vmlinuz" -initrd "$work/root.cpio.gz" \
        -append 'console=ttyS0 quiet panic=-1' </dev/null | tr -d '\r' >"$work/console" || true
    grep -aE 'WRONG|FAILED|Error|^<!--' "$work/console" || true
    grep -aE "^\| $cpus CPUs" "$work/console" | tee -a "$work/rows"
done
[ "$(wc -l <"$work/rows")" -eq 24 ] || die "A machine did not get to its end: see $work/console"

{
    echo '# A walk against possible CPUs'
    echo
    echo "A PerCpuHash of 4,000 entries \`u32 → u64\`, $(basename "$vmlinuz" | sed 's/vmlinuz-/Linux /') under QEMU,"
    echo 'emulated, with 2 CPUs and room for 2, 16, 64 and 128. Made by `scripts/bench-cpus.sh`.'
    echo 'The ratios tell something, the times do not.'
    echo
    echo '| possible | by | median | least | ratio |'
    echo '|---|---|---|---|---|'
    cat "$work/rows"
} >"$out/cpus.md"
"$bench" --bench --cpus-from "$work/rows" --out "$out"
