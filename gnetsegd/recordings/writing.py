"""A recording that is being written: a chunk is closed and on the disk each second."""

from __future__ import annotations

import contextlib
import errno
import os
from array import array
from pathlib import Path

from ..text import clean
from ..vendor.mcap.writer import CompressionType, Writer
from . import ENCODING, LIBRARY, PROFILE, RecordingError, finishing, not_written
from .schemas import SCHEMAS

#: What a power cut may cost.
CHUNK_S = 1.0
CHUNK_BYTES = 4 << 20
_WRITE_BYTES = 1 << 20
_U64_MAX = (1 << 64) - 1


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

    def drop(self) -> None:
        """What has found no room is not to be written any more."""
        self._pending = bytearray()

    def flush(self) -> None:
        at = 0
        while at < len(self._pending):
            at += os.write(self._fd, memoryview(self._pending)[at : at + _WRITE_BYTES])
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
            raise not_written(self._shown, words) from None
        self._out = _Out(self._fd)
        self._writer = Writer(
            self._out,  # type: ignore[arg-type]
            chunk_size=CHUNK_BYTES,
            compression=CompressionType.NONE,
        )
        try:
            finishing.lock(self._fd, self._shown)
            self._writer.start(profile=PROFILE, library=LIBRARY)
            self._out.flush()
            os.fdatasync(self._fd)
            _sync_folder(path)
        except (OSError, RecordingError) as error:
            os.close(self._fd)
            if isinstance(error, RecordingError):
                raise
            # Nothing is in it yet, and it is nobody else's.
            path.unlink(missing_ok=True)
            words = clean(error.strerror or str(error))
            raise not_written(self._shown, words) from None
        #: Some file systems count no names.
        self._has_names = os.fstat(self._fd).st_nlink > 0
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        #: Where what is on the disk ended, each second: a day takes 700 KB.
        self._marks = array("Q", [self._out.written])
        self._closed_at: float | None = None
        self._open_bytes = 0
        self.messages = 0

    @property
    def kinds(self) -> frozenset[str]:
        """Those of which there is a message."""
        return frozenset(self._schemas)

    @property
    def size_bytes(self) -> int:
        """With what is not closed yet."""
        return self._out.tell() + self._open_bytes

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
        # Times that no clock has had are of a publisher that lies; they have no place in a file.
        log_ns, publish_ns = (min(max(0, at_ns), _U64_MAX) for at_ns in (log_ns, publish_ns))
        before = self._out.tell()
        self._writer.add_message(channel, log_ns, data, publish_ns, sequence & 0xFFFFFFFF)
        self._open_bytes = self._open_bytes + len(data) if self._out.tell() == before else 0
        self.messages += 1

    def tick(self, now: float) -> None:
        """Close the chunk and wait for the disk, each second.

        ``RecordingError`` where it is full: then the file is whole, and holds all but the last seconds; and
        where somebody has removed the file.
        """
        if self._closed_at is None:
            self._closed_at = now
        if now - self._closed_at < CHUNK_S:
            return
        self._closed_at = now
        try:
            self._writer.flush()
            self._open_bytes = 0
            os.fdatasync(self._fd)
        except OSError as error:
            self._end_in_need(error)
        self._marks.append(self._out.written)
        self._check_there()

    def finish(self) -> None:
        """Write the index and the end. Errors as ``tick``."""
        try:
            self._writer.flush()
            self._open_bytes = 0
            self._writer.finish()
            self._out.flush()
            os.fsync(self._fd)
        except OSError as error:
            self._end_in_need(error)
        self._check_there()
        os.close(self._fd)

    def abandon(self) -> None:
        """Let go of the file as it is on the disk: as after a power cut."""
        os.close(self._fd)

    def _check_there(self) -> None:
        """What has lost its last name is gone when it is closed."""
        if not self._has_names or os.fstat(self._fd).st_nlink:
            return
        os.close(self._fd)
        self.messages = self._open_bytes = self._out.written = 0
        raise RecordingError(f"{self._shown}: somebody has removed it, and what it had is lost", os.EX_IOERR)

    def _end_in_need(self, error: OSError) -> None:
        """The end in place of what did not find room; raises. A long file's takes some seconds' room.

        ``messages`` and ``size_bytes`` are then what the file holds.
        """
        self._out.drop()
        self._open_bytes = 0
        kept, seconds = False, 1
        while not kept and self._marks:
            mark = self._marks.pop()
            with contextlib.suppress(OSError, RecordingError):
                os.ftruncate(self._fd, mark)
                self.messages = finishing.finish(self.path, self._fd, in_haste=True).messages
                self._out.written = os.fstat(self._fd).st_size
                kept = True
            del self._marks[len(self._marks) - min(seconds, len(self._marks)) :]
            seconds *= 2
        os.close(self._fd)
        rest = (
            "the file is whole up to the last seconds"
            if kept
            else "its end could not be written: gnetsegctl recover does that"
        )
        raise RecordingError(f"{self._shown}: {clean(error.strerror or str(error))}; {rest}", os.EX_IOERR)


def _sync_folder(path: Path) -> None:
    """That there is such a file is on the disk, too."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot, and need not
            raise
    finally:
        os.close(folder)
