"""JPEG of a full picture: made by FFmpeg, or a webcam's own, completed where it must be."""

from __future__ import annotations

import functools
import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..frame import FrameSpec
from . import pyav
from .geometry import Rect
from .planes import planes_of, rows_of
from .scale import Scaler
from .turn import UPRIGHT, Turn, exif_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .full_picture import FullPicture

#: FFmpeg counts quality in steps of this.
_LAMBDA = 118
_SEGMENTS_MAX = 256
_SOS, _DHT, _APP1 = 0xDA, 0xC4, 0xE1
_SIZES = frozenset({0xC0, 0xC1, 0xC2})
#: FFmpeg's formats of ``Frame.pixels``, and the range that they are in.
_FORMATS = {"Y": "gray", "YUV420": "yuvj420p", "YUV444": "yuvj444p", "RGB": "gbrp"}
_PLANES = {"Y": (0,), "YUV420": (0, 1, 2), "YUV444": (0, 1, 2), "RGB": (2, 0, 1)}


class Jpeg(NamedTuple):
    """A file, and the size of its upright picture in pixels."""

    data: bytes
    width: int
    height: int


class JpegEncoder:
    """Makes JPEGs of full pictures, at most ``width_max`` pixels wide (0: as they are).

    ``quality`` is FFmpeg's, from 2 (best) to 31. One thread uses it; FFmpeg works without the GIL.
    """

    def __init__(self, width_max: int, quality: int) -> None:
        self._width_max = width_max
        self._quality = quality
        self._key: tuple[Any, ...] = ()
        self._scaler: Any = None
        self._pixels: NDArray[np.uint8] = np.empty(0, np.uint8)

    def encode(self, picture: FullPicture) -> Jpeg:
        """``ValueError`` or FFmpeg's error for a picture of which none can be made."""
        if isinstance(picture.image, bytes):
            return completed(picture.image, picture.view.turn)
        image, source_range, matrix = picture.image, picture.source_range, picture.source_matrix
        if isinstance(image, np.ndarray):
            image, source_range, matrix = _frame_of(image, picture.pixel_format), "full", "bt601"
        width, height = self._size(picture, image)
        key = (width, height, source_range, matrix)
        if key != self._key:
            self._scaler = Scaler(FrameSpec(width, height, "YUV420"), "stretch", source_range, matrix)
            self._pixels = np.empty((height * 3 // 2, width), np.uint8)
            self._key = key
        self._scaler.scale(image, self._pixels, picture.view)
        return Jpeg(_encoded(_frame_of(self._pixels, "YUV420"), self._quality), width, height)

    def _size(self, picture: FullPicture, image: Any) -> tuple[int, int]:
        """Even, in the proportions of what it shows, and never more pixels than there are."""
        geometry, turned = picture.geometry, picture.view.turn.on_its_side
        shown_width = geometry.sensor_width * geometry.width
        shown_height = geometry.sensor_height * geometry.height
        width = min(shown_width, image.height if turned else image.width)
        if self._width_max:
            width = min(width, self._width_max)
        return _even(width), _even(width * shown_height / shown_width)


def _even(length: float) -> int:
    return max(2, 2 * round(length / 2))


def _frame_of(pixels: NDArray[np.uint8], pixel_format: str) -> Any:
    """An ``av.VideoFrame`` with a copy of ``pixels``, which are as ``Frame.pixels``."""
    height = len(pixels) * 2 // 3 if pixel_format == "YUV420" else len(pixels)
    width = pixels.shape[1]
    frame = pyav.load().VideoFrame(width, height, _FORMATS[pixel_format])
    sources = planes_of(pixels, FrameSpec(width, height, pixel_format), Rect(0, 0, width, height))
    for index, source in zip(_PLANES[pixel_format], sources, strict=True):
        plane = frame.planes[index]
        np.copyto(rows_of(plane, 0, plane.line_size, source.shape[1], source.shape[0]), source)
    return frame


def _encoded(frame: Any, quality: int, huffman: str = "optimal") -> bytes:
    encoder = pyav.load().CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
    encoder.time_base = Fraction(1, 1000)
    encoder.thread_count = 1
    encoder.options = {
        "flags": "qscale",
        "global_quality": str(_LAMBDA * quality),
        "huffman": huffman,
    }
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


# -- a webcam's own -------------------------------------------------------------------------------


def completed(jpeg: bytes, turn: Turn) -> Jpeg:
    """A webcam's JPEG with the orientation that ``turn`` is, and with Huffman tables, which many leave out.

    An orientation of its own is taken away. Its pixels are not touched. ``ValueError`` for what is no JPEG.
    """
    head, size, has_tables = [b"\xff\xd8"], (0, 0), False
    if turn != UPRIGHT:
        head.append(_exif(turn))
    at = 2
    for _ in range(_SEGMENTS_MAX):
        marker, length = _segment(jpeg, at)
        segment = jpeg[at : at + 2 + length]
        if marker == _SOS:
            break
        if marker in _SIZES:
            size = struct.unpack_from(">HH", segment, 5)[::-1]
        has_tables |= marker == _DHT
        if not (marker == _APP1 and segment[4:10] == b"Exif\0\0"):
            head.append(segment)
        at += 2 + length
    else:
        raise ValueError("a webcam's JPEG has no picture")
    if not has_tables:
        head.append(_standard_tables())
    width, height = size[::-1] if turn.on_its_side else size
    if not (width and height):
        raise ValueError("a webcam's JPEG does not say its size")
    return Jpeg(b"".join(head) + jpeg[at:], width, height)


def _segment(jpeg: bytes, at: int) -> tuple[int, int]:
    """(marker, length) of the segment that begins at ``at``."""
    if len(jpeg) < at + 4 or jpeg[:2] != b"\xff\xd8" or jpeg[at] != 0xFF:
        raise ValueError("a webcam's JPEG is damaged")
    return jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")


def _exif(turn: Turn) -> bytes:
    """An APP1 segment with the one tag Orientation."""
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, exif_of(turn), 0, 0)
    body = b"Exif\0\0" + tiff
    return struct.pack(">BBH", 0xFF, _APP1, 2 + len(body)) + body


@functools.cache
def _standard_tables() -> bytes:
    """The Huffman tables of the standard (Annex K.3), as FFmpeg writes them."""
    small = _encoded(pyav.load().VideoFrame(16, 16, "yuvj420p"), 2, "default")
    found, at = b"", 2
    while True:
        marker, length = _segment(small, at)
        if marker == _SOS:
            return found
        if marker == _DHT:
            found += small[at : at + 2 + length]
        at += 2 + length
