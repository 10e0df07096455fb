#!/usr/bin/env bash
# Unpacks Debian packages by their names in the list `packages`: DIR/NAME. Nothing is installed, and the host's dpkg hears
# of no other architecture: apt runs on lists and a cache of its own. Usage: fetch.sh ARCH DIR NAME...
set -euo pipefail
shopt -s nullglob

arch=$1 dir=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
fail() {
    echo "$arch: $1" >&2
    exit 1
}
wanted=()
for name in "$@"; do
    row=$(grep "^$name $arch " "$here/packages") || fail "boards/common/packages has no $name for $arch"
    if [ ! -e "$dir/$name/.fetched" ] || [ "$(<"$dir/$name/.fetched")" != "$row" ]; then
        wanted+=("$row")
    fi
done
if [ ${#wanted[@]} = 0 ]; then
    exit 0
fi
for tool in apt-get dpkg-deb sha256sum depmod; do
    command -v "$tool" >/dev/null || fail "$tool is missing: what images are made of comes from Debian's packages"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/sources" "$work/deb" "$dir"
touch "$work/status"
# The host's own sources, with the firmware that Debian may hand on but does not call free.
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do
    [ ! -e "$list" ] || sed -E 's/^(deb .* main|Components:.* main)\b/\1 non-free-firmware/' "$list" >"$work/sources/${list##*/}"
done
[ ! -e "$work/sources/sources.list" ] || mv "$work/sources/sources.list" "$work/sources/main.list"
options=(-qq -o APT::Architecture="$arch" -o APT::Architectures="$arch"
    -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache"
    -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/sources"
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o APT::Sandbox::User="$(id -un)")
# An index that fails (a third-party source, a mirror in mid-update) matters only if the package is not found without it.
apt-get "${options[@]}" update >/dev/null 2>&1 || true

field() { apt-cache "${options[@]}" show "$1" 2>/dev/null | sed -n "s/^$2: //p" | head -n 1; }
# The .deb's name is put in $deb.
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
    rm -rf "$dir/$name"
    "$here/progress.sh" "unpacking $package" $(($(dpkg-deb -f "$deb" Installed-Size) << 10)) "$dir/$name" dpkg-deb -x "$deb" "$dir/$name"
    # Only installing a kernel would write the table of what its modules need.
    for modules in "$dir/$name"/lib/modules/*; do
        depmod -b "$dir/$name" "${modules##*/}"
    done
    echo "$row" >"$dir/$name/.fetched"
done
