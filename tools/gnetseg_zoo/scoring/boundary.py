"""How well a mask's outline is met: the boundary F-score. Needs numpy.

The F-measure of Perazzi et al. 2016 ("A Benchmark Dataset and Evaluation Methodology for
Video Object Segmentation", section 4: contour accuracy) with the tolerance of Csurka et
al. 2013 ("What is a good evaluation measure for semantic segmentation?", section 3.2):
0.75 % of the picture's diagonal, 2.4 pixels at 224x224. IoU hardly sees a rim of a pixel's
width; this sees little else.

A boundary pixel is one whose label differs from that of its neighbour to the right, below
or between the two; the picture's own edge is no boundary. Precision is the share of the
mask's boundary pixels with a true one within the tolerance, recall the reverse, F their
harmonic mean; a slice's score is the mean over its photos.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]

TOLERANCE = 0.0075
"""Of the picture's diagonal."""


def boundary(mask: Mask) -> Mask:
    """bool [height, width], true on the boundary pixels of ``mask`` of the same shape."""
    out = np.zeros_like(mask)
    out[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    out[:-1] |= mask[:-1] != mask[1:]
    out[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return out


def near(pixels: Mask, radius: float) -> Mask:
    """bool, true within ``radius`` pixels (Euclidean) of a true pixel of ``pixels``."""
    reach = int(radius)
    height, width = pixels.shape
    padded = np.pad(pixels, reach)
    out = np.zeros_like(pixels)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            if down**2 + right**2 <= radius**2:
                top, left = reach + down, reach + right
                out |= padded[top : top + height, left : left + width]
    return out


def boundary_f(predicted: Mask, truth: Mask) -> float:
    """F (0..1) of one picture; 1 where neither mask has a boundary, 0 where only one has."""
    said, held = boundary(predicted), boundary(truth)
    if not said.any() or not held.any():
        return float(said.any() == held.any())
    radius = TOLERANCE * math.hypot(*truth.shape)
    precision = np.count_nonzero(said & near(held, radius)) / np.count_nonzero(said)
    recall = np.count_nonzero(held & near(said, radius)) / np.count_nonzero(held)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@dataclass
class BoundaryScores:
    """Boundary F per domain, and over all photos with persons."""

    of_domain: dict[str, list[float]] = field(default_factory=dict)

    def add(self, domain: str, predicted: Mask, truth: Mask) -> None:
        """Count one picture that has a person in it."""
        self.of_domain.setdefault(domain, []).append(boundary_f(predicted, truth))

    def summary(self) -> dict[str, float]:
        """The mean (0..1, four places) of each domain, and as "persons" over all photos."""
        out = {domain: round(float(np.mean(found)), 4) for domain, found in self.of_domain.items()}
        if out:
            every = [f for found in self.of_domain.values() for f in found]
            out["persons"] = round(float(np.mean(every)), 4)
        return out
