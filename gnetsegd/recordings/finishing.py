"""Give a file whose end is missing an end: then every reader of MCAP opens it."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from ..text import clean
from ..vendor.mcap.data_stream import RecordBuilder
from ..vendor.mcap.opcode import Opcode
from ..vendor.mcap.records import (
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    Message,
    MessageIndex,
    Schema,
    Statistics,
)
from ..vendor.mcap.writer import MCAP0_MAGIC
from . import PROFILE, RECORD_MAX_BYTES, RecordingError, records
from .reading import DAMAGE

#: What a recorder had not written whole is less; more is damage in the midst of a file.
TAIL_MAX_BYTES = 64 << 20
#: Opcode and length; channel, sequence and two times.
_MESSAGE_HEAD_BYTES = 9 + 22


class Finished(NamedTuple):
    """``was_whole``: nothing was to be done. ``left_out_bytes`` at the end were no whole chunk."""

    was_whole: bool
    messages: int
    left_out_bytes: int


class _Contents:
    """What stands in a file, as its summary tells."""

    def __init__(self) -> None:
        self.schemas: dict[int, Any] = {}
        self.channels: dict[int, Any] = {}
        self.chunks: list[Any] = []
        self.counts: dict[int, int] = {}
        self.begin_ns, self.end_ns = 0, 0

    def add_chunk(self, chunk: Any, record: records.Record) -> list[Any]:
        """Its message indices, for behind it."""
        indices: dict[int, list[tuple[int, int]]] = {}
        at = 0
        for item in records.inner(chunk):
            self._add(item)
            if isinstance(item, Message):
                indices.setdefault(item.channel_id, []).append((item.log_time, at))
            at += _size_of(item)
        self.chunks.append(
            ChunkIndex(
                chunk_length=record.end - record.start,
                chunk_start_offset=record.start,
                compression=chunk.compression,
                compressed_size=len(chunk.data),
                message_end_time=chunk.message_end_time,
                message_index_length=0,
                message_index_offsets={},
                message_start_time=chunk.message_start_time,
                uncompressed_size=chunk.uncompressed_size,
            )
        )
        return [MessageIndex(channel, entries) for channel, entries in indices.items()]

    def _add(self, item: Any) -> None:
        if isinstance(item, Schema):
            self.schemas.setdefault(item.id, item)
        elif isinstance(item, Channel):
            self.channels.setdefault(item.id, item)
        elif isinstance(item, Message):
            first = not self.counts
            self.counts[item.channel_id] = self.counts.get(item.channel_id, 0) + 1
            self.begin_ns = item.log_time if first else min(self.begin_ns, item.log_time)
            self.end_ns = max(self.end_ns, item.log_time)

    def summary(self) -> list[Any]:
        return [
            *self.schemas.values(),
            *self.channels.values(),
            Statistics(
                attachment_count=0,
                channel_count=len(self.channels),
                channel_message_counts=self.counts,
                chunk_count=len(self.chunks),
                message_count=sum(self.counts.values()),
                message_end_time=self.end_ns,
                message_start_time=self.begin_ns,
                metadata_count=0,
                schema_count=len(self.schemas),
            ),
            *self.chunks,
        ]


def finish(path: Path, fd: int | None = None) -> Finished:
    """Cut off what is not whole at the end of ``path``, and write the index and the end behind the rest.

    ``fd`` is the recorder's own descriptor, which holds the lock. ``RecordingError`` for what is no
    recording, is being written, is damaged in its midst (then nothing is changed), or cannot be written.
    """
    shown = clean(str(path))
    try:
        with path.open("r+b") as file:
            if fd is None:
                _lock(file.fileno(), shown)
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise RecordingError(f"{shown}: this is no file")
            contents, end, whole = _contents(file, shown, _has_end(file))
            size = os.fstat(file.fileno()).st_size
            messages = sum(contents.counts.values())
            if whole:
                return Finished(True, messages, 0)
            if size - end > TAIL_MAX_BYTES:
                raise RecordingError(
                    f"{shown}: it is damaged at byte {end}, and {(size - end) >> 20} MB follow; nothing was "
                    "changed, and what stands before can be replayed"
                )
            _write_end(file, contents, end)
            return Finished(False, messages, size - end)
    except OSError as error:
        raise RecordingError(f"{shown}: cannot be finished ({error.strerror})", os.EX_IOERR) from None


def _lock(fd: int, shown: str) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RecordingError(
            f"{shown}: another recorder is writing it; end that one, or name another file", os.EX_CANTCREAT
        ) from None


def _has_end(file: Any) -> bool:
    """Such a file is never changed, whatever stands in it."""
    if file.seek(0, os.SEEK_END) < 2 * len(MCAP0_MAGIC):
        return False
    file.seek(-len(MCAP0_MAGIC), os.SEEK_END)
    return bool(file.read() == MCAP0_MAGIC)


def _contents(file: Any, shown: str, has_end: bool) -> tuple[_Contents, int, bool]:
    """What is there, where it is whole up to, and whether the end is there."""
    contents = _Contents()
    end, size = len(MCAP0_MAGIC), file.seek(0, os.SEEK_END)
    for record in records.records(file, shown):
        if record.opcode == Opcode.FOOTER:
            break
        if record.opcode == Opcode.DATA_END:
            # What follows is the summary: it is made anew where the footer is missing.
            continue
        try:
            if record.opcode == Opcode.CHUNK:
                chunk = record.read(Chunk)
                if chunk.compression and not has_end:
                    raise RecordingError(f"{shown}: another program has compressed it; nothing was changed")
                contents.add_chunk(chunk, record)
                end = record.end
            elif record.opcode == Opcode.MESSAGE_INDEX:
                index = record.read(MessageIndex)
                last = contents.chunks[-1]
                last.message_index_offsets[index.channel_id] = record.start
                last.message_index_length = record.end - last.chunk_start_offset - last.chunk_length
            elif record.opcode == Opcode.HEADER:
                if record.read(Header).profile != PROFILE and not has_end:
                    raise RecordingError(f"{shown}: is no recording of gnetsegd; nothing was changed")
                end = record.end
        except DAMAGE:
            if has_end or record.end >= size:
                break  # of the last one something may not have come to the disk
            raise RecordingError(
                f"{shown}: it is damaged at byte {record.start}, and {size - record.end} bytes follow; "
                "nothing was changed, and what stands before can be replayed"
            ) from None
    return contents, end, has_end


def _write_end(file: Any, contents: _Contents, end: int) -> None:
    builder = RecordBuilder()
    file.seek(end)
    file.truncate()
    if contents.chunks:
        # Its indices may be missing in part, so they are made anew.
        last = contents.chunks[-1]
        last.message_index_offsets.clear()
        for index in _indices_of(file, last):
            last.message_index_offsets[index.channel_id] = end + builder.count
            index.write(builder)
        last.message_index_length = builder.count
    DataEnd(0).write(builder)
    summary_start = end + builder.count
    for record in contents.summary():
        record.write(builder)
    Footer(summary_offset_start=0, summary_start=summary_start, summary_crc=0).write(builder)
    file.seek(end)
    file.write(builder.end() + MCAP0_MAGIC)
    file.flush()
    os.fsync(file.fileno())


def _indices_of(file: Any, index: Any) -> list[Any]:
    file.seek(index.chunk_start_offset)
    content = file.read(index.chunk_length)[9:]
    record = records.Record(
        Opcode.CHUNK, index.chunk_start_offset, index.chunk_start_offset + index.chunk_length, content
    )
    return _Contents().add_chunk(record.read(Chunk), record)


def _size_of(item: Any) -> int:
    """Its bytes in a chunk."""
    if isinstance(item, Message):
        return _MESSAGE_HEAD_BYTES + len(item.data)
    builder = RecordBuilder()
    item.write(builder)
    return builder.count


assert RECORD_MAX_BYTES > TAIL_MAX_BYTES
