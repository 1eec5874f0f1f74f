"""The messages of a recording, whole or cut, in the order in which they were written."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import MessageError
from ..message import parse_topic
from ..text import clean
from ..vendor.mcap.exceptions import McapError
from ..vendor.mcap.opcode import Opcode
from ..vendor.mcap.records import Channel, Chunk, Header, Message
from . import ENCODING, RecordingError, records

#: What a damaged record leads to.
DAMAGE = (McapError, ValueError, OverflowError, LookupError, MemoryError, struct.error)


class Recorded(NamedTuple):
    """One message; ``data`` as it was received. Times are in ns since 1970."""

    kind: str
    camera: str
    data: bytes
    log_ns: int
    publish_ns: int


class Recording:
    """``for message in recording``: as often as wanted. Memory holds one chunk at a time.

    Channels of others are passed over. After a loop ``cut`` tells whether the file's end is missing, and
    ``foreign`` how many channels are not ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shown = clean(str(path))
        self.cut = False
        self.foreign = 0
        if path.exists() and not path.is_file():
            raise RecordingError(f"{self._shown}: this is no file")
        # That it is a recording is said at once, and not when somebody waits for its first message.
        next(iter(self), None)

    def __iter__(self) -> Iterator[Recorded]:
        self.cut, self.foreign = True, 0
        channels: dict[int, tuple[str, str] | None] = {}
        try:
            with self.path.open("rb") as file:
                for record in records.records(file, self._shown):
                    if record.opcode == Opcode.FOOTER:
                        self.cut = False
                        return
                    try:
                        found = self._inside(record)
                    except Exception:  # whatever a damaged one, or another's compression, leads to
                        return
                    for item in found:
                        if isinstance(item, Channel):
                            self._take(item, channels)
                        elif isinstance(item, Message) and channels.get(item.channel_id):
                            kind, camera = channels[item.channel_id]  # type: ignore[misc]
                            yield Recorded(kind, camera, item.data, item.log_time, item.publish_time)
        except OSError as error:
            raise RecordingError(f"{self._shown}: cannot be read ({error.strerror})") from None

    def _inside(self, record: records.Record) -> list[Any]:
        if record.opcode == Opcode.CHUNK:
            return records.inner(record.read(Chunk))
        if record.opcode == Opcode.CHANNEL:
            return [record.read(Channel)]
        if record.opcode == Opcode.HEADER:
            record.read(Header)
        return []

    def _take(self, channel: Channel, channels: dict[int, tuple[str, str] | None]) -> None:
        if channel.id in channels:
            return
        channels[channel.id] = None
        name = channel.topic.rpartition("/")
        # Of many hosts, a host's name stands before it.
        topic = f"{name[0].rpartition('/')[2]}/{name[2]}"
        if channel.message_encoding == ENCODING:
            try:
                channels[channel.id] = parse_topic(topic.encode("ascii", "replace").ljust(16, b"\0"))
            except MessageError:
                channels[channel.id] = None
        self.foreign += channels[channel.id] is None
