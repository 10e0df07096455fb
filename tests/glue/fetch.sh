#!/usr/bin/env bash
# Unpacks Debian's service managers, with their libraries and a static busybox for everything else, into DIR/tree: the files
# of a small host. Nothing is installed, and apt runs on lists of its own. Usage: fetch.sh DIR
set -euo pipefail

# What was tested: package, version, sha256 on amd64. Updates take old versions out of the index; then the newest is taken.
pinned=$(realpath "$(dirname "$0")")/packages
dir=$(realpath -m "$1")
if cmp -s "$pinned" "$dir/complete"; then
    exit 0
fi
fail() {
    echo "glue: $1" >&2
    exit 1
}
for tool in apt-get dpkg-deb sha256sum; do
    command -v "$tool" >/dev/null || fail "$tool is missing: the service managers come from Debian's packages"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs"
touch "$work/status"
options=(-qq -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache"
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o APT::Sandbox::User="$(id -un)")
# An index that fails matters only if a package is not found without it.
apt-get "${options[@]}" update >"$work/log" 2>&1 || true

cd "$work/debs"
# All in one go; if one of them is gone, one by one.
if ! apt-get "${options[@]}" download $(awk '{ print $1 "=" $2 }' "$pinned") >>"$work/log" 2>&1; then
    rm -f ./*.deb
    while read -r package version _; do
        apt-get "${options[@]}" download "$package=$version" >>"$work/log" 2>&1 ||
            { echo "glue: $package $version is gone from the index, taking the newest" >&2 &&
                apt-get "${options[@]}" download "$package" >>"$work/log" 2>&1; } ||
            { tail -n 5 "$work/log" >&2 && fail "$package cannot be fetched (no network, or not Debian)"; }
    done <"$pinned"
fi

rm -rf "$dir"
mkdir -p "$dir/tree"
for deb in *.deb; do
    read -r package version <<<"$(dpkg-deb -W "$deb")"
    known=$(awk -v p="$package" -v v="$version" '$1 == p && $2 == v { print $3 }' "$pinned")
    if [ -n "$known" ] && [[ $(dpkg-deb -f "$deb" Architecture) =~ ^(amd64|all)$ ]]; then
        echo "$known  $deb" | sha256sum --check --quiet >&2 || fail "$package $version is not the file that was pinned"
    fi
    dpkg-deb -x "$deb" "$dir/tree"
done
# A shell and tools, as on a board. What Debian's packages bring themselves stays.
for applet in $("$dir/tree/bin/busybox" --list); do
    found=$(find "$dir/tree"/{bin,sbin,usr/bin,usr/sbin} -maxdepth 1 -name "$applet" -print -quit)
    [ -n "$found" ] || ln -s /bin/busybox "$dir/tree/bin/$applet"
done
cp "$pinned" "$dir/complete"
