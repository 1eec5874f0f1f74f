#!/bin/sh
# Install the Debian packages that `make hil-pi` needs, if any is missing.
set -eu
needed="qemu-system-arm qemu-user mmdebstrap cpio kmod device-tree-compiler"
command -v dpkg-query >/dev/null 2>&1 || {
    echo "this is no Debian: please see to it that these are here: $needed" >&2
    exit 0
}
missing=""
for package in $needed; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
echo "installing$missing"
sudo=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "these packages are missing, and sudo is not here: as root, apt-get install$missing" >&2
        exit 1
    }
    sudo="sudo"
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086  # a list of names
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
