#!/usr/bin/env bash
# Fills the boot partition's folder for U-Boot: kernel, initramfs, device trees and extlinux/extlinux.conf, which U-Boot's
# standard boot command looks for on every disk. Usage: boot-extlinux.sh DIR KERNEL INITRAMFS COMMAND_LINE [DTBS...]
#   DTBS: PATH:FILE, FILE to be put at /dtb/PATH; U-Boot chooses by its own idea of the board. One without a PATH is taken.
set -euo pipefail

dir=$1 kernel=$2 initramfs=$3 words=$4
shift 4
rm -rf "$dir"
mkdir -p "$dir/extlinux"
cp "$kernel" "$dir/vmlinuz"
cp "$initramfs" "$dir/initramfs.cpio.gz"
tree=
for dtb in "$@"; do
    if [ -n "${dtb%%:*}" ]; then
        install -D -m 644 "${dtb#*:}" "$dir/dtb/${dtb%%:*}"
        tree="fdtdir /dtb"
    else
        install -m 644 "${dtb#*:}" "$dir/board.dtb"
        tree="fdt /board.dtb"
    fi
done
cat >"$dir/extlinux/extlinux.conf" <<END
default monopod
timeout 0

label monopod
	kernel /vmlinuz
	initrd /initramfs.cpio.gz
	append $words
END
[ -z "$tree" ] || printf '\t%s\n' "$tree" >>"$dir/extlinux/extlinux.conf"
