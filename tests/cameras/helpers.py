"""Pictures whose numbers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av")


def picture_of(luma: Any, av_name: str = "yuv420p", chroma: tuple[int, int] = (128, 128)) -> Any:
    """An ``av.VideoFrame`` with this luminance (an array, uint8) and flat chroma."""
    height, width = luma.shape
    picture = av.VideoFrame(width, height, av_name)
    for index, plane in enumerate(picture.planes):
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        if index == 0:
            rows[:height, :width] = luma
        else:
            rows[:] = chroma[index - 1]
    return picture


def level(index: int) -> int:
    """The grey of frame ``index`` of a clip: far enough apart to be told through compression."""
    return 20 + 8 * (index % 26)
