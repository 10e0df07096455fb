#!/usr/bin/env bash
# Boots the demo's container in the foreground and says what happened. Usage: run.sh MONOPOD
# DEMO=interactive leaves the console to the person at the terminal.
set -euo pipefail

cd "$(dirname "$0")/../.."
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "make demo needs root or sudo: a container is namespaces, mounts and cgroups" >&2; exit 1; }
    exec sudo DEMO="${DEMO:-}" "$0" "$@"
fi

monopod=$1
lxcpath=$PWD/out/demo
container=$lxcpath/demo
start=("$monopod" start -n demo -P "$lxcpath" -F -s monopod.console=stdio)

tests/demo/rootfs.sh "$lxcpath"
# Whoever called sudo may remove out/ again.
trap 'chown -R --reference=. "$lxcpath"' EXIT

echo "\$ ${start[*]}"
code=0
if [ "${DEMO:-}" = interactive ]; then
    touch "$container/rootfs/data/interactive"
    "${start[@]}" || code=$?
else
    timeout --foreground 120 "${start[@]}" </dev/null || code=$?
fi

lives=$(wc -l <"$container/lives")
boots=$(cat "$container/rootfs/data/boots")

# Everything that could be left behind, one line each.
left() {
    find /sys/fs/cgroup -maxdepth 3 -type d -path '*/lxc/demo'
    grep -F "$container" /proc/self/mountinfo || true
    grep -F "$lxcpath/demo/command" /proc/net/unix || true
    for root in /proc/[0-9]*/root; do
        [ "$(readlink "$root" 2>/dev/null)" != "$container/rootfs" ] || echo "process ${root%/root}"
    done
}
rest=$(left)

echo
echo "What happened:"
echo "  started    $lives times: init wrote its boot count, $boots, to the rootfs; each reboot made new namespaces"
while read -r cgroup; do echo "  cgroup     $cgroup"; done <"$container/cgroups"
echo "  ended      with exit code $code ($([ "$code" = 0 ] && echo "powered off" || echo "README has the table"))"
if [ -n "$rest" ]; then
    echo "  left over  $rest"
else
    echo "  left over  nothing: no cgroup, mount, process or socket of the container"
fi

# Two boots and a clean end are what the demo is for; a person's own session may have any number.
[ "$code" = 0 ] && [ -z "$rest" ] && [ -s "$container/cgroups" ] && { [ "${DEMO:-}" = interactive ] || [ "$lives" = 2 ]; }
