"""Pictures as the link brings them, made into what the network takes; into buffers that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def upsample_yuv420(planar: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """I420 of shape (height * 3/2, width) to interleaved YUV444 of shape (height, width, 3).

    Each U and V stands for its 2 x 2 pixels (nearest neighbour), as docs/protocol.md demands.
    """
    height, width = out.shape[:2]
    out[..., 0] = planar[:height]
    chroma = planar[height:].reshape(2, height // 2, width // 2)
    for channel in (1, 2):
        plane = chroma[channel - 1]
        for row in (0, 1):
            for column in (0, 1):
                out[row::2, column::2, channel] = plane
