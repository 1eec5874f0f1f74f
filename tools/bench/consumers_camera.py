"""A webcam that gives motion JPEG, for the bench of consumers: the real driver on a fake device.

The daemon finds it by its entry point. Making its pictures costs nothing, as a webcam makes them itself.
"""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import av

from gnetsegd.cameras.pacing import MonotonicClock
from gnetsegd.cameras.v4l2 import V4l2Camera, V4l2Options
from gnetsegd.testing import fake_v4l2

CLIP = Path(__file__).resolve().parents[1] / "demo" / "clip.mp4"
PICTURES = 8


def jpegs() -> list[bytes]:
    """The first pictures of a real clip."""
    found = []
    with av.open(str(CLIP)) as clip:
        for picture in itertools.islice(clip.decode(video=0), PICTURES):
            file = io.BytesIO()
            picture.to_image().save(file, "JPEG", quality=85)
            found.append(file.getvalue())
    return found


class MjpegWebcam(V4l2Camera):
    """640x480 at 30 a second."""

    def __init__(self, options: V4l2Options | None = None) -> None:
        webcam = fake_v4l2.FakeWebcam(("MJPG",), ((640, 480),), fps=30, clock=MonotonicClock())
        endless = itertools.cycle(jpegs())
        webcam.jpeg = lambda _: next(endless)
        super().__init__(options, webcam.open, webcam.clock)


def no_picture(*_: Any) -> None:
    """In place of the fake's own, which takes time to make."""


fake_v4l2.luminance = no_picture  # type: ignore[assignment]


def install(folder: Path) -> None:
    """Make ``mjpeg`` a camera driver for every process with ``folder`` and this one in its PYTHONPATH."""
    info = folder / "consumers_camera-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: consumers-camera\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gnetsegd.cameras]\nmjpeg = consumers_camera:MjpegWebcam\n")
