#!/usr/bin/env bash
# A phone in fastboot mode checks itself what it is sent. Usage: flash-fastboot.sh IMAGE
set -euo pipefail
printf 'fastboot flash boot %q\nfastboot reboot\n' "$1" | "$(dirname "$0")/flash-usb.sh" fastboot:fastboot
