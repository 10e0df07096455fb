#!/usr/bin/env bash
# Are the binaries static, stripped and within their size limits? Usage: sizes.sh BINARY:BYTES...
set -euo pipefail

failed=0
complain() {
    echo "$1" >&2
    failed=1
}
for each in "$@"; do
    binary=${each%:*} limit=${each#*:}
    size=$(stat -c %s "$binary")
    [ "$size" -le "$limit" ] || complain "$binary: $size bytes, the limit is $limit"
    # A static PIE has a dynamic section too, so it is the interpreter and the needed libraries that tell.
    headers=$(readelf --wide --program-headers --dynamic "$binary")
    ! grep -qE 'INTERP|\(NEEDED\)' <<<"$headers" || complain "$binary: not static, it asks for a loader or a library"
    ! readelf --wide --sections "$binary" | grep -q '\.symtab' || complain "$binary: not stripped"
done
[ "$failed" = 0 ]
echo "sizes: $# binaries are static and within their limits"
