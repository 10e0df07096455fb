#!/usr/bin/env bash
# Runs a command that takes long and shows on the terminal how far it is, by what it has written so far. Without a terminal
# one line says how long it took. What the command says is shown only if it fails.
# Usage: progress.sh LABEL BYTES PATH COMMAND...     PATH: the file or folder that grows to BYTES
set -euo pipefail

label=$1 bytes=$2 path=$3
shift 3
log=$(mktemp)
trap 'rm -f "$log"' EXIT
began=$SECONDS

written() { du -sB1 "$path" 2>/dev/null | cut -f1 || true; }

"$@" >"$log" 2>&1 &
command=$!
if [ -t 2 ]; then
    while kill -0 "$command" 2>/dev/null; do
        now=$(written)
        part=$((${now:-0} * 100 / (bytes + 1)))
        printf '\r%s: %d of %d MB, %d %% \033[K' "$label" $((${now:-0} >> 20)) $((bytes >> 20)) $((part > 100 ? 100 : part)) >&2
        sleep 0.2
    done
    printf '\r\033[K' >&2
fi
code=0
wait "$command" || code=$?
if [ "$code" = 0 ]; then
    echo "$label ($((bytes >> 20)) MB, $((SECONDS - began)) s)"
else
    tail -n 8 "$log" >&2
    echo "$label: failed (its words are above)" >&2
fi
exit "$code"
