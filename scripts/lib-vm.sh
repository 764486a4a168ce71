# shellcheck shell=bash
# What the scripts that boot other kernels share, after lib.sh: kernels are Debian's, unpacked and
# not installed; the machine is QEMU's, emulated, and its only process a script of ours.

vm_folder=target/vm

vm_tools() {
    local tool
    for tool in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static; do
        have "${tool%:*}" || die "${tool%:*} is missing: apt-get install ${tool#*:}"
    done
    [ "$(uname -m)" = x86_64 ] || die 'The emulated machine is an x86-64, and so must the programs be.'
    mkdir -p "$vm_folder"
}

# Where the kernel 5.10 or 6.1 is: vm_kernel VERSION. Has lists of packages of its own, since this
# may be another release of Debian, or Ubuntu.
vm_kernel() {
    local suite folder=$PWD/$vm_folder/$1 site keys found package
    case $1 in
    5.10) suite=bullseye ;;
    6.1) suite=bookworm ;;
    6.12) suite=trixie ;;
    *) die "No release of Debian has Linux $1." ;;
    esac
    found=$(find "$folder" -name 'vmlinuz-*' 2>/dev/null | head -n 1)
    if [ -z "$found" ]; then
        have apt-get || die "Linux $1 is one of Debian's packages, and apt-get was not found."
        site=$(apt-get indextargets --format '$(SITE)' | grep -E '/debian/?$' | head -n 1)
        keys=$(find /usr/share/keyrings -name 'debian-archive-keyring.*' | head -n 1)
        [ -n "$site" ] && [ -n "$keys" ] ||
            die "Linux $1 is one of Debian's packages: put a kernel's vmlinuz into $folder."
        mkdir -p "$folder"/apt/{lists/partial,cache/archives/partial}
        echo "deb [signed-by=$keys] $site $suite main" >"$folder/apt/sources"
        local options=(-qq -o Dir::Etc::SourceList="$folder/apt/sources" -o Dir::Etc::SourceParts=/dev/null
            -o Dir::State::Lists="$folder/apt/lists" -o Dir::Cache="$folder/apt/cache" -o APT::Sandbox::User=root)
        apt-get "${options[@]}" update >&2
        package=$(apt-cache "${options[@]}" pkgnames "linux-image-$1." |
            grep -E "^linux-image-$1\.[0-9+]+(-|\+deb)[0-9a-z]+-cloud-amd64$" | sort -V | tail -n 1)
        [ -n "$package" ] || die "Debian's $suite has no Linux $1 any more: put a vmlinuz into $folder."
        say "== $package"
        (cd "$folder" && apt-get "${options[@]}" download "$package" >&2 && dpkg-deb -x "$package"_*.deb . &&
            rm -rf "$package"_*.deb apt lib usr)
        found=$(find "$folder" -name 'vmlinuz-*' | head -n 1)
    fi
    echo "$found"
}

# Begins the machine's file system: vm_root FOLDER.
vm_root() {
    rm -rf "$1"
    mkdir -p "$1"/{bin,dev,proc,sys,tmp,usr/bin}
    cp "$(command -v busybox)" "$1/bin/busybox"
}

# Puts a program there, without its symbols, and its libraries where it looks for them: vm_add FOLDER
# PROGRAM NAME.
vm_add() {
    strip -o "$1/$3" "$2"
    ldd "$2" | grep -o '/[^ )]*' | while read -r library; do
        [ -e "$1$library" ] && continue
        mkdir -p "$1$(dirname "$library")"
        cp -L "$library" "$1$library"
    done
}

# Packs it, with a first process that mounts what every kernel has and goes on with standard input:
# vm_pack FOLDER IMAGE.
vm_pack() {
    {
        cat <<'INIT'
#!/bin/busybox sh
/bin/busybox --install /bin
export PATH=/usr/bin:/bin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
ip link set lo up
ulimit -l unlimited
# Away from the end of what the BIOS said.
echo
INIT
        cat
        echo 'poweroff -f'
    } >"$1/init"
    chmod +x "$1/init"
    (cd "$1" && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$2"
}

# Without ERMS the kernel copies values by words: the emulation of `rep movsb` goes by bytes, and a
# word that a processor never tears would be torn.
# Boots a kernel with it, prints the console, and gives up after so many seconds: vm_boot VMLINUZ IMAGE
# CPUS SECONDS. CPUS as for QEMU's -smp.
vm_boot() {
    timeout "$4" qemu-system-x86_64 -accel tcg,thread=multi -cpu max,-erms,-fsrm -smp "$3" -m 3G -nographic \
        -no-reboot -kernel "$1" -initrd "$2" -append 'console=ttyS0 quiet panic=-1' </dev/null |
        sed -u 's/\r//g'
}
