#!/usr/bin/env bash
# The end of flashing by a tool that reaches the board over USB: prints its commands, runs them with YES=1.
# Usage: flash-usb.sh TOOL:PACKAGE < COMMANDS
set -euo pipefail

commands=$(cat)
if [ "${YES:-}" != 1 ]; then
    echo "dry run; YES=1 does this:"
    sed 's/^/  /' <<<"$commands"
    exit 0
fi
targets/need.sh "$1"
while read -r command; do
    echo "\$ $command"
    # Nothing of what the commands read is meant for the loop.
    eval "$command" </dev/null || {
        echo "this command failed; the board may be half written. Those after it were not run" >&2
        exit 1
    }
done <<<"$commands"
