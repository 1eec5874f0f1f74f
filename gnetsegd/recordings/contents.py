"""What stands in a file, gathered chunk by chunk: what its summary tells other readers."""

from __future__ import annotations

from typing import Any

from ..vendor.mcap.data_stream import RecordBuilder
from ..vendor.mcap.records import Channel, Chunk, ChunkIndex, Message, MessageIndex, Schema, Statistics
from . import records
from .records import Record
from .schemas import definition_of

#: Opcode and length; channel, sequence and two times.
_MESSAGE_HEAD_BYTES = 9 + 22
#: Of an index: opcode and length, channel, length of the entries; one entry.
_INDEX_HEAD_BYTES, _ENTRY_BYTES = 9 + 6, 16


class Unclear(Exception):
    """A chunk that was only believed does not tell enough of itself."""


class Contents:
    """Memory holds some hundred bytes for each chunk."""

    def __init__(self) -> None:
        self.schemas: dict[int, Schema] = {}
        self.channels: dict[int, Channel] = {}
        self.chunks: list[ChunkIndex] = []
        self._counts: dict[int, int] = {}
        self._begin_ns: int | None = None
        self._end_ns = 0
        self._believed = False
        self._record: Record
        #: The indices of the last chunk, where it was read.
        self._last: list[MessageIndex] = []

    @property
    def messages(self) -> int:
        return sum(self._counts.values())

    def add_chunk(self, record: Record, items: list[Any]) -> None:
        """One whose records were read."""
        self._add(record, believed=False)
        entries: dict[int, list[tuple[int, int]]] = {}
        at = 0
        for item in items:
            self._define(item)
            if isinstance(item, Message):
                entries.setdefault(item.channel_id, []).append((item.log_time, at))
            at += _size_of(item)
        for channel, found in entries.items():
            self._counts[channel] = self._counts.get(channel, 0) + len(found)
        self._last = [MessageIndex(channel, found) for channel, found in entries.items()]

    def believe(self, record: Record) -> None:
        """One of which only its head and its indices, which follow, are looked at."""
        self._add(record, believed=True)

    def add_index(self, record: Record) -> None:
        """An index of the last chunk's."""
        if not self.chunks:
            return
        chunk = self.chunks[-1]
        channel = int.from_bytes(record.begin(2), "little")
        chunk.message_index_offsets[channel] = record.start
        chunk.message_index_length = record.end - _end_of(chunk)
        if self._believed:
            if channel not in self.channels:
                # Its first chunk defines it.
                for item in records.inner(self._record.read(Chunk), ""):
                    self._define(item)
            entries = (record.end - record.start - _INDEX_HEAD_BYTES) // _ENTRY_BYTES
            self._counts[channel] = self._counts.get(channel, 0) + entries

    def settle(self, end: int | None = None) -> None:
        """``Unclear`` where the last chunk was believed, and no index followed, or it ends at ``end``."""
        if not self._believed:
            return
        if not self.chunks[-1].message_index_offsets or _end_of(self.chunks[-1]) == end:
            raise Unclear

    def damaged(self) -> None:
        """Behind the last chunk something is; perhaps some of its indices: then it is better to have none."""
        if self._believed:
            raise Unclear
        if self.chunks:
            self.chunks[-1].message_index_offsets.clear()
            self.chunks[-1].message_index_length = 0

    def indices_at(self, end: int) -> bytes:
        """The last chunk's indices, to be written at ``end``; none where they stand before that already."""
        builder = RecordBuilder()
        if self.chunks and _end_of(self.chunks[-1]) == end:
            chunk = self.chunks[-1]
            chunk.message_index_offsets.clear()
            for index in self._last:
                chunk.message_index_offsets[index.channel_id] = end + builder.count
                index.write(builder)
            chunk.message_index_length = builder.count
        data: bytes = builder.end()
        return data

    def summary(self) -> list[Any]:
        return [
            *self.schemas.values(),
            *self.channels.values(),
            Statistics(
                attachment_count=0,
                channel_count=len(self.channels),
                channel_message_counts=self._counts,
                chunk_count=len(self.chunks),
                message_count=self.messages,
                message_end_time=self._end_ns,
                message_start_time=self._begin_ns or 0,
                metadata_count=0,
                schema_count=len(self.schemas),
            ),
            *self.chunks,
        ]

    def _define(self, item: Any) -> None:
        """A schema or a channel; that of a message whose channel's was lost with a damaged chunk, too."""
        if isinstance(item, Schema):
            self.schemas.setdefault(item.id, item)
        elif isinstance(item, Channel):
            self.channels.setdefault(item.id, item)
        elif isinstance(item, Message) and item.channel_id not in self.channels:
            made = definition_of(item)
            if made is not None:
                self.schemas[made[0].id], self.channels[item.channel_id] = made

    def _add(self, record: Record, believed: bool) -> None:
        self.settle()
        head = records.chunk_head(record)
        self._believed, self._last, self._record = believed, [], record
        self.chunks.append(
            ChunkIndex(
                chunk_length=record.end - record.start,
                chunk_start_offset=record.start,
                compression=head.compression,
                compressed_size=head.size,
                message_end_time=head.end_ns,
                message_index_length=0,
                message_index_offsets={},
                message_start_time=head.begin_ns,
                uncompressed_size=head.uncompressed,
            )
        )
        self._begin_ns = head.begin_ns if self._begin_ns is None else min(self._begin_ns, head.begin_ns)
        self._end_ns = max(self._end_ns, head.end_ns)


def _end_of(chunk: ChunkIndex) -> int:
    return chunk.chunk_start_offset + chunk.chunk_length


def _size_of(item: Any) -> int:
    """Its bytes in a chunk."""
    if isinstance(item, Message):
        return _MESSAGE_HEAD_BYTES + len(item.data)
    builder = RecordBuilder()
    item.write(builder)
    return builder.count
