#!/bin/sh
# Install the Debian packages with the real servers that `make test-services` talks to, if any is missing.
exec "$(dirname "$0")/debian-packages.sh" ffmpeg gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base \
    gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly python3-gi nftables iproute2 \
    mosquitto openssl prometheus g++ cmake cppzmq-dev nlohmann-json3-dev "$@"
