#!/bin/sh
# Installs what is missing, and nothing else: scripts/deps.sh build|test|lint...
# Asks for Rust itself, which is better had from https://rustup.rs than from here.
set -eu
cd "$(dirname "$0")/.."
. scripts/lib.sh

# group | what to look for | what for | Debian, Ubuntu | Fedora | Arch
# To give the tests another program, add its line here.
table() {
    cat <<'END'
build|clang|compiles the eBPF programs|clang|clang|clang
build|cc|links|gcc|gcc|gcc
build|make|builds libbpf|make|make|make
build|pkg-config|finds libelf|pkg-config|pkgconf-pkg-config|pkgconf
build|libelf.h|reads object files|libelf-dev|elfutils-libelf-devel|libelf
test|ip|makes network namespaces|iproute2|iproute|iproute2
lint|clang-format|checks the layout of the C sources|clang-format|clang-tools-extra|clang
lint|cargo fmt|checks the layout of the Rust sources|rustfmt|rustfmt|rust
lint|cargo clippy|checks the Rust sources|rust-clippy|clippy|rust
END
}

check_rust() {
    if ! have cargo && [ -n "${SUDO_USER-}" ]; then
        die "cargo was not found, perhaps since this runs by sudo: call make as $SUDO_USER, and it asks for root where it needs it."
    fi
    have cargo || die "cargo was not found: install Rust from https://rustup.rs, then run this again."
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(cargo --version) || die 'cargo is there but does not run: it says why above.'
    found=$(printf '%s\n' "$found" | cut -d' ' -f2)
    if [ "$(printf '%s\n%s\n' "$needed" "$found" | sort -V | head -n 1)" != "$needed" ]; then
        die "Rust $needed or newer is needed, and this is $found: update it (rustup update), or install it from https://rustup.rs."
    fi
}

# Whether the second field of the table is there.
present() {
    case $1 in
    *.h)
        pkg-config --exists "${1%.h}" 2>/dev/null || [ -e "/usr/include/$1" ]
        ;;
    'cargo '*)
        cargo "${1#cargo }" --version >/dev/null 2>&1
        ;;
    cc)
        # Debian's clang serves as cc, so gcc is not needed where clang will be installed.
        have cc || { have apt-get && ! have clang; }
        ;;
    *)
        have "$1"
        ;;
    esac
}

apt_install() {
    # Lists that were never fetched, or are out of date, show as unknown or missing packages.
    if apt-cache show "$@" >/dev/null 2>&1; then
        quietly apt_get "$@" && return
    fi
    quietly as_root apt-get update && quietly apt_get "$@"
}

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; }

# On a terminal the package manager shows its progress, elsewhere it speaks only of failure.
quietly() {
    if [ -t 2 ]; then
        "$@"
    else
        said=$("$@" 2>&1) || {
            say "$said"
            return 1
        }
    fi
}

check_rust

groups=" $* "
wanted=$(
    table | while IFS='|' read -r group look what debian fedora arch; do
        case $groups in *" $group "*) ;; *) continue ;; esac
        present "$look" || printf '%s|%s|%s|%s|%s\n' "$look" "$what" "$debian" "$fedora" "$arch"
    done
)
column() { printf '%s\n' "$wanted" | cut -d'|' -f"$1" | tr '\n' ' '; }

# rustup's own components are rustup's to install.
case $wanted in *'cargo '*)
    if have rustup; then
        say 'Adding rustfmt and clippy, which check the Rust sources, with rustup.'
        rustup component add rustfmt clippy
        wanted=$(printf '%s\n' "$wanted" | grep -v '^cargo ' || :)
    fi
    ;;
esac
[ -n "$wanted" ] || exit 0

say 'To be installed, since it was not found:'
printf '%s\n' "$wanted" | while IFS='|' read -r look what _; do
    say "  $look ($what)"
done
# install <words for the reader> <command> <column of the table>
install() {
    # shellcheck disable=SC2046
    set -- "$1" "$2" $(column "$3")
    words=$1 command=$2
    shift 2
    if [ "$(id -u)" -ne 0 ] && ! have sudo; then
        die "Installing takes root, and sudo was not found: as root, run \`$words $*\`."
    fi
    $command "$@" || die "\`$words $*\` failed, for the reason above."
}

dnf_install() { quietly as_root dnf install -y "$@"; }
pacman_install() { quietly as_root pacman -S --needed --noconfirm "$@"; }

if have apt-get; then
    install 'apt-get install' apt_install 3
elif have dnf; then
    install 'dnf install' dnf_install 4
elif have pacman; then
    install 'pacman -S' pacman_install 5
else
    die 'None of apt-get, dnf and pacman was found, so please install it with the package manager of this system.'
fi
