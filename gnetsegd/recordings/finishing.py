"""Give a recording its end where that is missing: then every reader of MCAP opens it. No chunk is lost."""

from __future__ import annotations

import fcntl
import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from ..text import clean
from ..vendor.mcap.data_stream import RecordBuilder
from ..vendor.mcap.opcode import Opcode
from ..vendor.mcap.records import Chunk, DataEnd, Footer, Header
from ..vendor.mcap.writer import MCAP0_MAGIC
from . import LIBRARY, RecordingError, records
from .contents import Contents, Unclear
from .records import DAMAGE, DAMAGED, HEAD, PRIVATE, Record

#: What a recorder had not written whole is less; more is nothing to be thrown away.
TAIL_MAX_BYTES = 64 << 20
#: Written, and perhaps not yet on the disk when its power went: looked at byte by byte even in haste.
FRESH_BYTES = 64 << 20
#: Of a footer: all but its checksum, which is of the summary and of these.
_FOOTER_CHECKED_BYTES = HEAD.size + 16


class Finished(NamedTuple):
    """``was_whole``: nothing was to be done. ``left_out_bytes`` at the end were no whole chunk.

    ``damaged``: stretches in the midst that are no whole chunks; other readers now pass over them.
    """

    was_whole: bool
    messages: int
    left_out_bytes: int
    damaged: int = 0


class _Found(NamedTuple):
    """``end``: where the end is to be written; ``left_out`` bytes behind what is whole would go.

    ``damage``: (start, end) of stretches in the midst. ``whole``: the file has its end.
    """

    contents: Contents
    end: int
    left_out: int
    whole: bool
    damage: list[tuple[int, int]]


def finish(path: Path, fd: int | None = None, in_haste: bool = False) -> Finished:
    """Cut off what is not whole at the end of ``path``, and write the index and the end behind the rest.

    ``fd`` is the recorder's own descriptor, which holds the lock. ``in_haste``: believe what is surely on the
    disk, so that 100 GB take seconds. ``RecordingError`` for what is no recording of gnetsegd's, is being
    written, or cannot be written; then nothing is changed.
    """
    shown = clean(str(path))
    try:
        if fd is None and path.exists() and not path.is_file():
            raise RecordingError(f"{shown}: this is no file")
        # The recorder's own file is meant, whatever bears its name now.
        with path.open("r+b") if fd is None else open(fd, "r+b", closefd=False) as file:
            if fd is None:
                lock(file.fileno(), shown)
            return _finish(file, shown, in_haste)
    except OSError as error:
        raise RecordingError(
            f"{shown}: cannot be finished ({error.strerror or error}); it has to be there and "
            "yours to write, with room on its disk",
            os.EX_IOERR,
        ) from None


def lock(fd: int, shown: str) -> None:
    """Nobody else writes the file while ``fd`` is open; ``RecordingError`` where somebody does."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BeingWritten(
            f"{shown}: another recorder is writing it; end that one, or name another file", os.EX_CANTCREAT
        ) from None


class BeingWritten(RecordingError):
    """By another recorder."""


def _finish(file: IO[bytes], shown: str, in_haste: bool) -> Finished:
    size = os.fstat(file.fileno()).st_size
    _check_ours(file, shown)
    if in_haste and _has_end(file, size):
        return Finished(True, 0, 0)
    try:
        found = _look(file, shown, size, size - FRESH_BYTES if in_haste else 0)
    except Unclear:
        found = _look(file, shown, size, 0)
    messages = found.contents.messages
    if found.whole and not found.damage:
        return Finished(True, messages, 0)
    if found.left_out > TAIL_MAX_BYTES or any(end - start < HEAD.size for start, end in found.damage):
        raise RecordingError(
            f"{shown}: it is damaged at byte {found.end}, and {found.left_out >> 20} MB behind that are no "
            "whole chunks; nothing was changed, and what stands before can be replayed"
        )
    _write_end(file, found)
    return Finished(False, messages, found.left_out, len(found.damage))


def _check_ours(file: IO[bytes], shown: str) -> None:
    first = next(records.records(file, shown), None)
    if first is None:
        raise RecordingError(f"{shown}: {records.CUT_AT_ONCE}")
    ours = False
    if first.opcode == Opcode.HEADER:
        with suppress(*DAMAGE):
            header, again = first.read(Header), RecordBuilder()
            header.write(again)
            whole = again.end()[HEAD.size :] == first.begin(first.end)
            ours = whole and header.library.startswith(LIBRARY)
    if not ours:
        raise RecordingError(
            f"{shown}: it was not written by gnetsegd and is left as it is; mcap recover mends such files"
        )


def _has_end(file: IO[bytes], size: int) -> bool:
    """Whether footer and magic are there, the last that a recorder writes."""
    length = 8 + 8 + 4
    at = size - len(MCAP0_MAGIC) - HEAD.size - length
    file.seek(max(0, at))
    tail = file.read()
    return at > 0 and tail.endswith(MCAP0_MAGIC) and HEAD.unpack_from(tail) == (Opcode.FOOTER, length)


def _behind(footer: Record, shown: str, size: int) -> int:
    """So many bytes are behind the end; ``RecordingError`` where chunks are among them."""
    end = footer.end + len(MCAP0_MAGIC)
    chunk = records.next_chunk(footer.file, footer.end, size)
    if chunk is not None:
        raise RecordingError(
            f"{shown}: behind its end, at byte {end}, there is more of a recording; nothing was changed"
        )
    return max(0, size - end)


def _is_end(footer: Record) -> bool:
    """Whether the summary before it is as it was written, and the last magic follows."""
    file = footer.file
    file.seek(footer.end)
    if file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
        return False
    said = footer.read(Footer)
    if not 0 < said.summary_start <= footer.start:
        return False
    file.seek(said.summary_start)
    summary = file.read(footer.start - said.summary_start + _FOOTER_CHECKED_BYTES)
    return bool(said.summary_crc == zlib.crc32(summary))


def _look(file: IO[bytes], shown: str, size: int, believed: int) -> _Found:
    """What is there; chunks that end before byte ``believed`` are believed, ``Unclear`` where that fails."""
    contents = Contents()
    damage: list[tuple[int, int]] = []
    end = good_end = len(MCAP0_MAGIC)
    data_end, bad, whole, behind = size, None, False, 0
    for record in records.records(file, shown):
        if record.opcode == Opcode.FOOTER:
            behind = _behind(record, shown, size)
            whole = bad is None and not behind and _is_end(record)
            break
        if record.opcode == Opcode.DATA_END:
            data_end = record.start
        if data_end < size:
            if record.opcode != Opcode.CHUNK:
                continue  # the summary, which is made anew where the footer is missing
            bad = data_end if bad is None else bad  # it only seemed to be the end
            data_end = size
        if record.opcode != Opcode.CHUNK and bad is not None:
            continue  # of a damaged chunk, or of what is none
        if not _take(record, contents, shown, record.end <= believed):
            if record.opcode == DAMAGED and bad is None:
                contents.damaged()
            bad = record.start if bad is None else bad
            continue
        if bad is not None:
            damage.append((bad, record.start))
            bad = None
        good_end = record.end
        if record.opcode in _BEGINNINGS:
            end = record.end
    contents.settle(end)
    return _Found(contents, end, data_end - good_end + behind, whole, damage)


#: Of an index nothing begins: those of the last chunk may be missing in part, and are made anew.
_BEGINNINGS = (Opcode.HEADER, Opcode.CHUNK, PRIVATE)


def _take(record: Record, contents: Contents, shown: str, believed: bool) -> bool:
    """False for what is damaged."""
    try:
        if record.opcode == Opcode.CHUNK and believed:
            contents.believe(record)
        elif record.opcode == Opcode.CHUNK:
            contents.add_chunk(record, records.inner(record.read(Chunk), shown))
        elif record.opcode == Opcode.MESSAGE_INDEX:
            contents.add_index(record)
    except DAMAGE:
        return False
    return record.opcode != DAMAGED


def _write_end(file: IO[bytes], found: _Found) -> None:
    indices = found.contents.indices_at(found.end)
    builder = RecordBuilder()
    DataEnd(0).write(builder)
    summary_start = found.end + len(indices) + builder.count
    for item in found.contents.summary():
        item.write(builder)
    end = builder.count
    Footer(summary_offset_start=0, summary_start=summary_start, summary_crc=0).write(builder)
    data = indices + builder.end()
    end += len(indices) + _FOOTER_CHECKED_BYTES
    checksum = zlib.crc32(data[summary_start - found.end : end])
    file.seek(found.end)
    file.truncate()
    file.write(data[:end] + checksum.to_bytes(4, "little") + MCAP0_MAGIC)
    for start, end in found.damage:
        # A record of our own, over which every reader passes: its bytes stay, but for these nine.
        file.seek(start)
        file.write(HEAD.pack(PRIVATE, end - start - HEAD.size))
    file.flush()
    os.fsync(file.fileno())
