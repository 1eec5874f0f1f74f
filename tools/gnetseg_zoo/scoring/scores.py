"""How masks are scored. Needs numpy.

mIoU is the mean of the person's and the background's intersection over union, each
summed over all pixels of all pictures of a slice. False person is the mean share of
person pixels over person-free pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gnetseg_zoo.datasets.samples import EMPTY

Mask = npt.NDArray[np.bool_]


@dataclass
class Confusion:
    """Pixel counts over a slice; positive is person."""

    true_positive: int = 0
    false_positive: int = 0
    false_negative: int = 0
    true_negative: int = 0
    photos: int = 0

    def add(self, predicted: Mask, truth: Mask) -> None:
        """Count one picture; both masks bool of the same shape."""
        both = int(np.count_nonzero(predicted & truth))
        says, holds = int(np.count_nonzero(predicted)), int(np.count_nonzero(truth))
        self.true_positive += both
        self.false_positive += says - both
        self.false_negative += holds - both
        self.true_negative += truth.size - says - holds + both
        self.photos += 1

    @property
    def person_iou(self) -> float:
        """Intersection over union of the person; 1 where neither has any."""
        return _iou(self.true_positive, self.false_positive + self.false_negative)

    @property
    def background_iou(self) -> float:
        """The same of the background."""
        return _iou(self.true_negative, self.false_positive + self.false_negative)

    @property
    def miou(self) -> float:
        """Mean of the two."""
        return (self.person_iou + self.background_iou) / 2


def _iou(intersection: int, differing: int) -> float:
    union = intersection + differing
    return intersection / union if union else 1.0


@dataclass
class Scoreboard:
    """Scores per domain, over all photos with persons, and on person-free photos."""

    domains: dict[str, Confusion] = field(default_factory=dict)
    persons: Confusion = field(default_factory=Confusion)
    false_shares: list[float] = field(default_factory=list)

    def add(self, domain: str, predicted: Mask, truth: Mask) -> float:
        """Count one picture; gives its own mIoU, or for an empty one its false person share."""
        if domain == EMPTY:
            share = float(np.count_nonzero(predicted)) / predicted.size
            self.false_shares.append(share)
            return share
        self.domains.setdefault(domain, Confusion()).add(predicted, truth)
        self.persons.add(predicted, truth)
        alone = Confusion()
        alone.add(predicted, truth)
        return alone.miou

    @property
    def false_person(self) -> float | None:
        """Mean share (0..1) of person pixels over person-free pictures; None without any."""
        return sum(self.false_shares) / len(self.false_shares) if self.false_shares else None

    def summary(self) -> dict[str, dict[str, float | int]]:
        """Everything as plain numbers, rounded to four places, for JSON and TOML."""
        out: dict[str, dict[str, float | int]] = {}
        for domain, confusion in sorted(self.domains.items()):
            out[domain] = {"miou": round(confusion.miou, 4), "photos": confusion.photos}
        if self.persons.photos:
            out["persons"] = {
                "miou": round(self.persons.miou, 4),
                "person_iou": round(self.persons.person_iou, 4),
                "background_iou": round(self.persons.background_iou, 4),
                "photos": self.persons.photos,
            }
        if self.false_person is not None:
            out["empty"] = {"false_person": round(self.false_person, 4), "photos": len(self.false_shares)}
        return out
