"""Receive person masks: needs pyzmq and numpy, nothing of the daemon.

::

    with MaskSubscriber("ipc:///run/gnetsegd/masks.sock") as masks:
        for mask in masks:
            print(mask.sequence, mask.age_s, mask.labels.mean())

docs/messages.md is the specification of what arrives here.
"""

from __future__ import annotations

import math
import re
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import zmq

from .errors import MessageError
from .message import MaskHeader, parse_header, parse_json, topic, unpack_mask
from .text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

DEFAULT_ENDPOINT = "ipc:///run/gnetsegd/masks.sock"

#: Masks kept for a reader of every mask that is slow for a while; the oldest road then drops new ones.
QUEUE_MESSAGES = 256
#: How long ago a daemon that is alive has said something; it says how it is each second.
ALIVE_LIMIT_S = 3.0
#: How long ago the picture of a mask that is valid was exposed.
MAX_AGE_S = 3.0
#: How far the rate may be off the one that ``info`` promises, as a fraction.
RATE_TOLERANCE = 0.2
#: The rate is taken over so much of the camera's time.
RATE_WINDOW_S = 2.0
#: ZeroMQ pings a silent TCP peer so often, and reconnects when three go unanswered.
HEARTBEAT_MS = 2000
#: How far two machines' clocks may run apart.
CLOCK_DRIFT = 1e-4

_U32 = 0xFFFFFFFF
_Z85_KEY = re.compile(rb"[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")


def subscribe(
    endpoint: str,
    kind: str,
    camera: str = "cam0",
    *,
    newest_only: bool = True,
    context: zmq.Context[zmq.Socket[bytes]] | None = None,
    server_key: bytes | None = None,
    public_key: bytes | None = None,
    secret_key: bytes | None = None,
) -> zmq.Socket[bytes]:
    """A connected SUB socket for one topic, for those who want messages rather than masks.

    ``kind`` is ``mask``, ``info``, ``status`` or ``frame``. With ``newest_only`` it holds one
    message, the newest; else up to ``QUEUE_MESSAGES``. ``server_key`` (Z85) switches CURVE on; without
    a key pair of its own the client makes one for the time being. ``ValueError`` for an endpoint,
    camera or key that cannot be one, and for half a pair of keys; a daemon that is not there is waited for.
    """
    prefix = topic(kind, camera)
    _check_keys(server_key, public_key, secret_key)
    socket: zmq.Socket[bytes] = (context or zmq.Context.instance()).socket(zmq.SUB)
    try:
        if newest_only:
            socket.setsockopt(zmq.CONFLATE, 1)
        else:
            socket.setsockopt(zmq.RCVHWM, QUEUE_MESSAGES)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3 * HEARTBEAT_MS)
        if server_key is not None:
            if public_key is None or secret_key is None:
                public_key, secret_key = zmq.curve_keypair()
            socket.setsockopt(zmq.CURVE_PUBLICKEY, public_key)
            socket.setsockopt(zmq.CURVE_SECRETKEY, secret_key)
            socket.setsockopt(zmq.CURVE_SERVERKEY, server_key)
        # Before connecting: the daemon greets each new connection with info, and only once.
        socket.setsockopt(zmq.SUBSCRIBE, prefix)
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise ValueError(f"cannot subscribe at {endpoint!r}: {error}") from None
    return socket


def _check_keys(server: bytes | None, public: bytes | None, secret: bytes | None) -> None:
    """``ValueError`` for keys with which the talk would not be what they were given for."""
    if (public is None) != (secret is None):
        raise ValueError(f"a {'secret' if public is None else 'public'} key alone is half a pair; give both")
    if public is not None and server is None:
        # Without it CURVE is off, and all would be readable on the way.
        raise ValueError("a key pair of one's own needs the server's public key, too")
    for name, key in (("server", server), ("public", public), ("secret", secret)):
        if key is not None and not _Z85_KEY.fullmatch(key):
            raise ValueError(f"the {name} key is no CURVE key: that is 40 characters of Z85")


@dataclass(frozen=True, slots=True)
class ReceivedMask:
    """One mask, as it arrived.

    Attributes
    ----------
    header : every field of the message, see ``gnetsegd.message.MaskHeader``
    age_s : seconds from the sensor's exposure to the receipt; from another machine an estimate, too
        low by the shortest travel time seen
    missed : masks lost on the way since the one before, when every mask is read; 0 in newest-only
        mode, where that cannot be told
    skipped : masks that newer ones replaced unread since the one before; 0 when every mask is read
    new_session : the first mask of this daemon's run that arrived here
    """

    header: MaskHeader
    age_s: float
    missed: int
    skipped: int
    new_session: bool
    _payload: memoryview = field(repr=False)

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The label of each pixel, uint8 of shape (height, width); ``info()["labels"]`` names them.

        Decoded at each access. With 8 bits a read-only view of the message, which it keeps alive.
        """
        return unpack_mask(self._payload, self.header.format)

    @property
    def sequence(self) -> int:
        """The camera's number of the very frame that this is the mask of."""
        return self.header.sequence

    @property
    def backend(self) -> str:
        """What computed it, such as ``usb`` or ``standin``."""
        return self.header.backend

    @property
    def fallback(self) -> bool:
        """True where the backend stands in for the preferred one."""
        return self.header.fallback


class LossCounter:
    """Tells what was lost on the way from what the daemon says it dropped itself.

    sequence delta = 1 + delta dropped_camera + delta dropped_daemon + transport loss
    """

    def __init__(self) -> None:
        self._first: MaskHeader | None = None
        self._last: MaskHeader | None = None
        self._received = 0
        self._dropped = 0
        self._lost = 0

    def update(self, header: MaskHeader) -> tuple[int, bool]:
        """(masks lost since the header before, whether this begins a session)."""
        first, last = self._first, self._last
        begins = first is None or last is None or header.session != last.session
        if first is None or last is None or begins or header.sequence <= last.sequence:
            # Nothing to compare with; a number that goes back is a publisher that began anew.
            self._first, self._last, self._received, self._dropped, self._lost = header, header, 1, 0, 0
            return 0, begins
        self._received += 1
        # The counters are 32 bits wide, and may wrap.
        self._dropped += (header.dropped_camera - last.dropped_camera) & _U32
        self._dropped += (header.dropped_daemon - last.dropped_daemon) & _U32
        self._last = header
        # From the first on, not from the last: a drop that is counted early is no gain.
        lost = header.sequence - first.sequence - (self._received - 1) - self._dropped
        since, self._lost = max(0, lost - self._lost), max(lost, self._lost)
        return since, False


class Clock:
    """The daemon's CLOCK_MONOTONIC as seen from here.

    On the same machine it is ours. Of another machine's only this is known: no message arrives
    before it was sent, so the smallest difference seen is the clocks' offset and the shortest way.
    """

    def __init__(self, endpoint: str) -> None:
        local = ("ipc://", "inproc://", "tcp://127.", "tcp://localhost", "tcp://[::1]")
        self.same_machine = endpoint.startswith(local)
        self._offset_ns: float | None = None
        self._observed_ns = 0
        self._session = 0

    def observe(self, session: int, sent_ns: int) -> None:
        """A message of ``session``, sent at ``sent_ns``, has arrived just now."""
        now = time.monotonic_ns()
        offset = float(now - sent_ns)
        if self._offset_ns is not None and session == self._session:
            # Forget slowly, or a clock that runs slower than ours would age everything in the end.
            offset = min(offset, self._offset_ns + CLOCK_DRIFT * (now - self._observed_ns))
        # Another run of the daemon may come after a reboot: its clock may stand elsewhere.
        self._offset_ns, self._observed_ns, self._session = offset, now, session

    def age_s(self, then_ns: int) -> float:
        """Seconds since ``then_ns`` of the daemon's clock."""
        offset = 0.0 if self.same_machine or self._offset_ns is None else self._offset_ns
        return (time.monotonic_ns() - then_ns - offset) / 1e9


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
        for kind in ("info", "status"):
            self._subscribe(kind)

    def _subscribe(self, kind: str, newest_only: bool = True) -> None:
        # One socket a topic: a socket that keeps only the newest keeps one message in all.
        try:
            self._sockets[kind] = subscribe(
                self.endpoint, kind, self.camera, newest_only=newest_only, **self._options
            )
        except ValueError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets; a loop over the masks ends. Again does no harm."""
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

    def _count_bad(self, error: MessageError) -> None:
        self.bad_messages += 1
        self.last_error = clean(str(error))


class MaskSubscriber(StatusSubscriber):
    """Masks of one camera, and a judgement of how far they can be trusted.

    Iterate over it, or call ``receive``. In newest-only mode (the default) a slow reader gets the
    mask of *now*, never one of a queue; with ``newest_only=False`` it gets every mask. A daemon that
    is not there, or restarts, is waited for. Not for several threads at once.

    Three judgements, each by itself, as a robot needs them; none of them waits:

    * ``alive``: the daemon speaks, be it only to say that it has no camera;
    * ``on_rate``: masks come at the rate that ``info`` promises;
    * ``valid``: the newest mask can be believed: its picture is of now, and the daemon runs.

    Parameters
    ----------
    endpoint : as in the daemon's ``publish.endpoints``
    camera : its name, ``camera.name`` of the configuration
    newest_only : False for every mask
    server_key, public_key, secret_key : CURVE keys in Z85, see ``subscribe``
    context : a ZeroMQ context to use; by default the process's own
    alive_limit_s : how long ago the newest mask or status may have been sent
    max_age_s : how long ago the newest mask's picture may have been exposed for ``valid``; what moves
        fast sets less
    rate_tolerance : how far the rate may be off, as a fraction

    ``ValueError`` for an endpoint, camera or key that cannot be one.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        camera: str = "cam0",
        newest_only: bool = True,
        *,
        server_key: bytes | None = None,
        public_key: bytes | None = None,
        secret_key: bytes | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        alive_limit_s: float = ALIVE_LIMIT_S,
        max_age_s: float = MAX_AGE_S,
        rate_tolerance: float = RATE_TOLERANCE,
    ) -> None:
        super().__init__(
            endpoint, camera, server_key=server_key, public_key=public_key, secret_key=secret_key,
            context=context, alive_limit_s=alive_limit_s,
        )  # fmt: skip
        self.newest_only = newest_only
        self.max_age_s = max_age_s
        self.rate_tolerance = rate_tolerance
        #: All that ``missed`` said so far.
        self.missed = 0
        #: How often another run of the daemon took over.
        self.restarts = 0
        self._losses = LossCounter()
        self._last: MaskHeader | None = None
        #: (sensor time in ns, masks up to then) of the last seconds.
        self._recent: deque[tuple[int, int]] = deque()
        self._count = 0
        self._subscribe("mask", newest_only)

    def __iter__(self) -> Iterator[ReceivedMask]:
        """Masks for ever, waiting for each; ends when the subscriber is closed."""
        while not self.closed:
            mask = self.receive()
            if mask is not None:
                yield mask

    def receive(self, timeout_s: float | None = None) -> ReceivedMask | None:
        """The next mask, or None when none came in time (None waits for ever).

        A message that is not a mask is counted in ``bad_messages`` and skipped.
        """
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            data = self._read("mask", deadline - time.monotonic())
            if data is None:
                return None
            try:
                header = parse_header(data)
                if header.kind != "mask":
                    raise MessageError(f"{header.kind}/{header.camera} came as a mask")
            except MessageError as error:
                self._count_bad(error)
                if time.monotonic() < deadline:
                    continue
                return None
            return self._accept(header, data[header.payload_offset :])

    @property
    def alive(self) -> bool:
        """A mask or a status was sent within the last ``alive_limit_s``."""
        return self._mask_is_recent() or super().alive

    @property
    def rate_fps(self) -> float:
        """Masks per second of the camera's time over its last ``RATE_WINDOW_S``; 0 if unknown.

        In newest-only mode those count, too, that newer ones replaced unread: it is the daemon's rate.
        """
        if len(self._recent) < 2 or not self._mask_is_recent():
            return 0.0
        (first_ns, first), (last_ns, last) = self._recent[0], self._recent[-1]
        return (last - first) / ((last_ns - first_ns) / 1e9)

    @property
    def on_rate(self) -> bool:
        """``rate_fps`` is within ``rate_tolerance`` of the nominal rate in ``info``.

        Where ``info`` names none (0), any rate will do. False before ``info`` or two masks came.
        """
        info, rate = self.info(), self.rate_fps
        if info is None or rate == 0.0:
            return False
        nominal = float(info["fps_nominal"])
        return nominal <= 0 or abs(rate - nominal) <= self.rate_tolerance * nominal

    @property
    def valid(self) -> bool:
        """The newest mask's picture was exposed within ``max_age_s``, and the daemon runs.

        It runs where a status of the same session, sent within ``alive_limit_s``, says ``running``.
        """
        status = self.status()
        return (
            status is not None
            and self._last is not None
            and status["state"] == "running"
            and status["session"] == self._last.session
            and super().alive
            # An exposure in the future is no better than an old one.
            and abs(self._clock.age_s(self._last.sensor_timestamp_ns)) <= self.max_age_s
        )

    # -- inside -----------------------------------------------------------------------------------

    def _accept(self, header: MaskHeader, payload: memoryview) -> ReceivedMask:
        missed, begins = self._losses.update(header)
        if begins or self._last is None or header.sensor_timestamp_ns <= self._last.sensor_timestamp_ns:
            self._recent.clear()
        self.restarts += begins and self._last is not None
        self._last = header
        self._clock.observe(header.session, header.publish_timestamp_ns)
        skipped = missed if self.newest_only else 0
        missed -= skipped
        self.missed += missed
        self._count += 1 + skipped
        self._recent.append((header.sensor_timestamp_ns, self._count))
        while header.sensor_timestamp_ns - self._recent[0][0] > RATE_WINDOW_S * 1e9:
            self._recent.popleft()
        age_s = self._clock.age_s(header.sensor_timestamp_ns)
        return ReceivedMask(header, age_s, missed, skipped, begins, payload)

    def _mask_is_recent(self) -> bool:
        """The newest mask was sent a short time ago, however old its picture is."""
        last = self._last
        return last is not None and self._clock.age_s(last.publish_timestamp_ns) <= self.alive_limit_s
