"""From a V4L2 driver's buffer to ``Frame.pixels``."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from . import CaptureRequest, losses, pyav
from . import v4l2_ioctl as v4l2
from .full_picture import FullPicture, whole_sensor
from .geometry import Fit, View, fit
from .holes import has_hole
from .planes import GREY, rows_of
from .scale import Scaler
from .turn import UPRIGHT
from .v4l2_formats import (
    COMPRESSED,
    GREYS,
    LAYOUTS,
    Layout,
    PlaneInMemory,
    matrix_of,
    planes_in_memory,
    range_of,
)
from .whole import Whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..frame import Frame


#: What an H.264 picture begins with that needs no other: its parameters, or itself (NAL units 7 and 5).
_KEY = re.compile(rb"\x00\x00\x01[\x05\x07\x25\x27\x45\x47\x65\x67]")
#: A decoder holds back fewer pictures than these.
_HELD_MAX = 64


class Reader:
    """Reads one format and size, with the least work that it allows.

    Needs PyAV except for full range that is of the frame's size already.
    """

    def __init__(self, pix: v4l2.PixFormat, request: CaptureRequest, wanted_range: str) -> None:
        self._pix = pix
        spec, size = request.spec, (pix.width, pix.height)
        self._view = View(request.turn)
        #: Of the picture that was read last: another object when it is fitted otherwise.
        self.fit: Fit = fit(request.geometry, *size, spec.width, spec.height, self._view)
        #: How long a whole picture is; 0 where that varies.
        self.size_bytes = 0
        self._planes: list[PlaneInMemory] = []
        self._luma: tuple[int, int] | None = None  # set where luminance alone is read
        self._decoder: Any = None
        self._picture: Any = None
        self._scaler: Scaler | None = None
        #: Of H.264: whole pictures, and the number and time of each that went in, by its number.
        self._whole: Whole | None = None
        self._held: dict[int, tuple[int, int]] = {}
        #: The picture that was read last, where it is not in the driver's buffer: a JPEG or a decoded one.
        self._last: Any = None
        self._wanted_range = wanted_range
        self._layout: Layout | None = None
        name = v4l2.fourcc_name(pix.pixelformat)
        #: Whether each buffer must be read, since pictures are made from those before them.
        self.needs_all = name == "H264"
        if name in COMPRESSED:
            codec = "h264" if self.needs_all else "mjpeg"
            self._decoder = pyav.load().CodecContext.create(codec, "r")
            self._decoder.thread_count = 1  # more would hold frames back
            self._decoder.options = pyav.STRICT | ({"flags": "low_delay"} if self.needs_all else {})
            self._scaler = Scaler(spec, request.geometry, wanted_range)
            if self.needs_all:
                self._whole = Whole(self._decoder, is_live=True)
            return
        self._layout = layout = LAYOUTS[name]
        self._planes = planes_in_memory(layout, pix.width, pix.height, pix.bytesperline)
        self.size_bytes = max(p.offset + p.stride * (p.height - 1) + p.width_bytes for p in self._planes)
        if layout.luma is None:  # RGB
            self._scaler = Scaler(spec, request.geometry)
            self._picture = pyav.load().VideoFrame(*size, layout.av_name)
            return
        full = (range_of(pix) if wanted_range == "auto" else wanted_range) == "full"
        matrix = matrix_of(pix)
        av_name = layout.av_name
        if name in GREYS or (spec.pixel_format == "Y" and matrix == "bt601"):
            self._luma = layout.luma
            as_it_is = request.turn == UPRIGHT and self.fit.source[2:] == self.fit.inner[2:] == size
            if full and spec.pixel_format == "Y" and as_it_is:
                return  # its rows are the frame's as they are
            # Grey is full range to FFmpeg always: limited luminance needs chroma beside it.
            av_name = "gray" if full else "yuv420p"
        self._scaler = Scaler(spec, request.geometry, "full" if full else "limited", matrix)
        self._picture = pyav.load().VideoFrame(*size, av_name)
        for plane in self._picture.planes:
            np.frombuffer(plane, np.uint8)[:] = GREY

    @property
    def needs_buffer(self) -> bool:
        """Does ``full_picture`` need the driver's buffer?"""
        return self._layout is not None

    def full_picture(self, memory: Any) -> FullPicture | None:
        """The whole picture that was read last; ``memory`` is its buffer, where that is needed."""
        whole, layout = whole_sensor(self.fit.geometry), self._layout
        if layout is None:
            last, self._last = self._last, None
            return None if last is None else FullPicture(last, whole, self._view, self._wanted_range)
        if memory is None:
            return None
        picture = pyav.load().VideoFrame(self._pix.width, self._pix.height, layout.av_name)
        for (offset, stride, row_bytes, rows), plane in zip(self._planes, picture.planes, strict=True):
            source = rows_of(memory, offset, stride, row_bytes, rows)
            np.copyto(rows_of(plane, 0, plane.line_size, row_bytes, rows), source)
        if layout.luma is None or layout.av_name.startswith("gray"):
            return FullPicture(picture, whole, self._view)
        is_full = (range_of(self._pix) if self._wanted_range == "auto" else self._wanted_range) == "full"
        return FullPicture(picture, whole, self._view, "full" if is_full else "limited", matrix_of(self._pix))

    def missed(self) -> None:
        """Buffers were lost on their way, and counted."""
        if self._whole is not None:
            self._whole.missed()

    def read(self, memory: Any, used_bytes: int, frame: Frame) -> str | None:
        """Fill ``pixels``: an empty text; for a picture that arrived damaged its kind in ``losses``; None
        where there is no picture yet.

        A picture that a decoder had held back brings its own ``sequence`` and ``sensor_timestamp_ns``.
        """
        pixels = frame.pixels
        if self._whole is not None:
            return self._read_in_order(self._whole, memory, used_bytes, frame)
        if self._decoder is not None:
            return self._read_compressed(memory, used_bytes, pixels)
        if 0 < used_bytes < self.size_bytes:
            return losses.CUT
        width, height = self._pix.width, self._pix.height
        if self._luma is not None:
            offset, step = self._luma
            luma = rows_of(memory, offset, self._pix.bytesperline, width, height, step)
            if self._scaler is None:
                np.copyto(pixels, luma)
                return ""
            plane = self._picture.planes[0]
            np.copyto(rows_of(plane, 0, plane.line_size, width, height), luma)
        else:
            for (offset, stride, row_bytes, rows), plane in zip(
                self._planes, self._picture.planes, strict=True
            ):
                source = rows_of(memory, offset, stride, row_bytes, rows)
                np.copyto(rows_of(plane, 0, plane.line_size, row_bytes, rows), source)
        # Copied first because FFmpeg reads only memory of its own.
        assert self._scaler is not None
        self._scaler.scale(self._picture, pixels, self._view)
        return ""

    def _read_in_order(self, whole: Whole, memory: Any, used_bytes: int, frame: Frame) -> str | None:
        if not used_bytes:
            return None  # for the decoder it would be the end of all pictures
        with memoryview(memory) as view:
            coded = bytes(view[:used_bytes])
        packet = pyav.load().Packet(coded)
        packet.pts = frame.sequence
        self._held[frame.sequence] = (frame.sequence, frame.sensor_timestamp_ns)
        while len(self._held) > _HELD_MAX:
            del self._held[min(self._held)]
        damage: str | None = None
        for item in whole.feed(packet, _KEY.search(coded) is not None):
            if isinstance(item, tuple):
                damage = item[0]
            elif item is not None and item.pts in self._held:
                assert self._scaler is not None
                frame.sequence, frame.sensor_timestamp_ns = self._held.pop(item.pts)
                self._scaler.scale(item, frame.pixels, self._view)
                self._last = item
                self.fit = self._scaler.fit(item, self._view)
                damage = ""
        return damage

    def _read_compressed(self, memory: Any, used_bytes: int, pixels: NDArray[np.uint8]) -> str:
        if not used_bytes:
            return losses.CUT  # for the decoder it would be the end of all pictures
        av = pyav.load()
        assert self._scaler is not None
        # Webcams give a damaged picture now and then; what the decoder would put in its place is none.
        with memoryview(memory) as view:
            coded = bytes(view[:used_bytes])
        if has_hole("mjpeg", coded):
            return losses.DAMAGED
        with contextlib.suppress(av.FFmpegError):
            for picture in self._decoder.decode(av.Packet(coded)):
                if picture.is_corrupt:
                    break
                self._scaler.scale(picture, pixels, self._view)
                self._last = coded
                # A camera may change its size, and the header of its pictures is what holds.
                self.fit = self._scaler.fit(picture, self._view)
                return ""
        return losses.DAMAGED
