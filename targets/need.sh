#!/usr/bin/env bash
# Installs the Debian packages of commands (or files, by their path) that are missing. Usage: need.sh COMMAND:PACKAGE...
# NEED=optional: what cannot be installed is named in a "skipped:" line, and the exit code stays 0.
set -euo pipefail

missing=() packages=()
for pair in "$@"; do
    if ! PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null && [ ! -e "${pair%%:*}" ]; then
        missing+=("${pair%%:*}")
        packages+=("${pair#*:}")
    fi
done
if [ ${#missing[@]} = 0 ]; then
    exit 0
fi

fail() {
    if [ "${NEED:-}" = optional ]; then
        echo "skipped: what uses ${missing[*]}: $1"
        exit 0
    fi
    echo "missing: ${missing[*]}: $1" >&2
    exit 1
}

as_root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || fail "install ${packages[*]} as root (there is no sudo here)"
    as_root=(sudo)
fi
command -v apt-get >/dev/null || fail "there is no apt-get here; install what your system calls ${packages[*]}"

# A package's services (lxc brings a bridge) are not wanted on the machine that builds: dpkg asks this file.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
fi

log=$(mktemp)
install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y --no-install-recommends install "${packages[@]}" >"$log" 2>&1
}
echo "installing ${packages[*]}"
# The lists of a new machine are empty. One index that fails to update matters only if the packages are not found.
if ! install; then
    "${as_root[@]}" apt-get -qq update >/dev/null 2>&1 || true
    if ! install; then
        grep -E '^E:' "$log" >&2 || tail -n 5 "$log" >&2
        fail "apt-get could not install ${packages[*]} (its words are above)"
    fi
fi
rm -f "$log"

# Nor at the next boot.
if [[ " ${packages[*]} " == *" lxc "* ]] && [ -d /run/systemd/system ]; then
    "${as_root[@]}" systemctl --quiet disable lxc.service lxc-net.service 2>/dev/null || true
fi
