"""All cameras of a fleet, as they are heard: rates, ages, losses, who is lost.

What comes under our keys is not believed before it was looked at.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from ...client.losses import LossCounter
from ...errors import MessageError
from ...message import CAMERA_NAME, MaskHeader, parse_header, parse_json
from . import link
from .config import HOST

#: More cameras than anybody has in one fleet; names that are made up end there.
CAMERAS_MAX = 20_000
_RATE_S = 5.0


class Event(NamedTuple):
    """``what``: "here" or "lost"; ``at``: time.monotonic()."""

    what: str
    host: str
    camera: str
    at: float


class Seen:
    """One camera. Written under the fleet's lock."""

    def __init__(self, host: str, camera: str) -> None:
        self.host, self.camera = host, camera
        self.alive = False
        self.status: dict[str, Any] = {}
        self.info: dict[str, Any] = {}
        self.masks = self.lost = self.wrong = 0
        self.heard_at = 0.0
        self.header: MaskHeader | None = None
        self._losses = LossCounter()
        self._times: deque[float] = deque(maxlen=1000)
        self._offset_ns: int | None = None
        self._offset_session = 0

    def add_mask(self, header: MaskHeader, now_ns: int) -> None:
        before = self.header
        if before is not None and before.session == header.session and header.sequence <= before.sequence:
            self.wrong += 1  # old, or twice
            return
        self.lost += self._losses.update(header)[0]
        self.header = header
        self.masks += 1
        self._times.append(now_ns / 1e9)
        self._learn(header.session, now_ns - header.publish_timestamp_ns)

    def _learn(self, session: int, apart_ns: int) -> None:
        """The smallest difference of the two clocks that was seen, as docs/messages.md has it."""
        if self._offset_ns is None or session != self._offset_session:
            self._offset_ns, self._offset_session = apart_ns, session
        self._offset_ns = min(self._offset_ns, apart_ns)

    def age_s(self, now_ns: int) -> float | None:
        """Of the newest mask's picture; None before the first."""
        if self.header is None or self._offset_ns is None:
            return None
        return (now_ns - self.header.sensor_timestamp_ns - self._offset_ns) / 1e9

    def rate_hz(self, now: float) -> float:
        return sum(1 for at in self._times if now - at < _RATE_S) / _RATE_S


class Fleet:
    """Listens on one session.

    ``on_message(host, kind, camera, data)`` hears what was believed, from Zenoh's thread.
    """

    def __init__(
        self, session: Any, on_message: Callable[[str, str, str, bytes], None] | None = None
    ) -> None:
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], Seen] = {}
        self._events: deque[Event] = deque(maxlen=1000)
        self._on_message = on_message
        #: Messages under our keys that were none of ours.
        self.nonsense = 0
        self._zenoh = link.load()
        self._subscriber = session.declare_subscriber(f"{link.ROOT}/*/*/*", self._hear)
        self._tokens = session.liveliness().declare_subscriber(f"{link.ROOT}/*/*", self._token, history=True)

    def close(self) -> None:
        self._subscriber.undeclare()
        self._tokens.undeclare()

    def cameras(self) -> list[Seen]:
        """All that were ever seen, by host and camera."""
        with self._lock:
            return [self._seen[key] for key in sorted(self._seen)]

    def events(self) -> list[Event]:
        """Those that are new since the last call."""
        with self._lock:
            found = list(self._events)
            self._events.clear()
            return found

    def _get(self, host: str, camera: str) -> Seen | None:
        key = (host, camera)
        if key not in self._seen:
            if (
                not HOST.fullmatch(host)
                or not CAMERA_NAME.fullmatch(camera)
                or len(self._seen) >= CAMERAS_MAX
            ):
                return None
            self._seen[key] = Seen(host, camera)
        return self._seen[key]

    def _token(self, sample: Any) -> None:
        parts = str(sample.key_expr).split("/")
        with self._lock:
            seen = self._get(parts[1], parts[2]) if len(parts) == 3 else None
            if seen is None:
                self.nonsense += 1
                return
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
            seen = self._get(parts[1], parts[2]) if len(parts) == 4 else None
            try:
                believed = seen is not None and self._believe(seen, parts[3], data, now_ns)
            except MessageError:
                believed = False
            self.nonsense += not believed
        if believed and self._on_message is not None and parts[3] != "presence":
            self._on_message(parts[1], parts[3], parts[2], data)

    def _believe(self, seen: Seen, kind: str, data: bytes, now_ns: int) -> bool:
        """Take it in; False for what is none of ours. ``MessageError`` likewise."""
        if kind == "mask":
            header = parse_header(data)
            if header.kind != "mask" or header.camera != seen.camera:
                return False
            seen.add_mask(header, now_ns)
        elif kind in ("info", "status"):
            said, camera, body = parse_json(data)
            if (said, camera) != (kind, seen.camera):
                return False
            setattr(seen, kind, body)
        elif kind != "presence":
            return False
        seen.heard_at = now_ns / 1e9
        return True
