"""Addresses of network cameras: what may stand in one, and where their passwords come from."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

from ..errors import ConfigError
from ..files import hidden_from_service, read_regular
from ..text import clean

#: By scheme: the protocols that FFmpeg may use for it, and no others, whatever a server answers; and the one
#: format that is read. HTTP is spoken by Python's own client (``network_http``).
PROTOCOLS = {
    "rtsp": ("rtsp,rtp,udp,tcp", "rtsp"),
    "rtsps": ("rtsp,rtsps,tls,tcp", "rtsp"),
    "rtmp": ("rtmp,tcp", "flv"),
    "rtmps": ("rtmps,rtmp,tls,tcp", "flv"),
    "udp": ("udp", "mpegts"),
    "rtp": ("rtp,udp", "rtp"),
    "srt": ("srt", "mpegts"),
}
HTTP = ("http", "https")
SCHEMES = (*PROTOCOLS, *HTTP)

_ADDRESS_MAX_CHARACTERS = 2048
_PASSWORD_MAX_BYTES = 4096
_NAMED_SECRET = re.compile(r"((?:pass\w*?|pwd|psw|pw|token|secret|key|auth)=)[^/]*", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")


class Address(NamedTuple):
    """Where a camera is.

    ``shown`` may be seen by everybody: without login, query, and what a path calls a password. ``plain``
    lacks only the login, ``secret`` (for FFmpeg alone) nothing; neither may be seen by anybody.
    """

    scheme: str
    host: str
    shown: str
    plain: str
    secret: str
    user: str
    password: str


def read_address(url: str, user: str, password_file: str, password_credential: str) -> Address:
    """The address of the configuration, with its password.

    ``ConfigError`` for what can be no address, and for a password that is not there; a wrong one is none of
    its business. The password stands in ``password_file``, or is the systemd credential of that name, or
    stands in ``url`` itself.
    """
    parts = _parts(url)
    password = unquote(parts.password or "")
    if password_file and password_credential:
        raise ConfigError(
            "camera.network.password_file and camera.network.password_credential are both set; set one"
        )
    if password_file or password_credential:
        password = _password(password_file, password_credential)
    user = user or unquote(parts.username or "")
    if password and not user:
        raise ConfigError("camera.network has a password, but no user; set camera.network.user")
    host = parts.netloc.rpartition("@")[2]
    plain = parts._replace(netloc=host)
    # Cameras take passwords in the query (?user=admin&pwd=..., SRT's passphrase), and cheap ones in the path.
    shown = plain._replace(path=_NAMED_SECRET.sub(r"\1...", parts.path), query="..." if parts.query else "")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
    secret = parts._replace(netloc=login + host).geturl()
    return Address(parts.scheme, host, shown.geturl(), plain.geturl(), secret, user, password)


def _parts(url: str) -> SplitResult:
    key = "camera.network.url"
    if not url:
        raise ConfigError(f"{key} is not set; name the camera's address, such as rtsp://192.168.1.20/stream1")
    if len(url) > _ADDRESS_MAX_CHARACTERS or not url.isprintable() or " " in url:
        raise ConfigError(f"{key} is too long, or holds blanks or control characters; mend it")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise ConfigError(f"{key} is no address; it is like rtsp://192.168.1.20:554/stream1") from None
    if parts.scheme not in SCHEMES:
        raise ConfigError(
            f"{key} begins with {clean(parts.scheme, 20)!r}; allowed is one of {', '.join(SCHEMES)}"
        )
    if (not host and parts.scheme != "udp") or port == 0:
        raise ConfigError(f"{key} names no host; it is like {parts.scheme}://192.168.1.20/stream1")
    # A password with / ? # in it would be taken for a path, and be shown.
    if parts.fragment or url.endswith("#") or "@" in parts.path + parts.query:
        raise ConfigError(
            f"{key} holds a # or, behind its host, an @; write %23 and %40, "
            "and in a password %2F for / and %3F for ?"
        )
    return parts


def _password(file: str, credential: str) -> str:
    if credential:
        folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
        if not _NAME.fullmatch(credential):
            raise ConfigError(
                "camera.network.password_credential can be no name; it is as in LoadCredential="
            )
        if not folder:
            raise ConfigError(
                "camera.network.password_credential is set, but systemd gave no credentials; add "
                f"LoadCredential={credential}:FILE to the unit (systemctl edit gnetsegd)"
            )
        path, key = Path(folder) / credential, f"the credential {credential}"
    else:
        path, key = Path(file), f"camera.network.password_file {clean(file)}"
    try:
        content = read_regular(path, _PASSWORD_MAX_BYTES)
        password = content.decode().removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError) as error:
        words = clean(error.strerror or "") if isinstance(error, OSError) else "it is no short text file"
        raise ConfigError(
            f"{key} cannot be read: {words}; mend it, or its owner or mode{hidden_from_service(path)}"
        ) from None
    if not password or not password.isprintable():
        raise ConfigError(f"{key} holds no password on one line; mend it")
    return password
