"""``gnetsegctl record``: every message of a camera into a file, as a subscriber beside the others.

One thread takes messages off the sockets and never waits for the disk; another one writes.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import zmq

from ...client.connect import subscribe
from ...client.losses import LossCounter
from ...errors import MessageError
from ...recordings import RecordingError
from ...recordings.waiting import Waiting
from ...recordings.writing import RecordingWriter
from ...text import clean
from .clocks import Clocks, Stamped, stamped

if TYPE_CHECKING:
    from collections.abc import Callable

#: Before what waits for the disk a socket holds so many.
QUEUE_MESSAGES = 2000
#: At the end: where not one message is written in so long, nothing more is waited for.
DISK_LIMIT_S = 30.0
#: So many of one topic before the others, and a stop, are looked at.
_TURN_MESSAGES = 256
_LOOK_S = 0.1
#: A daemon tells its status each second.
SILENT_S = 5.0


class Wish(NamedTuple):
    """``frames`` and ``pictures``: their topics, too. ``seconds`` and ``max_bytes``: an end, 0: none."""

    frames: bool = False
    pictures: bool = False
    seconds: float = 0.0
    max_bytes: int = 0


class Done(NamedTuple):
    """``lost``: masks that the daemon sent and that did not come here, or found no room in memory.

    ``lost_frames``: the same of ``frame``; how many pictures in colour a daemon has sent is not to be told.
    ``no_room``: messages of any kind that found none; ``nonsense``: those that were none of gnetsegd's.
    """

    path: Path
    messages: int
    masks: int
    lost: int
    lost_frames: int
    no_room: int
    nonsense: int
    size_bytes: int
    seconds: float
    kinds: frozenset[str]
    error: RecordingError | None


def record(
    path: Path,
    endpoint: str,
    camera: str,
    wish: Wish,
    stop: threading.Event,
    told: Callable[[str], None] = lambda _: None,
    **keys: bytes | None,
) -> Done:
    """Until ``stop``, or what is wished for. The file is whole in any case; ``told`` hears of silences.

    ``RecordingError`` for a file that cannot be made, ``ValueError`` for an endpoint that cannot be one.
    """
    kinds = ["info", "status", "mask", *(["frame"] * wish.frames), *(["image"] * wish.pictures)]
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sockets: list[zmq.Socket[bytes]] = []
    writer = RecordingWriter(path)
    disk = _Disk(writer, wish.max_bytes)
    disk.start()
    begun = heard = time.monotonic()
    silent = False
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
        while not stop.is_set() and not disk.ended.is_set():
            if wish.seconds and time.monotonic() - begun >= wish.seconds:
                break
            ready = poller.poll(int(_LOOK_S * 1000))
            now = time.monotonic()
            heard = now if ready else heard
            if silent != (now - heard > SILENT_S):
                silent = not silent
                gone = f"nothing has come from the daemon for {SILENT_S:.0f} s; it is waited for"
                told(gone if silent else "the daemon is heard again")
            for socket, _ in ready:
                with suppress(zmq.Again):
                    for _ in range(_TURN_MESSAGES):
                        disk.take(socket.recv(zmq.NOBLOCK))
    finally:
        for socket in sockets:
            socket.close(linger=0)
        context.term()
        disk.finish()
    took_s = time.monotonic() - begun
    return Done(
        path,
        writer.messages,
        disk.masks,
        disk.lost["mask"],
        disk.lost["frame"],
        disk.no_room,
        disk.nonsense,
        writer.size_bytes,
        took_s,
        writer.kinds,
        disk.error,
    )


class _Disk:
    """The thread that writes, and what waits for it."""

    def __init__(self, writer: RecordingWriter, max_bytes: int) -> None:
        self._writer, self._max_bytes = writer, max_bytes
        #: (message, when it arrived, ns since 1970); None: nothing more comes.
        self._waiting: Waiting[tuple[bytes, int] | None] = Waiting()
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
        self._clocks = Clocks()
        #: What waits for its daemon's clock to be told, in the order in which it came.
        self._held: deque[Stamped] = deque()
        self._losses = {kind: LossCounter() for kind in ("mask", "frame")}
        self.lost = dict.fromkeys(self._losses, 0)
        self.masks = self.nonsense = 0
        self.error: RecordingError | None = None
        self.ended = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def take(self, message: bytes) -> None:
        """One that was received; it is counted as lost where too much waits already."""
        self._waiting.put((message, time.time_ns()), len(message))

    @property
    def no_room(self) -> int:
        """Messages that found none in memory."""
        return self._waiting.no_room

    def finish(self) -> None:
        """Write what waits, and the end. A disk that does nothing for ``DISK_LIMIT_S`` is given up."""
        self._waiting.put(None, 0)
        seen, since = -1, time.monotonic()
        while self._thread.is_alive():
            self._thread.join(_LOOK_S)
            if (waiting := len(self._waiting)) != seen:
                seen, since = waiting, time.monotonic()
            elif time.monotonic() - since > DISK_LIMIT_S:
                self.error = self._failed(f"the disk has done nothing for {DISK_LIMIT_S:.0f} s")
                return

    def _failed(self, why: str) -> RecordingError:
        shown = clean(str(self._writer.path))
        return RecordingError(f"{shown}: {why}; gnetsegctl recover makes the file whole", os.EX_IOERR)

    def _run(self) -> None:
        error: RecordingError | None = self._failed("the recorder failed")
        try:
            self._serve()
            error = None
        except RecordingError as told:
            error = told
        finally:
            self.error = error
            self.ended.set()

    def _serve(self) -> None:
        at_end = False
        while not at_end:
            with suppress(queue.Empty):
                item = self._waiting.get(_LOOK_S)
                at_end = item is None
                if item is not None:
                    self._hear(*item)
            self._write(at_end)
            self._writer.tick(time.monotonic())
            if self._max_bytes and self._writer.size_bytes >= self._max_bytes:
                break
        self._writer.finish()

    def _hear(self, message: bytes, arrived_ns: int) -> None:
        try:
            heard = self._clocks.meet(stamped(message, time.monotonic(), arrived_ns))
        except MessageError:
            self.nonsense += 1  # a publisher's, and no part of a recording
            return
        self.masks += heard.kind == "mask"
        if heard.header is not None and heard.kind in self._losses:
            self.lost[heard.kind] += self._losses[heard.kind].update(heard.header)[0]
        self._held.append(heard)

    def _write(self, at_end: bool) -> None:
        now = time.monotonic()
        while self._held and (at_end or self._clocks.ready(self._held[0], now)):
            message = self._held.popleft()
            log_ns, publish_ns = self._clocks.times(message)
            topic = f"{message.kind}/{message.camera}"
            sequence = message.header.sequence if message.header is not None else 0
            self._writer.add(message.kind, topic, message.data, log_ns, publish_ns, sequence)
