#!/usr/bin/env bash
# Makes the demo's container: DIR/demo/config and DIR/demo/rootfs, laid out like Android's root with busybox as its
# userspace. Usage: rootfs.sh DIR
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
rm -rf "${1:?}/demo"
mkdir -p "$1/demo"
container=$(cd "$1/demo" && pwd)
root=$container/rootfs

busybox=$(command -v busybox)
if readelf --wide --program-headers "$busybox" | grep -q INTERP; then
    echo "$busybox is not static, and the demo's system has no libraries: apt-get install busybox-static" >&2
    exit 1
fi

mkdir -p "$root"/{system/bin,system/etc,vendor,data,mnt,dev,proc,sys,tmp}
install -m 755 "$busybox" "$root/system/bin/busybox"
for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/system/bin/$applet"
done
ln -s system/etc "$root/etc"
ln -s system/bin "$root/bin"
ln -s system/bin "$root/sbin"
ln -s system/bin/busybox "$root/init"

install -m 755 "$here"/{rc,demo,login-shell} "$root/system/etc/"
mv "$root/system/etc/login-shell" "$root/system/bin/"
install -m 644 "$here"/{inittab,greeting} "$root/system/etc/"
echo "root::0:0:root:/data:/system/bin/sh" >"$root/system/etc/passwd"
echo "root:x:0:" >"$root/system/etc/group"
echo 0 >"$root/data/boots"

# The host's notes on each life of the container: which cgroups it was put in.
cat >"$container/start-host" <<END
#!/bin/sh
find /sys/fs/cgroup -maxdepth 3 -type d -path '*/lxc/demo' | sort >"$container/cgroups"
echo "\$LXC_PID" >>"$container/lives"
END
chmod 755 "$container/start-host"
: >"$container/lives"

cat >"$container/config" <<END
lxc.uts.name = demo
lxc.rootfs.path = dir:$root
lxc.init.cmd = /init
lxc.mount.auto = proc:mixed sys:mixed
lxc.mount.entry = tmpfs tmp tmpfs nosuid,nodev,mode=1777 0 0
lxc.autodev = 1
lxc.pty.max = 16
lxc.net.0.type = empty
lxc.cap.drop = sys_module sys_time mac_admin mac_override
lxc.hook.start-host = $container/start-host
END
