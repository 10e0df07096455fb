#!/usr/bin/env bash
# Fetches Debian's kernels and static busybox for a machine: DIR/vmlinuz, which boots fast, DIR/full/vmlinuz with drivers,
# the modules of each beside it in modules/, and DIR/busybox. Usage: fetch.sh ARCH DIR
set -euo pipefail

arch=$1 dir=$2 here=$(dirname "$0")
targets=$here/../../targets
# Binder, watchdogs, and what a disk with ext4 on a virtual board needs; a kernel that has one built in has no file of it.
modules='binder_linux|watchdog|softdog|i6300esb|sp805_wdt|virtio[a-z_]*|crc16|crc32c[a-z_]*|libcrc32c|mbcache|jbd2|ext4'

# Which kernel is which: 32-bit ARM has but one.
case $arch in
armhf) kernels=(.=kernel) ;;
amd64 | arm64) kernels=(.=kernel-cloud full=kernel) ;;
*) echo "$arch: no kernel is known for it" >&2 && exit 1 ;;
esac
names=(busybox "${kernels[@]#*=}")
"$targets/debs.sh" "$targets/packages" "$arch" "${names[@]}"
debs=$targets/../.cache/debs/$arch
# Made again when what it is made of has changed.
recipe=$(for name in "${names[@]}"; do cat "$debs/$name.row"; done | cat - "$0" | sha256sum)
if [ -e "$dir/recipe" ] && [ "$(<"$dir/recipe")" = "$recipe" ]; then
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for each in "${kernels[@]}"; do
    to=$dir/${each%=*}
    dpkg-deb --fsys-tarfile "$debs/${each#*=}.deb" >"$work/tar"
    tar -tf "$work/tar" | grep -E "^./boot/vmlinuz-|/($modules)\.ko$" >"$work/wanted"
    rm -rf "$work/tree" "$to/modules"
    mkdir -p "$work/tree" "$to/modules"
    tar -xf "$work/tar" -C "$work/tree" -T "$work/wanted"
    find "$work/tree" -name '*.ko' -exec mv -t "$to/modules" {} +
    mv "$work/tree/boot"/vmlinuz-* "$to/vmlinuz"
done
dpkg-deb --fsys-tarfile "$debs/busybox.deb" | tar -xO ./bin/busybox >"$work/busybox"
install -m 755 "$work/busybox" "$dir/busybox"
echo "$recipe" >"$dir/recipe"
