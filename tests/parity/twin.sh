#!/bin/sh
# One life of the container /var/lib/lxc/c under whatever lxc-* is first on PATH: what init sees, what hooks see and what
# tools say, as lines `KIND: TEXT` in /run/parity/transcript. /run/parity/twin has the config, init and the hooks, and of
# configs.py's scripts those that the twin has. Usage: twin.sh short|whole [WORD OF LXC-START...]
life=$1
shift
twin=/run/parity/twin base=/var/lib/lxc/c pid=none
export twin
# Not 3: that is for descriptors which the container gets.
exec 9>/run/parity/transcript
mkdir -p $base/rootfs/dev $base/rootfs/proc $base/rootfs/sys $base/rootfs/tmp $base/rootfs/bin $base/rootfs/mnt
chmod 777 $base/rootfs $base/rootfs/mnt $base/rootfs/tmp
cp $twin/init $twin/hook $base/rootfs/
[ ! -e $twin/probe ] || cp $twin/probe $base/rootfs/
cp $twin/config $base/config
cp "$(command -v busybox)" $base/rootfs/bin/busybox
for applet in sh env sort sed cat grep mknod hostname chroot umount unshare nice swapoff sync true; do
    ln -s busybox $base/rootfs/bin/$applet
done
for name in /proc/self/ns/*; do echo "world: ${name##*/} $(readlink "$name")" >&9; done

# By whom the tools are called.
as=
[ ! -e $twin/user ] || as=$(cat $twin/user)

tool() {
    out=$($as "$@" 2>/run/parity/stderr </dev/null 9>&-)
    code=$?
    echo "tool: \$ $* = $code" >&9
    # Only as a word, and only the one: what is a pid has no fixed number.
    [ -z "$out" ] || echo "$out" | sed "s/\b$pid\b/PID/g; s/^/tool: /" >&9
    sed 's/^/stderr: /' /run/parity/stderr >&9
    return $code
}

# What happens around it, as configs.py has it.
part() {
    [ -e $twin/$1 ] || return 0
    pid=$pid sh $twin/$1 9>&- >/run/parity/part 2>&1 </dev/null
    sed "s/\b$pid\b/PID/g; s/^/$1: /" /run/parity/part >&9
}

until_ready() {
    for _ in $(seq 1 500); do
        ! grep -qs '^ready' $base/rootfs/results || break
        sleep 0.01
    done
    pid=$($as lxc-info -n c -p -H)
    pid=${pid:-none}
}

# Everything that was said, wherever it is now.
told() {
    [ ! -e /run/parity/hooks ] || sed 's/^/hook: /' /run/parity/hooks >&9
    for file in "mnt/hooks hook inside" "mnt/probe probe" "results said" "report init"; do
        from=$1/${file%% *}
        [ ! -e "$from" ] || sed "s/^/${file#* }: /" "$from" >&9
    done
}

if [ $life = short ]; then
    part host
    start="lxc-start -n c -l DEBUG -o /run/parity/log $*"
    if [ -e $twin/caller ]; then
        env --default-signal sh $twin/caller 9>&- >/dev/null 2>&1 </dev/null &
        start="lxc-wait -n c -s RUNNING -t 10"
    fi
    if tool $start; then
        until_ready
        tool lxc-info -n c -s -p
        part outside
        tool lxc-attach -n c --clear-env -- /bin/sed -n '/^Cap\|^NoNew\|^Seccomp:\|^Uid\|^Gid\|^Groups/p' /proc/self/status
        mkdir -p /run/parity/kept/mnt
        for file in mnt/hooks mnt/probe results report; do
            [ ! -e $base/rootfs/$file ] || cp $base/rootfs/$file /run/parity/kept/$file
        done
        tool lxc-stop -n c -k
        tool lxc-wait -n c -s STOPPED -t 10
    fi
    tool lxc-info -n c
    part after
    told /run/parity/kept
    exit 0
fi

tool lxc-info -n c
tool lxc-ls -f
tool lxc-start -n c -l DEBUG -o /run/parity/log
until_ready
tool lxc-wait -n c -s RUNNING -t 1
tool lxc-wait -n c -s STOPPED -t 1
tool lxc-info -n c -s -p
tool lxc-info -n c -s -H
for key in lxc.uts.name lxc.init.cmd lxc.cap.drop lxc.mount.auto lxc.mount.entry lxc.environment lxc.tty.max; do
    tool lxc-info -n c -H -c $key
done
for file in pids.max cpu.shares memory.limit_in_bytes devices.list; do
    tool lxc-cgroup -n c $file
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
tool lxc-stop -n c -r -W
for _ in $(seq 1 100); do
    ! sed -n '/^signal/p' $base/rootfs/results | sed -n 2p | grep -q . || break
    sleep 0.01
done
tool lxc-stop -n c -k
tool lxc-wait -n c -s STOPPED -t 10
tool lxc-info -n c
tool lxc-stop -n c
tool lxc-info -n nobody
told $base/rootfs
