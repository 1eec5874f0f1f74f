"""``gnetsegctl replay``: a recording at an endpoint, as its daemon would send it now."""

from __future__ import annotations

import os
import queue
import socket
import stat
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import zmq

from ...errors import MessageError
from ...recordings import RecordingError
from ...tcp import PORT_MAX, has_port, is_loopback
from ...text import clean
from .schedule import SILENCE_MAX_S, Schedule
from .shifting import Shift, parse

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
#: A machine that slept, or was busy for so long, does not make up for it.
_LATE_MAX_NS = _NS
#: Where no more subscriptions come for so long, a reader has made all of his; but no longer than that.
_SUBSCRIBING_MS, _SUBSCRIBING_MAX_S = 500, 2.0
_HOSTS_TOLD = 20
#: Between two runs through a recording.
_LOOP_PAUSE_S = 0.1
#: A daemon that is busy takes a connection within this, or is taken to be there.
_PROBE_S = 1.0


class Wish(NamedTuple):
    """``rate``: 2 is twice as fast. ``loop``: again and again. ``host``: of a fleet's recording."""

    rate: float = 1.0
    loop: bool = False
    host: str | None = None


class Passed(NamedTuple):
    """Messages not sent: a reader would refuse them, or of other machines. Silences that were shortened."""

    refused: int
    others: Counter[str]
    shortened: int


def default_endpoint() -> str:
    """A place of one's own: a daemon's own socket may be in use."""
    folder = os.environ.get("XDG_RUNTIME_DIR", "") or "/tmp"
    return f"ipc://{folder}/gnetsegd-replay.sock"


class Replay:
    """Binds ``endpoint``. ``RecordingError`` where a daemon is there already, or nothing can be."""

    def __init__(self, recording: Recording, endpoint: str) -> None:
        self._recording = recording
        self.sent = 0
        _check_address(endpoint)
        _check_free(endpoint)
        self._place: os.stat_result | None = None
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
        with suppress(OSError):  # of TCP and of abstract sockets there is none
            self._place = self._path.lstat()

    @property
    def is_exposed(self) -> bool:
        """Whether other machines can read it."""
        return self.endpoint.startswith("tcp://") and not is_loopback(self.endpoint.removeprefix("tcp://"))

    @property
    def _path(self) -> Path:
        return Path(self.endpoint.removeprefix("ipc://"))

    def close(self) -> None:
        """libzmq leaves the socket's file, which would look like a daemon to whoever lists the folder."""
        self._socket.close()
        self._context.term()
        if self._place is not None:
            with suppress(OSError):
                if os.path.samestat(self._place, self._path.lstat()):
                    self._path.unlink()

    def wait_for_reader(self, stop: threading.Event) -> None:
        """Until somebody subscribes, to all that he wants: so nobody misses the beginning."""
        while not stop.is_set() and not self._socket.poll(int(_LOOK_S * 1000)):
            pass
        end = time.monotonic() + _SUBSCRIBING_MAX_S
        # A reader has a socket for each topic, and they come one after the other.
        while not stop.is_set() and time.monotonic() < end and self._socket.poll(_SUBSCRIBING_MS):
            self._hear()

    def play(self, wish: Wish, stop: threading.Event, told: Callable[[str], None]) -> None:
        """Once, or until ``stop``. ``RecordingError`` for a recording of which nothing can be sent."""
        first = True
        while not stop.is_set():
            before = self.sent
            self._socket.setsockopt(zmq.XPUB_WELCOME_MSG, b"")
            passed = self._play_once(wish, stop)
            if stop.is_set():
                return
            if first:
                self._tell(passed, told)
            if self.sent == before:
                raise RecordingError(
                    f"{clean(str(self._recording.path))}: there is no message in it that can be replayed"
                )
            if not wish.loop:
                return
            first = False
            stop.wait(_LOOP_PAUSE_S)

    def _tell(self, passed: Passed, told: Callable[[str], None]) -> None:
        if passed.refused:
            told(f"{passed.refused} messages are damaged or of a later version, and were not sent")
        if set(passed.others) == {""} and not self.sent:
            told("this recording is of one machine, and names none; leave out --host")
        elif passed.others:
            names = ", ".join(
                clean(name) or "no machine's name" for name in sorted(passed.others)[:_HOSTS_TOLD]
            )
            told(f"{passed.others.total()} messages are of other machines ({names}); name one with --host")
        if passed.shortened:
            told(f"{passed.shortened} silences of over {SILENCE_MAX_S:.0f} s, or set clocks, are shortened")
        for words in self._recording.left_out():
            told(words)

    def _play_once(self, wish: Wish, stop: threading.Event) -> Passed:
        shift, schedule, host, refused = Shift(), None, wish.host, 0
        others: Counter[str] = Counter()
        for message in self._ahead(stop):
            host = message.host if host is None else host
            if message.host != host:
                others[message.host] += 1
                continue
            try:
                parsed = parse(message)
            except MessageError:
                refused += 1
                continue
            if schedule is None:
                # Not before the first message is at hand: to find it takes a while.
                schedule = Schedule(wish.rate, time.monotonic_ns())
            due_ns = schedule.due_ns(parsed.session, message.publish_ns)
            if not self._wait(due_ns, stop):
                break
            now_ns = time.monotonic_ns()
            if now_ns - due_ns > _LATE_MAX_NS:
                schedule.late(now_ns - due_ns)
            data = shift(parsed, max(due_ns, now_ns))
            if message.kind == "info":
                self._socket.setsockopt(zmq.XPUB_WELCOME_MSG, data)
            self._socket.send(data)
            self.sent += 1
            self._hear()
        return Passed(refused, others, schedule.shortened if schedule is not None else 0)

    def _ahead(self, stop: threading.Event) -> Iterator[Recorded]:
        """The recording's messages; a thread reads on meanwhile, so that none is late for the disk."""
        read: queue.Queue[Recorded | Exception | None] = queue.Queue(_AHEAD_MESSAGES)

        def put(item: Recorded | Exception | None) -> None:
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
            except Exception as error:  # whatever it is, nobody is to wait for what follows
                put(error)

        thread = threading.Thread(target=run, name="reader", daemon=True)
        thread.start()
        while not stop.is_set():
            with suppress(queue.Empty):
                item = read.get(timeout=_LOOK_S)
                if isinstance(item, Exception):
                    raise item
                if item is None:
                    break
                yield item
        # It may look for the next whole chunk in a file of 100 GB; nobody who stops waits for that.
        thread.join(None if not stop.is_set() else _LOOK_S)

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


def _check_address(endpoint: str) -> None:
    """ZeroMQ takes 99999 for another port, and what is of one process alone."""
    scheme, _, rest = endpoint.partition("://")
    if (scheme == "ipc" and rest) or (scheme == "tcp" and has_port(rest)):
        return
    raise RecordingError(
        f"{clean(endpoint) or 'an empty --endpoint'}: this is neither ipc:///path nor tcp://address:port "
        f"(1 to {PORT_MAX}, or * for any); name another --endpoint",
        os.EX_USAGE,
    )


def _check_free(endpoint: str) -> None:
    """ZeroMQ takes the path of a daemon that runs, or of any file, without a word."""
    path = endpoint.removeprefix("ipc://")
    if path == endpoint or path.startswith(("@", "*")):
        return
    words = "a daemon is there already"
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, ValueError):
        return
    except OSError as error:
        words = f"no place for a socket ({clean(error.strerror or str(error))})"
        raise RecordingError(
            f"{clean(endpoint)}: {words}; name another --endpoint", os.EX_CANTCREAT
        ) from None
    try:
        if not stat.S_ISSOCK(mode):
            words = "this is a file, and no place for a socket"
        else:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(_PROBE_S)
                probe.connect(path)
    except (FileNotFoundError, ConnectionRefusedError, ValueError):
        return  # nobody listens there
    except OSError:
        pass  # somebody does, and is busy, or lets nobody in
    raise RecordingError(f"{clean(endpoint)}: {words}; name another --endpoint", os.EX_UNAVAILABLE)
