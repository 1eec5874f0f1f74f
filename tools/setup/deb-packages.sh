#!/bin/sh
# Install the Debian packages that building and trying our own needs (make deb, make test-install), if any is missing.
exec "$(dirname "$0")/debian-packages.sh" mmdebstrap dpkg-dev systemd-container
