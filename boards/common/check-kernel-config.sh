#!/usr/bin/env bash
# Holds a kernel's configuration against fragments and prints what is wrong with it, each with its reason.
# Usage: check-kernel-config.sh [--quiet] CONFIG [FRAGMENT...]
#   CONFIG: a .config or /proc/config.gz. Without a FRAGMENT: kernel.fragment beside this script.
#   --quiet: nothing of what is only wanted
# Exit code: 0 if all that is required is there, 1 if not, 2 if something cannot be read.
set -euo pipefail

quiet=
if [ "${1:-}" = --quiet ]; then
    quiet=1
    shift
fi
config=${1:?"Usage: check-kernel-config.sh [--quiet] CONFIG [FRAGMENT...]"}
shift
fragments=("$@")
[ $# != 0 ] || fragments=("$(dirname "$0")/kernel.fragment")
for file in "$config" "${fragments[@]}"; do
    [ -r "$file" ] || {
        echo "$file cannot be read" >&2
        exit 2
    }
done
case $config in *.gz) show=zcat ;; *) show=cat ;; esac
"$show" "$config" | grep -c '^CONFIG_' >/dev/null || {
    echo "$config is not a kernel's configuration" >&2
    exit 2
}

"$show" "$config" | awk -v quiet="$quiet" '
    function number(version, part) { split(version, part, "."); return part[1] * 1000 + part[2] }
    function value(name) { return name in has ? has[name] : "n" }
    # What is wrong: the level, the option, what it should be, why.
    function wrong(name, wish) {
        if (level == "wanted" && quiet) return
        printf "%-9s%s is %s, should be %s: %s\n", level, name, value(name), wish, why
        count[level]++
    }
    # The configuration comes first, on stdin.
    FILENAME == "-" && /^# Linux\/[^ ]+ [0-9]/ { version = number($3); next }
    FILENAME == "-" { if (/^CONFIG_/) { at = index($0, "="); has[substr($0, 1, at - 1)] = substr($0, at + 1) } next }
    /^## / {
        level = $2; applies = 1
        sub(/:$/, "", level)
        why = $0
        sub(/^[^:]*: */, "", why)
        # A kernel whose version is not said is held against everything.
        if (version && $3 == "before" && version >= number($4)) applies = 0
        if (version && $3 == "from" && version < number($4)) applies = 0
        next
    }
    /^# CONFIG_.* is not set$/ { if (applies && value($2) != "n") wrong($2, "off"); next }
    /^# / { why = substr($0, 3); next }
    /^CONFIG_/ {
        split($0, pair, "=")
        now = value(pair[1])
        if (applies && now != pair[2] && !(pair[2] == "m" && now == "y")) wrong(pair[1], pair[2] == "m" ? "y or m" : pair[2])
    }
    END {
        if (!quiet) printf "%d required missing, %d harmful, %d wanted missing\n", count["required"], count["off"], count["wanted"]
        exit count["required"] + count["off"] ? 1 : 0
    }
' - "${fragments[@]}"
