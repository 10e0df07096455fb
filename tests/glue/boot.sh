#!/bin/sh
# Process 1 of a small host, until it becomes the host's init: mounts what a kernel and an initramfs would have left.
# Usage: boot.sh ROOT v2|hybrid INIT [ARG...], in new mount, pid and cgroup namespaces.
set -eu
root=$1 cgroups=$2
shift 2

mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 dev dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
for device in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "dev/${device%:*}" c 1 "${device#*:}"
done
mknod -m 666 dev/console c 1 3
mknod -m 666 dev/tty c 5 0
mount -t tmpfs -o mode=755 run run

if [ "$cgroups" = v2 ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 cgroup sys/fs/cgroup
    # Those that this process is in are those of this host; a machine without v1 has only the last line.
    while IFS=: read -r _ controllers _; do
        case $controllers in
        '') name=unified type=cgroup2 options=rw ;;
        name=*) name=${controllers#name=} type=cgroup options=none,$controllers ;;
        *) name=$controllers type=cgroup options=$controllers ;;
        esac
        mkdir "sys/fs/cgroup/$name"
        mount -t $type -o "$options" cgroup "sys/fs/cgroup/$name"
    done </proc/self/cgroup
fi

hostname glue
mkdir -p mnt
pivot_root . mnt
exec chroot . /bin/sh -c 'umount -l /mnt; : >/booted; exec "$@"' sh "$@"
