"""A camera and an accelerator whose every step a test decides."""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import Any

import attrs
import numpy as np

from gnetsegd.accelerators import Accelerator
from gnetsegd.cameras import CameraInfo, CaptureRequest
from gnetsegd.errors import CameraStalled
from gnetsegd.frame import HEADROOM, Frame, FrameSpec, Geometry, Loss, Mask, MaskFormat, ModelInfo

SPEC = FrameSpec(16, 16, "Y")
MASK = MaskFormat(16, 16, 8, 2)
GEOMETRY = Geometry("stretch", 0.0, 0.0, 1.0, 1.0, 16, 16)


@attrs.frozen
class NoOptions:
    """Nothing to choose."""


class Script:
    """What the fake cameras of one test do: one entry per opened camera.

    An entry is an exception to raise at ``open`` or a list of steps for ``capture``: a number is
    the frame's sequence, an exception is raised, an ``Event`` is waited for without any time limit
    (a library that blocks), a ``CameraInfo`` holds from then on, and a text is the kind of a lost picture.
    """

    def __init__(self, *sessions: Any, period_s: float = 0.0, live: bool = True) -> None:
        self.sessions = list(sessions)
        #: Whether it goes on when its frames are not taken.
        self.live = live
        self.info = CameraInfo(30.0, GEOMETRY, "scripted")
        #: How long each frame takes.
        self.period_s = period_s
        self.opened = 0
        self.closed = 0
        #: ("open" or "close", the event that lets it go).
        self.hang: tuple[str, threading.Event] | None = None

    def step(self, name: str) -> None:
        if self.hang is not None and self.hang[0] == name:
            self.hang[1].wait(20)

    def __call__(self, _options: Any) -> ScriptedCamera:
        return ScriptedCamera(self)

    Options = NoOptions


class ScriptedCamera:
    Options = NoOptions

    def __init__(self, script: Script) -> None:
        self._script = script
        self._steps: list[Any] = []
        self._timeout_s = 0.0
        self.lost: dict[str, int] = {}

    def open(self, request: CaptureRequest) -> CameraInfo:
        self._script.opened += 1
        self._script.step("open")
        self._timeout_s = request.timeout_s
        session = self._script.sessions.pop(0) if self._script.sessions else []
        if isinstance(session, Exception):
            raise session
        self._steps = list(session)
        self.info = self._script.info._replace(live=self._script.live)
        return self.info

    def capture(self, frame: Frame) -> None:
        if not self._steps:
            time.sleep(0.05)
            raise CameraStalled("no frame came")
        time.sleep(self._script.period_s)
        step = self._steps.pop(0)
        if isinstance(step, threading.Event):
            step.wait()
            step = self._steps.pop(0)
        if isinstance(step, CameraInfo):
            self.info = step
            step = self._steps.pop(0)
        if isinstance(step, str):
            self.lost[step] = self.lost.get(step, 0) + 1
            step = self._steps.pop(0)
        if isinstance(step, Exception):
            raise step
        frame.sequence = step
        frame.sensor_timestamp_ns = 1_000_000 * step
        frame.pixels[:] = 0
        frame.pixels[0, :8] = np.frombuffer(int(step).to_bytes(8, "little"), np.uint8)

    def close(self) -> None:
        self._script.closed += 1
        self._script.step("close")


class EchoAccelerator(Accelerator):
    """Gives each frame's own pixels back as its mask.

    ``fate`` maps a sequence number to an exception (raised by ``collect``) or to a text (a Loss).
    """

    Options = NoOptions

    def __init__(self, depth: int = 2, fate: dict[int, Any] | None = None) -> None:
        self.info = ModelInfo("echo", "echo", bytes(32), SPEC, MASK, ("background", "person"), depth)
        self.fate = fate if fate is not None else {}
        self.opened = 0
        self._free = threading.Semaphore(depth)
        self._queue: SimpleQueue[Frame] = SimpleQueue()
        self._granted = False

    def open(self) -> ModelInfo:
        self.opened += 1
        self._free = threading.Semaphore(self.info.depth_frames)
        self._granted = False
        return self.info

    def wait_for_credit(self, timeout_s: float) -> bool:
        self._granted = self._granted or self._free.acquire(timeout=timeout_s)
        return self._granted

    def submit(self, frame: Frame) -> None:
        self._granted = False
        self._queue.put(frame)

    def collect(self, timeout_s: float) -> Mask | Loss | None:
        try:
            frame = self._queue.get(timeout=timeout_s)
        except Empty:
            return None
        fate = self.fate.pop(frame.sequence, None)
        self._free.release()
        if isinstance(fate, Exception):
            self._queue.put(frame)  # so that close() gives it back
            raise fate
        if isinstance(fate, str):
            return Loss(frame, fate)
        frame.reply[HEADROOM : HEADROOM + MASK.size_bytes] = frame.pixels.tobytes()
        return Mask(frame, self.info)

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> list[Frame]:
        left = []
        while not self._queue.empty():
            left.append(self._queue.get())
        return left


class Published:
    """A publisher that keeps what it was given: of masks (sequence, dropped by the camera, by the daemon)."""

    def __init__(self) -> None:
        self.masks = 0
        self.watched = True
        self.session = 7
        self.images = None
        self.seen: list[tuple[int, int, int]] = []
        self.infos: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.keys: list[str] = []

    def keys_in_force(self) -> list[str]:
        return [*self.keys]

    def publish(self, mask: Mask, losses: int) -> None:
        frame = mask.frame
        self.masks += 1
        self.seen.append((frame.sequence, frame.dropped_camera, frame.dropped_daemon + losses))

    def send_info(self, body: dict[str, Any]) -> None:
        self.infos.append(body)

    def send_status(self, body: dict[str, Any]) -> None:
        self.statuses.append(body)


def wait_for_readers(publisher: Any, count: int) -> None:
    """Until ``count`` connections hold a subscription: of several readers one is there before the others."""

    def there() -> bool:
        publisher.poll_subscriptions()
        return sum(len(holders(outlet)) for outlet in publisher._outlets) == count

    wait_until(there)


def holders(outlet: Any) -> list[Any]:
    """The connections that hold a subscription."""
    return [peer for peer in list(outlet._peers._peers.values()) if peer.topics]


def wait_until(condition: Any, timeout_s: float = 10.0) -> None:
    """Wait for a condition; ``TimeoutError`` if it does not come about."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not come about")
        time.sleep(0.0003)
