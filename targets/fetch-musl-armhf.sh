#!/usr/bin/env bash
# Unpacks Debian's musl-dev for armhf into DIR, without installing it. Usage: fetch-musl-armhf.sh DIR
set -euo pipefail

dir=$1 here=$(dirname "$0")
if [ -e "$dir/usr/lib/arm-linux-musleabihf/libc.a" ]; then
    exit 0
fi
"$here/debs.sh" "$here/packages" armhf musl || {
    echo "armv7: this target needs rustup's std, or Debian's musl-dev for armhf" >&2
    exit 1
}
mkdir -p "$dir"
dpkg-deb -x "$here/../.cache/debs/armhf/musl.deb" "$dir"
