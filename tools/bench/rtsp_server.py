"""A real RTSP server, GStreamer's: rtsp_server.py PORT LAUNCH_LINE [USER:PASSWORD] [CERTIFICATE_AND_KEY].

It says "ready" and serves /cam. An empty USER:PASSWORD asks for none; with a certificate (PEM) it is rtsps.

Debian's own Python runs it (/usr/bin/python3), which has GStreamer: tools/setup/services-packages.sh.
"""

import sys
from importlib import import_module

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
gio, glib, gst, rtsp = (
    import_module(f"gi.repository.{name}") for name in ("Gio", "GLib", "Gst", "GstRtspServer")
)


def main() -> None:
    port, launch = sys.argv[1], sys.argv[2]
    gst.init(None)
    server = rtsp.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = rtsp.RTSPMediaFactory()
    factory.set_launch(f"( {launch} )")
    factory.set_shared(True)
    if len(sys.argv) > 4:
        auth = rtsp.RTSPAuth()
        auth.set_tls_certificate(gio.TlsCertificate.new_from_file(sys.argv[4]))
        server.set_auth(auth)
        permissions = rtsp.RTSPPermissions()
        token = rtsp.RTSPToken()
        token.set_string("media.factory.role", "anybody")
        auth.set_default_token(token)
        permissions.add_permission_for_role("anybody", "media.factory.access", True)
        permissions.add_permission_for_role("anybody", "media.factory.construct", True)
        factory.set_permissions(permissions)
    elif len(sys.argv) > 3:
        auth, (user, _, password) = rtsp.RTSPAuth(), sys.argv[3].partition(":")
        token = rtsp.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(rtsp.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
        permissions = rtsp.RTSPPermissions()
        permissions.add_permission_for_role("user", "media.factory.access", True)
        permissions.add_permission_for_role("user", "media.factory.construct", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)
    print("ready", flush=True)
    glib.MainLoop().run()


main()
