#!/usr/bin/env bash
# Fills the boot partition for the firmware of the Raspberry Pi, which loads a device tree and U-Boot; U-Boot goes on with
# extlinux.conf and hands over the device tree as the firmware has completed it. Arguments as of boot-extlinux.sh.
set -euo pipefail

dir=$1
here=$(dirname "$0")
firmware=${FIRMWARE:-$PACKAGES/raspi-firmware/usr/lib/raspi-firmware}
[ -e "$firmware/start.elf" ] && [ -e "$firmware/start4.elf" ] || {
    echo "$firmware has no start.elf and start4.elf: FIRMWARE= names a folder with the Raspberry Pi's firmware" >&2
    exit 1
}

"$here/../common/boot-extlinux.sh" "${@:1:4}"
cp "$firmware"/{bootcode.bin,start.elf,fixup.dat,start4.elf,fixup4.dat} "$dir"
for dtb in "${@:5}"; do
    # The firmware looks for the model's own name; one that was given (DTB=) is for any model.
    cp "${dtb#*:}" "$dir/$(basename "${dtb%%:*}" .dtb | sed 's/^$/board/').dtb"
done

loaders=$PACKAGES/u-boot-rpi/usr/lib/u-boot
if [ -e "$loaders/rpi_arm64" ]; then
    cp "$loaders/rpi_arm64/u-boot.bin" "$dir/u-boot.bin"
    choice="arm_64bit=1
kernel=u-boot.bin"
else
    cp "$loaders/rpi_3_32b/u-boot.bin" "$dir/u-boot-3.bin"
    cp "$loaders/rpi_4_32b/u-boot.bin" "$dir/u-boot-4.bin"
    choice="arm_64bit=0
[pi3]
kernel=u-boot-3.bin
[pi4]
kernel=u-boot-4.bin
[all]"
fi
cat >"$dir/config.txt" <<END
# What the firmware starts.
$choice
# The serial console's clock stays what it is.
enable_uart=1
# Kernels of today count no video memory of the firmware's.
gpu_mem=32
$([ ! -e "$dir/board.dtb" ] || echo "device_tree=board.dtb")
END
