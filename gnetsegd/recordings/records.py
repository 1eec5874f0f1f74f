"""An MCAP file record by record, as far as it is whole: https://mcap.dev/spec."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import IO, Any, NamedTuple

from ..vendor.mcap.data_stream import ReadDataStream
from ..vendor.mcap.stream_reader import breakup_chunk
from ..vendor.mcap.writer import MCAP0_MAGIC
from . import RECORD_MAX_BYTES, RecordingError

#: Opcode, and length of what follows.
_HEAD_BYTES = 9


class Record(NamedTuple):
    """``start`` and ``end``: where it stands in the file; ``content`` without opcode and length."""

    opcode: int
    start: int
    end: int
    content: bytes

    def read(self, kind: Any) -> Any:
        """As one of mcap's records. What is no such record raises whatever it leads to."""
        return kind.read(ReadDataStream(BytesIO(self.content)))


def records(file: IO[bytes], shown: str) -> Iterator[Record]:
    """Those that are whole, from the first; it ends where the file does, or where nothing sensible goes on.

    ``RecordingError`` for what is no MCAP file at all.
    """
    size = file.seek(0, 2)
    file.seek(0)
    if file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
        raise RecordingError(f"{shown}: this is no MCAP file")
    at = len(MCAP0_MAGIC)
    while at + _HEAD_BYTES <= size:
        file.seek(at)
        head = file.read(_HEAD_BYTES)
        length = int.from_bytes(head[1:], "little")
        end = at + _HEAD_BYTES + length
        if not head[0] or length > RECORD_MAX_BYTES or end > size:
            return
        yield Record(head[0], at, end, file.read(length))
        at = end


def inner(chunk: Any) -> list[Any]:
    """The records in a chunk; whatever a damaged one leads to is raised, a wrong checksum too."""
    found: list[Any] = breakup_chunk(chunk, validate_crc=True)
    return found
