#!/bin/sh
# Install the Debian packages that the checks on real kernels need (make hil), if any is missing.
exec "$(dirname "$0")/debian-packages.sh" qemu-system-x86 mmdebstrap e2fsprogs cpio xz-utils
