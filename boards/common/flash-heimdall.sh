#!/usr/bin/env bash
# A Samsung phone in download mode. Usage: flash-heimdall.sh IMAGE
set -euo pipefail
printf 'heimdall flash --BOOT %q\n' "$1" | "$(dirname "$0")/flash-usb.sh" heimdall:heimdall-flash
