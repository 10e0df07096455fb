#!/usr/bin/env bash
# Fetches Debian's kernels and static busybox for a machine: DIR/vmlinuz, which boots fast, DIR/full/vmlinuz with drivers,
# the modules of each beside it in modules/, and DIR/busybox. Usage: fetch.sh ARCH DIR
set -euo pipefail

arch=$1 dir=$2 here=$(dirname "$0")
# What was tested: package, version, sha256. Security updates take old versions out of the index; then the newest is
# taken, of a kernel the one that the package in the last column names. 6.1 still has every v1 controller.
pinned=$(grep "^$arch " <<'END' || true
amd64 . linux-image-6.1.0-56-cloud-amd64 6.1.192-2 e7d02b943971edcb8790e256c02cfab3bca6c3d37c1bf25392a57c71300615ee linux-image-cloud-amd64
amd64 full linux-image-6.1.0-56-amd64 6.1.192-2 a86e2049672f52354c4536a089203b6c82639420424d31c91cf31a181fd4d8f1 linux-image-amd64
amd64 busybox busybox-static 1:1.35.0-4+deb12u1+b1 3d3fdbe91d4660c873e14b092c213fe81c1da6362daa236eb25d0171eb108744 busybox-static
arm64 . linux-image-6.1.0-56-cloud-arm64 6.1.192-2 481ab54a27246579aadeb372315c56de02f2fe0cba4e09b387946269fff2f415 linux-image-cloud-arm64
arm64 full linux-image-6.1.0-56-arm64 6.1.192-2 6f4ed2d1cb9106bc977c2b1960008f175e2eed5740340634b7894e65ef5acc82 linux-image-arm64
arm64 busybox busybox-static 1:1.35.0-4+deb12u1+b1 732c9135564fc71337e0e05fb4da4d11e6c28c1834bce3e405e575afef2a52f5 busybox-static
armhf . linux-image-6.1.0-50-armmp 6.1.176-1 ddd1d8dd0c6beabb9eb96bcfab26549eb30c63331bae31de481ffae4af0e982a linux-image-armmp
armhf busybox busybox-static 1:1.35.0-4+deb12u1+b1 2f68dbeaebeda49f3cde34ac421d5add85fb1c837ff7c4a4971945340d9d66ff busybox-static
END
)
# Binder, watchdogs, and what a disk with ext4 on a virtual board needs; a kernel that has one built in has no file of it.
modules='binder_linux|watchdog|softdog|i6300esb|sp805_wdt|virtio[a-z_]*|crc16|crc32c[a-z_]*|libcrc32c|mbcache|jbd2|ext4'
has() { [ -e "$dir/$1" ] && [ "$(<"$dir/$1")" = "$2" ]; }
if has complete "$pinned" && has chosen "$modules"; then
    exit 0
fi
fail() {
    echo "$arch: $1" >&2
    exit 1
}
[ -n "$pinned" ] || fail "no kernel is known for it"

cut -d' ' -f3- <<<"$pinned" | "$here/../../targets/debs.sh" "$arch"
debs=$here/../../.cache/debs/$arch

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
while read -r _ file package _; do
    if [ "$file" = busybox ]; then
        mkdir -p "$dir"
        dpkg-deb --fsys-tarfile "$debs/$package.deb" | tar -xO ./bin/busybox >"$work/busybox"
        install -m 755 "$work/busybox" "$dir/busybox"
    else
        rm -rf "$work/tree" "$dir/$file/modules"
        mkdir -p "$work/tree" "$dir/$file/modules"
        dpkg-deb --fsys-tarfile "$debs/$package.deb" >"$work/tar"
        tar -tf "$work/tar" | grep -E "^./boot/vmlinuz-|/($modules)\.ko$" >"$work/wanted"
        tar -xf "$work/tar" -C "$work/tree" -T "$work/wanted"
        find "$work/tree" -name '*.ko' -exec mv -t "$dir/$file/modules" {} +
        mv "$work/tree/boot"/vmlinuz-* "$dir/$file/vmlinuz"
    fi
done <<<"$pinned"
echo "$modules" >"$dir/chosen"
echo "$pinned" >"$dir/complete"
