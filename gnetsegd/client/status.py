"""Watching what the daemon says of one camera, which wakes nothing."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import zmq

from ..errors import MessageError
from ..message import parse_json
from ..text import clean
from .clock import Clock
from .connect import DEFAULT_ENDPOINT, subscribe
from .no_data import NoData
from .probe import Probe
from .silence import Silence

if TYPE_CHECKING:
    from typing import Self

#: How long ago a daemon that is alive has said something; it says how it is each second.
ALIVE_LIMIT_S = 3.0


class StatusSubscriber:
    """What the daemon says of one camera: ``info`` and ``status``. Watching them wakes nothing.

    A daemon that is not there, or restarts, is waited for. Not for several threads at once.

    Parameters
    ----------
    endpoint : as in the daemon's ``publish.endpoints``
    camera : its name, ``camera.name`` of the configuration
    server_key, public_key, secret_key : CURVE keys in Z85, see ``subscribe``
    context : a ZeroMQ context to use; by default the process's own
    alive_limit_s : how long ago the newest status may have been sent

    ``ValueError`` for an endpoint, camera or key that cannot be one.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        camera: str = "cam0",
        *,
        server_key: bytes | None = None,
        public_key: bytes | None = None,
        secret_key: bytes | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        alive_limit_s: float = ALIVE_LIMIT_S,
    ) -> None:
        self.endpoint = endpoint
        self.camera = camera
        self.alive_limit_s = alive_limit_s
        #: Messages that were none and have been skipped, and what was wrong with the last.
        self.bad_messages = 0
        self.last_error = ""
        self._clock = Clock(endpoint)
        self._bodies: dict[str, dict[str, Any]] = {}
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        self._options: dict[str, Any] = {
            "context": context,
            "server_key": server_key,
            "public_key": public_key,
            "secret_key": secret_key,
        }
        self._newest_only: dict[str, bool] = {}
        keys = (server_key, public_key, secret_key)
        self._silence = Silence(endpoint, camera, lambda: Probe(endpoint, camera, *keys), self._connect_anew)
        for kind in ("info", "status"):
            self._subscribe(kind)

    def _subscribe(self, kind: str, newest_only: bool = True) -> None:
        self._newest_only[kind] = newest_only
        # One socket a topic: a socket that keeps only the newest keeps one message in all.
        try:
            self._sockets[kind] = subscribe(
                self.endpoint, kind, self.camera, newest_only=newest_only, **self._options
            )
        except ValueError:
            self.close()
            raise

    def _connect_anew(self) -> None:
        for kind, newest_only in self._newest_only.items():
            self._sockets.pop(kind).close(linger=0)
            self._subscribe(kind, newest_only)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets; a loop over the masks ends. Again does no harm."""
        self._silence.close()
        for socket in self._sockets.values():
            socket.close(linger=0)
        self._sockets.clear()

    @property
    def closed(self) -> bool:
        return not self._sockets

    def info(self, timeout_s: float = 0.0) -> dict[str, Any] | None:
        """The newest ``info``, waited for when there is none yet; None if none came.

        Fields as in docs/messages.md: labels, model, geometry and so on. Without a timeout it never waits.
        """
        return self._newest_json("info", timeout_s)

    def status(self, timeout_s: float = 0.0) -> dict[str, Any] | None:
        """The newest ``status``, waited for when there is none yet; None if none came.

        Fields as in docs/messages.md: state, reason, counters and so on. Without a timeout it never waits.
        """
        return self._newest_json("status", timeout_s)

    @property
    def alive(self) -> bool:
        """A status was sent within the last ``alive_limit_s``. Never waits."""
        status = self.status()
        return status is not None and self._clock.age_s(status["timestamp_ns"]) <= self.alive_limit_s

    def why_silent(self) -> NoData | None:
        """Why the daemon is not heard, as far as is known; None while it is. Never waits, so ask again."""
        if self.alive:
            self._silence.over()
            return None
        return self._silent(None, heard="status" in self._bodies)

    # -- inside -----------------------------------------------------------------------------------

    def _read(self, kind: str, timeout_s: float) -> memoryview | None:
        """One message as a view of ZeroMQ's own buffer, or None after ``timeout_s``."""
        socket = self._sockets.get(kind)
        if socket is None:
            raise ValueError(f"this {type(self).__name__} is closed")
        timeout_ms = None if timeout_s == math.inf else max(0, math.ceil(timeout_s * 1000))
        if not socket.poll(timeout_ms):
            return None
        message = socket.recv(zmq.NOBLOCK, copy=False)
        more = message.more
        while more:
            # Not of ours: a message has one part. What is left of it would look like the next.
            more = socket.recv(zmq.NOBLOCK, copy=False).more
        return memoryview(b"") if message.more else message.buffer.toreadonly()

    def _wait_for(self, kinds: tuple[str, ...], timeout_s: float) -> None:
        """Until a message of one of ``kinds`` is there, or ``timeout_s`` is over."""
        poller = zmq.Poller()
        for kind in kinds:
            poller.register(self._sockets[kind], zmq.POLLIN)
        poller.poll(None if timeout_s == math.inf else max(0, math.ceil(timeout_s * 1000)))

    def _newest_json(self, kind: str, timeout_s: float) -> dict[str, Any] | None:
        deadline = time.monotonic() + timeout_s
        while True:
            wait_s = 0.0 if kind in self._bodies else deadline - time.monotonic()
            data = self._read(kind, wait_s)
            if data is None:
                return self._bodies.get(kind)
            try:
                body = parse_json(data)[2]
            except MessageError as error:
                self._count_bad(error)
                if time.monotonic() < deadline:
                    continue
                return self._bodies.get(kind)
            self._bodies[kind] = body
            if kind == "status":
                self._clock.observe(body["session"], body["timestamp_ns"])
            return body

    def _silent(self, age_s: float | None, heard: bool) -> NoData:
        why, words = self._silence.why() or (
            "silent",
            "the daemon is silent" if heard else "no daemon has answered yet",
        )
        return NoData(why, f"camera {self.camera} at {clean(self.endpoint)}: {words}", age_s)

    def _count_bad(self, error: MessageError) -> None:
        self.bad_messages += 1
        self.last_error = clean(str(error))
