"""Whose certificate a camera shows, looked at before anything else is said to it.

FFmpeg built with OpenSSL compares no name, and tells a bad certificate as an input/output error.
"""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from ..errors import ConfigError, TransientError
from ..text import clean

_PORTS = {"rtsps": 322, "rtmps": 443}


def context(verify: bool, ca_file: str) -> ssl.SSLContext:
    """``ca_file`` empty: the system's. ``ConfigError`` for one that holds no certificates."""
    try:
        made = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError):
        raise ConfigError(
            f"camera.network.ca_file {clean(ca_file)} holds no certificates that can be read; mend it"
        ) from None
    if not verify:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def not_good(shown: str, error: ssl.SSLCertVerificationError) -> TransientError:
    """The sentence for a certificate that was refused."""
    return TransientError(
        f"{shown}: its certificate is not good ({clean(error.verify_message)}); mend it, name the one "
        "that signed it in camera.network.ca_file, or set camera.network.verify = false"
    )


def check(url: str, shown: str, ca_file: str, timeout_s: float) -> None:
    """Shake hands over TLS with the host of ``url`` and hang up.

    ``TransientError``, which tells the address as ``shown``, for a certificate that is not good. Whatever
    else goes wrong is told by who goes on to read from there.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    tls = context(True, ca_file)
    try:
        with (
            socket.create_connection((host, parts.port or _PORTS[parts.scheme]), timeout_s) as plain,
            tls.wrap_socket(plain, server_hostname=host),
        ):
            pass
    except ssl.SSLCertVerificationError as error:
        raise not_good(shown, error) from None
    except (OSError, ValueError):
        pass
