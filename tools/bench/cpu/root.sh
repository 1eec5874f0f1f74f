#!/bin/sh
# Extract an arm64 root of Debian: what an installer on a Raspberry Pi has, nothing built here.
#   root.sh FOLDER SUITE PACKAGES(comma-separated)
set -eu
root=$1
suite=$2
packages=$3
rm -rf "$root.new"
mmdebstrap --quiet --variant=extract --skip=chroot --architectures=arm64 --include="$packages" "$suite" "$root.new"
# What the packages' own scripts would have set up.
libraries="$root.new/usr/lib/aarch64-linux-gnu"
for name in blas lapack; do
    ln -s "$name/lib$name.so.3" "$libraries/lib$name.so.3"
done
rm -rf "$root"
mv "$root.new" "$root"
