"""Write PNG files with the standard library alone."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GREY, _RGB, _PALETTE = 0, 2, 3


def encode_png(image: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> bytes:
    """A PNG of a uint8 ``image``: (height, width, 3) RGB, or (height, width) grey.

    With ``palette``, uint8 of shape (up to 256, 3), each pixel of a (height, width) image is an index
    into it, and stays readable as such. ``ValueError`` for another shape.
    """
    rgb = image.ndim == 3 and image.shape[2] == 3
    if image.dtype != np.uint8 or not (rgb or image.ndim == 2) or (rgb and palette is not None):
        raise ValueError(f"no PNG of {image.dtype} pixels of shape {image.shape}")
    height, width = image.shape[:2]
    rows = np.zeros((height, 1 + image[0].size), np.uint8)  # each row begins with its filter, 0: none
    rows[:, 1:] = image.reshape(height, -1)
    colour = _RGB if rgb else _GREY if palette is None else _PALETTE
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)),
            b"" if palette is None else _chunk(b"PLTE", palette.astype(np.uint8).tobytes()),
            _chunk(b"IDAT", zlib.compress(rows.tobytes())),
            _chunk(b"IEND", b""),
        ]
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
