"""From any decoded picture to ``Frame.pixels``: crop, scale, BT.601 full range, by libswscale.

It goes through libavfilter's ``scale`` rather than ``VideoFrame.reformat``: that one knows nothing
of full and limited range in the PyAV of Debian bookworm, and cannot crop.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError
from . import pyav
from .geometry import PLAIN, Fit, Rect, View, fit
from .planes import GREY, planes_of, rows_of
from .turn import UPRIGHT, Turn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..frame import FrameSpec

#: FFmpeg's format that is made for each of ours, and its planes in the order of ours. RGB goes
#: through planar gbrp: swscale's packed rgb24 is up to 4 levels off.
_MADE = {
    "Y": ("gray", (0,)),
    "YUV420": ("yuv420p", (0, 1, 2)),
    "YUV444": ("yuv444p", (0, 1, 2)),
    "RGB": ("gbrp", (2, 0, 1)),
}

#: Formats of FFmpeg whose first planes are those of ours, if range and matrix are right.
_SAME_PLANES = {
    "Y": ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "nv21"),
    "YUV420": ("yuv420p", "yuvj420p"),
    "YUV444": ("yuv444p", "yuvj444p"),
}

#: FFmpeg's filters that turn by so much, clockwise.
_TURNING = {
    0: (),
    90: (("transpose", "clock"),),
    180: (("hflip", ""), ("vflip", "")),
    270: (("transpose", "cclock"),),
}

_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_BT601_OR_UNTAGGED = (2, 5, 6)  # AVCOL_SPC_UNSPECIFIED, _BT470BG, _SMPTE170M
_LUMA_OF_BT601 = (0, *_BT601_OR_UNTAGGED)  # AVCOL_SPC_RGB: has no luma yet


class Scaler:
    """Fits pictures of any size and format to one ``FrameSpec``.

    It allocates nothing of a frame's size itself; FFmpeg takes one output picture from its pool
    for each call. Not safe for use by two threads at once.
    """

    def __init__(
        self, spec: FrameSpec, mode: str, source_range: str = "auto", source_matrix: str = "auto"
    ) -> None:
        """``mode`` is one of ``GEOMETRY_MODES``; ``ConfigError`` for sizes that YUV420 cannot have.

        ``source_range`` (full, limited) and ``source_matrix`` (bt601, bt709, bt2020) are those of
        the pictures; auto is what each picture says of itself, limited BT.601 where it says nothing.
        """
        if spec.pixel_format == "YUV420" and (spec.width % 2 or spec.height % 2):
            raise ConfigError(f"YUV420 needs an even size, not {spec.width}x{spec.height}")
        self._av = pyav.load()
        self._spec = spec
        self._mode = mode
        self._source_range = source_range
        self._source_matrix = source_matrix
        self._key: tuple[Any, ...] = ()
        self._graph: Any = None
        self._fit = fit(mode, spec.width, spec.height, spec.width, spec.height)
        self._view = PLAIN

    def fit(self, picture: Any, view: View = PLAIN) -> Fit:
        """What ``scale`` reads of this ``av.VideoFrame`` and where it puts it: the same object as long as
        pictures are alike.
        """
        self._prepare(picture, view)
        return self._fit

    def scale(self, picture: Any, pixels: NDArray[np.uint8], view: View = PLAIN) -> None:
        """Fill ``pixels`` (uint8 of ``spec.shape``) from an ``av.VideoFrame``, seen as ``view`` says.

        Raises ``av.error.FFmpegError`` for a picture that FFmpeg cannot convert.
        """
        self._prepare(picture, view)
        inner = self._fit.inner
        if inner != Rect(0, 0, self._spec.width, self._spec.height):
            pixels.fill(GREY)
        order = _MADE[self._spec.pixel_format][1]
        if not self._is_ready(picture):
            self._graph.push(picture)
            picture = self._graph.pull()
        for target, index in zip(planes_of(pixels, self._spec, inner), order, strict=True):
            plane = picture.planes[index]
            height, width = target.shape
            # Copied because FFmpeg's rows are padded and its memory is its own.
            np.copyto(target, rows_of(plane, 0, plane.line_size, width, height))

    def _is_ready(self, picture: Any) -> bool:
        """Whether the planes are right as they are: the wanted size, full range, BT.601."""
        if not self._fit.source[2:] == self._fit.inner[2:] == (picture.width, picture.height):
            return False
        if self._view.turn != UPRIGHT:
            return False
        name, pixel_format = picture.format.name, self._spec.pixel_format
        if name in ("gray", "gbrp"):
            return bool(name == _MADE[pixel_format][0])
        if name not in _SAME_PLANES.get(pixel_format, ()):
            return False
        if "auto" not in (self._source_range, self._source_matrix):
            return (self._source_range, self._source_matrix) == ("full", "bt601")
        # Old PyAV does not tell them: then the filter, which sees them, decides.
        known_range, matrix = getattr(picture, "color_range", None), getattr(picture, "colorspace", None)
        if known_range is None or matrix is None:
            return False
        return int(known_range) == _FULL_RANGE and int(matrix) in _BT601_OR_UNTAGGED

    def _made(self, picture: Any) -> str:
        """FFmpeg's format to make of this picture; its planes are in the order of ``_MADE``."""
        if self._spec.pixel_format != "Y":
            return _MADE[self._spec.pixel_format][0]
        # FFmpeg 7.1 makes grey of another matrix without converting: there chroma must come along.
        matrix = getattr(picture, "colorspace", None)
        known = self._source_matrix == "bt601" or (self._source_matrix == "auto" and matrix in _LUMA_OF_BT601)
        return "gray" if known or picture.format.name == "gray" else "yuv420p"

    def _prepare(self, picture: Any, view: View) -> None:
        """Build the filter graph for pictures like this one, unless it is already there."""
        key = (
            picture.width,
            picture.height,
            picture.format.name,
            getattr(picture, "color_range", None),
            getattr(picture, "colorspace", None),
            view,
        )
        if key == self._key:
            return
        spec, turn = self._spec, view.turn
        self._fit = fit(self._mode, picture.width, picture.height, spec.width, spec.height, view)
        self._view = view
        source, inner = self._fit.source, self._fit.inner
        graph = self._av.filter.Graph()
        nodes = [
            graph.add_buffer(
                width=picture.width,
                height=picture.height,
                format=picture.format.name,
                time_base=Fraction(1, 1000),  # the times of the pictures play no part here
            )
        ]
        if source[2:] != (picture.width, picture.height):
            nodes.append(graph.add("crop", f"{source.width}:{source.height}:{source.x}:{source.y}:exact=1"))
        # Scaled as it lies and turned afterwards: there are fewer pixels then.
        width, height = inner[2:] if not turn.on_its_side else (inner.height, inner.width)
        shrinks = source.width > width or source.height > height
        flags = "area" if shrinks else "bilinear"
        # Grey and RGB have no range to be told of, but FFmpeg 5 would stretch them by it.
        told_range = "full" if picture.format.name in ("gray", "gbrp") else self._source_range
        nodes.append(
            graph.add(
                "scale",
                f"{width}:{height}:flags={flags}+accurate_rnd+full_chroma_int"
                f":in_range={told_range}:in_color_matrix={self._source_matrix}"
                ":out_range=full:out_color_matrix=bt601",
            )
        )
        nodes.append(graph.add("format", self._made(picture)))
        for name, argument in _filters(turn):
            nodes.append(graph.add(name, argument) if argument else graph.add(name))
        nodes.append(graph.add("buffersink"))
        for one, following in pairwise(nodes):
            one.link_to(following)
        graph.configure()
        self._graph, self._key = graph, key


def _filters(turn: Turn) -> list[tuple[str, str]]:
    """FFmpeg's filters, with their arguments, that make a picture upright."""
    return [*([("hflip", "")] if turn.mirrored else []), *_TURNING[turn.rotation]]
