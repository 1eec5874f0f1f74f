"""A recorded message as if it were sent now: other times and another session, every other byte as it was."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

from ...message import HEADER, new_session, pack_json, parse_json

if TYPE_CHECKING:
    from ...recordings.reading import Recorded

#: Where session, sensor time and publish time stand in a header.
_SESSION_AND_TIMES = struct.Struct("<QQQ")
_SESSION_AT = 48


class Shift:
    """One run through a recording: each recorded session becomes a new one, and stays it."""

    def __init__(self) -> None:
        self._sessions: dict[int, int] = {}

    def _session(self, recorded: int) -> int:
        return self._sessions.setdefault(recorded, new_session())

    def __call__(self, message: Recorded, sent_ns: int) -> bytes:
        """``sent_ns``: CLOCK_MONOTONIC of now. ``MessageError`` for what is no message of ours."""
        if message.kind in ("info", "status"):
            return self._json(message, sent_ns)
        if len(message.data) < HEADER.size:
            return message.data
        shifted = bytearray(message.data)
        session, sensor_ns, publish_ns = _SESSION_AND_TIMES.unpack_from(shifted, _SESSION_AT)
        # A mask stays as old at its sending as it was.
        exposed_ns = max(0, sent_ns - (publish_ns - sensor_ns))
        _SESSION_AND_TIMES.pack_into(shifted, _SESSION_AT, self._session(session), exposed_ns, sent_ns)
        return bytes(shifted)

    def _json(self, message: Recorded, sent_ns: int) -> bytes:
        kind, camera, body = parse_json(message.data)
        body["session"] = self._session(body["session"])
        if kind == "info":
            body["monotonic_to_wall_offset_ns"] = time.time_ns() - time.monotonic_ns()
            body["replay"] = True
        else:
            body["timestamp_ns"] = sent_ns
        return pack_json(kind, camera, body)
