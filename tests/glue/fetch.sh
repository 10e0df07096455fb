#!/usr/bin/env bash
# Unpacks Debian's service managers, with their libraries and a static busybox for everything else, into DIR/tree: the files
# of a small host. Nothing is installed. Usage: fetch.sh DIR
set -euo pipefail

dir=$1
here=$(dirname "$0")
list=$here/packages
targets=$here/../../targets
mapfile -t names < <(awk '!/^#/ { print $1 }' "$list")
"$targets/debs.sh" "$list" "$(dpkg --print-architecture)" "${names[@]}"
if cmp -s "$list" "$dir/complete"; then
    exit 0
fi

rm -rf "$dir"
mkdir -p "$dir/tree"
for name in "${names[@]}"; do
    dpkg-deb -x "$targets/../.cache/debs/amd64/$name.deb" "$dir/tree"
done
# A shell and tools, as on a board. What Debian's packages bring themselves stays.
for applet in $("$dir/tree/bin/busybox" --list); do
    found=$(find "$dir/tree"/{bin,sbin,usr/bin,usr/sbin} -maxdepth 1 -name "$applet" -print -quit)
    [ -n "$found" ] || ln -s /bin/busybox "$dir/tree/bin/$applet"
done
cp "$list" "$dir/complete"
