"""The val photos in memory, and what a network scores on them while it is trained. Needs numpy and OpenCV."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from gnetseg_zoo.datasets.pictures import Pixels
from gnetseg_zoo.datasets.samples import EMPTY
from gnetseg_zoo.judging.photos import FULL_BODY, Photo, open_all
from gnetseg_zoo.selfie.pictures import HALF_LENGTH
from gnetseg_zoo.selfie.squares import centre

BATCH = 10
FEWEST = 10
"""Photos of a domain that counts in the mean."""


class Validation:
    """Centre squares of the photos, and of the full bodies the upper halves too (hand-drawn portraits)."""

    def __init__(self, photos: Sequence[Photo], size: int) -> None:
        pixels: list[Pixels] = []
        truths: list[npt.NDArray[np.bool_]] = []
        known: list[npt.NDArray[np.bool_]] = []
        domains: list[str] = []

        def add(domain: str, *parts: Pixels) -> None:
            picture, mask, weight = (centre(p, size) for p in parts)
            pixels.append(picture)
            truths.append(mask > 127)
            known.append(weight > 127)
            domains.append(domain)

        for photo in photos:
            picture, mask, unknown = open_all(photo)
            weight = np.full(mask.shape, 255, np.uint8)
            if unknown is not None:
                weight[unknown] = 0
            add(photo.domain, picture, mask, weight)
            if photo.domain == FULL_BODY and photo.sample.label_kind == "hand":
                rows, columns = np.flatnonzero((mask > 127).any(1)), np.flatnonzero((mask > 127).any(0))
                side = int(min(*mask.shape, max(0.5 * (rows[-1] - rows[0]), columns[-1] - columns[0]) * 1.15))
                top = max(0, int(rows[0]) - side // 10)
                left = int(np.clip((columns[0] + columns[-1] - side) // 2, 0, mask.shape[1] - side))
                part = (slice(top, top + side), slice(left, left + side))
                add(HALF_LENGTH, picture[part], mask[part], weight[part])
        self.pixels, self.truths, self.known = np.stack(pixels), np.stack(truths), np.stack(known)
        self.domains = np.array(domains)

    def scores(self, predict: Callable[[Pixels], npt.NDArray[np.bool_]]) -> dict[str, float]:
        """mIoU of each domain, ``mean`` over them, and the false person share of ``empty``.

        ``predict``: whether a pixel is a person [n, s, s], of RGB [n, s, s, 3].
        """
        parts = [predict(self.pixels[i : i + BATCH]) for i in range(0, len(self.pixels), BATCH)]
        return self.score(np.concatenate(parts))

    def score(self, predicted: npt.NDArray[np.bool_]) -> dict[str, float]:
        """The same of masks [n, s, s]; a domain of very few photos is left out of the mean."""
        out: dict[str, float] = {}
        counted: list[float] = []
        for domain in sorted(set(self.domains) - {EMPTY}):
            which = self.domains == domain
            p, t, k = predicted[which], self.truths[which], self.known[which]
            person = (p & t & k).sum() / ((p | t) & k).sum()
            ground = (~p & ~t & k).sum() / (~(p & t) & k).sum()
            out[domain] = float((person + ground) / 2)
            if which.sum() >= FEWEST:
                counted.append(out[domain])
        out["mean"] = float(np.mean(counted or list(out.values())))
        if EMPTY in self.domains:
            out[EMPTY] = float(predicted[self.domains == EMPTY].mean())
        return {k: round(v, 4) for k, v in out.items()}
