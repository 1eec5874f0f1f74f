#!/bin/sh
# Install the Debian packages that building and testing need, if any is missing.
exec "$(dirname "$0")/debian-packages.sh" gcc pkg-config libsystemd-dev libusb-1.0-0 libzmq3-dev python3-venv
