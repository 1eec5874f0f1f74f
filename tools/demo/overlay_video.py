"""Masks over their pictures, as a film and as one picture."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gnetsegd.ctl.overlay import overlay
from gnetsegd.ctl.png import encode_png
from gnetsegd.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 480
STRIP = 32
PAPER, INK = (18, 20, 24), (214, 220, 224)


class Pair(NamedTuple):
    """A picture and its own mask; both (height, width) uint8, ``person`` is 0 or 1."""

    luminance: NDArray[np.uint8]
    person: NDArray[np.uint8]
    caption: str


def _enlarge(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.uint8)


def compose(pair: Pair) -> NDArray[np.uint8]:
    """One picture, RGB, uint8 of shape (SIDE + STRIP, SIDE, 3): the overlay, below it the caption."""
    # The mask is enlarged as smoothly as the picture, and cut at one half again.
    person = (_enlarge(pair.person * np.uint8(255)) > 127).astype(np.uint8)
    canvas = Image.new("RGB", (SIDE, SIDE + STRIP), PAPER)
    canvas.paste(Image.fromarray(overlay(_enlarge(pair.luminance), person)), (0, 0))
    pen = ImageDraw.Draw(canvas)
    pen.text((12, SIDE + STRIP // 2), pair.caption, INK, ImageFont.load_default(14), anchor="lm")
    return np.asarray(canvas, np.uint8)


def write_picture(path: Path, pair: Pair) -> None:
    """Write ``path``, a PNG."""
    write_whole(path, encode_png(compose(pair)))


def write_video(path: Path, pairs: Iterable[Pair], fps: float) -> Iterator[int]:
    """Write ``path``, an MP4 (H.264), one frame for each pair; yields the number of each."""
    partial = path.with_name(f".{path.name}.part")
    rate = Fraction(max(fps, 1.0)).limit_denominator(1000)
    with av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as film:
        stream = film.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE + STRIP, "yuv420p"
        stream.options = {"crf": "23", "preset": "veryfast"}
        for number, pair in enumerate(pairs):
            frame = av.VideoFrame.from_ndarray(compose(pair), format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            film.mux(stream.encode(frame))
            yield number
        film.mux(stream.encode())
    partial.replace(path)
