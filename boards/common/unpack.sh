#!/usr/bin/env bash
# Unpacks Debian packages by their names in targets/packages: DIR/NAME. Nothing is installed. Usage: unpack.sh ARCH DIR NAME...
set -euo pipefail
shopt -s nullglob

arch=$1 dir=$2
shift 2
targets=$(dirname "$0")/../../targets
debs=$targets/../.cache/debs/$arch
"$targets/debs.sh" "$targets/packages" "$arch" "$@"
for name in "$@"; do
    tree=$dir/$name deb=$debs/$name.deb
    if cmp -s "$debs/$name.row" "$tree/.row"; then
        continue
    fi
    rm -rf "$tree"
    mkdir -p "$dir"
    "$targets/progress.sh" "unpacking $name" $(($(dpkg-deb -f "$deb" Installed-Size) << 10)) "$tree" dpkg-deb -x "$deb" "$tree"
    # Only installing a kernel would write the table of what its modules need.
    for modules in "$tree"/lib/modules/*; do
        PATH=$PATH:/usr/sbin:/sbin depmod -b "$tree" "${modules##*/}"
    done
    cp "$debs/$name.row" "$tree/.row"
done
