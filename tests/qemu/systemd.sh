#!/usr/bin/env bash
# Makes a disk with Debian and systemd as a container of it, for a foreign machine: the packages are only unpacked, none
# of their programs runs here. Usage: systemd.sh ARCH IMAGE
set -euo pipefail

arch=$1 image=$2
guest=$(dirname "$0")/guest/systemd
suite=bookworm

# Made again when what it is made of has changed.
recipe=$(cat "$0" "$guest"/* | sha256sum)
if [ -e "$image" ] && [ -e "$image.recipe" ] && [ "$(<"$image.recipe")" = "$recipe" ]; then
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rootfs=$work/disk/debian/rootfs
mkdir -p "$rootfs"
cp "$guest/config" "$work/disk/debian/config"
echo "systemd: unpacking Debian $suite for $arch (a minute or two)"
mmdebstrap --quiet --mode=root --variant=extract --architectures="$arch" --include=systemd-sysv,dbus,busybox-static \
    "$suite" "$work/root.tar" || {
    echo "systemd: Debian's packages for $arch cannot be fetched (no network?)" >&2
    exit 1
}
tar -xf "$work/root.tar" -C "$rootfs" --exclude=./usr/share/{doc,man,locale,zoneinfo}

# What the packages' scripts would have done, as far as it matters here.
ln -s busybox "$rootfs/bin/sh" 2>/dev/null || true
: >"$rootfs/etc/machine-id"
printf 'root:x:0:0::/root:/bin/sh\nmessagebus:x:101:101::/:/bin/false\n' >"$rootfs/etc/passwd"
printf 'root:x:0:\ntty:x:5:\nmessagebus:x:101:\n' >"$rootfs/etc/group"
ln -s /lib/systemd/system/multi-user.target "$rootfs/etc/systemd/system/default.target"
install -D -m 644 "$guest/lives.service" -t "$rootfs/etc/systemd/system"
install -D -m 755 "$guest/lives" -t "$rootfs/usr/local/bin"
mkdir -p "$rootfs/etc/systemd/system/multi-user.target.wants"
ln -s ../lives.service "$rootfs/etc/systemd/system/multi-user.target.wants"

rm -f "$image" "$image.recipe"
mke2fs -q -t ext4 -d "$work/disk" "$image" 400M
echo "$recipe" >"$image.recipe"
