#!/usr/bin/env bash
# Unpacks Debian's musl-dev for armhf into DIR, without installing it. Usage: fetch-musl-armhf.sh DIR
set -euo pipefail

dir=$1
if [ -e "$dir/usr/lib/arm-linux-musleabihf/libc.a" ]; then
    exit 0
fi
here=$(dirname "$0")
"$here/debs.sh" armhf <<'END' || { echo "armv7: this target needs rustup's std, or Debian's musl-dev" >&2 && exit 1; }
musl-dev 1.2.3-1 3a9dbb8ae66716f117dce87558fb47a161db0eebf0700cc6bf84ef6871ce7d38
END
mkdir -p "$dir"
dpkg-deb -x "$here/../.cache/debs/armhf/musl-dev.deb" "$dir"
