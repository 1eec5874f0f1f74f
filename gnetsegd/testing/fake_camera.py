"""A camera that fails as hardware does, as a driver of its own, for whole daemon processes.

    install(folder)                                  # once, anywhere
    PYTHONPATH=folder gnetsegd run --set camera.driver=fake --set camera.fake.block_after_frames=50

It shows the pictures of the pattern camera, and so ``gnetsegd.cameras.pattern.read_sequence`` reads
their numbers back. Files are what processes share: a lock that stands for a camera that only one may
open, a plug, and a note of what has happened already.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from ..cameras.pattern import PatternCamera
from ..config import option
from ..errors import AbsentError, TransientError

if TYPE_CHECKING:
    from ..cameras import CameraInfo, CaptureRequest
    from ..cameras.pacing import Clock
    from ..frame import Frame

ENTRY_POINTS = """\
[gnetsegd.cameras]
fake = gnetsegd.testing.fake_camera:FakeCamera
"""


def install(folder: Path) -> None:
    """Make ``fake`` a camera driver for every process with ``folder`` in its PYTHONPATH."""
    info = folder / "gnetsegd_fake_camera-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gnetsegd-fake-camera\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)


@attrs.frozen
class FakeOptions:
    """``[camera.fake]``; what counts frames counts those since it was opened."""

    exclusive_lock: str = option("", "a file that is locked while the camera is open; empty: none")
    absent_until_file: str = option(
        "", "the plug: while there is no such file there is no camera; empty: none"
    )
    block_after_frames: int = option(
        0, "then the next capture never returns; 0: never", unit="frames", minimum=0, maximum=2**53
    )
    flap_after_frames: int = option(
        0, "then it is lost, and comes back at once; 0: never", unit="frames", minimum=0, maximum=2**53
    )
    crash_after_frames: int = option(
        0, "then the process dies of SIGSEGV; 0: never", unit="frames", minimum=0, maximum=2**53
    )
    hang_at_open: bool = option(False, "open never returns, with the camera held")
    hang_at_close: bool = option(False, "close never returns, with the camera held")
    block_once: str = option(
        "", "a file that is made when it blocks, hangs or crashes: while it is there all is well; empty: none"
    )


class FakeCamera(PatternCamera):
    """The pattern camera with the faults of ``FakeOptions``."""

    Options: ClassVar[type[Any]] = FakeOptions

    def __init__(self, options: FakeOptions | None = None, clock: Clock | None = None) -> None:
        super().__init__(clock=clock)
        self._faults = options if options is not None else FakeOptions()
        self._held = False
        self._lock: int | None = None
        self._given = 0

    def open(self, request: CaptureRequest) -> CameraInfo:
        """``AbsentError`` (66) while it is not plugged in, ``TransientError`` (75) while another has it."""
        self.close()
        if not self._plugged():
            raise AbsentError("fake: there is no such camera; plug it in", os.EX_NOINPUT)
        self._acquire()
        try:
            if self._faults.hang_at_open and self._first_time():
                block()
            self._given = 0
            return super().open(request)
        except BaseException:
            self._release()
            raise

    def capture(self, frame: Frame) -> None:
        faults = self._faults
        if not self._plugged() or self._is_due(faults.flap_after_frames):
            raise TransientError("fake: the camera has been unplugged; plug it in again")
        if self._is_due(faults.crash_after_frames) and self._first_time():
            signal.raise_signal(signal.SIGSEGV)
        if self._is_due(faults.block_after_frames) and self._first_time():
            block()
        super().capture(frame)
        self._given += 1

    def close(self) -> None:
        if not self._held:
            return
        if self._faults.hang_at_close and self._first_time():
            block()
        self._release()
        super().close()

    def _is_due(self, after_frames: int) -> bool:
        return 0 < after_frames <= self._given

    def _plugged(self) -> bool:
        plug = self._faults.absent_until_file
        return not plug or Path(plug).exists()

    def _first_time(self) -> bool:
        """Note that it happens now; False when it had happened before."""
        if not self._faults.block_once:
            return True
        try:
            os.close(os.open(self._faults.block_once, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        except FileExistsError:
            return False
        return True

    def _acquire(self) -> None:
        if self._faults.exclusive_lock:
            lock = os.open(self._faults.exclusive_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                raise TransientError("fake: the camera is in use by another program; end that one") from None
            self._lock = lock
        self._held = True

    def _release(self) -> None:
        self._held = False
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def block() -> None:
    """Never return, as a library that waits for a camera."""
    while True:
        threading.Event().wait()
