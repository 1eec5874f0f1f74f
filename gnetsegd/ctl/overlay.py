"""Draw labels over a picture: the classes tinted, with a thin outline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: One colour a label, from 0; after the last they begin again behind the background.
_COLOURS = (
    (24, 26, 32), (38, 198, 190), (255, 167, 38), (126, 87, 194), (102, 187, 106), (239, 83, 80),
    (66, 165, 245), (255, 238, 88), (236, 64, 122), (141, 110, 99), (120, 144, 156), (212, 225, 87),
    (92, 107, 192), (255, 112, 67), (38, 166, 154), (171, 71, 188),
)  # fmt: skip


def palette(classes: int) -> NDArray[np.uint8]:
    """Colours of labels 0 to ``classes - 1``, uint8 of shape (classes, 3); 0 is dark."""
    rest = len(_COLOURS) - 1
    return np.array([_COLOURS[0 if k == 0 else 1 + (k - 1) % rest] for k in range(classes)], np.uint8)


def resize_labels(labels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """``labels`` at another size, by the nearest pixel."""
    rows = (np.arange(height) * 2 + 1) * labels.shape[0] // (2 * height)
    columns = (np.arange(width) * 2 + 1) * labels.shape[1] // (2 * width)
    resized: NDArray[np.uint8] = labels[rows[:, None], columns]
    return resized


def overlay(
    luminance: NDArray[np.uint8], labels: NDArray[np.uint8], outline: int = 1, strength: float = 0.5
) -> NDArray[np.uint8]:
    """RGB picture, uint8 (height, width, 3), of ``luminance`` (height, width) with ``labels`` over it.

    The labels, of whatever size, cover the whole picture. The background is a little darker, each
    class tinted by ``strength``, with an ``outline`` so many pixels wide.
    """
    height, width = luminance.shape
    labels = resize_labels(labels, height, width)
    colours = palette(256).astype(np.float32)
    grey = luminance.astype(np.float32)[:, :, None]
    inside = (labels > 0)[:, :, None]
    # The tint keeps the picture's light and shade.
    tinted = grey * (1 - strength) + colours[labels] * (0.35 + 0.65 * grey / 255) * strength
    picture = np.where(inside, tinted, grey * 0.72)
    line = edge(labels, outline)
    picture[line] = colours[labels[line]] * 0.4 + 255 * 0.6
    return picture.round().clip(0, 255).astype(np.uint8)


def edge(labels: NDArray[np.uint8], thickness: int) -> NDArray[np.bool_]:
    """Where a class ends within ``thickness`` pixels, seen from inside it."""
    found = np.zeros(labels.shape, np.bool_)
    for step in range(1, thickness + 1):
        differs = labels[:, step:] != labels[:, :-step]
        found[:, step:] |= differs
        found[:, :-step] |= differs
        differs = labels[step:] != labels[:-step]
        found[step:] |= differs
        found[:-step] |= differs
    return found & (labels > 0)
