#!/usr/bin/env bash
# Lays out the data partition: DIR/lxc/NAME/config and DIR/lxc/NAME/rootfs. ROOTFS is a folder or a tar; without one the
# container is a small system of busybox with a login on its console. Usage: data.sh NAME CONFIG BUSYBOX ROOTFS DIR
set -euo pipefail

name=$1 config=$2 busybox=$3 given=$4 dir=$5
here=$(cd "$(dirname "$0")" && pwd)
container=$dir/lxc/$name
root=$container/rootfs

rm -rf "$dir"
mkdir -p "$root"
install -m 644 "$config" "$container/config"

if [ -z "$given" ]; then
    cp -r "$here/rootfs/." "$root"
    mkdir -p "$root"/{bin,dev,proc,root,run,sys,tmp}
    install -m 755 "$busybox" "$root/bin/busybox"
    ln -s bin/busybox "$root/init"
    ln -s bin "$root/sbin"
elif [ -d "$given" ]; then
    cp -a --reflink=auto "$given/." "$root"
elif [ -f "$given" ]; then
    # Whose file it is, is said in the tar by number: names of the host's users mean nothing in the container.
    tar -x -p --numeric-owner -f "$given" -C "$root"
else
    echo "ROOTFS=$given: there is no such folder or tar" >&2
    exit 1
fi
init=$(sed -n 's/^lxc\.init\.cmd *= *\([^ ]*\).*/\1/p' "$config")
if [ ! -e "$root${init:=/sbin/init}" ] && [ ! -L "$root$init" ]; then
    echo "the container has no $init, which $config starts (lxc.init.cmd; CONFIG=FILE names another config)" >&2
    exit 1
fi
