#!/usr/bin/env bash
# Makes OUT/disk.img of OUT/boot (kernel, initramfs, device trees, the boot loader's files) and OUT/data (the container). Its
# partitions are in IMAGE_CFG. Usage: image-disk.sh IMAGE_CFG OUT LOADERS
#   LOADERS: the folder in which the packages of boot loaders are unpacked
set -euo pipefail

config=$1 out=$2 loaders=$3
here=$(cd "$(dirname "$0")" && pwd)

# Room for another kernel in the one, for what a container writes in the other; DATA_SIZE=4G is for a certain card.
megabytes() { du -sm --apparent-size "$1" | cut -f1; }
export BOOT_TREE=$out/boot DATA_TREE=$out/data
export BOOT_SIZE=$(($(megabytes "$BOOT_TREE") * 2 + 16))M
export DATA_SIZE=${DATA_SIZE:-$(($(megabytes "$DATA_TREE") * 5 / 4 + 64))M}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/empty" "$work/out"
written=$((($(megabytes "$BOOT_TREE") + $(megabytes "$DATA_TREE")) * 2))
PATH=$PATH:/usr/sbin:/sbin targets/progress.sh "writing $out/disk.img" $((written << 20)) "$work/out" \
    genimage --loglevel 1 --config "$config" --includepath "$here" --rootpath "$work/empty" --tmppath "$work/tmp" \
    --inputpath "$loaders" --outputpath "$work/out"
mv "$work/out/disk.img" "$out/disk.img"
