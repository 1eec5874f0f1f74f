"""``gnetsegctl record``: every message of a camera into a file, as a subscriber beside the others.

One thread takes messages off the sockets and never waits for the disk; another one writes.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import zmq

from ...client.connect import subscribe
from ...client.losses import LossCounter
from ...errors import MessageError
from ...message import HEADER, parse_header, parse_json, parse_topic
from ...recordings import RecordingError
from ...recordings.finishing import finish
from ...recordings.writing import RecordingWriter
from ...text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

#: For the disk may be waited so long: this much waits in memory meanwhile.
WAITING_MAX_BYTES = 128 << 20
#: Before that a socket holds so many.
QUEUE_MESSAGES = 2000
_LOOK_S = 0.1
#: Later times are nonsense, and do not fit the file.
_TIME_MAX_NS = 1 << 63


class Wish(NamedTuple):
    """``frames`` and ``pictures``: their topics, too. ``seconds`` and ``max_bytes``: an end, 0: none."""

    frames: bool = False
    pictures: bool = False
    seconds: float = 0.0
    max_bytes: int = 0


class Done(NamedTuple):
    """``lost``: masks that the daemon sent and that did not come here, or found no room."""

    path: Path
    messages: int
    masks: int
    lost: int
    size_bytes: int
    seconds: float
    kinds: frozenset[str]
    error: RecordingError | None


class Clocks:
    """From a daemon's CLOCK_MONOTONIC to time since 1970: one offset a session, whatever a clock does."""

    def __init__(self) -> None:
        self._offsets: dict[int, int] = {}
        self._newest = time.time_ns() - time.monotonic_ns()

    def learn(self, info: dict[str, Any]) -> None:
        self._offsets.setdefault(info["session"], info["monotonic_to_wall_offset_ns"])
        self._newest = self._offsets[info["session"]]

    def wall_ns(self, session: int, monotonic_ns: int) -> int:
        """That time of a session. One whose ``info`` has not come is taken for one of this machine."""
        return monotonic_ns + self._offsets.setdefault(session, self._newest)


def free_name(path: Path, told: Callable[[str], None]) -> Path:
    """``path``, or the next name where that one is there; one that was left without its end gets it.

    ``RecordingError`` where another recorder is writing it, and for a folder.
    """
    if path.is_dir():
        raise RecordingError(f"{clean(str(path))}: this is a folder; name a file in it", os.EX_CANTCREAT)
    number = 1
    name = path
    while name.exists():
        try:
            found = finish(name)
        except RecordingError as error:
            if "another recorder" in str(error):
                raise
            found = None  # whatever it is, it is not ours to touch
        if found is not None and not found.was_whole:
            told(
                f"{clean(str(name))}: was left without its end, and is whole again: {found.messages} messages"
            )
        number += 1
        name = path.with_stem(f"{path.stem}-{number}")
    return name


def record(
    path: Path, endpoint: str, camera: str, wish: Wish, stop: threading.Event, **keys: bytes | None
) -> Done:
    """Until ``stop``, or what is wished for. The file is whole in any case.

    ``RecordingError`` for a file that cannot be made, ``ValueError`` for an endpoint that cannot be one.
    """
    kinds = ["info", "status", "mask", *(["frame"] * wish.frames), *(["image"] * wish.pictures)]
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sockets: list[zmq.Socket[bytes]] = []
    writer = RecordingWriter(path)
    disk = _Disk(writer, wish.max_bytes)
    try:
        poller = zmq.Poller()
        for kind in kinds:
            socket = subscribe(
                endpoint,
                kind,
                camera,
                newest_only=False,
                queue_messages=QUEUE_MESSAGES,
                context=context,
                **keys,
            )
            sockets.append(socket)
            poller.register(socket, zmq.POLLIN)
        begun = time.monotonic()
        disk.start()
        while not stop.is_set() and not disk.ended.is_set():
            if wish.seconds and time.monotonic() - begun >= wish.seconds:
                break
            for socket, _ in poller.poll(int(_LOOK_S * 1000)):
                with suppress(zmq.Again):
                    while True:
                        disk.take(socket.recv(zmq.NOBLOCK))
    finally:
        for socket in sockets:
            socket.close(linger=0)
        context.term()
        disk.finish()
    took_s = time.monotonic() - begun
    return Done(
        path, writer.messages, disk.masks, disk.lost, writer.size_bytes, took_s, writer.kinds, disk.error
    )


class _Disk:
    """The thread that writes, and what waits for it."""

    def __init__(self, writer: RecordingWriter, max_bytes: int) -> None:
        self._writer, self._max_bytes = writer, max_bytes
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
        self._clocks = Clocks()
        self._losses = LossCounter()
        self.masks = self.lost = 0
        self.error: RecordingError | None = None
        self.ended = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def take(self, message: bytes) -> None:
        """One that was received; it is counted as lost where too much waits already."""
        with self._lock:
            full = self._waiting_bytes > WAITING_MAX_BYTES
            self._waiting_bytes += 0 if full else len(message)
        if not full:
            self._waiting.put(message)

    def finish(self) -> None:
        self._waiting.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            while True:
                try:
                    message = self._waiting.get(timeout=_LOOK_S)
                except queue.Empty:
                    self._writer.tick(time.monotonic())
                    continue
                if message is None:
                    break
                with self._lock:
                    self._waiting_bytes -= len(message)
                self._write(message)
                self._writer.tick(time.monotonic())
                if self._max_bytes and self._writer.size_bytes >= self._max_bytes:
                    break
            self._writer.finish()
        except RecordingError as error:
            self.error = error
        except Exception as error:
            self.error = RecordingError(f"the recording has ended: {clean(str(error))}")
            with suppress(Exception):
                self._writer.finish()
        finally:
            self.ended.set()

    def _write(self, message: bytes) -> None:
        try:
            kind, camera = parse_topic(message)
            if kind in ("info", "status"):
                log_ns, publish_ns, sequence = self._of_json(message)
            else:
                log_ns, publish_ns, sequence = self._of_header(kind, message)
        except MessageError:
            return  # nonsense of a publisher's is no part of a recording
        if not (0 <= log_ns < _TIME_MAX_NS and 0 <= publish_ns < _TIME_MAX_NS):
            return
        self._writer.add(kind, f"{kind}/{camera}", message, log_ns, publish_ns, sequence)

    def _of_json(self, message: bytes) -> tuple[int, int, int]:
        kind, _, body = parse_json(message)
        if kind == "info":
            self._clocks.learn(body)
            # It has no time of its own.
            now = self._clocks.wall_ns(body["session"], time.monotonic_ns())
            return now, now, 0
        sent = self._clocks.wall_ns(body["session"], body["timestamp_ns"])
        return sent, sent, 0

    def _of_header(self, kind: str, message: bytes) -> tuple[int, int, int]:
        if len(message) < HEADER.size:
            raise MessageError(f"a {kind} of {len(message)} bytes")
        if kind == "mask":
            header = parse_header(message)
            self.masks += 1
            self.lost += self._losses.update(header)[0]
        fields = HEADER.unpack_from(message)
        sequence, session, sensor_ns, publish_ns = fields[12:16]
        return self._clocks.wall_ns(session, sensor_ns), self._clocks.wall_ns(session, publish_ns), sequence


def stop_on_signals() -> threading.Event:
    """Set by SIGINT and SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop
