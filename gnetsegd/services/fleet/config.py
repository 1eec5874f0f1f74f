"""What goes over Zenoh, and how: one TOML file, checked as the daemon's is."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import NamedTuple

import attrs

from ...config import option, structure
from ...errors import ConfigError
from ...text import clean
from .. import settings as settings_file

DEFAULT_PATH = Path("/etc/gnetsegd/zenoh.toml")
#: Where a router is, unless something else is said.
LOCAL_ROUTER = "tcp/localhost:7447"
#: What our keys begin with.
ROOT = "gnetseg"
#: A part of a key: no slash, none of Zenoh's own signs.
HOST = re.compile(r"[A-Za-z0-9._-]{1,64}")


@attrs.frozen
class LinkConfig:
    """``[zenoh]``: how the router is reached."""

    connect: list[str] = option(
        [],
        f"routers, as tcp/HOST:7447 or tls/HOST:7447; empty: those of zenoh.config_file, else {LOCAL_ROUTER}",
    )
    config_file: str = option(
        "", "Zenoh's own configuration (JSON5), for TLS and access control; empty: none"
    )
    host: str = option(
        "", "this machine's name in the keys; empty: its host name", pattern="[A-Za-z0-9._-]{0,64}"
    )


class Wish(NamedTuple):
    """What of a fleet is listened to; the routers pass on no more. ``hosts``: names that begin so."""

    hosts: str = ""
    masks: bool = True

    def messages(self) -> list[str]:
        """Key expressions. ``ConfigError`` for a beginning that no name has."""
        if self.hosts and not HOST.fullmatch(self.hosts):
            raise ConfigError(
                f"--hosts {clean(self.hosts)}: a name has a-z, 0-9, . _ - alone; give its beginning",
                os.EX_USAGE,
            )
        kinds = ("*",) if self.masks else ("info", "status", "presence")
        return [f"{self.tokens()}/{kind}" for kind in kinds]

    def tokens(self) -> str:
        """The key expression of the cameras' tokens."""
        return f"{ROOT}/{self.hosts}$*/*" if self.hosts else f"{ROOT}/*/*"


@attrs.frozen
class SendConfig:
    """``[send]``: presence, info and status always; masks where the network has room for them."""

    mask_hz: float = option(0.0, "masks a second, the newest; 0: none", minimum=0, maximum=1000)
    mask_bits: int = option(
        0, "of a pixel: 1, 2, 4, 8; 0: as few as the labels need", choices=(0, 1, 2, 4, 8)
    )
    status_hz: float = option(10.0, "status a second, and info, at most", minimum=1, maximum=100)
    presence_hz: float = option(2.0, "presence a second; 0: none", minimum=0, maximum=100)
    endpoints: list[str] = option([], "of daemons; empty: all of this machine")
    zones_dir: str = option("/var/lib/gnetsegd-view/zones", "the page's zones, a file a camera")


@attrs.frozen
class FleetConfig:
    """The whole file."""

    zenoh: LinkConfig = attrs.field(factory=LinkConfig)
    send: SendConfig = attrs.field(factory=SendConfig)


def load(path: Path | None, settings: tuple[str, ...] = ()) -> FleetConfig:
    """Read the file (None: the usual one if it is there) and ``--set``; ``ConfigError`` with one sentence."""
    raw, where = settings_file.read(path, DEFAULT_PATH, settings, "send.mask_hz")
    return structure(raw, FleetConfig, where)


def host_name(config: LinkConfig) -> str:
    """This machine in the keys. ``ConfigError`` for a host name that cannot be a part of one."""
    name = config.host or socket.gethostname()
    if not HOST.fullmatch(name):
        raise ConfigError(
            f"zenoh.host: the host name {clean(name)!r} has other signs than a-z, 0-9, . _ -; set one"
        )
    return name
