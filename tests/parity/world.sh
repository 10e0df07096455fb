#!/bin/sh
# Process 1 of a world of its own for LXC's tools, ours or stock: the machine's files, but a /var, /run, /tmp, /etc/lxc and
# network of its own, and of the cgroups only what is below this process' own. Runs COMMAND, leaves its exit code in
# DIR/code and stays until stdin ends. Usage: world.sh DIR COMMAND..., in new namespaces of every kind but user.
set -eu
dir=$1
shift

mount --make-rprivate /
# The same hierarchies at the same places, seen from this process' own groups.
hierarchies=$(sed -En 's/^[0-9]+ [0-9]+ [^ ]+ [^ ]+ ([^ ]+) .* - (cgroup2?) [^ ]+ (.*)/\1 \2 \3/p' /proc/self/mountinfo)
if [ -n "$hierarchies" ]; then
    umount -R /sys/fs/cgroup
    umount -R /sys
    mount -t sysfs sysfs /sys
    [ "${hierarchies%% *}" = /sys/fs/cgroup ] || mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
fi
echo "$hierarchies" | while read -r place type options; do
    mkdir -p "$place"
    case $options in *name=*) options="none,$options" ;; esac
    [ "$type" = cgroup ] || options=rw
    mount -t "$type" -o "$options" cgroup "$place"
done
mount -t proc proc /proc
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts /dev/pts
mount -t tmpfs -o mode=755 run /run
mkdir /run/parity
mount --bind "$dir" /run/parity
mount -t tmpfs tmp /tmp
mount -t tmpfs -o mode=755 var /var
mkdir -p /var/lib/lxc /var/log/lxc /var/cache/lxc /var/tmp
ln -s /run /var/run
mount --bind /run/parity/etc /etc/lxc
for file in passwd subuid subgid; do
    [ ! -e /etc/$file ] || mount --bind /run/parity/etc/$file /etc/$file
done
hostname parity
ip link set lo up
cd /

cat /proc/self/mountinfo >/run/parity/mounts
code=0
"$@" </dev/null || code=$?
echo "$code" >/run/parity/code.new
mv /run/parity/code.new /run/parity/code
# Until what is left has been looked at.
read -r _ || :
