"""An MCAP file record by record, as far as it is whole, and past what is damaged: https://mcap.dev/spec."""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Iterator
from io import BytesIO
from typing import IO, Any, NamedTuple

from ..vendor.mcap.data_stream import ReadDataStream
from ..vendor.mcap.exceptions import McapError
from ..vendor.mcap.opcode import Opcode
from ..vendor.mcap.records import Chunk
from ..vendor.mcap.stream_reader import breakup_chunk
from ..vendor.mcap.writer import MCAP0_MAGIC
from . import RECORD_MAX_BYTES, RecordingError
from .packed import unpack

#: What a damaged record leads to.
DAMAGE = (McapError, ValueError, OverflowError, LookupError, MemoryError, struct.error)
#: Of a file without one whole record, in words.
CUT_AT_ONCE = "it was cut within its first bytes, and holds nothing"
#: In place of an opcode: a stretch that is no record, and behind which a chunk begins.
DAMAGED = 0
#: The first opcode that a program may use for what is its own; every reader passes over such records.
PRIVATE = 0x80
#: Opcode, and length of what follows.
HEAD = struct.Struct("<BQ")
#: A chunk's begin: opcode, length, two times, uncompressed size, checksum, length of the compression's name.
_CHUNK = struct.Struct("<BQQQQII")
_SIZE = struct.Struct("<Q")
#: A chunk's opcode and a length below ``RECORD_MAX_BYTES``; looked for at each byte.
#: The opcode is no part of what lies ahead: so it is looked for by memchr, many times as fast.
_PERHAPS_CHUNK = re.compile(rb"\x06(?=[\0-\xff]{4}\0{4})")
_NAME_MAX_BYTES = 8
_DATA_END_BYTES, _FOOTER_BYTES = 4, 20
_CHUNK_HEAD_BYTES = _CHUNK.size + _NAME_MAX_BYTES + _SIZE.size
_SEARCH_BYTES = 4 << 20


class Record(NamedTuple):
    """``start`` and ``end``: where it stands in ``file``; its content is read when it is asked for."""

    opcode: int
    start: int
    end: int
    file: IO[bytes]

    def begin(self, size: int) -> bytes:
        """Its first ``size`` bytes behind opcode and length."""
        self.file.seek(self.start + HEAD.size)
        return self.file.read(min(size, self.end - self.start - HEAD.size))

    def read(self, kind: Any) -> Any:
        """As one of mcap's records. What is no such record raises one of ``DAMAGE``."""
        return kind.read(ReadDataStream(BytesIO(self.begin(self.end - self.start))))


class ChunkHead(NamedTuple):
    """``size``: of the records in it, as they stand there. Times are the log times of its messages, ns."""

    begin_ns: int
    end_ns: int
    uncompressed: int
    compression: str
    size: int


def chunk_head(record: Record) -> ChunkHead:
    """Of a chunk; ``UnicodeDecodeError`` for a damaged name of a compression."""
    record.file.seek(record.start)
    head = record.file.read(_CHUNK_HEAD_BYTES)
    _, length, begin_ns, end_ns, uncompressed, _, name_bytes = _CHUNK.unpack_from(head)
    name = head[_CHUNK.size : _CHUNK.size + name_bytes].decode("ascii")
    own = _CHUNK.size - HEAD.size + name_bytes + _SIZE.size
    return ChunkHead(begin_ns, end_ns, uncompressed, name, length - own)


def records(file: IO[bytes], shown: str) -> Iterator[Record]:
    """Those that are whole, from the first to the footer, or to where the file was cut.

    Where no record goes on, the next whole chunk is looked for: what is between is one record of opcode
    ``DAMAGED``. ``RecordingError`` for what is no MCAP file at all.
    """
    size = file.seek(0, 2)
    file.seek(0)
    magic = file.read(len(MCAP0_MAGIC))
    if not magic:
        raise RecordingError(f"{shown}: this file is empty; there is nothing in it to recover or to play")
    if magic != MCAP0_MAGIC:
        cut = MCAP0_MAGIC.startswith(magic)
        raise RecordingError(f"{shown}: {CUT_AT_ONCE if cut else 'this is no MCAP file; name a recording'}")
    at = len(MCAP0_MAGIC)
    while at + HEAD.size <= size:
        file.seek(at)
        head = file.read(_CHUNK_HEAD_BYTES)
        if len(head) < HEAD.size:
            return  # somebody has cut it meanwhile: recover, or a recorder whose disk is full
        end = _end_of(head, at, size)
        if end is None:
            chunk = next_chunk(file, at + 1, size)
            if chunk is None:
                return
            yield Record(DAMAGED, at, chunk, file)
            at = chunk
            continue
        yield Record(head[0], at, end, file)
        if head[0] == Opcode.FOOTER:
            return
        at = end


def _end_of(head: bytes, at: int, size: int) -> int | None:
    """Where the record at ``at`` ends; None where there is none."""
    opcode, length = head[0], int.from_bytes(head[1 : HEAD.size], "little")
    end = at + HEAD.size + length
    known = Opcode.HEADER <= opcode <= Opcode.DATA_END or opcode >= PRIVATE
    if not known or length > RECORD_MAX_BYTES or end > size:
        return None
    # Behind one wrong byte a chunk would be passed over, and behind a footer's all that follows.
    if opcode != PRIVATE and _has_chunks_lengths(head) != (opcode == Opcode.CHUNK):
        return None
    if opcode == Opcode.FOOTER and length != _FOOTER_BYTES:
        return None
    if opcode == Opcode.MESSAGE_INDEX and length != 6 + int.from_bytes(head[11:15], "little"):
        return None
    if opcode == Opcode.DATA_END and length != _DATA_END_BYTES:
        return None
    return end


def _is_chunk(head: bytes) -> bool:
    return head[:1] == bytes([Opcode.CHUNK]) and _has_chunks_lengths(head)


def _has_chunks_lengths(head: bytes) -> bool:
    """Whether its lengths agree with one another as a chunk's do, whatever its opcode."""
    if len(head) < _CHUNK.size + _SIZE.size:
        return False
    _, length, _, _, uncompressed, _, name_bytes = _CHUNK.unpack_from(head)
    if len(head) < _CHUNK.size + name_bytes + _SIZE.size:
        return False
    (inside,) = _SIZE.unpack_from(head, _CHUNK.size + name_bytes)
    own = _CHUNK.size - HEAD.size + name_bytes + _SIZE.size
    return bool(length == own + inside and (name_bytes or uncompressed == inside))


def next_chunk(file: IO[bytes], start: int, size: int) -> int | None:
    """Where the next whole chunk begins, at or behind ``start``."""
    while (start := _behind_hole(file, start, size)) < size:
        file.seek(start)
        block = file.read(_SEARCH_BYTES + _CHUNK_HEAD_BYTES)
        for match in _PERHAPS_CHUNK.finditer(block, 0):
            at = match.start()
            if at >= _SEARCH_BYTES:
                break
            head = block[at : at + _CHUNK_HEAD_BYTES]
            if _is_chunk(head) and _end_of(head, start + at, size) is not None:
                return start + at
        start += _SEARCH_BYTES
    return None


def _behind_hole(file: IO[bytes], start: int, size: int) -> int:
    """``start``, or where the hole ends that it is in: of a sparse file 100 GB may be nothing else."""
    try:
        fd = file.fileno()
        before = os.lseek(fd, 0, os.SEEK_CUR)
        try:
            return os.lseek(fd, start, os.SEEK_DATA)
        finally:
            os.lseek(fd, before, os.SEEK_SET)  # ``file`` believes to know where it is
    except OSError as error:
        return size if error.errno == errno.ENXIO else start


def inner(chunk: Any, shown: str) -> list[Any]:
    """The records in a chunk; one of ``DAMAGE`` for a damaged one, by its checksum, too.

    ``RecordingError`` where it is compressed by what is not installed.
    """
    try:
        data = unpack(chunk.data, chunk.compression, chunk.uncompressed_size)
    except ImportError:
        raise RecordingError(
            f"{shown}: it is compressed ({chunk.compression}), which gnetsegd's own recordings are not; make "
            "it plain with mcap decompress, or install the Python package lz4 or zstandard"
        ) from None
    plain = Chunk(
        "", data, chunk.message_end_time, chunk.message_start_time, chunk.uncompressed_crc, len(data)
    )
    found: list[Any] = breakup_chunk(plain, validate_crc=True)
    return found
