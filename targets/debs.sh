#!/usr/bin/env bash
# Fetches Debian packages of any architecture to .cache/debs/ARCH/NAME.deb, without installing anything and without telling
# the host's dpkg of another architecture: apt runs on lists and a cache of its own.
# Usage: debs.sh LIST ARCH NAME...   LIST: rows as in targets/packages, which pin versions
#
# Updates take old versions out of the index. Then what is newest is taken, and said.
set -euo pipefail
shopt -s nullglob

list=$1 arch=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
dir=$here/../.cache/debs/$arch
mkdir -p "$dir"
fail() {
    echo "$arch: $1" >&2
    exit 1
}
wanted=()
for name in "$@"; do
    row=$(grep "^$name $arch " "$list") || fail "$list has no $name for $arch"
    if [ ! -e "$dir/$name.deb" ] || [ ! -e "$dir/$name.row" ] || [ "$(<"$dir/$name.row")" != "$row" ]; then
        wanted+=("$row")
    fi
done
if [ ${#wanted[@]} = 0 ]; then
    exit 0
fi
for tool in apt-get apt-cache dpkg-deb sha256sum; do
    command -v "$tool" >/dev/null || fail "$tool is missing: what is fetched comes from Debian's packages"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/sources" "$work/deb"
touch "$work/status"
# The host's own sources, with the firmware that Debian may hand on but does not call free.
for sources in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do
    file=${sources##*/}
    [ ! -e "$sources" ] || sed -E 's/^(deb .* main|Components:.* main)\b/\1 non-free-firmware/' "$sources" \
        >"$work/sources/${file/#sources.list/main.list}"
done
options=(-qq -o APT::Architecture="$arch" -o APT::Architectures="$arch"
    -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache"
    -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/sources"
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o APT::Sandbox::User="$(id -un)")
# An index that fails (a third-party source, a mirror in mid-update) matters only if a package is not found without it.
apt-get "${options[@]}" update >"$work/log" 2>&1 || true

field() { apt-cache "${options[@]}" show "$1" 2>/dev/null | sed -n "s/^$2: //p" | head -n 1; }
# The .deb's path is put in $deb.
download() {
    local bytes
    bytes=$(field "$1" Size)
    [ -n "$bytes" ] || return 1
    rm -f "$work"/deb/*
    (cd "$work/deb" && "$here/progress.sh" "fetching ${1/=*/}" "$bytes" . apt-get "${options[@]}" download "$1") || return 1
    deb=$(echo "$work"/deb/*.deb)
}

for row in "${wanted[@]}"; do
    read -r name _ package version sha256 newest <<<"$row"
    if download "$package=$version"; then
        echo "$sha256  $deb" | sha256sum --check --quiet >&2 ||
            fail "$package $version is not the file that it was when it was pinned"
    else
        # A kernel's package for the newest has no files of its own.
        instead=$(field "$newest" Depends | grep -o '^linux-image-[^ ,]*' || true)
        download "${instead:-$newest}" ||
            fail "$package cannot be fetched (no network, not Debian, or apt's sources do not have it)"
        echo "$arch: $package $version is gone from the index, taking ${deb##*/}" >&2
    fi
    mv "$deb" "$dir/$name.deb"
    echo "$row" >"$dir/$name.row"
done
