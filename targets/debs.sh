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

show() { apt-cache "${options[@]}" show "$@" 2>/dev/null || true; }
# Their names and versions are known to the index.
download() {
    local bytes what=${1/=*/}
    bytes=$(show "$@" | awk '/^Size: / { bytes += $2 } END { print bytes + 0 }')
    [ $# = 1 ] || what="$# packages"
    (cd "$work/deb" && "$here/progress.sh" "fetching $what" "$bytes" . apt-get "${options[@]}" download "$@") ||
        fail "$what cannot be fetched (no network?)"
}

# What the index still has is fetched in one go.
pins=()
for row in "${wanted[@]}"; do
    read -r _ _ package version _ <<<"$row"
    pins+=("$package=$version")
done
mapfile -t there < <(show "${pins[@]}" | awk '/^Package: / { name = $2 } /^Version: / { print name "=" $2 }')
[ ${#there[@]} = 0 ] || download "${there[@]}"

for row in "${wanted[@]}"; do
    read -r name _ package version sha256 newest <<<"$row"
    found=("$work/deb/${package}"_*.deb)
    if [ ${#found[@]} = 0 ]; then
        # A kernel's package for the newest has no files of its own.
        instead=$(show "$newest" | sed -n 's/^Depends: //p' | grep -om1 '^linux-image-[^ ,]*' || true)
        instead=${instead:-$newest}
        [ -n "$(show "$instead")" ] || fail "$package is in none of apt's sources (no network, or not Debian)"
        download "$instead"
        found=("$work/deb/${instead}"_*.deb)
        echo "$arch: $package $version is gone from the index, taking ${found[0]##*/}" >&2
    else
        echo "$sha256  ${found[0]}" | sha256sum --check --quiet >&2 ||
            fail "$package $version is not the file that it was when it was pinned"
    fi
    mv "${found[0]}" "$dir/$name.deb"
    echo "$row" >"$dir/$name.row"
done
