"""The messages of a recording, whole or cut, in the order in which they were written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import MessageError
from ..message import TOPIC_SIZE, parse_topic
from ..text import clean
from ..vendor.mcap.data_stream import ReadDataStream
from ..vendor.mcap.opcode import Opcode
from ..vendor.mcap.records import Channel, Chunk, Header, Message
from . import ENCODING, LIBRARY, RecordingError, records
from .records import DAMAGE, DAMAGED, HEAD, PRIVATE
from .schemas import definition_of


class Recorded(NamedTuple):
    """One message; ``data`` as it was received. Times are in ns since 1970.

    ``host``: whose it is, in a recording of many; else empty.
    """

    kind: str
    camera: str
    data: bytes
    log_ns: int
    publish_ns: int
    host: str = ""


class Recording:
    """``for message in recording``: as often as wanted. Memory holds one chunk at a time.

    Channels of others are passed over, as is what is damaged. After a loop ``cut`` tells whether the file's
    end is missing, ``damaged`` how many stretches are, and ``foreign`` how many channels are not ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shown = clean(str(path))
        self.cut = False
        self.damaged = self.foreign = 0
        self._by_others = False
        try:
            is_file = path.is_file() or not path.exists()
        except OSError as error:
            raise self._unreadable(error) from None
        if not is_file:
            raise RecordingError(f"{self._shown}: this is no file")
        # That it is a recording is said at once, and not when somebody waits for its first message.
        next(iter(self), None)

    def __iter__(self) -> Iterator[Recorded]:
        self.cut, self.damaged, self.foreign = True, 0, 0
        channels: dict[int, _Topic | None] = {}
        self._by_others = False
        try:
            with self.path.open("rb") as file:
                for record in records.records(file, self._shown):
                    if record.opcode == Opcode.FOOTER:
                        self.cut = False
                        return
                    for item in self._inside(record):
                        if isinstance(item, Channel):
                            self._take(item, channels)
                            continue
                        if not isinstance(item, Message):
                            continue
                        if item.channel_id not in channels and (made := definition_of(item)) is not None:
                            self._take(made[1], channels)
                        topic = channels.get(item.channel_id)
                        if topic is not None:
                            yield Recorded(
                                topic.kind,
                                topic.camera,
                                item.data,
                                item.log_time,
                                item.publish_time,
                                topic.host,
                            )
        except OSError as error:
            raise self._unreadable(error) from None

    def left_out(self) -> list[str]:
        """Sentences on what the last loop has passed over; none where the recording is whole and all ours."""
        said = []
        if self.foreign:
            said.append(
                f"{self.foreign} channels are not gnetsegd's or of a later version, and were left out"
            )
        if self.damaged:
            said.append(f"{self.damaged} places of the file are damaged, and were left out")
        if self.cut:
            said.append(
                "the recording has no end: it is still being made, or was cut "
                "(gnetsegctl recover makes it whole for other readers)"
            )
        return said

    def _unreadable(self, error: OSError) -> RecordingError:
        return RecordingError(
            f"{self._shown}: cannot be read ({error.strerror or error}); name a recording that you may read"
        )

    def _inside(self, record: records.Record) -> list[Any]:
        try:
            if record.opcode == Opcode.CHUNK:
                return records.inner(record.read(Chunk), self._shown)
            if record.opcode == Opcode.CHANNEL:
                return [record.read(Channel)]
            if record.opcode == Opcode.HEADER:
                self._by_others = not record.read(Header).library.startswith(LIBRARY)
            if record.opcode == Opcode.MESSAGE and self._by_others:
                # They may write without chunks. In ours it is of a damaged one, and perhaps damaged itself.
                stream = ReadDataStream(BytesIO(record.begin(record.end - record.start)))
                return [Message.read(stream, record.end - record.start - HEAD.size)]
            damaged = record.opcode in (DAMAGED, PRIVATE)
        except DAMAGE:
            damaged = True
        self.damaged += damaged
        return []

    def _take(self, channel: Channel, channels: dict[int, _Topic | None]) -> None:
        if channel.id in channels:
            return
        channels[channel.id] = None
        # Of many hosts, a host's name stands before it.
        host, _, kind = channel.topic.rpartition("/")[0].rpartition("/")
        topic = f"{kind}/{channel.topic.rpartition('/')[2]}"
        if channel.message_encoding == ENCODING:
            with suppress(MessageError):
                kind, camera = parse_topic(topic.encode("ascii", "replace").ljust(TOPIC_SIZE, b"\0"))
                channels[channel.id] = _Topic(host, kind, camera)
        self.foreign += channels[channel.id] is None


class _Topic(NamedTuple):
    host: str
    kind: str
    camera: str
