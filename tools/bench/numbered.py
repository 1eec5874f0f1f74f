"""A film whose every picture says which one it is, so that a repaired, old or mixed one is seen.

Sixteen squares along the top are the bits of its number; the rest moves and has detail.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

BITS = 16
#: As cameras have it: 6 Mbit/s of 1080p.
BITS_PER_S_MIN = 2_000_000


@lru_cache(maxsize=8)
def _noise(number: int, width: int, height: int) -> NDArray[np.float64]:
    """So a picture takes several packets."""
    return np.random.default_rng(number).normal(0, 6, (height, width))


def picture(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """Luminance, uint8 (height, width)."""
    y, x = np.mgrid[0:height, 0:width]
    made = 118 + 50 * np.sin((x + 5 * number) / 23) + 40 * np.cos((y - 3 * number) / 17)
    made += _noise(number % 7, width, height)
    side = width // 12
    left, top = (number * 13) % (width - side), height // 4 + (number * 7) % (height // 2)
    made[top : top + side, left : left + side] = 230
    square = width // BITS
    for bit in range(BITS):
        made[:square, bit * square : (bit + 1) * square] = 235 if number >> (BITS - 1 - bit) & 1 else 16
    return made.clip(16, 235).astype(np.uint8)


def number_of(luma: NDArray[np.uint8]) -> int:
    """Which picture this is, by its squares alone."""
    square = luma.shape[1] // BITS
    centre = luma[square // 4 : max(square // 4 + 1, 3 * square // 4)]
    found = 0
    for bit in range(BITS):
        found = found << 1 | int(
            centre[:, bit * square + square // 4 : bit * square + 3 * square // 4].mean() > 125
        )
    return found


def encode(
    count: int, width: int, height: int, fps: int, group: int, codec: str = "libx264", slices: int = 1
) -> list[bytes]:
    """The access units, each as bytes with start codes; a key frame with its parameters every ``group``."""
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, fps), Fraction(fps)
    encoder.bit_rate = max(BITS_PER_S_MIN, 3 * width * height)
    encoder.options = {
        "tune": "zerolatency", "preset": "ultrafast", "g": str(group), "keyint_min": str(group),
        "threads": "1", "sc_threshold": "0", "slices": str(slices),
    }  # fmt: skip
    units = []
    for number in range(count):
        image = av.VideoFrame(width, height, "yuv420p")
        for index, plane in enumerate(image.planes):
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            if index:
                rows[:] = 128
            else:
                rows[:height, :width] = picture(number, width, height)
        image.pts = number
        units += [bytes(packet) for packet in encoder.encode(image)]
    return units


def write_film(
    path: Path, units: list[bytes], size: tuple[int, int], fps: int, repeat: int, codec: str = "libx264"
) -> None:
    """MPEG-TS of the units, again and again, with times that go on."""
    with av.open(str(path), "w", format="mpegts") as container:
        stream: Any = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(len(units) * repeat):
            packet = av.Packet(units[number % len(units)])
            packet.stream, packet.time_base = stream, Fraction(1, fps)
            packet.pts = packet.dts = number
            container.mux(packet)


def read_film(path: Path, count: int) -> list[bytes]:
    """Its first ``count`` access units."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in islice(container.demux(video=0), count)]


def decoded(units: list[bytes], codec: str = "h264") -> list[Any]:
    """Each picture (``av.VideoFrame``) as it is when nothing was lost."""
    decoder: Any = av.CodecContext.create(codec, "r")
    decoder.options = {"flags": "low_delay"}
    images = [image for unit in units for image in decoder.decode(av.Packet(unit))]
    return images + decoder.decode(None)


def luma_of(image: Any) -> NDArray[np.uint8]:
    plane = image.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: image.height, : image.width]
