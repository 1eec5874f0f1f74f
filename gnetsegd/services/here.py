"""The daemons of this machine, and the cameras that they speak of."""

from __future__ import annotations

import glob
import logging
import os
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import NamedTuple

import zmq

from ..errors import ConfigError, MessageError
from ..message import parse_json
from ..tcp import lacks_port
from ..text import clean

log = logging.getLogger(__name__)

#: Where daemons of this machine have their sockets.
SOCKETS = "/run/gnetsegd*/*.sock"
#: A daemon says its status each second.
LISTEN_S = 1.3
#: More than a machine has.
MAX_CAMERAS = 16
_PREFIX = b"status/"


def endpoints_here() -> list[str]:
    """The sockets of this machine's daemons."""
    return [f"ipc://{path}" for path in sorted(glob.glob(SOCKETS))]  # noqa: PTH207 - an absolute pattern


def check(endpoints: Iterable[str], option: str) -> None:
    """``ConfigError`` for what ZeroMQ cannot reach at all; nobody need be there yet."""
    with zmq.Context[zmq.Socket[bytes]]() as context:
        for endpoint in endpoints:
            with context.socket(zmq.SUB) as socket:
                socket.setsockopt(zmq.LINGER, 0)
                try:
                    if lacks_port(endpoint):
                        raise ValueError
                    socket.connect(endpoint)
                except (zmq.ZMQError, ValueError):
                    raise ConfigError(
                        f"{option}: {clean(endpoint)!r} is no endpoint; one is like "
                        "ipc:///run/gnetsegd/masks.sock or tcp://HOST:5560",
                        os.EX_USAGE if option.startswith("--") else os.EX_CONFIG,
                    ) from None


def listen(
    endpoints: Iterable[str], listen_s: float = LISTEN_S, known: Collection[str] = ()
) -> dict[str, list[str]]:
    """The names of the cameras that speak at each endpoint within ``listen_s``. Wakes none.

    A daemon that is heard at several endpoints is only named at the first of them; those that are ``known``
    come first: a daemon that gets a further socket stays the one that it is there.
    """
    #: Of each endpoint: the session of each camera.
    heard: dict[str, dict[str, int]] = {
        one: {} for one in sorted(endpoints, key=lambda one: one not in known)
    }
    poller, context = zmq.Poller(), zmq.Context[zmq.Socket[bytes]].instance()
    names: dict[zmq.Socket[bytes], str] = {}
    try:
        for endpoint in heard:
            socket = context.socket(zmq.SUB)
            names[socket] = endpoint
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.SUBSCRIBE, _PREFIX)
            with suppress(zmq.ZMQError):
                socket.connect(endpoint)
                poller.register(socket, zmq.POLLIN)
        deadline = time.monotonic() + listen_s
        while (left_s := deadline - time.monotonic()) > 0 and not all(heard.values()):
            for socket, _ in poller.poll(int(left_s * 1000) + 1):
                with suppress(MessageError, zmq.ZMQError):
                    _, camera, body = parse_json(socket.recv(zmq.NOBLOCK))
                    cameras = heard[names[socket]]
                    if len(cameras) < MAX_CAMERAS:
                        cameras.setdefault(camera, body["session"])
    finally:
        for socket in names:
            socket.close(linger=0)
    found, named = dict[str, list[str]](), set[tuple[str, int]]()
    for endpoint, cameras in heard.items():
        found[endpoint] = [camera for camera, session in cameras.items() if (camera, session) not in named]
        named.update(cameras.items())
    return found


class Found(NamedTuple):
    """``name``: the camera's, or the camera's with a number where two have one."""

    name: str
    endpoint: str
    camera: str


class Cameras:
    """Those that were ever heard; ``MAX_CAMERAS`` at most. ``endpoints`` empty: those of this machine."""

    def __init__(self, endpoints: Iterable[str] = ()) -> None:
        self._endpoints = tuple(endpoints)
        self._names: dict[tuple[str, str], str] = {}
        self._told = False

    @property
    def endpoints(self) -> tuple[str, ...]:
        return self._endpoints or tuple(endpoints_here())

    def look(self) -> list[Found]:
        """Listen; those that are new."""
        known = {endpoint for endpoint, _ in self._names}
        new = []
        for endpoint, cameras in listen(self.endpoints, known=known).items():
            for camera in cameras:
                if (endpoint, camera) in self._names or len(self._names) >= MAX_CAMERAS:
                    continue
                name, number = camera, 1
                while name in self._names.values():
                    number += 1
                    name = f"{camera[:6]}-{number}"
                self._names[endpoint, camera] = name
                new.append(Found(name, endpoint, camera))
        if not self._names and not self._told:
            self._told = True
            places = clean(", ".join(self.endpoints)) or f"{SOCKETS}, where no daemon is"
            log.warning("no camera is heard yet at %s; each is taken in when it speaks", places)
        return new
