#!/bin/bash
# root.sh SUITE NAME PACKAGES OUT: a Debian root with PACKAGES (separated by commas), unpacked in the new folder OUT.
# It is made once and kept as a tar in build/deb/roots, under the checksum of what it is made from. Needs root and mmdebstrap.
set -eu
suite=$1 name=$2 packages=$3 out=$4
roots=$(cd "$(dirname "$0")/../.." && pwd)/build/deb/roots
sum=$(printf '%s\n' "$suite" "$packages" | sha256sum | cut -c1-16)
tar=$roots/$suite-$name-$sum.tar
mkdir -p "$roots"
if [ ! -e "$tar" ]; then
    rm -f "$roots/$suite-$name-"*.tar
    mmdebstrap --quiet --format=tar --variant=minbase --include="$packages" --aptopt='APT::Install-Recommends "false"' \
        "$suite" "$tar.new" >&2
    mv "$tar.new" "$tar"
fi
mkdir -p "$out"
tar -xf "$tar" -C "$out" --numeric-owner
