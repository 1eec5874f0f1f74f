"""When a message was made and sent, in ns since 1970: one offset for each session, whatever a clock does."""

from __future__ import annotations

from typing import NamedTuple

from ...message import MaskHeader, parse_header, parse_image, parse_json, parse_topic
from ..newest import Newest

#: A daemon tells its offset each second; a message waits so long for it.
WAIT_S = 2.0
#: Of a publisher that makes up sessions no more are kept.
_SESSIONS_MAX = 64


class Stamped(NamedTuple):
    """A message and what it says of itself. Times are CLOCK_MONOTONIC of its daemon, ns; None: says none.

    ``offset_ns``: what an ``info`` says. ``until``: so long it may wait. ``arrived_ns``: since 1970.
    """

    kind: str
    camera: str
    data: bytes
    session: int
    made_ns: int | None
    sent_ns: int | None
    header: MaskHeader | None
    offset_ns: int | None
    until: float
    arrived_ns: int


def stamped(data: bytes, now: float, arrived_ns: int) -> Stamped:
    """``MessageError`` for what is no message of gnetsegd's."""
    kind, camera = parse_topic(data)
    until = now + WAIT_S
    if kind in ("info", "status"):
        _, _, body = parse_json(data)
        made_ns = body["timestamp_ns"] if kind == "status" else None
        offset_ns = body["monotonic_to_wall_offset_ns"] if kind == "info" else None
        return Stamped(
            kind, camera, data, body["session"], made_ns, made_ns, None, offset_ns, until, arrived_ns
        )
    header = parse_image(data).mask if kind == "image" else parse_header(data)
    times = header.sensor_timestamp_ns, header.publish_timestamp_ns
    return Stamped(kind, camera, data, header.session, *times, header, None, until, arrived_ns)


class Clocks:
    """What is known of each session. ``meet`` each message as it comes; it has ``times`` once ``ready``."""

    def __init__(self) -> None:
        self._offsets: Newest[int, int] = Newest(_SESSIONS_MAX)
        #: When something was last sent, by its own clock.
        self._sent: Newest[int, int] = Newest(_SESSIONS_MAX)

    def meet(self, message: Stamped) -> Stamped:
        """The message; an ``info``, which tells no time, with that of what came before it."""
        session = message.session
        if message.offset_ns is not None and session not in self._offsets:
            self._offsets[session] = message.offset_ns
        if message.sent_ns is not None:
            self._sent[session] = message.sent_ns
        for known in (self._offsets, self._sent):
            if session in known:
                known.move_to_end(session)
        sent_ns = self._sent.get(session) if message.sent_ns is None else message.sent_ns
        return message._replace(sent_ns=sent_ns)

    def ready(self, message: Stamped, now: float) -> bool:
        known = message.session in self._offsets
        timed = message.sent_ns is not None or message.session in self._sent
        return (known and timed) or now >= message.until

    def times(self, message: Stamped) -> tuple[int, int]:
        """(log time, publish time). Where no ``info`` has come, by the arrival, and so for the session."""
        sent_ns = self._sent.get(message.session) if message.sent_ns is None else message.sent_ns
        if sent_ns is None:
            return message.arrived_ns, message.arrived_ns
        if message.session not in self._offsets:
            self._offsets[message.session] = message.arrived_ns - sent_ns
        offset_ns = self._offsets[message.session]
        made_ns = sent_ns if message.made_ns is None else message.made_ns
        return made_ns + offset_ns, sent_ns + offset_ns
