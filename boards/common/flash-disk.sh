#!/usr/bin/env bash
# Writes an image to a disk and reads it back. Without YES=1 it only says what it would do. Usage: flash-disk.sh IMAGE DISK
set -euo pipefail

image=$1
disk=$(realpath "$2")
bytes=$(stat -c %s "$image")
refuse() {
    echo "$disk: $1. Nothing was written" >&2
    exit 1
}

[ -r "$disk" ] && [ -w "$disk" ] || refuse "it takes root to write to it (sudo make flash ...)"
kind=$(lsblk -dnro TYPE "$disk")
[ "$kind" != part ] || refuse "it is a partition; name the whole disk, /dev/$(lsblk -dnro PKNAME "$disk")"
used=$(lsblk -nrpo NAME,MOUNTPOINTS "$disk" | awk '$2 != "" { printf "%s is used as %s, ", $1, $2 }')
[ -z "$used" ] || refuse "${used%, }"
held=$(lsblk -nrpo NAME,TYPE "$disk" | awk 'NR > 1 && $2 != "part" { printf "%s ", $1 }')
[ -z "$held" ] || refuse "it is held by $held(RAID, LVM or encryption)"
for loop in $(lsblk -nrpo NAME "$disk"); do
    [ -z "$(losetup -nO NAME -j "$loop")" ] || refuse "a loop device is attached to $loop"
done
[ "$(blockdev --getro "$disk")" = 0 ] || refuse "it is write-protected"
# The kernel's own word: it covers mounts of other namespaces, too.
python3 -c 'import os, sys; os.open(sys.argv[1], os.O_RDWR | os.O_EXCL)' "$disk" 2>/dev/null || refuse "the kernel says that it is in use"
size=$(blockdev --getsize64 "$disk")
[ "$bytes" -le "$size" ] || refuse "the image has $((bytes >> 20)) MB, the disk only $((size >> 20))"

write=(dd "if=$image" "of=$disk" bs=4M conv=fsync status=progress)
lsblk -do NAME,SIZE,MODEL,TRAN,RM "$disk"
if [ "${YES:-}" != 1 ]; then
    echo "dry run; all on $disk would be lost, and YES=1 does this:"
    printf '  %q' "${write[@]}"
    printf '\n  cmp %q %q\n' "$image" "$disk"
    exit 0
fi
"${write[@]}"
# What is in memory proves nothing: the disk itself is read.
blockdev --flushbufs "$disk"
cmp -n "$bytes" "$image" "$disk" || {
    echo "$disk does not hold what was written to it: it is broken or not as large as it says" >&2
    exit 1
}
echo "wrote $((bytes >> 20)) MB to $disk and read them back"
