#!/usr/bin/env bash
# `make flash`: chooses the way by what DEV is. A file is written at once; what can be lost only with YES=1.
set -euo pipefail

here=$(dirname "$0")
image=$BOARD_OUT/disk.img
[ "$BOARD_FORM" = disk ] || image=$BOARD_OUT/boot.img
# The first of them where there is no choice to be made.
dev=${DEV:-${BOARD_FLASH%% *}}

fail() {
    echo "$1" >&2
    exit 1
}
[ -e "$image" ] || fail "there is no image of $BOARD yet: make image BOARD=$BOARD"
if [[ " ${BOARD_FLASH/disk/} " == *" $dev "* ]]; then
    exec "$here/flash-$dev.sh" "$image"
fi
[ "$dev" != disk ] || fail "DEV= is missing: a disk like /dev/sdX, or a file to be made$([ "$BOARD_FLASH" = disk ] || echo ", or one of ${BOARD_FLASH/disk /}")"
[[ " $BOARD_FLASH " == *" disk "* ]] || fail "DEV=$dev: $BOARD is flashed by one of: $BOARD_FLASH"

if [ -b "$dev" ]; then
    exec "$here/flash-disk.sh" "$image" "$dev"
elif [[ $dev == /dev/* ]]; then
    fail "DEV=$dev: there is no such disk (lsblk lists them)"
elif [ -e "$dev" ] && [ ! -f "$dev" ]; then
    fail "DEV=$dev is neither a disk nor a file"
elif [ -e "$dev" ] && ! sfdisk --dump "$dev" 2>/dev/null | grep -c 'name="monopod-data"' >/dev/null; then
    fail "DEV=$dev holds something else than an earlier image: remove it first"
fi
cp --sparse=always "$image" "$dev"
cmp "$image" "$dev"
realpath "$dev" >"$BOARD_OUT/flashed"
echo "wrote $image to the file $dev"
