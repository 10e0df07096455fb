#!/usr/bin/env bash
# Seeds for the fuzz targets, from the project's own files: each config, each sample of a key, each line of a board's.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
rm -rf "$1"; mkdir -p "$1"; cd "$1"
n=0
find "$here/boards" "$here/tests" -name '*.conf' -o -name 'config' -o -name 'monopod.init' | while read -r file; do
  n=$((n + 1)); head -c 8192 "$file" > "config$n"
done
sed -n 's/^    ("\(lxc[^"]*\|monopod[^"]*\)", "\([^"]*\)",.*/\1 = \2/p' "$here/src/config/tests.rs" | split -l 1 -d -a 3 - key
cat /proc/self/mountinfo > mountinfo; cat /proc/self/cgroup > cgroup
cp "$here/tests/seccomp/every_condition.policy" .
printf '1\nallowlist\n0\nread\n' > policy1; printf '2\ndenylist\nreject_force_umount\n[x86]\nsocket errno 97\n' > policy2
