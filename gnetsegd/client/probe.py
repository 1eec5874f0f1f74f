"""Why a daemon is not heard: a connection beside the subscriber's own that watches its handshake.

ZeroMQ tells it only to who watches a socket, and stops where nobody takes in what it tells. So the probe has
a context of its own, and lives for a moment. It subscribes to ``info`` and ``status`` of every camera, which
wakes nothing.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import zmq
from zmq.utils.monitor import recv_monitor_message

from ..errors import MessageError
from ..message import parse_topic
from .greeting import Greeting

if TYPE_CHECKING:
    from typing import Self

#: A handshake on the same machine or network takes a fraction of it.
HANDSHAKE_S = 0.6
#: A daemon's first words come at once where its camera runs, else with its next status.
WORDS_S = 1.2
#: In it this many milliseconds lie between two tries.
RETRY_MS = 50
#: After so many ends without a reason there will be none.
UNCLEAR_TRIES = 3
#: After so many refused connections nobody listens there.
REFUSED_TRIES = 3
#: So many names of cameras are remembered.
CAMERAS_MAX = 16
_LOOK_S = 0.02

_CLEAR_ENDS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED,
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
)
_EVENTS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)


class Finding(NamedTuple):
    """What a probe found out.

    ``why`` is one of

    * ``connected``: the daemon talks, and of this camera;
    * ``wrong-camera``: it talks of ``cameras`` alone, none of them perhaps;
    * ``not-permitted``: it does not know this client's key; ``no-own-key``: nor was there one;
    * ``no-keys``: it wants CURVE; ``not-curve``: it has none;
    * ``wrong-server-key``: its key is another;
    * ``foreign``: what listens there speaks something else;
    * ``silent``: nobody answers.
    """

    why: str
    cameras: tuple[str, ...] = ()


class Probe:
    """One look at who is at ``endpoint``; keys in Z85. ``ValueError`` for an endpoint that cannot be one."""

    def __init__(
        self,
        endpoint: str,
        camera: str,
        server_key: bytes | None = None,
        public_key: bytes | None = None,
        secret_key: bytes | None = None,
    ) -> None:
        self._endpoint, self._camera = endpoint, camera
        self._has_server_key, self._has_own_key = server_key is not None, public_key is not None
        self._began = time.monotonic()
        self._connected = self._greeted = False
        self._unclear = self._refused = 0
        self._cameras: list[str] = []
        self._greeting: Greeting | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, RETRY_MS)
        if server_key is not None:
            if public_key is None or secret_key is None:
                public_key, secret_key = zmq.curve_keypair()
            self._socket.setsockopt(zmq.CURVE_PUBLICKEY, public_key)
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, secret_key)
            self._socket.setsockopt(zmq.CURVE_SERVERKEY, server_key)
        for kind in (b"info/", b"status/"):
            self._socket.setsockopt(zmq.SUBSCRIBE, kind)
        self._monitor: zmq.Socket[bytes] = self._socket.get_monitor_socket(_EVENTS)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise ValueError(f"cannot connect to {endpoint!r}: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Again does no harm."""
        if self._context.closed:
            return
        # ZeroMQ's thread may be waiting to tell something.
        self._take_in()
        if self._greeting is not None:
            self._greeting.close()
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)
        self._context.term()

    def look(self) -> Finding | None:
        """What is known; None if that is nothing yet. Never waits."""
        found = self._take_in()
        if found is not None:
            return found
        now = time.monotonic()
        if self._greeted:
            return self._words(now)
        late = now - self._began > HANDSHAKE_S
        if self._greeting is not None or self._unclear >= UNCLEAR_TRIES or (late and self._unclear):
            return self._by_greeting(now)
        if not self._connected and (late or self._refused >= REFUSED_TRIES):
            return Finding("silent")
        return Finding("foreign") if late else None

    def wait(self) -> Finding:
        """The same, waited for, which takes ``HANDSHAKE_S`` or ``WORDS_S`` at most."""
        while (found := self.look()) is None:
            self._monitor.poll(int(_LOOK_S * 1000))
        return found

    def _take_in(self) -> Finding | None:
        found = None
        while self._monitor.poll(0):
            told = recv_monitor_message(self._monitor)
            event, value = int(told["event"]), int(told["value"])
            if event == zmq.EVENT_CONNECTED:
                self._connected = True
            elif event == zmq.EVENT_CONNECT_RETRIED:
                self._refused += 1
            elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                # Another key of the daemon; or the other side saw first what is wrong, and hung up. Then the
                # next try may tell.
                self._unclear += 1
            elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._greeted, self._began = True, time.monotonic()
            elif event in _CLEAR_ENDS and not self._greeted:
                found = found or self._refusal(event, value)
        return found

    def _by_greeting(self, now: float) -> Finding | None:
        if self._greeting is None:
            self._greeting, self._began = Greeting(self._context, self._endpoint), now
        mechanism = self._greeting.mechanism()
        if mechanism is None and now - self._began <= HANDSHAKE_S:
            return None
        if self._has_server_key:
            return Finding("not-curve" if mechanism == "NULL" else "wrong-server-key")
        return Finding("no-keys" if mechanism == "CURVE" else "foreign")

    def _refusal(self, event: int, value: int) -> Finding:
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            return Finding("not-permitted" if self._has_own_key else "no-own-key")
        if value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
            return Finding("not-curve" if self._has_server_key else "no-keys")
        return Finding("wrong-server-key" if self._has_server_key else "foreign")

    def _words(self, now: float) -> Finding | None:
        while self._socket.poll(0):
            with suppress(MessageError):
                _, camera = parse_topic(memoryview(self._socket.recv(zmq.NOBLOCK)))
                if camera not in self._cameras and len(self._cameras) < CAMERAS_MAX:
                    self._cameras.append(camera)
        if self._camera in self._cameras:
            return Finding("connected")
        if self._cameras or now - self._began > WORDS_S:
            return Finding("wrong-camera", tuple(self._cameras))
        return None
