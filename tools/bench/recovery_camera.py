"""The camera of the recovery bench: fails as hardware does, and each picture is known by its own time.

A picture is a function of its time of exposure, which the header of its mask carries: so each mask can
be recomputed by itself, over restarts and reopened cameras. The daemon finds it by its entry point.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gnetsegd.testing.fake_camera import FakeCamera
from gnetsegd.testing.road import Pictures

if TYPE_CHECKING:
    from gnetsegd.cameras import CameraInfo, CaptureRequest
    from gnetsegd.frame import Frame


class TimedCamera(FakeCamera):
    """``FakeCamera``, with other pictures."""

    def open(self, request: CaptureRequest) -> CameraInfo:
        self._pictures = Pictures(request.spec)
        return super().open(request)

    def capture(self, frame: Frame) -> None:
        super().capture(frame)
        self._pictures.write(frame.sensor_timestamp_ns, frame.pixels)


def install(folder: Path) -> None:
    """Make ``timed`` a camera driver for every process with ``folder`` and this one in its PYTHONPATH."""
    info = folder / "recovery_camera-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: recovery-camera\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gnetsegd.cameras]\ntimed = recovery_camera:TimedCamera\n")
