#!/usr/bin/env bash
# `make image`: the initramfs, the kernel's files beside it, the container, and what is flashed. Reads the variables of
# board.mk and those that boards.mk exports; whatever a board has no file of, it takes from common/.
set -euo pipefail

own() { [ -e "boards/$BOARD/$1" ] && echo "boards/$BOARD/$1" || echo "boards/common/$1"; }
given() {
    [ -e "$2" ] || {
        echo "$1=$2: there is no such file" >&2
        exit 1
    }
}

mkdir -p "$BOARD_OUT"
if [ -n "${KERNEL:-}" ]; then
    given KERNEL "$KERNEL"
    modules=${MODULES:-}
    [ -z "$modules" ] || given MODULES "$modules"
    # It is not known how it was configured: common/check-kernel-config.sh tells if asked.
else
    KERNEL=$(echo "$PACKAGES"/kernel/boot/vmlinuz-*)
    modules=$PACKAGES/kernel
    boards/common/check-kernel-config.sh --quiet "$PACKAGES"/kernel/boot/config-* \
        boards/common/kernel.fragment "boards/$BOARD/kernel.fragment"
fi

dtbs=()
if [ -n "${DTB:-}" ]; then
    given DTB "$DTB"
    dtbs=(":$DTB")
else
    for dtb in ${BOARD_DTBS:-}; do
        dtbs+=("$dtb:$(echo "$PACKAGES"/kernel/usr/lib/linux-image-*/"$dtb")")
        given BOARD_DTBS "${dtbs[-1]#*:}"
    done
fi

busybox=$PACKAGES/busybox/bin/busybox
# shellcheck disable=SC2086 # The names of modules are words.
boards/common/initramfs.sh "$BOARD_MONOPOD" "$busybox" "$(own init.conf)" "$modules" "$BOARD_OUT/initramfs.cpio.gz" ${BOARD_MODULES:-}
boards/common/data.sh "$BOARD_CONTAINER" "${CONFIG:-$(own container.conf)}" "$busybox" "${ROOTFS:-}" "$BOARD_OUT/data"
words="console=$BOARD_CONSOLE $(<"$(own cmdline)")"
case $BOARD_FORM in
disk)
    "$(own "boot-${BOARD_BOOT:-extlinux}.sh")" "$BOARD_OUT/boot" "$KERNEL" "$BOARD_OUT/initramfs.cpio.gz" "$words" "${dtbs[@]}"
    boards/common/image-disk.sh "$(own image.cfg)" "$BOARD_OUT" "$PACKAGES"
    ;;
android)
    boards/common/image-android.sh "$BOARD_OUT" "$KERNEL" "$BOARD_OUT/initramfs.cpio.gz" "$words" "${dtbs[@]}"
    ;;
esac
