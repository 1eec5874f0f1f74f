"""The daemons of this machine, and the cameras that they speak of."""

from __future__ import annotations

import glob
import time
from collections.abc import Iterable
from contextlib import suppress

import zmq

from ..errors import MessageError
from ..message import parse_topic

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


def listen(endpoints: Iterable[str], listen_s: float = LISTEN_S) -> dict[str, list[str]]:
    """The names of the cameras that speak at each endpoint within ``listen_s``. Wakes none."""
    found: dict[str, list[str]] = {endpoint: [] for endpoint in endpoints}
    poller, context = zmq.Poller(), zmq.Context[zmq.Socket[bytes]].instance()
    names: dict[zmq.Socket[bytes], str] = {}
    try:
        for endpoint in found:
            socket = context.socket(zmq.SUB)
            names[socket] = endpoint
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.SUBSCRIBE, _PREFIX)
            with suppress(zmq.ZMQError):
                socket.connect(endpoint)
                poller.register(socket, zmq.POLLIN)
        deadline = time.monotonic() + listen_s
        while (left_s := deadline - time.monotonic()) > 0 and not all(found.values()):
            for socket, _ in poller.poll(int(left_s * 1000) + 1):
                with suppress(MessageError, zmq.ZMQError):
                    _, camera = parse_topic(socket.recv(zmq.NOBLOCK))
                    known = found[names[socket]]
                    if camera not in known and len(known) < MAX_CAMERAS:
                        known.append(camera)
    finally:
        for socket in names:
            socket.close(linger=0)
    return found
