"""Score a network by domain: ``judge`` gives what ``evaluate --split test`` prints. Needs numpy and Pillow.

Each network is scored at its own input size: centre square of the photo, area-resized.
mIoU of a domain is the mean of the person's and the background's intersection over union,
each summed over all its pixels; unknown pixels are left out. The headline is the mean of
the mIoU of :data:`MIOU_DOMAINS`, so that no domain outweighs another by its photos.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from gnetseg_zoo.datasets.pictures import Pixels, hard_mask, network_input, open_mask, open_pair, square
from gnetseg_zoo.datasets.samples import EMPTY, DataError
from gnetseg_zoo.judging.clips import floor_share, mean_flicker
from gnetseg_zoo.judging.photos import FULL_BODY, GROUP, MIXED, PORTRAIT, ROOM, SCENE, Photo
from gnetseg_zoo.scoring.boundary import boundary_f
from gnetseg_zoo.scoring.labeller import Labeller
from gnetseg_zoo.scoring.scores import Confusion

MIOU_DOMAINS = (PORTRAIT, FULL_BODY, SCENE, GROUP, ROOM)
OUTLINED = (PORTRAIT, FULL_BODY)
"""Domains whose masks are drawn finely enough to judge outlines by."""
_MODES = {"Y": "L", "YUV444": "YCbCr", "RGB": "RGB"}

Domains = dict[str, dict[str, float | int]]
Seen = Callable[["Judged"], None]


@dataclass(frozen=True)
class Judged:
    """One photo scored; ``score``: its own mIoU, or in an empty one its false person share."""

    photo: Photo
    picture: Image.Image
    predicted: npt.NDArray[np.bool_]
    truth: npt.NDArray[np.bool_]
    score: float


@dataclass
class Board:
    """What one network has scored so far."""

    domains: dict[str, Confusion] = field(default_factory=dict)
    false_shares: list[float] = field(default_factory=list)
    outlines: list[float] = field(default_factory=list)

    def add(
        self,
        domain: str,
        predicted: npt.NDArray[np.bool_],
        truth: npt.NDArray[np.bool_],
        known: npt.NDArray[np.bool_],
    ) -> float:
        """Count one picture, all bool [s, s]; gives its own mIoU or false person share."""
        if domain == EMPTY:
            self.false_shares.append(float(predicted.mean()))
            return self.false_shares[-1]
        alone = Confusion()
        for confusion in (alone, self.domains.setdefault(domain, Confusion())):
            confusion.add(predicted[known], truth[known])
        if domain in OUTLINED:
            self.outlines.append(boundary_f(predicted & known, truth & known))
        return alone.miou

    def summary(self) -> tuple[float, Domains]:
        """(headline, domains), rounded to four places.

        Raises :class:`DataError` without a photo of a person.
        """
        shown = [d for d in (*MIOU_DOMAINS, MIXED) if d in self.domains]
        out: Domains = {
            d: {"miou": round(self.domains[d].miou, 4), "photos": self.domains[d].photos} for d in shown
        }
        headline = [self.domains[d].miou for d in shown if d in MIOU_DOMAINS]
        if not headline:
            raise DataError("no photo shows a person; give an index with some")
        if self.false_shares:
            share = round(float(np.mean(self.false_shares)), 4)
            out[EMPTY] = {"false_person": share, "photos": len(self.false_shares)}
        if self.outlines:
            out["outlines"] = {
                "boundary_f": round(float(np.mean(self.outlines)), 4),
                "photos": len(self.outlines),
            }
        return round(float(np.mean(headline)), 4), out


def judge(
    networks: Sequence[Labeller], photos: Sequence[Photo], folders: Sequence[Path], seen: Seen | None = None
) -> list[dict[str, Any]]:
    """``{"headline", "domains"}`` of every network on the same ``photos`` and on the clips below ``folders``.

    ``folders``: those of the indices; a clip is looked for in ``video``. ``seen`` is called with
    every photo as the first network sees it. Raises :class:`DataError` for what cannot be
    decoded and :class:`ModelError` for a network that is not for persons.
    """
    boards = [Board() for _ in networks]
    for photo in photos:
        picture, mask = open_pair(photo.sample, "RGB")
        unknown = open_mask(photo.unknown) if photo.unknown is not None else None
        for number, (network, board) in enumerate(zip(networks, boards, strict=True)):
            size, times = network.input.width, network.enlargement()
            pixels = network_input(picture.convert(_MODES[network.input.pixel_format]), size)
            predicted = network.labels(pixels) == network.person()
            predicted = predicted.repeat(times, axis=0).repeat(times, axis=1)
            truth = hard_mask(mask, size)
            score = board.add(photo.domain, predicted, truth, _known(unknown, size))
            if seen is not None and number == 0:
                seen(Judged(photo, square(picture, size), predicted, truth, score))
    out = []
    for network, board in zip(networks, boards, strict=True):
        headline, domains = board.summary()
        out.append({"headline": headline, "domains": domains | _clips(network, folders)})
    return out


def _clips(network: Labeller, folders: Sequence[Path]) -> Domains:
    floors, flicker = floor_share(network, folders), mean_flicker(network, folders)
    return {name: found for name, found in (("floors", floors), ("flicker", flicker)) if found}


def _known(unknown: Image.Image | None, size: int) -> npt.NDArray[np.bool_]:
    if unknown is None:
        return np.ones((size, size), bool)
    covered: Pixels = np.asarray(square(unknown, size))
    out: npt.NDArray[np.bool_] = covered == 0
    return out
