# shellcheck shell=sh
# What the other scripts share; each sources it from the top of the repository.

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root, for what the caller has said is about to happen.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "This takes root, and sudo was not found; as root, run: $*"
    fi
}

# rustup's folder is on the PATH of a login shell only.
if ! have cargo && [ -n "${HOME-}" ] && [ -x "$HOME/.cargo/bin/cargo" ]; then
    PATH=$HOME/.cargo/bin:$PATH
    export PATH
fi
