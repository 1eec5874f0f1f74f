"""The whole road in this process: numbered pictures in, a subscriber that checks every mask out.

For tests of accelerators. Each picture carries its number in all of its pixels and the network is
deterministic, so that every mask can be compared with what its own frame must give: another frame's
mask, an old one, half of one or none at all is seen. ``Reader.wrong`` says what was not as promised.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import zmq
from zmq.utils.monitor import recv_monitor_message

from ..cameras import Camera, CameraInfo, CaptureRequest
from ..config import CameraConfig, PublishConfig
from ..frame import FrameSpec, Geometry
from ..message import MaskHeader, pack_mask, parse_header
from ..road import road
from ..road.publisher import Publisher
from ..road.road import DEPTH_MAX_FRAMES, Network, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..accelerators import Accelerator
    from ..model import ModelBundle

#: Masks on their way to the reader. Of more than 1000 ZeroMQ drops some: no fault of the accelerator's.
UNREAD_MAX = 300
#: For what is on its way at the end.
TAKE_IN_S = 10.0
#: Odd, so that different numbers below 2**64 give different codes, and near ones unlike codes.
_SCATTER = 0x9E3779B97F4A7C15


class Pictures:
    """Picture ``number`` of a format: always the same, and unlike every other's."""

    def __init__(self, spec: FrameSpec, seed: int = 0) -> None:
        self.spec = spec
        # Half of the range is left to the code, which turns the upper bit of each pixel.
        self._base = np.random.default_rng(seed).integers(0, 128, spec.size_bytes, np.uint8)
        self._repeats = -(-spec.size_bytes // 64)

    def write(self, number: int, pixels: NDArray[np.uint8]) -> None:
        """Fill ``pixels``, of the format's shape."""
        code = (number * _SCATTER % (1 << 64)).to_bytes(8, "little")
        bits = np.unpackbits(np.frombuffer(code, np.uint8)) << 7
        turned = np.tile(bits, self._repeats)[: self._base.size]
        np.bitwise_or(self._base, turned, out=pixels.reshape(-1))


class NumberedCamera(Camera):
    """Gives picture n as frame n, as fast as they are taken; with ``live`` it does not wait for that."""

    Options: ClassVar[type[Any]] = object

    def __init__(self, pictures: Pictures, *, live: bool = False, period_s: float = 0.0) -> None:
        self._pictures = pictures
        self._live = live
        self._period_s = period_s
        self._next = 0
        #: Closed, no new picture is given: so a test can have nothing in flight.
        self.gate = threading.Event()
        self.gate.set()
        #: How many masks the reader has still to take in.
        self.unread: Callable[[], int] = lambda: 0

    def open(self, request: CaptureRequest) -> CameraInfo:
        del request
        spec = self._pictures.spec
        geometry = Geometry("stretch", 0.0, 0.0, 1.0, 1.0, spec.width, spec.height)
        return CameraInfo(0.0, geometry, "numbered", live=self._live)

    def capture(self, frame: Any) -> None:
        if self._period_s:
            time.sleep(self._period_s)
        self.gate.wait(10)
        while self.unread() > UNREAD_MAX:
            time.sleep(0.001)
        frame.sequence = self._next
        frame.sensor_timestamp_ns = time.monotonic_ns()
        self._pictures.write(self._next, frame.pixels)
        self._next += 1

    def close(self) -> None:
        pass


class Seen(NamedTuple):
    """What a reader remembers of a mask. Times are of CLOCK_MONOTONIC, in s."""

    sequence: int
    made_at: float
    received_at: float
    backend: str
    fallback: bool


class Reader:
    """A subscriber with one connection that checks every mask; in a thread of its own.

    ``expected(number)`` gives the labels of frame ``number``. ``wrong`` are sentences about masks that
    broke a promise; ``connections`` and ``disconnections`` count what happened to its one connection.
    """

    def __init__(
        self, endpoint: str, expected: Callable[[int], NDArray[np.uint8]], on_mask: Callable[[Seen], None]
    ) -> None:
        self.masks = 0
        self.wrong: list[str] = []
        self.connections = 0
        self.disconnections = 0
        self.sessions: set[int] = set()
        self._expected = expected
        self._on_mask = on_mask
        self._last: MaskHeader | None = None
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"mask/")
        events = zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED
        self._monitor = self._socket.get_monitor_socket(events)
        self._socket.connect(endpoint)
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop:
            if self._socket.poll(50):
                self._check(self._socket.recv())

    def _check(self, message: bytes) -> None:
        header, last = parse_header(message), self._last
        self.masks += 1
        self.sessions.add(header.session)
        expected = pack_mask(self._expected(header.sequence), header.format.bits)
        if message[header.payload_offset :] != expected:
            self._complain(header, "is not its own frame's mask")
        # The gap must be what the counters say; before the first mask, too.
        dropped = header.dropped_camera + header.dropped_daemon
        since = last.sequence + 1 - last.dropped_camera - last.dropped_daemon if last else 0
        if last and header.sequence <= last.sequence:
            self._complain(header, f"comes after {last.sequence}")
        elif header.sequence - dropped != since:
            self._complain(header, f"leaves a gap that the counters do not explain ({dropped} dropped)")
        self._last = header
        self._on_mask(
            Seen(
                header.sequence, header.sensor_timestamp_ns / 1e9, time.monotonic(), header.backend,
                header.fallback,
            )
        )  # fmt: skip

    def _complain(self, header: MaskHeader, words: str) -> None:
        if len(self.wrong) < 20:
            self.wrong.append(f"mask {header.sequence} ({header.backend}) {words}")

    def close(self) -> None:
        """Take in what has come, and end."""
        self._stop = True
        self._thread.join()
        while self._socket.poll(20):
            self._check(self._socket.recv())
        while self._monitor.poll(0):
            if recv_monitor_message(self._monitor)["event"] == zmq.EVENT_CONNECTED:
                self.connections += 1
            else:
                self.disconnections += 1
        self._socket.disable_monitor()
        self._context.destroy(linger=0)


class Road(road.Road):
    """The daemon's own road, with a numbered camera and a reader, around one accelerator; a context manager.

    ``network`` is what the masks are compared with: a network of the bundle that stands outside.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        bundle: ModelBundle,
        network: Any,
        endpoint: str,
        *,
        live: bool = False,
        period_s: float = 0.0,
        backoff_max_s: float = 0.5,
        on_mask: Callable[[Seen], None] | None = None,
    ) -> None:
        self.accelerator = accelerator
        self.seen: list[Seen] = []
        self._hear = on_mask or self.seen.append
        self._changed = threading.Condition()
        self._newest_made_at = 0.0
        self._expecting = network
        pictures = Pictures(bundle.input)
        self._pictures = pictures
        self._pixels = np.zeros(bundle.input.shape, np.uint8)
        self._labels = np.zeros((bundle.mask.height, bundle.mask.width), np.uint8)
        self.source = NumberedCamera(pictures, live=live, period_s=period_s)
        camera = Source(CameraConfig(driver="numbered", options={"numbered": None}), lambda: self.source)
        network_parts = Network(accelerator, bundle.input, bundle.mask.size_bytes, backoff_max_s)
        super().__init__(camera, network_parts, Publisher("cam0"), lambda: False, lambda: None)
        self._endpoint = endpoint
        self.reader: Reader

    def __enter__(self) -> Road:
        self.publisher.open(PublishConfig(endpoints=[self._endpoint], send_hwm_messages=1000))
        self.reader = Reader(self._endpoint, self._expected, self._on_mask)
        self.source.unread = lambda: self.publisher.masks - self.reader.masks
        while not self.publisher.watched:
            self.publisher.poll_subscriptions()
            time.sleep(0.001)
        self.camera.start()
        while self.camera.state == "opening":
            time.sleep(0.001)
        self.pipeline.start()
        return self

    def _expected(self, number: int) -> NDArray[np.uint8]:
        self._pictures.write(number, self._pixels)
        self._expecting.run(self._pixels, self._labels)
        return self._labels

    def _on_mask(self, seen: Seen) -> None:
        self._hear(seen)
        with self._changed:
            self._newest_made_at = seen.made_at
            self._changed.notify_all()

    def wait_for_masks(self, count: int = 1, timeout_s: float = 10.0) -> None:
        """For ``count`` more masks; ``TimeoutError`` with the reason if they do not come."""
        goal = self.reader.masks + count
        self._wait(lambda: self.reader.masks >= goal, timeout_s)

    def wait_for_new_frame(self, since: float, timeout_s: float = 10.0) -> None:
        """For the mask of a frame that was made after ``since`` (s, CLOCK_MONOTONIC)."""
        self._wait(lambda: self._newest_made_at > since, timeout_s)

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                raise TimeoutError(
                    f"{self.reader.masks} masks came; pipeline {self.pipeline.state}: "
                    f"{self.pipeline.reason}; {self.accelerator.describe()}"
                )

    def __exit__(self, *_: object) -> None:
        self.source.gate.set()
        ended = self.camera.stop(5) and self.pipeline.stop(10)
        self._take_in()
        self.reader.close()
        self.publisher.close()
        if not ended:
            raise TimeoutError("the pipeline's threads did not end")

    def _take_in(self) -> None:
        """What is on its way to the reader: on a busy machine that takes as long as it takes."""
        deadline = time.monotonic() + TAKE_IN_S
        while self.reader.masks < self.publisher.masks and time.monotonic() < deadline:
            time.sleep(0.001)

    def problems(self) -> list[str]:
        """After the end: whatever was not as promised, in sentences; nothing if all was well."""
        reader, pipeline = self.reader, self.pipeline
        found = list(reader.wrong)
        if len(reader.sessions) > 1 or reader.connections != 1 or reader.disconnections:
            found.append(
                f"the publisher was touched: {len(reader.sessions)} sessions, {reader.connections} "
                f"connections, {reader.disconnections} disconnections"
            )
        slots = len(self.pool) + bool(self.mailbox)
        if slots != DEPTH_MAX_FRAMES + 3:
            found.append(f"{slots} of {DEPTH_MAX_FRAMES + 3} slots came back")
        gone = pipeline.results + pipeline.losses + self.mailbox.displaced + bool(self.mailbox)
        if gone != self.camera.frames:
            found.append(f"{self.camera.frames} frames went in, {gone} are accounted for")
        if reader.masks != self.publisher.masks:
            found.append(f"{self.publisher.masks} masks were published, {reader.masks} received")
        return found
