"""A recording that is being written: a chunk is closed and on the disk each second."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from ..text import clean
from ..vendor.mcap.writer import CompressionType, Writer
from . import ENCODING, PROFILE, RecordingError, finishing
from .schemas import SCHEMAS

#: What a power cut may cost.
CHUNK_S = 1.0
CHUNK_BYTES = 1 << 20
#: Where the disk is full, so many chunks are given up at most to make room for the file's end.
_GIVEN_UP_MAX = 8


class _Out:
    """What mcap's writer writes to. Nothing is on the disk before ``flush``, and then all or an error."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._pending = bytearray()
        self.written = 0

    def write(self, data: bytes) -> None:
        self._pending += data

    def tell(self) -> int:
        return self.written + len(self._pending)

    def flush(self) -> None:
        at = 0
        while at < len(self._pending):
            at += os.write(self._fd, memoryview(self._pending)[at : at + CHUNK_BYTES])
        self.written += at
        self._pending = bytearray()


class RecordingWriter:
    """Not for several threads at once. ``RecordingError`` where the file cannot be made, or is another's."""

    def __init__(self, path: Path) -> None:
        self.path, self._shown = path, clean(str(path))
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            raise RecordingError(
                f"{self._shown}: it is there already; name another file", os.EX_CANTCREAT
            ) from None
        except (OSError, ValueError) as error:
            words = clean(str(getattr(error, "strerror", None) or error))
            raise RecordingError(f"{self._shown}: cannot be written ({words})", os.EX_CANTCREAT) from None
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self._out = _Out(self._fd)
        self._writer = Writer(
            self._out,  # type: ignore[arg-type]
            chunk_size=CHUNK_BYTES,
            compression=CompressionType.NONE,
        )
        self._writer.start(profile=PROFILE, library="gnetsegd")
        self._out.flush()
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        #: Where each whole chunk that is on the disk ends.
        self._marks: list[int] = []
        self._closed_at: float | None = None
        self.messages = 0

    @property
    def kinds(self) -> frozenset[str]:
        """Those of which there is a message."""
        return frozenset(self._schemas)

    @property
    def size_bytes(self) -> int:
        return self._out.tell()

    def add(
        self, kind: str, topic: str, data: bytes, log_ns: int, publish_ns: int, sequence: int = 0
    ) -> None:
        """One message, to be on the disk within ``CHUNK_S``."""
        channel = self._channels.get(topic)
        if channel is None:
            if kind not in self._schemas:
                text = SCHEMAS[kind].encode()
                self._schemas[kind] = self._writer.register_schema(f"gnetsegd.{kind}", ENCODING, text)
            channel = self._channels[topic] = self._writer.register_channel(
                topic, ENCODING, self._schemas[kind]
            )
        self._writer.add_message(channel, max(0, log_ns), data, max(0, publish_ns), sequence & 0xFFFFFFFF)
        self.messages += 1

    def tick(self, now: float) -> None:
        """Close the chunk and wait for the disk, each second.

        ``RecordingError`` where it is full: then the file is whole, and holds all but the last seconds.
        """
        if self._closed_at is None:
            self._closed_at = now
        if now - self._closed_at < CHUNK_S:
            return
        self._closed_at = now
        try:
            self._writer.flush()
            os.fdatasync(self._fd)
        except OSError as error:
            self._end_in_need(error)
        self._marks = [*self._marks[1 - _GIVEN_UP_MAX :], self._out.written]

    def finish(self) -> None:
        """Write the index and the end. Errors as ``tick``."""
        try:
            self._writer.flush()
            self._writer.finish()
            self._out.flush()
            os.fsync(self._fd)
        except OSError as error:
            self._end_in_need(error)
        os.close(self._fd)

    def abandon(self) -> None:
        """Let go of the file as it is on the disk: as after a power cut."""
        os.close(self._fd)

    def _end_in_need(self, error: OSError) -> None:
        """The end in place of what did not find room; raises."""
        kept = False
        while not kept and self._marks:
            with contextlib.suppress(OSError, RecordingError):
                os.ftruncate(self._fd, self._marks.pop())
                finishing.finish(self.path, self._fd)
                kept = True
        os.close(self._fd)
        rest = (
            "the file is whole up to the last second or two"
            if kept
            else "no room was left for the file's end"
        )
        raise RecordingError(f"{self._shown}: {clean(error.strerror or str(error))}; {rest}", os.EX_IOERR)
