"""Cameras and accelerators that misbehave, for the daemon to find by their entry points."""

from __future__ import annotations

import threading
import time
from typing import Any, ClassVar

import attrs

from gnetsegd.accelerators.standin import StandinAccelerator, StandinOptions
from gnetsegd.cameras.pattern import PatternCamera, PatternOptions
from gnetsegd.config import option
from gnetsegd.errors import TransientError
from gnetsegd.frame import Frame, Loss, Mask

ENTRY_POINTS = """\
[gnetsegd.cameras]
blocking = tests.daemon.plugins:BlockingCamera
leaving = tests.daemon.plugins:LeavingCamera
stuck = tests.daemon.plugins:StuckCamera
[gnetsegd.accelerators]
hanging = tests.daemon.plugins:HangingAccelerator
"""


@attrs.frozen
class NoOptions:
    """Nothing to choose."""

    unused: int = option(0, "is not used")


class BlockingCamera(PatternCamera):
    """The first one blocks for ever after 20 frames, as picamera2 can; the next ones work."""

    Options: ClassVar[type[Any]] = NoOptions
    opened = 0

    def __init__(self, _options: NoOptions) -> None:
        super().__init__(PatternOptions())
        BlockingCamera.opened += 1
        self._left = 20 if BlockingCamera.opened == 1 else -1

    def capture(self, frame: Frame) -> None:
        if self._left == 0:
            threading.Event().wait()
        self._left -= 1
        super().capture(frame)


class LeavingCamera(PatternCamera):
    """Is unplugged after 20 frames and never comes back."""

    Options: ClassVar[type[Any]] = NoOptions
    left = 20

    def __init__(self, _options: NoOptions) -> None:
        super().__init__(PatternOptions())

    def capture(self, frame: Frame) -> None:
        if LeavingCamera.left == 0:
            raise TransientError("the camera was unplugged; plug it in again")
        LeavingCamera.left -= 1
        super().capture(frame)


class StuckCamera(PatternCamera):
    """Never gets through its ``open``."""

    Options: ClassVar[type[Any]] = NoOptions

    def __init__(self, _options: NoOptions) -> None:
        super().__init__(PatternOptions())

    def open(self, request: Any) -> Any:
        del request
        time.sleep(1000)


class HangingAccelerator(StandinAccelerator):
    """Hangs inside ``collect`` after 30 masks."""

    Options: ClassVar[type[Any]] = StandinOptions
    left = 30

    def collect(self, timeout_s: float) -> Mask | Loss | None:
        if HangingAccelerator.left == 0:
            threading.Event().wait()
        HangingAccelerator.left -= 1
        return super().collect(timeout_s)
