#!/bin/bash
# build.sh SUITE: the packages for a Debian suite, from this checkout as it is, in build/deb/SUITE with a Packages file.
# Those of the runtime and of Zenoh are for amd64 and arm64; they hold libraries as they come: nothing is compiled or emulated.
set -eu
suite=$1
top=$(cd "$(dirname "$0")/../.." && pwd)
here=$top/tools/deb
python=${PYTHON:-python3}
out=$top/build/deb/$suite
mkdir -p "$top/build/deb"
work=$(mktemp -d "$top/build/deb/work.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT

needed=$(sed -n '/^Build-Depends:/,/^[A-Z]/p' "$top/debian/control" | sed -n 's/^ \([a-z0-9.+-]*\).*/\1/p' | grep -v '^dh-sequence\|-compat$' | paste -sd,)
"$here/root.sh" "$suite" build "debhelper,dh-python,build-essential,lintian,$needed" "$work/root"

source=$work/root/build/gnetsegd
mkdir -p "$source"
# Tracked files as they are now, and new ones that git does not ignore; an unpacked sdist has no git.
if git -C "$top" rev-parse --git-dir >/dev/null 2>&1; then
    git -C "$top" ls-files --cached --others --exclude-standard -z
else
    (cd "$top" && find . -type d -name build -prune -o -type f -print0)
fi | (cd "$top" && while IFS= read -r -d '' file; do [ -e "$file" ] && printf '%s\0' "$file"; done) |
    tar -C "$top" --null -T - -cf - | tar -xf - -C "$source"
for architecture in amd64 arm64; do
    for what in runtime zenoh; do
        "$python" "$here/carried.py" "$what" "$suite" "$architecture" "$source/debian/$what/$architecture"
    done
done

# Each suite's packages have a version of their own, so that an upgrade of Debian brings the other runtime.
case $suite in bookworm) number=12 ;; trixie) number=13 ;; *) number=0 ;; esac
version=${DEB_VERSION:-$(sed -n '1s/.*(\(.*\)).*/\1/p' "$top/debian/changelog")}~deb${number}
sed -i "1s/(.*) [a-z]*;/($version) $suite;/" "$source/debian/changelog"
export SOURCE_DATE_EPOCH=$(cd "$top" && git log -1 --format=%ct 2>/dev/null || date +%s)

in_root() {
    chroot "$work/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root \
        SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" sh -ec "cd /build/gnetsegd; $1"
}
in_root "dpkg-buildpackage -us -uc -b -d >/build/log 2>&1 || { tail -60 /build/log; exit 1; }"
in_root "dpkg-buildpackage -us -uc -B -d -aarm64 >/build/log-arm64 2>&1 || { tail -60 /build/log-arm64; exit 1; }"
in_root "lintian --fail-on error --suppress-tags bad-distribution-in-changes-file ../*_amd64.changes" >"$work/lintian" || {
    cat "$work/lintian"; exit 1; }

rm -rf "$out"
mkdir -p "$out"
cp "$work"/root/build/*.deb "$out"
cp "$work/lintian" "$out/lintian.txt"
(cd "$out" && dpkg-scanpackages --multiversion . 2>/dev/null >Packages && gzip -9nk Packages)
ls "$out"/*.deb
