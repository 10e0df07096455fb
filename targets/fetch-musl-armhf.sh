#!/usr/bin/env bash
# Unpacks Debian's musl-dev for armhf into DIR, without installing anything and without telling the host's dpkg of
# another architecture: apt runs on lists and a cache of its own. Usage: fetch-musl-armhf.sh DIR
set -euo pipefail

dir=$1
version=1.2.3-1
sha256=3a9dbb8ae66716f117dce87558fb47a161db0eebf0700cc6bf84ef6871ce7d38

if [ -e "$dir/usr/lib/arm-linux-musleabihf/libc.a" ]; then
    exit 0
fi
for tool in apt-get dpkg-deb sha256sum; do
    if ! command -v "$tool" >/dev/null; then
        echo "armv7: $tool is missing. This target needs rustup's std, or Debian's apt to fetch musl-dev for armhf" >&2
        exit 1
    fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
touch "$work/status"
apt=(apt-get -qq -o APT::Architecture=armhf -o APT::Architectures=armhf
    -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache"
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o APT::Sandbox::User="$(id -un)")

# An index that fails (a third-party source, a mirror in mid-update) matters only if the package is not found without it.
"${apt[@]}" update >"$work/log" 2>&1 || true
cd "$work"
if "${apt[@]}" download "musl-dev=$version" >>log 2>&1; then
    if ! echo "$sha256  $(ls musl-dev_*.deb)" | sha256sum --check --quiet >&2; then
        echo "armv7: musl-dev $version for armhf is not the file that it was when it was pinned" >&2
        exit 1
    fi
elif "${apt[@]}" download musl-dev >>log 2>&1; then
    echo "armv7: musl-dev $version is gone from the index, taking $(ls musl-dev_*.deb)" >&2
else
    cat log >&2
    echo "armv7: neither rustup's std nor Debian's musl-dev for armhf can be fetched (no network, or not Debian)" >&2
    exit 1
fi
cd "$OLDPWD"
mkdir -p "$dir"
dpkg-deb -x "$work"/musl-dev_*.deb "$dir"
