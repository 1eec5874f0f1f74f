"""A person over a picture, for programs that show pictures and know nothing of masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Of the person.
COLOUR = (0, 200, 120)
OPACITY = 0.35
#: Of the outline, in pixels of the picture.
OUTLINE_PIXELS = 2


def painted(picture: NDArray[np.uint8], inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """``picture``, RGB, uint8 (height, width, 3), with the pixels ``inside``, (height, width), tinted."""
    made = picture.copy()
    tint = np.array(COLOUR, np.float32)
    made[inside] = (made[inside] * (1 - OPACITY) + tint * OPACITY).astype(np.uint8)
    made[_outline(inside)] = COLOUR
    return made


def _outline(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of ``inside`` that are near its edge."""
    kept = inside.copy()
    for _ in range(OUTLINE_PIXELS):
        kept[1:] &= kept[:-1]
        kept[:-1] &= kept[1:]
        kept[:, 1:] &= kept[:, :-1]
        kept[:, :-1] &= kept[:, 1:]
    return inside & ~kept
