#!/bin/sh
# One life of the container /var/lib/lxc/c under whatever lxc-* is first on PATH: what init sees, what hooks see and what
# tools say, as lines `KIND: TEXT` in /run/parity/transcript. /run/parity/twin has the config, init and the hooks.
exec 3>/run/parity/transcript
base=/var/lib/lxc/c
mkdir -p $base/rootfs/dev $base/rootfs/proc $base/rootfs/sys $base/rootfs/tmp $base/rootfs/bin $base/rootfs/mnt
chmod 777 $base/rootfs $base/rootfs/mnt
cp /run/parity/twin/init /run/parity/twin/hook $base/rootfs/
cp /run/parity/twin/config $base/config
cp "$(command -v busybox)" $base/rootfs/bin/busybox
for applet in sh env sort sed cat; do ln -s busybox $base/rootfs/bin/$applet; done
for name in /proc/self/ns/*; do echo "world: ${name##*/} $(readlink "$name")" >&3; done

pid=none
tool() {
    out=$("$@" 2>/run/parity/stderr </dev/null)
    code=$?
    echo "tool: \$ $* = $code" >&3
    # Only as a word, and only the one: what is a pid has no fixed number.
    [ -z "$out" ] || echo "$out" | sed "s/\b$pid\b/PID/g; s/^/tool: /" >&3
    sed 's/^/stderr: /' /run/parity/stderr >&3
}

tool lxc-info -n c
tool lxc-ls -f
tool lxc-start -n c -l DEBUG -o /run/parity/log
for _ in $(seq 1 500); do
    ! grep -qs '^ready' $base/rootfs/results || break
    sleep 0.01
done
pid=$(lxc-info -n c -p -H)
pid=${pid:-none}
tool lxc-wait -n c -s RUNNING -t 1
tool lxc-wait -n c -s STOPPED -t 1
tool lxc-info -n c -s -p
tool lxc-info -n c -s -H
for key in lxc.uts.name lxc.init.cmd lxc.cap.drop lxc.mount.auto lxc.mount.entry lxc.environment lxc.tty.max; do
    tool lxc-info -n c -H -c $key
done
tool lxc-ls
tool lxc-ls -f -F name,state,pid,autostart,groups
tool lxc-attach -n c --clear-env -- /bin/sh -c '/bin/env | /bin/sort; exit 3'
tool lxc-attach -n c --clear-env -- /bin/sed -n '/^Cap\|^NoNew\|^Uid\|^Gid\|^Groups/p' /proc/self/status
tool lxc-attach -n c --clear-env -- /nowhere
tool lxc-freeze -n c
tool lxc-info -n c -s
tool lxc-unfreeze -n c
tool lxc-info -n c -s
tool lxc-start -n c
tool lxc-stop -n c -t 1 --nokill
tool lxc-stop -n c -k
tool lxc-wait -n c -s STOPPED -t 10
tool lxc-info -n c
tool lxc-stop -n c
tool lxc-info -n nobody
[ ! -e /run/parity/hooks ] || sed 's/^/hook: /' /run/parity/hooks >&3
[ ! -e $base/rootfs/mnt/hooks ] || sed 's/^/hook inside: /' $base/rootfs/mnt/hooks >&3
sed 's/^/init: /' $base/rootfs/report >&3
