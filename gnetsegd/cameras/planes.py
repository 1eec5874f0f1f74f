"""Planes of pixels: the named parts of ``Frame.pixels``, and padded memory seen as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..frame import FrameSpec
    from .geometry import Rect

#: Padding of a letterbox: mid-grey, which is 128 in every plane of every pixel format.
GREY = 128


def rows_of(
    memory: Any, offset: int, stride: int, width: int, height: int, step: int = 1
) -> NDArray[np.uint8]:
    """(height, width) uint8 view of padded memory, without a copy.

    ``memory`` is a buffer; ``offset`` and ``stride`` are in bytes; ``step`` is the distance of two
    neighbours in a row, in bytes. ``ValueError`` when the memory is too short for it.
    """
    flat = np.frombuffer(memory, np.uint8)
    if offset + (height - 1) * stride + (width - 1) * step >= flat.size or stride < (width - 1) * step + 1:
        raise ValueError(f"{height} rows of {stride} bytes from {offset} do not fit {flat.size} bytes")
    return as_strided(flat[offset:], (height, width), (stride, step))


def planes_of(pixels: NDArray[np.uint8], spec: FrameSpec, inner: Rect) -> list[NDArray[np.uint8]]:
    """Views of the planes of ``Frame.pixels`` within ``inner``: Y; or Y, U, V; or R, G, B.

    Each is (inner.height, inner.width); U and V of YUV420 are half of that.
    """
    x, y, width, height = inner
    if spec.pixel_format == "Y":
        return [pixels[y : y + height, x : x + width]]
    if spec.pixel_format == "YUV420":
        luma = spec.width * spec.height
        flat = pixels.reshape(-1)
        chroma = flat[luma:].reshape(2, spec.height // 2, spec.width // 2)
        half = (slice(y // 2, (y + height) // 2), slice(x // 2, (x + width) // 2))
        full = flat[:luma].reshape(spec.height, spec.width)
        return [full[y : y + height, x : x + width], chroma[0][half], chroma[1][half]]
    return [pixels[y : y + height, x : x + width, channel] for channel in range(3)]
