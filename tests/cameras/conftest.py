"""Clips and pictures, made by the tests; what they show is known exactly."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from gnetsegd.cameras import CaptureRequest
from gnetsegd.frame import Frame, FrameSpec

from .helpers import av, level, picture_of

ClipMaker = Callable[..., Path]


@pytest.fixture
def make_clip(tmp_path: Path) -> ClipMaker:
    """Writes a clip whose frame i is a flat grey of ``level(i)`` (in full range, within 2)."""

    def make(
        name: str = "clip.mp4",
        frames: int = 20,
        fps: int = 10,
        size: tuple[int, int] = (64, 48),
        codec: str = "mpeg4",
        av_name: str = "yuv420p",
        noise: bool = False,
        pts: Callable[[int], int] = lambda index: index,
        b_frames: int = 0,
        **options: str,
    ) -> Path:
        path = tmp_path / name
        random = np.random.default_rng(1)
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream(codec, rate=fps)
            stream.width, stream.height = size
            stream.pix_fmt = av_name
            stream.codec_context.time_base = Fraction(1, fps)
            if b_frames:
                stream.codec_context.options = {"bf": str(b_frames)}
            for index in range(frames):
                # What is written is limited range, as cameras do.
                luma = np.full(size[::-1], round(16 + level(index) * 219 / 255), np.uint8)
                if noise:
                    luma[:] = random.integers(16, 235, luma.shape)
                picture = picture_of(luma, av_name)
                picture.pts, picture.time_base = pts(index), Fraction(1, fps)
                for packet in stream.encode(picture):
                    container.mux(packet)
            for packet in stream.encode(None):
                container.mux(packet)
        return path

    return make


@pytest.fixture
def frame() -> Frame:
    return Frame(FrameSpec(32, 32), 10)


@pytest.fixture
def request_of() -> Callable[..., CaptureRequest]:
    """A capture request with defaults."""

    def make(
        spec: FrameSpec = FrameSpec(32, 32),  # noqa: B008 - immutable
        fps: float = 0.0,
        geometry: str = "stretch",
        timeout_s: float = 2.0,
    ) -> CaptureRequest:
        return CaptureRequest(spec, fps, geometry, timeout_s)

    return make
