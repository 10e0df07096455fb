#!/usr/bin/env bash
# Fills the boot partition's folder for a U-Boot on x86, whose standard boot command runs the script boot.scr. extlinux.conf
# would not do: there the initramfs is loaded to 64 MB, and the kernel unpacks itself over that address.
# Usage: boot-script.sh DIR KERNEL INITRAMFS COMMAND_LINE
set -euo pipefail

dir=$1 kernel=$2 initramfs=$3 words=$4
rm -rf "$dir"
mkdir -p "$dir"
cp "$kernel" "$dir/vmlinuz"
cp "$initramfs" "$dir/initramfs.cpio.gz"
cat >"$dir/boot.cmd" <<END
load \${devtype} \${devnum}:\${distro_bootpart} \${kernel_addr_r} \${prefix}vmlinuz
setenv kernel_size \${filesize}
load \${devtype} \${devnum}:\${distro_bootpart} $BOARD_INITRAMFS_ADDRESS \${prefix}initramfs.cpio.gz
setenv bootargs "$words"
zboot \${kernel_addr_r} \${kernel_size} $BOARD_INITRAMFS_ADDRESS \${filesize}
END
mkimage -T script -d "$dir/boot.cmd" "$dir/boot.scr" >/dev/null
