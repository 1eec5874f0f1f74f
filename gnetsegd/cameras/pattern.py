"""A synthetic camera whose sequence number can be read back from its pixels.

Layout: the first ``STAMP_PIXELS`` (128) pixels, row by row from the top left, are black (0) or
white (255), one bit each, most significant first: 64 bits of the sequence number, then the same 64
bits inverted. In interleaved formats all three channels carry them. Below it a picture of
gradients and discs moves down by one row a frame. A threshold at 128 reads the bits, so
that they survive conversion of range and mild compression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from ..config import option
from ..errors import ConfigError, EndOfVideo, TransientError
from . import CameraInfo, CaptureRequest
from .geometry import View, fit
from .pacing import NS_PER_S, Clock, MonotonicClock, check_rate, wait_until

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..frame import Frame, FrameSpec
    from .turn import Turn

STAMP_PIXELS = 128
#: The eight pixels of each byte.
_BITS = [bytes(255 * (byte >> bit & 1) for bit in range(7, -1, -1)) for byte in range(256)]
_MASK = (1 << 64) - 1


def stamp_sequence(pixels: NDArray[np.uint8], sequence: int) -> None:
    """Write ``sequence`` (0 to 2**64 - 1) into the first pixels of ``Frame.pixels``."""
    words = sequence.to_bytes(8, "big") + (sequence ^ _MASK).to_bytes(8, "big")
    bits = np.frombuffer(b"".join([_BITS[word] for word in words]), np.uint8)
    if pixels.ndim == 3:
        pixels.reshape(-1, 3)[:STAMP_PIXELS] = bits[:, None]
    else:
        pixels.reshape(-1)[:STAMP_PIXELS] = bits


def read_sequence(pixels: NDArray[np.uint8]) -> int:
    """The sequence number in ``Frame.pixels`` (any pixel format) made by the pattern camera.

    Raises ``ValueError`` when these pixels carry none.
    """
    first = pixels.reshape(-1, 3)[:STAMP_PIXELS, 0] if pixels.ndim == 3 else pixels.reshape(-1)[:STAMP_PIXELS]
    words = np.packbits(first >= 128).tobytes()
    sequence, inverted = int.from_bytes(words[:8], "big"), int.from_bytes(words[8:], "big")
    if len(words) != STAMP_PIXELS // 8 or sequence ^ inverted != _MASK:
        raise ValueError("these pixels carry no sequence number of the pattern camera")
    return sequence


def _scene(spec: FrameSpec, turn: Turn) -> list[tuple[NDArray[np.uint8], int]]:
    """Each plane, flat and twice below itself, so that a window of its rows is contiguous; its rows."""
    # Made as a camera would that is mounted so, and turned upright.
    width, height = (spec.height, spec.width) if turn.on_its_side else (spec.width, spec.height)
    y, x = np.mgrid[0:height, 0:width]
    size = min(width, height)
    scene = 64 + 96 * x / width
    for part, level in ((0.25, 220), (0.6, 24), (0.85, 200)):
        disc = (x - part * width) ** 2 + (y - part * height) ** 2 < (0.16 * size) ** 2
        scene[disc] = level
    lying = scene.astype(np.uint8)
    luma = np.rot90(np.fliplr(lying) if turn.mirrored else lying, -turn.rotation // 90)
    if spec.pixel_format == "Y":
        planes = [luma]
    elif spec.pixel_format == "YUV420":
        planes = [luma, luma[::2, ::2] // 2 + 64, 255 - luma[::2, ::2] // 2 - 64]
    else:
        planes = [np.dstack([luma, luma // 2 + 64, 255 - luma])]
    return [(np.concatenate([plane, plane]).reshape(-1), len(plane)) for plane in planes]


@attrs.frozen
class PatternOptions:
    """``[camera.pattern]``"""

    rate: str = option(
        "fps",
        "at camera.fps as a real sensor, losing frames that nobody takes; or max: as fast as taken",
        choices=("fps", "max"),
    )
    length_frames: int = option(
        0, "the source ends before this sequence number; 0 is never", unit="frames", minimum=0, maximum=2**53
    )


class PatternCamera:
    """Made-up pictures, at ``camera.fps`` (0: as fast as they are taken)."""

    Options: ClassVar[type[Any]] = PatternOptions

    def __init__(self, options: PatternOptions | None = None, clock: Clock | None = None) -> None:
        self._options = options if options is not None else PatternOptions()
        self._clock = clock if clock is not None else MonotonicClock()
        self._request: CaptureRequest | None = None
        self._scene: list[tuple[NDArray[np.uint8], int]] = []
        self._period_ns = 0
        self._start_ns = 0
        self._next = 0

    def open(self, request: CaptureRequest) -> CameraInfo:
        """``ConfigError`` for a rate below the stall timeout or a frame too small for the stamp."""
        spec = request.spec
        if spec.width * spec.height < STAMP_PIXELS:
            raise ConfigError(f"pattern: {spec.width}x{spec.height} is too small to carry a sequence number")
        fps = request.fps if self._options.rate == "fps" else 0.0
        check_rate(fps, request.timeout_s, "pattern")
        self._period_ns = round(NS_PER_S / fps) if fps > 0 else 0
        self._scene = _scene(spec, request.turn)
        self._request, self._next = request, 0
        size = (spec.width, spec.height)
        lying = (spec.height, spec.width) if request.turn.on_its_side else size
        geometry = fit(request.geometry, *lying, *size, View(request.turn)).geometry
        description = f"pattern {spec.width}x{spec.height} {spec.pixel_format}"
        return CameraInfo(fps, geometry, description, live=fps > 0)

    def capture(self, frame: Frame) -> None:
        if self._request is None:
            raise TransientError("pattern: the camera is not open")
        sequence, due_ns = self._due()
        if 0 < self._options.length_frames <= sequence:
            raise EndOfVideo(f"pattern: its {self._options.length_frames} frames are over")
        if self._period_ns:
            wait_until(self._clock, due_ns, self._request.timeout_s, "pattern")
        self._paint(frame.pixels, sequence)
        frame.sequence, frame.sensor_timestamp_ns = sequence, due_ns
        self._next = sequence + 1

    def close(self) -> None:
        self._request = None
        self._scene = []

    def _due(self) -> tuple[int, int]:
        """The next frame and its time; frames whose successor is already due are lost."""
        now_ns = self._clock.now_ns()
        if not self._period_ns:
            return self._next, now_ns
        if self._next == 0:
            self._start_ns = now_ns
        sequence = max(self._next, (now_ns - self._start_ns) // self._period_ns)
        return sequence, self._start_ns + sequence * self._period_ns

    def _paint(self, pixels: NDArray[np.uint8], sequence: int) -> None:
        flat, filled = pixels.reshape(-1), 0
        for plane, rows in self._scene:
            size = plane.size // 2
            # The first plane moves by a row a frame, chroma of half its height by half a row.
            top = rows - sequence * rows // self._scene[0][1] % rows
            start = top * (size // rows)
            flat[filled : filled + size] = plane[start : start + size]
            filled += size
        stamp_sequence(pixels, sequence)
