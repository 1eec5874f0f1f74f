# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""Centre squares as the network sees them, and those that its integers are calibrated with. Needs OpenCV."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from gnetseg_zoo.datasets.pictures import Pixels
from gnetseg_zoo.judging.photos import Photo, open_all

CALIBRATION_PHOTOS = 200


def centre(pixels: Pixels, size: int) -> Pixels:
    """The centre square at ``size`` pixels, by area."""
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    part = pixels[top : top + side, left : left + side]
    how = cv2.INTER_AREA if side >= size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part, (size, size), interpolation=how))


def calibration(photos: Sequence[Photo], size: int) -> Pixels:
    """RGB [n, s, s, 3] of evenly chosen training photos, every byte value's ends among them."""
    chosen = photos[:: max(1, len(photos) // CALIBRATION_PHOTOS)]
    out = np.stack([centre(open_all(p)[0], size) for p in chosen])
    out[:, 0, 0], out[:, -1, -1] = 0, 255
    return out
