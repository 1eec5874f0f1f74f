"""From a V4L2 driver's buffer to ``Frame.pixels``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from . import CaptureRequest, pyav
from . import v4l2_ioctl as v4l2
from .geometry import Fit, fit
from .planes import GREY, rows_of
from .scale import Scaler
from .v4l2_formats import COMPRESSED, LAYOUTS, PlaneInMemory, matrix_of, planes_in_memory, range_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Reader:
    """Reads one format and size, with the least work that it allows.

    Needs PyAV except for full range that is of the frame's size already.
    """

    def __init__(self, pix: v4l2.PixFormat, request: CaptureRequest, wanted_range: str) -> None:
        self._pix = pix
        spec, size = request.spec, (pix.width, pix.height)
        self.fit: Fit = fit(request.geometry, *size, spec.width, spec.height)
        #: How long a whole picture is; 0 where that varies.
        self.size_bytes = 0
        self._planes: list[PlaneInMemory] = []
        self._luma: tuple[int, int] | None = None  # set where luminance alone is read
        self._decoder: Any = None
        self._picture: Any = None
        self._scaler: Scaler | None = None
        name = v4l2.fourcc_name(pix.pixelformat)
        if name in COMPRESSED:
            self._decoder = pyav.load().CodecContext.create("mjpeg", "r")
            self._decoder.thread_count = 1  # more would hold frames back
            self._scaler = Scaler(spec, request.geometry, wanted_range)
            return
        layout = LAYOUTS[name]
        self._planes = planes_in_memory(layout, pix.width, pix.height, pix.bytesperline)
        self.size_bytes = max(p.offset + p.stride * (p.height - 1) + p.width_bytes for p in self._planes)
        if layout.luma is None:  # RGB
            self._scaler = Scaler(spec, request.geometry)
            self._picture = pyav.load().VideoFrame(*size, layout.av_name)
            return
        full = (range_of(pix) if wanted_range == "auto" else wanted_range) == "full"
        matrix = matrix_of(pix)
        av_name = layout.av_name
        if name == "GREY" or (spec.pixel_format == "Y" and matrix == "bt601"):
            self._luma = layout.luma
            if full and spec.pixel_format == "Y" and self.fit.source[2:] == self.fit.inner[2:] == size:
                return  # its rows are the frame's as they are
            # Grey is full range to FFmpeg always: limited luminance needs chroma beside it.
            av_name = "gray" if full else "yuv420p"
        self._scaler = Scaler(spec, request.geometry, "full" if full else "limited", matrix)
        self._picture = pyav.load().VideoFrame(*size, av_name)
        for plane in self._picture.planes:
            np.frombuffer(plane, np.uint8)[:] = GREY

    def read(self, memory: Any, used_bytes: int, pixels: NDArray[np.uint8]) -> bool:
        """Fill ``pixels``; False for a picture that arrived damaged."""
        if self._decoder is not None:
            return self._read_compressed(memory, used_bytes, pixels)
        if 0 < used_bytes < self.size_bytes:
            return False
        width, height = self._pix.width, self._pix.height
        if self._luma is not None:
            offset, step = self._luma
            luma = rows_of(memory, offset, self._pix.bytesperline, width, height, step)
            if self._scaler is None:
                np.copyto(pixels, luma)
                return True
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
        self._scaler.scale(self._picture, pixels)
        return True

    def _read_compressed(self, memory: Any, used_bytes: int, pixels: NDArray[np.uint8]) -> bool:
        if not used_bytes:
            return False  # for the decoder it would be the end of all pictures
        av = pyav.load()
        assert self._scaler is not None
        # Webcams give a damaged picture now and then.
        with contextlib.suppress(av.FFmpegError), memoryview(memory) as view:
            for picture in self._decoder.decode(av.Packet(bytes(view[:used_bytes]))):
                self._scaler.scale(picture, pixels)
                return True
        return False
