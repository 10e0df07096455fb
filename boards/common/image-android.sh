#!/usr/bin/env bash
# Makes OUT/boot.img for an Android boot loader, and OUT/container.tar.gz, which is unpacked on the phone's data partition.
# Reads the BOOT_* of board.mk. Usage: image-android.sh OUT KERNEL INITRAMFS COMMAND_LINE [DTB...]
set -euo pipefail

out=$1 kernel=$2 initramfs=$3 words=$4
shift 4

# Boot loaders of 64-bit phones unpack it themselves.
case $(head -c 2 "$kernel" | od -An -tx1) in
" 1f 8b") cp "$kernel" "$out/kernel.gz" ;;
*) gzip -9n <"$kernel" >"$out/kernel.gz" ;;
esac
# shellcheck disable=SC2086 # The offsets are words.
mkbootimg --kernel "$out/kernel.gz" --ramdisk "$initramfs" ${1:+--dtb "${1#*:}"} --cmdline "$words" --base "$BOOT_BASE" \
    $BOOT_OFFSETS --pagesize "$BOOT_PAGESIZE" --header_version "$BOOT_HEADER" --output "$out/boot.img"
rm "$out/kernel.gz"
bytes=$(stat -c %s "$out/boot.img")
if [ "$bytes" -gt "$BOOT_PARTITION" ]; then
    rm "$out/boot.img"
    echo "boot.img has $bytes bytes, the phone's boot partition only $BOOT_PARTITION (BOOT_PARTITION)" >&2
    exit 1
fi
bytes=$(du -sb "$out/data" | cut -f1)
targets/progress.sh "packing $out/container.tar.gz" "$bytes" "$out/container.tar.gz" \
    tar -czf "$out/container.tar.gz" --numeric-owner -C "$out/data" lxc
echo "wrote $out/boot.img"
