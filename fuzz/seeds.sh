#!/usr/bin/env bash
# Seeds for the fuzz targets, from the project's own files: each config, each sample of a key, each line of a board's. All targets
# get all of them. Some targets take the first byte for a choice: a newline is "a file", a # "command line" to that of configs.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
rm -rf "$1"; mkdir -p "$1"; cd "$1"
n=0
find "$here/boards" "$here/tests" -name '*.conf' -o -name 'config' -o -name 'monopod.init' | while read -r file; do
  n=$((n + 1)); { echo; head -c 8191 "$file"; } > "config$n"
done
sed -n 's/^    ("\(lxc[^"]*\|monopod[^"]*\)", "\([^"]*\)",.*/\1 = \2/p' "$here/src/config/tests.rs" > samples
while read -r line; do
  n=$((n + 1)); printf '\n%s\n' "$line" > "key$n"; printf '#%s' "$line" > "define$n"
done < samples
{ echo; head -c 8000 samples; } > keys; rm samples
cat /proc/self/mountinfo > mountinfo; cat /proc/self/cgroup > cgroup
printf '22 1 0:4 / /sys\\040a rw shared:1 - sysfs none rw\n36 22 0:9 /sys /a rw - proc none rw\n' > mountinfo2
printf '30 1 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n4:cpu,cpuacct:/lxc/a\n0::/x/../y\n' > cgroup2
printf '/dev/x mnt/a\\040b ext4 ro,nosuid,rslave,create=dir,optional,idmap=container,mode=755 0 0\n' > fstab
cp "$here/tests/seccomp/every_condition.policy" .
printf '1\nallowlist\n0\nread\n' > policy1; printf '2\ndenylist\nreject_force_umount\n[x86]\nsocket errno 97\n' > policy2
printf 'a\nc 1:3 rwm\nb 8:* r\nc *:* m\na *:* rwm\n' > devices
# A request, an answer, a state, a message of rtnetlink, an ELF file's head.
printf '\3\0\0\0\4\0\0\0\0\0\0\0\0\0\0\0abcd' > request
printf '\0\0\0\0\20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\377\377\377\377\377\377\377\377' > order
{ printf '\0\0\0\0name'; head -c 252 /dev/zero; printf '\3\0\0\0'; } > state
printf '\60\0\0\0\20\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\7\0\0\0\1\0\0\0\0\0\0\0\5\0\1\0a\0\0\0\10\0\4\0\1\2\3\4' > link
head -c 4096 /bin/sh > elf; printf '#!/bin/sh -e\n' > script
# Of properties: a newline changes an area, a blank names what is in one.
printf '\n\40\0\24\0\44\0\377\377' > area; printf ' \nsys.a=1\nsys.b.c=2\nro.x=\nsys.a=3\n' > named
printf '\n\7persist\n\7persist\22\3a,b' > protobuf
printf '6,1,2,-;kernel\0\06312,5,6,-;init: Service '"'zygote'"' (pid 1) exited with status 1\n' > kmsg
printf 'quiet monopod.init.containers=a,b "monopod.init.rc=/x y" androidboot.a="b c" lxc.uts.name=d\n' > cmdline
printf 'monopod.init.mount = /dev/a /b ext4 nofail,wait=3s\nmonopod.init.on.a.halt = reboot:x\n' > init
printf 'root:x:0:0:root:/root:/bin/sh\nada:100000:65536\nlxc.lxcpath = /srv\n' > passwd
printf 'property=sys.boot_completed:1 path=/x' > ready; printf '/dev/x* optional mode=0660 uid=1 as=/dev/y' > node
printf 'overlay:/a:/b:/c' > overlay
