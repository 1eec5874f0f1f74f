#!/bin/sh
# Install the Debian packages that the checks on an emulated Pi need (make hil-pi), if any is missing.
exec "$(dirname "$0")/../../setup/debian-packages.sh" qemu-system-arm qemu-user mmdebstrap cpio kmod device-tree-compiler
