"""All cameras of a fleet, as they are heard: rates, ages, losses, who is lost.

What comes under our keys is not believed before it was looked at.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from ...client.clock import Clock
from ...client.losses import LossCounter
from ...errors import MessageError
from ...message import CAMERA_NAME, MaskHeader, parse_header, parse_json
from ..newest import Newest
from . import link, packing
from .config import HOST, Wish

Found = TypeVar("Found")

#: More cameras than anybody has in one fleet; names that are made up end there.
CAMERAS_MAX = 20_000
#: Of info and status; a daemon's have some kilobytes. Read as JSON, bytes become ten times as many.
JSON_BYTES_MAX = 1 << 20
_RATE_S = 5.0
#: What of a message is kept: so 20,000 names that are made up take no gigabytes.
_STATUS_KEPT = ("session", "state", "fps")
_PRESENCE_KEPT = ("session", "sequence", "share")
_STATE_MAX = 100
#: What a daemon sent before it was restarted may come so late.
_LATE_S = 3.0
#: One that was believed and says nothing for so long, though its status comes each second, has gone.
_GONE_S = 5.0
_SESSIONS_MAX = 16


class Event(NamedTuple):
    """``what``: "here" or "lost"; ``at``: time.monotonic()."""

    what: str
    host: str
    camera: str
    at: float


class Seen:
    """One camera. Written, and to be read, under the fleet's lock (``Fleet.read``)."""

    def __init__(self, host: str, camera: str) -> None:
        self.host, self.camera = host, camera
        self.alive = False
        #: Those fields that are shown.
        self.status: dict[str, Any] = {}
        self.presence: dict[str, Any] = {}
        self.masks = self.lost = self.wrong = 0
        self.heard_at = 0.0
        #: When a daemon spoke that another one had followed long before: two machines have one name.
        self.doubled_at = -math.inf
        #: The last ones, and when each began; the last of them is the one that is believed.
        self._sessions: Newest[int, float] = Newest(_SESSIONS_MAX)
        self.header: MaskHeader | None = None
        self._losses = LossCounter()
        self._times: deque[float] = deque(maxlen=5000)
        self._clock = Clock("zenoh")

    def is_current(self, session: int, now: float) -> bool:
        """False, and counted, for a daemon that another one has followed, while that one speaks.

        Of two machines of one name one may go, and a message of nobody's be all that it ever said.
        """
        if session not in self._sessions or now - self.heard_at > _GONE_S:
            self._sessions[session] = now
        newest = next(reversed(self._sessions))
        if session == newest:
            return True
        self.wrong += 1
        if now - self._sessions[newest] > _LATE_S:
            self.doubled_at = now
        return False

    def add_mask(self, header: MaskHeader, now_ns: int) -> bool:
        """False, and counted, for a mask that is old, or came twice."""
        before = self.header
        if before is not None and before.session == header.session and header.sequence <= before.sequence:
            self.wrong += 1
            return False
        self.lost += self._losses.update(header)[0]
        self.header = header
        self.masks += 1
        self._times.append(now_ns / 1e9)
        self._clock.observe(header.session, header.publish_timestamp_ns)
        return True

    def add_presence(self, body: dict[str, Any]) -> bool:
        """False, and counted, for one that is old, or came twice."""
        before = self.presence
        if before and before["session"] == body["session"] and body["sequence"] <= before["sequence"]:
            self.wrong += 1
            return False
        self.presence = {name: body[name] for name in _PRESENCE_KEPT}
        return True

    def age_s(self) -> float | None:
        """Of the newest mask's picture; None before the first."""
        return None if self.header is None else self._clock.age_s(self.header.sensor_timestamp_ns)

    def rate_hz(self, now: float) -> float:
        if not self._times:
            return 0.0
        came = sum(1 for at in self._times if now - at < _RATE_S)
        # Of one that was first heard two seconds ago there are but two seconds.
        return came / min(_RATE_S, max(1.0, now - self._times[0]))


class Fleet:
    """Listens on one session.

    ``on_message(host, kind, camera, data)`` hears what was believed, but for presence, from Zenoh's thread.
    """

    def __init__(
        self,
        session: Any,
        on_message: Callable[[str, str, str, bytes], None] | None = None,
        wish: Wish = Wish(),  # noqa: B008 - a tuple
    ) -> None:
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], Seen] = {}
        # A router that is lost takes all of them with it, and each is told.
        self._events: deque[Event] = deque(maxlen=2 * CAMERAS_MAX)
        self._on_message = on_message
        #: Messages under our keys that were none of ours.
        self.nonsense = 0
        self._zenoh = link.load()
        self._subscribers = [session.declare_subscriber(key, self._hear) for key in wish.messages()]
        tokens = session.liveliness().declare_subscriber(wish.tokens(), self._token, history=True)
        self._subscribers.append(tokens)

    def close(self) -> None:
        for subscriber in self._subscribers:
            subscriber.undeclare()

    def cameras(self) -> list[Seen]:
        """All that were ever seen, by host and camera."""
        return self.read(lambda seen: seen)

    def read(self, reader: Callable[[Seen], Found]) -> list[Found]:
        """What ``reader`` makes of each camera, by host and camera, while no message changes it."""
        with self._lock:
            return [reader(self._seen[key]) for key in sorted(self._seen)]

    def events(self) -> list[Event]:
        """Those that are new since the last call."""
        with self._lock:
            found = list(self._events)
            self._events.clear()
            return found

    def _find(self, host: str, camera: str) -> Seen | None:
        """A new one is kept by ``_keep``, once it was believed. None for names that cannot be."""
        known = self._seen.get((host, camera))
        if known is not None:
            return known
        if not HOST.fullmatch(host) or not CAMERA_NAME.fullmatch(camera) or len(self._seen) >= CAMERAS_MAX:
            return None
        return Seen(host, camera)

    def _keep(self, seen: Seen) -> None:
        self._seen[seen.host, seen.camera] = seen

    def _token(self, sample: Any) -> None:
        parts = str(sample.key_expr).split("/")
        with self._lock:
            seen = self._find(parts[1], parts[2]) if len(parts) == 3 else None
            if seen is None:
                self.nonsense += 1
                return
            self._keep(seen)
            alive = sample.kind == self._zenoh.SampleKind.PUT
            if alive != seen.alive:
                seen.alive = alive
                self._events.append(
                    Event("here" if alive else "lost", seen.host, seen.camera, time.monotonic())
                )

    def _hear(self, sample: Any) -> None:
        parts = str(sample.key_expr).split("/")
        data = bytes(sample.payload)
        now_ns = time.monotonic_ns()
        with self._lock:
            seen = self._find(parts[1], parts[2]) if len(parts) == 4 else None
            believed = False
            try:
                if seen is None:
                    raise MessageError("a name that cannot be")
                believed = self._believe(seen, parts[3], data, now_ns)
                self._keep(seen)
            except MessageError:
                self.nonsense += 1
        if believed and self._on_message is not None and parts[3] != "presence":
            self._on_message(parts[1], parts[3], parts[2], data)

    def _believe(self, seen: Seen, kind: str, data: bytes, now_ns: int) -> bool:
        """Take it in; False for what is old or came twice. ``MessageError`` for what is none of ours."""
        now = now_ns / 1e9
        if kind == "mask":
            header = parse_header(data)
            _check_name((header.kind, header.camera), (kind, seen.camera))
            is_new = seen.is_current(header.session, now) and seen.add_mask(header, now_ns)
        elif kind in ("info", "status"):
            if len(data) > JSON_BYTES_MAX:
                raise MessageError(f"{kind} of {len(data)} bytes is none")
            said, camera, body = parse_json(data)
            _check_name((said, camera), (kind, seen.camera))
            is_new = seen.is_current(body["session"], now)
            if is_new and kind == "status":
                kept = {name: body[name] for name in _STATUS_KEPT}
                seen.status = kept | {"state": kept["state"][:_STATE_MAX]}
        elif kind == "presence":
            presence = packing.parse_presence(data)
            is_new = seen.is_current(presence["session"], now) and seen.add_presence(presence)
        else:
            raise MessageError(f"{kind} is no kind of ours")
        if is_new:
            seen.heard_at = now
        return is_new


def _check_name(said: tuple[str, str], wanted: tuple[str, str]) -> None:
    if said != wanted:
        raise MessageError(f"{'/'.join(said)} came as {'/'.join(wanted)}")
