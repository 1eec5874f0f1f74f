"""A part of what the camera sees, kept in fractions of the sensor's picture."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..frame import Geometry

    Shape = Sequence[float] | Sequence[Sequence[float]]

#: More corners than anybody draws.
MAX_POINTS = 256


class Zone:
    """A box or a polygon on the sensor's picture.

    Fractions of the sensor's picture, 0 to 1 from its top left: so a zone means the same place after another
    network, crop or resolution. A zone may reach beyond the picture; what nobody can see does not count.

    Parameters
    ----------
    shape : ``(left, top, right, bottom)``, or at least three corners ``[(x, y), ...]`` of a polygon in order

    ``ValueError`` for what encloses nothing of the sensor's picture.
    """

    __slots__ = ("points",)

    def __init__(self, shape: Shape) -> None:
        #: The corners, (x, y) each.
        self.points = _corners(shape)

    def __repr__(self) -> str:
        return f"Zone({list(self.points)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Zone) and self.points == other.points

    def __hash__(self) -> int:
        return hash(self.points)

    def pixels(self, geometry: Geometry, width: int, height: int) -> NDArray[np.bool_]:
        """Where the centre of a mask's pixel lies in the zone: read-only, shape (height, width)."""
        place = (geometry.x, geometry.y, geometry.width, geometry.height)
        return _raster(self.points, place, width, height)


def _corners(shape: Shape) -> tuple[tuple[float, float], ...]:
    try:
        corners = np.array(shape, np.float64)
    except (TypeError, ValueError, OverflowError):  # the last of a number of hundreds of digits
        corners = np.zeros(0)
    if corners.shape == (4,):
        left, top, right, bottom = corners
        if left >= right or top >= bottom:
            raise ValueError(f"a zone's box is left, top, right, bottom, and not {corners.tolist()}")
        corners = np.array(((left, top), (right, top), (right, bottom), (left, bottom)))
    if corners.ndim != 2 or corners.shape[1] != 2:
        raise ValueError("a zone is (left, top, right, bottom), or three corners [(x, y), ...] or more")
    points = tuple((float(x), float(y)) for x, y in corners)
    if not 3 <= len(points) <= MAX_POINTS:
        raise ValueError(f"a zone has 3 to {MAX_POINTS} corners, not {len(points)}")
    if not all(math.isfinite(x) and math.isfinite(y) for x, y in points):
        raise ValueError("a zone's corner is not a number")
    xs, ys = zip(*points, strict=True)
    if max(xs) <= 0 or max(ys) <= 0 or min(xs) >= 1 or min(ys) >= 1:
        raise ValueError("a zone lies beside the sensor's picture; its corners are fractions of it, 0 to 1")
    across = (corners - corners[0]) / max(max(xs) - min(xs), max(ys) - min(ys), 1e-300)
    if np.linalg.matrix_rank(across, tol=1e-9) < 2:
        raise ValueError("a zone's corners lie on a line; they enclose nothing")
    return points


@functools.lru_cache(maxsize=64)
def _raster(
    points: tuple[tuple[float, float], ...], place: tuple[float, float, float, float], width: int, height: int
) -> NDArray[np.bool_]:
    """Even-odd: a pixel is inside if a line from it to the right crosses the border oddly often."""
    left, top, across, down = place
    x = (left + (np.arange(width) + 0.5) / width * across)[None, :]
    y = (top + (np.arange(height) + 0.5) / height * down)[:, None]
    inside = np.zeros((height, width), np.bool_)
    for (x1, y1), (x2, y2) in zip(points, (*points[1:], points[0]), strict=True):
        if y1 != y2:
            inside ^= ((y1 <= y) != (y2 <= y)) & (x < x1 + (y - y1) * ((x2 - x1) / (y2 - y1)))
    # With letterbox there are pixels beside the sensor's picture: nobody is there.
    inside &= (x >= 0) & (x < 1) & (y >= 0) & (y < 1)
    inside.flags.writeable = False
    return inside
