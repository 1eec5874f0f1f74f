"""A recorded message as if it were sent now: other times and another session, every other byte as it was."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import MessageError
from ...message import new_session, pack_json, parse_header, parse_image, parse_json
from ..newest import Newest

if TYPE_CHECKING:
    from ...message import MaskHeader
    from ...recordings.reading import Recorded

#: Where session, sensor time and publish time stand in a header.
_SESSION_AND_TIMES = struct.Struct("<QQQ")
_SESSION_AT = 48
#: A mask's frame and picture follow within these.
_PICTURES_MAX = 256
_SESSIONS_MAX = 64
_U64_MAX = (1 << 64) - 1


class Parsed(NamedTuple):
    """A recorded message that was looked at: ``header`` of a binary one, ``body`` of one in JSON."""

    message: Recorded
    session: int
    header: MaskHeader | None
    body: dict[str, Any] | None


def parse(message: Recorded) -> Parsed:
    """``MessageError`` for what a reader would refuse: damaged, of a later version, or on another's topic."""
    header, body = None, None
    if message.kind in ("info", "status"):
        kind, camera, body = parse_json(message.data)
    else:
        header = parse_image(message.data).mask if message.kind == "image" else parse_header(message.data)
        kind, camera = header.kind, header.camera
    if (kind, camera) != (message.kind, message.camera):
        raise MessageError(f"{kind}/{camera} on the channel of {message.kind}/{message.camera}")
    session = header.session if header is not None else (body or {})["session"]
    return Parsed(message, session, header, body)


class _Shown(NamedTuple):
    """Of one picture: when its mask was sent then and now, and exposed now."""

    published_ns: int
    sent_ns: int
    exposed_ns: int


class Shift:
    """One run through a recording: each recorded session becomes a new one, and stays it."""

    def __init__(self) -> None:
        self._sessions: Newest[int, int] = Newest(_SESSIONS_MAX)
        self._shown: Newest[tuple[int, int], _Shown] = Newest(_PICTURES_MAX)

    def __call__(self, parsed: Parsed, sent_ns: int) -> bytes:
        """The message as sent at ``sent_ns``, CLOCK_MONOTONIC of now."""
        if parsed.header is None:
            return self._json(parsed, sent_ns)
        header = parsed.header
        key = header.session, header.sequence
        shown = self._shown.get(key)
        if shown is None:
            # A mask stays as old at its sending as it was; and its frame and picture are of that moment.
            exposed_ns = min(max(0, sent_ns - header.latency_ns), _U64_MAX)
            shown = self._shown[key] = _Shown(header.publish_timestamp_ns, sent_ns, exposed_ns)
        if header.publish_timestamp_ns == shown.published_ns:
            sent_ns = shown.sent_ns
        data = bytearray(parsed.message.data)
        session = self._session(header.session)
        _SESSION_AND_TIMES.pack_into(data, _SESSION_AT, session, shown.exposed_ns, sent_ns)
        return bytes(data)

    def _session(self, recorded: int) -> int:
        if recorded not in self._sessions:
            self._sessions[recorded] = new_session()
        self._sessions.move_to_end(recorded)
        return self._sessions[recorded]

    def _json(self, parsed: Parsed, sent_ns: int) -> bytes:
        body = dict(parsed.body or {})
        body["session"] = self._session(parsed.session)
        if parsed.message.kind == "info":
            body["monotonic_to_wall_offset_ns"] = time.time_ns() - time.monotonic_ns()
            body["replay"] = True
        else:
            body["timestamp_ns"] = sent_ns
        return pack_json(parsed.message.kind, parsed.message.camera, body)
