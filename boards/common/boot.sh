#!/usr/bin/env bash
# `make boot`: the board's machine in QEMU, with the disk file that was flashed last, or DEV. It writes to that file.
set -euo pipefail

if [ -z "${BOARD_QEMU:-}" ]; then
    echo "$BOARD is no board of QEMU's; those are the ones whose names begin with qemu-" >&2
    exit 1
fi
disk=${DEV:-$(cat "$BOARD_OUT/flashed" 2>/dev/null || true)}
if [ ! -f "$disk" ]; then
    echo "there is no disk ${disk:-file}: make flash BOARD=$BOARD DEV=disk.img writes one" >&2
    exit 1
fi
echo "booting $disk (Ctrl-a x ends QEMU)"
# Emulated always: a /dev/kvm may exist and not work.
# shellcheck disable=SC2086 # The emulator's command is words.
exec $BOARD_QEMU -accel tcg -nodefaults -no-user-config -nographic -no-reboot -serial mon:stdio \
    -drive "if=none,id=disk,format=raw,file=$disk"
