"""How a picture is fitted to the network's: cut the sides, pad with grey, or stretch.

Everything here is arithmetic on sizes; ``scale`` and the ISP of a Pi do what it says.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from ..errors import ConfigError
from ..frame import Geometry
from .turn import UPRIGHT, Turn, inverse, turned_rect


class Rect(NamedTuple):
    """A rectangle in whole pixels, from the top left corner."""

    x: int
    y: int
    width: int
    height: int


class View(NamedTuple):
    """How a picture is meant to be seen: turned, and with pixels ``pixel_aspect`` times as wide as high."""

    turn: Turn = UPRIGHT
    pixel_aspect: float = 1.0


PLAIN = View()


class Fit(NamedTuple):
    """``source``: what is read of the picture as it lies; ``inner``: where it goes in the frame, upright,
    the rest is padding.
    """

    source: Rect
    inner: Rect
    geometry: Geometry


def check_pair(table: str, width_key: str, width: int, height_key: str, height: int) -> None:
    """``ConfigError`` for a width without a height, or the other way round; 0 is none."""
    if bool(width) != bool(height):
        raise ConfigError(
            f"{table}.{width_key} is {width} and {table}.{height_key} is {height}; "
            "set both, or leave both at 0"
        )


def _even(length: float, limit: int) -> int:
    """``length`` in whole pixels, even where it is less than ``limit``: chroma comes in pairs."""
    rounded = 2 * round(length / 2)
    return min(limit, max(2, rounded))


def fit(mode: str, source_width: int, source_height: int, width: int, height: int, view: View = PLAIN) -> Fit:
    """Fit a picture of ``source_width`` x ``source_height`` to ``width`` x ``height`` pixels.

    ``mode`` is one of ``GEOMETRY_MODES``. The edges of crops and of padding are rounded to even
    pixels; the ``Geometry`` says where they really are, in the upright picture with square pixels.
    """
    turn, pixel_aspect = view
    size = (source_width, source_height)
    if turn.on_its_side:
        source_width, source_height, pixel_aspect = source_height, source_width, 1 / pixel_aspect
    source, inner = _fit_upright(mode, source_width, source_height, width, height, pixel_aspect)
    shown = (source_width, source_height)
    geometry = region(mode, source, inner, shown, (width, height))
    geometry = dataclasses.replace(
        geometry,
        sensor_width=max(1, round(source_width * max(1.0, pixel_aspect))),
        sensor_height=max(1, round(source_height / min(1.0, pixel_aspect))),
        rotation=turn.rotation,
        mirrored=turn.mirrored,
    )
    lying = Rect(*turned_rect(inverse(turn), source, shown))
    assert lying.x + lying.width <= size[0]
    assert lying.y + lying.height <= size[1]
    return Fit(lying, inner, geometry)


def _fit_upright(
    mode: str, source_width: int, source_height: int, width: int, height: int, pixel_aspect: float
) -> tuple[Rect, Rect]:
    """What is read of an upright picture, and where it goes."""
    aspect = width / height / pixel_aspect  # in the picture's own pixels
    source, inner = Rect(0, 0, source_width, source_height), Rect(0, 0, width, height)
    wide = source_width > source_height * aspect
    if mode == "center-crop":
        if wide:
            cut = _even(source_height * aspect, source_width)
            source = Rect((source_width - cut) // 4 * 2, 0, cut, source_height)
        else:
            cut = _even(source_width / aspect, source_height)
            source = Rect(0, (source_height - cut) // 4 * 2, source_width, cut)
    elif mode == "letterbox":
        if wide:
            rows = _even(width * source_height / source_width / pixel_aspect, height)
            inner = Rect(0, (height - rows) // 4 * 2, width, rows)
        else:
            columns = _even(height * source_width / source_height * pixel_aspect, width)
            inner = Rect((width - columns) // 4 * 2, 0, columns, height)
    elif mode != "stretch":
        raise ConfigError(f"camera.geometry is {mode!r}; allowed is one of center-crop, letterbox, stretch")
    return source, inner


def region(mode: str, source: Rect, inner: Rect, sensor: tuple[int, int], frame: tuple[int, int]) -> Geometry:
    """The region of the sensor that fills the whole frame, when ``source`` is shown at ``inner``.

    ``source`` is in sensor pixels, ``inner`` in frame pixels; sizes are (width, height).
    """
    # Sensor pixels per frame pixel.
    step_x, step_y = source.width / inner.width, source.height / inner.height
    return Geometry(
        mode=mode,
        x=(source.x - inner.x * step_x) / sensor[0],
        y=(source.y - inner.y * step_y) / sensor[1],
        width=frame[0] * step_x / sensor[0],
        height=frame[1] * step_y / sensor[1],
        sensor_width=sensor[0],
        sensor_height=sensor[1],
    )
