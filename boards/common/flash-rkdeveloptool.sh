#!/usr/bin/env bash
# A Rockchip board in maskrom or loader mode: its eMMC is written and read back. LOADER= is Rockchip's own program for the
# SoC (rk3399_loader_*.bin), which a board in maskrom mode has to be given first. Usage: flash-rkdeveloptool.sh IMAGE
set -euo pipefail

image=$1
sectors=$(($(stat -c %s "$image") / 512))
{
    [ -z "${LOADER:-}" ] || printf 'rkdeveloptool db %q\n' "$LOADER"
    printf 'rkdeveloptool wl 0 %q\n' "$image"
    printf 'rkdeveloptool rl 0 %d %q\n' "$sectors" "$image.read"
    printf 'cmp %q %q\n' "$image" "$image.read"
    printf 'rm %q\nrkdeveloptool rd\n' "$image.read"
} | "$(dirname "$0")/flash-usb.sh" rkdeveloptool:rkdeveloptool
