"""How a picture lies: what turns it upright, by its metadata and by the configuration."""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

#: 16.16 fixed point, of FFmpeg's display matrices.
_DISPLAY_MATRIX = struct.Struct("=9i")
_QUARTERS = (0, 90, 180, 270)


class Turn(NamedTuple):
    """What makes a picture upright: first mirrored left to right, then turned clockwise by ``rotation``.

    ``rotation`` is 0, 90, 180 or 270 degrees.
    """

    rotation: int = 0
    mirrored: bool = False

    @property
    def on_its_side(self) -> bool:
        """Do width and height change places?"""
        return self.rotation % 180 == 90

    def then(self, other: Turn) -> Turn:
        """This one, and ``other`` after it."""
        own = -self.rotation if other.mirrored else self.rotation
        return Turn((own + other.rotation) % 360, self.mirrored != other.mirrored)


UPRIGHT = Turn()

#: By the number in EXIF's tag Orientation.
_BY_EXIF = {
    2: Turn(0, True),
    3: Turn(180, False),
    4: Turn(180, True),
    5: Turn(270, True),
    6: Turn(90, False),
    7: Turn(90, True),
    8: Turn(270, False),
}


def configured(rotate: int, flip: bool) -> Turn:
    """``camera.rotate`` (degrees clockwise), then ``camera.flip`` (left to right)."""
    return Turn(rotate).then(Turn(0, flip))


def from_exif(orientation: int) -> Turn:
    """EXIF's orientation 1 to 8; any other number turns nothing."""
    return _BY_EXIF.get(orientation, UPRIGHT)


def exif_of(turn: Turn) -> int:
    """EXIF's orientation, 1 to 8, that turns a picture in the same way."""
    return next((number for number, known in _BY_EXIF.items() if known == turn), 1)


def from_display_matrix(matrix: bytes) -> Turn:
    """FFmpeg's display matrix (9 numbers of 16.16, 36 bytes), to the nearest quarter; UPRIGHT if none."""
    if len(matrix) != _DISPLAY_MATRIX.size:
        return UPRIGHT
    a, b, _, c, d, *_ = _DISPLAY_MATRIX.unpack(matrix)
    determinant = a * d - b * c
    if not determinant:
        return UPRIGHT
    mirrored = determinant < 0
    if mirrored:
        a, b = -a, -b
    return Turn(nearest_quarter(math.degrees(math.atan2(b, a))), mirrored)


def nearest_quarter(degrees: float) -> int:
    """0, 90, 180 or 270, whichever is nearest to this angle; 0 for what is no angle."""
    return _QUARTERS[round(degrees / 90) % 4] if math.isfinite(degrees) else 0


def turned_rect(
    turn: Turn, rect: tuple[int, int, int, int], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Where ``rect`` (x, y, width, height) of a picture of ``size`` comes to lie in the upright picture."""
    x, y, width, height = rect
    full_width, full_height = size
    if turn.mirrored:
        x = full_width - x - width
    for _ in range(turn.rotation // 90):
        x, y, width, height = full_height - y - height, x, height, width
        full_width, full_height = full_height, full_width
    return x, y, width, height


def inverse(turn: Turn) -> Turn:
    """What lays an upright picture back as it was."""
    return turn if turn.mirrored else Turn(-turn.rotation % 360)
