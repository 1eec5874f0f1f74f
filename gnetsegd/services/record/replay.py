"""``gnetsegctl replay``: a recording at an endpoint, as its daemon would send it now."""

from __future__ import annotations

import math
import os
import queue
import socket
import stat
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import zmq

from ...errors import GnetsegError, MessageError
from ...recordings import RecordingError
from ...text import clean
from .shifting import Shift

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...recordings.reading import Recorded, Recording

_NS = 1_000_000_000
_LINGER_MS = 500
_QUEUE_MESSAGES = 1000
#: One look for readers who come and go, and whether to stop.
_LOOK_S = 0.1
#: The end of a wait, for which sleeping is exact enough.
_SLEEP_S = 0.005
_AHEAD_MESSAGES = 200
#: After the last subscription; a busy machine's reader makes its sockets one after the other.
_SETTLE_S = 0.5


class Wish(NamedTuple):
    """``rate``: 2 is twice as fast. ``loop``: again and again."""

    rate: float = 1.0
    loop: bool = False


def default_endpoint() -> str:
    """A place of one's own: a daemon's own socket may be in use."""
    folder = os.environ.get("XDG_RUNTIME_DIR", "") or "/tmp"
    return f"ipc://{folder}/gnetsegd-replay.sock"


class Replay:
    """Binds ``endpoint``. ``RecordingError`` where a daemon is there already, or nothing can be."""

    def __init__(self, recording: Recording, endpoint: str) -> None:
        self._recording = recording
        self.sent = 0
        _check_free(endpoint)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.setsockopt(zmq.SNDHWM, _QUEUE_MESSAGES)
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            words = "a daemon is there already" if error.errno == zmq.EADDRINUSE else clean(str(error))
            raise RecordingError(
                f"{clean(endpoint)}: {words}; name another --endpoint", os.EX_UNAVAILABLE
            ) from None
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def wait_for_reader(self, stop: threading.Event) -> None:
        """Until somebody subscribes, and a moment longer: a reader has a socket for each topic."""
        come_at = math.inf
        while not stop.is_set() and time.monotonic() < come_at + _SETTLE_S:
            if self._socket.poll(int(_LOOK_S * 1000)):
                self._hear()
                come_at = time.monotonic()

    def play(self, wish: Wish, stop: threading.Event, told: Callable[[str], None]) -> None:
        """Once, or until ``stop``. ``RecordingError`` for a recording without a message."""
        while True:
            before = self.sent
            self._play_once(wish.rate, stop)
            if self.sent == before and not stop.is_set():
                raise RecordingError(
                    f"{clean(str(self._recording.path))}: there is no message of gnetsegd in it"
                )
            if self._recording.cut:
                told("the recording has no end: gnetsegctl recover makes it whole for other readers")
            if not wish.loop or stop.is_set():
                return

    def _play_once(self, rate: float, stop: threading.Event) -> None:
        shift, first_ns, begin_ns, due_ns = Shift(), None, 0, 0
        for message in self._ahead(stop):
            if first_ns is None:
                first_ns, begin_ns = message.publish_ns, time.monotonic_ns()
            # Of two topics one may have been taken off its socket a little later.
            due_ns = max(due_ns, begin_ns + round((message.publish_ns - first_ns) / rate))
            if not self._wait(due_ns, stop):
                return
            try:
                data = shift(message, max(due_ns, time.monotonic_ns()))
            except MessageError:
                continue
            if message.kind == "info":
                self._socket.setsockopt(zmq.XPUB_WELCOME_MSG, data)
            self._socket.send(data)
            self.sent += 1
            self._hear()

    def _ahead(self, stop: threading.Event) -> Iterator[Recorded]:
        """The recording's messages; a thread reads on meanwhile, so that none is late for the disk."""
        read: queue.Queue[Recorded | GnetsegError | None] = queue.Queue(_AHEAD_MESSAGES)

        def put(item: Recorded | GnetsegError | None) -> None:
            while not stop.is_set():
                with suppress(queue.Full):
                    read.put(item, timeout=_LOOK_S)
                    return

        def run() -> None:
            try:
                for message in self._recording:
                    put(message)
                    if stop.is_set():
                        return
                put(None)
            except GnetsegError as error:
                put(error)

        thread = threading.Thread(target=run, name="reader", daemon=True)
        thread.start()
        while not stop.is_set():
            with suppress(queue.Empty):
                item = read.get(timeout=_LOOK_S)
                if isinstance(item, GnetsegError):
                    raise item
                if item is None:
                    break
                yield item
        thread.join()

    def _wait(self, due_ns: int, stop: threading.Event) -> bool:
        """False where it is to stop."""
        while (left_s := (due_ns - time.monotonic_ns()) / _NS) > 0:
            if stop.is_set():
                return False
            if left_s > _SLEEP_S:
                self._socket.poll(int(1000 * min(left_s - _SLEEP_S, _LOOK_S)))
                self._hear()
            else:
                time.sleep(left_s)
        return not stop.is_set()

    def _hear(self) -> None:
        with suppress(zmq.Again):
            while True:
                self._socket.recv(zmq.NOBLOCK)


def _check_free(endpoint: str) -> None:
    """ZeroMQ takes the path of a daemon that runs, without a word."""
    if not endpoint.startswith("ipc://"):
        return
    path = endpoint.removeprefix("ipc://")
    if os.path.exists(path) and not stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH110, PTH116
        # ZeroMQ would put its socket in the place of whatever is there.
        raise RecordingError(f"{clean(endpoint)}: a file is there; name another --endpoint", os.EX_CANTCREAT)
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError, ValueError):
        probe.connect(path)
        raise RecordingError(
            f"{clean(endpoint)}: a daemon is there already; name another --endpoint", os.EX_UNAVAILABLE
        )
