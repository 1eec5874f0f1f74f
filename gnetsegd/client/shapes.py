"""What a region of pixels is like: plain functions of bool arrays of shape (height, width).

Positions are in pixels from the top left *corner* of the array, x to the right and y down: the centre of
the first pixel is (0.5, 0.5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Region = NDArray[np.bool_]


class Box(NamedTuple):
    """Edges in whole pixels; ``array[top:bottom, left:right]`` is what lies inside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


class Blob(NamedTuple):
    """Pixels that hang together, corners included. ``share``: of all pixels, 0 to 1."""

    share: float
    box: Box
    centroid: tuple[float, float]


def share(region: Region, within: Region | None = None) -> float:
    """How much of all pixels, or of those in ``within``, is in ``region``, 0 to 1.

    ``ValueError`` where ``within`` has no pixel: of nothing there is no share.
    """
    if within is None:
        return float(np.count_nonzero(region)) / region.size
    whole = np.count_nonzero(within)
    if not whole:
        raise ValueError("the zone has no pixel in this mask; nothing can be said of it")
    return float(np.count_nonzero(region & within)) / whole


def box(region: Region) -> Box | None:
    """The smallest box around ``region``; None where it is empty."""
    rows, columns = region.any(axis=1).nonzero()[0], region.any(axis=0).nonzero()[0]
    if not rows.size:
        return None
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def centroid(region: Region) -> tuple[float, float] | None:
    """(x, y) of the centre of mass; None where ``region`` is empty."""
    columns, rows = region.sum(axis=0), region.sum(axis=1)
    count = int(rows.sum())
    if not count:
        return None
    height, width = region.shape
    return (
        float(columns @ np.arange(width)) / count + 0.5,
        float(rows @ np.arange(height)) / count + 0.5,
    )


def touches_edge(region: Region, visible: Box | None = None) -> tuple[str, ...]:
    """Which edges ``region`` touches, of ``left``, ``top``, ``right``, ``bottom``; empty: none.

    The edges of ``visible``, by default those of the array.
    """
    inside = region if visible is None else region[visible.top : visible.bottom, visible.left : visible.right]
    edges = {"left": inside[:, :1], "top": inside[:1], "right": inside[:, -1:], "bottom": inside[-1:]}
    return tuple(name for name, line in edges.items() if line.any())


def blobs(region: Region, min_share: float = 0.01) -> list[Blob]:
    """The parts of ``region`` that hang together, the largest first.

    Parts smaller than ``min_share`` of all pixels are left out. Blobs are not persons: two who stand before
    one another are one blob, and a chair in front of one makes two.
    """
    height, width = region.shape
    # Runs of pixels in a row; a column of zeros at each side keeps the rows apart.
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = region
    steps = np.flatnonzero(np.diff(padded.ravel()))
    starts, ends = steps[::2], steps[1::2]
    if not starts.size:
        return []
    root = _joined(starts, ends, width + 2)
    # The runs of a blob one behind the other, from the top.
    order = np.argsort(root, kind="stable")
    begins = np.flatnonzero(np.diff(root[order], prepend=-1))
    row, left, right = (
        (starts // (width + 2))[order],
        (starts % (width + 2))[order],
        (ends % (width + 2))[order],
    )
    length = right - left
    pixels = np.add.reduceat(length, begins)
    x, y = np.add.reduceat(length * (left + right) / 2, begins), np.add.reduceat(length * row, begins)
    edges = [
        np.minimum.reduceat(left, begins), np.minimum.reduceat(row, begins),
        np.maximum.reduceat(right, begins), np.maximum.reduceat(row, begins) + 1,
    ]  # fmt: skip
    found = []
    for k in np.flatnonzero(pixels >= max(1.0, min_share * region.size)):
        middle = float(x[k] / pixels[k]), float(y[k] / pixels[k]) + 0.5
        found.append(Blob(float(pixels[k]) / region.size, Box(*(int(edge[k]) for edge in edges)), middle))
    return sorted(found, key=lambda blob: -blob.share)


def _joined(starts: NDArray[np.intp], ends: NDArray[np.intp], stride: int) -> NDArray[np.intp]:
    """For each run the number of the first run that it hangs together with, over however many others."""
    # Which runs touch the one that lies a row further down, corners included.
    first = np.searchsorted(ends, starts + stride, "left")
    touching = np.searchsorted(starts, ends + stride, "right") - first
    a = np.repeat(np.arange(starts.size), touching)
    b = np.arange(a.size) - np.repeat(np.cumsum(touching) - touching, touching) + np.repeat(first, touching)
    parent = np.arange(starts.size)
    while True:
        # The smaller number wins on both sides, for the run and for the one it hangs on; then the
        # way there is halved. A snake takes a few rounds more, a crowd of specks no longer.
        before, above = parent.copy(), parent[parent]
        for one, other in ((a, b), (b, a)):
            np.minimum.at(parent, before[one], above[other])
            np.minimum.at(parent, one, above[other])
        parent = np.minimum(parent, parent[parent])
        if np.array_equal(parent, before):
            return parent
