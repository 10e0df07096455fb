#!/usr/bin/env bash
# Writes a board's initramfs: monopod as /init with its settings, the modules that stand between the kernel and the data
# partition, and a shell for an emergency. Needs no root: the kernel and monopod make the device nodes.
# Usage: initramfs.sh MONOPOD BUSYBOX SETTINGS MODULES OUTPUT MODULE...
#   MODULES: a folder with lib/modules/VERSION in it; "" if everything is built into the kernel
set -euo pipefail

monopod=$1 busybox=$2 settings=$3 modules=$4 output=$5
shift 5

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"
mkdir -p "$tree"/{bin,dev,etc/monopod,proc,run,sys}
install -m 755 "$monopod" "$tree/init"
install -m 755 "$busybox" "$tree/bin/busybox"
ln -s busybox "$tree/bin/sh"
install -m 644 "$settings" "$tree/etc/monopod/init.conf"

if [ -n "$modules" ] && [ $# != 0 ]; then
    versions=("$modules"/lib/modules/*)
    [ ${#versions[@]} = 1 ] && [ -e "${versions[0]}/modules.dep" ] || {
        echo "$modules must hold one lib/modules/VERSION with a modules.dep (depmod writes it)" >&2
        exit 1
    }
    # In the order in which they are loaded. The host's own settings in /etc/modprobe.d do not matter.
    modprobe -C /dev/null -d "$modules" -S "${versions[0]##*/}" --show-depends --all "$@" >"$tree/order" || {
        echo "the kernel in $modules lacks a module that this board asks for (BOARD_MODULES)" >&2
        exit 1
    }
    echo "# What a kernel with nothing built in needs before it sees the data partition." >>"$tree/etc/monopod/init.conf"
    while read -r kind path _; do
        name=lib/modules/$(basename "$path")
        # Those of arch/ do the same as others, faster, on processors that have the instructions, and fail on the rest.
        if [ "$kind" = insmod ] && [[ $path != */kernel/arch/* ]] && [ ! -e "$tree/$name" ]; then
            install -D -m 644 "$path" "$tree/$name"
            echo "monopod.init.modules = /$name" >>"$tree/etc/monopod/init.conf"
        fi
    done <"$tree/order"
    rm "$tree/order"
fi

find "$tree" -exec touch -h -d @0 {} +
(cd "$tree" && find . | LC_ALL=C sort | cpio --quiet --reproducible -o -H newc -R +0:+0) | gzip -9n >"$output"
