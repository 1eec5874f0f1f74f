"""How masks of several classes are scored. Needs numpy.

Intersection over union of a class is summed over all pixels of all pictures; mIoU is
the mean over the classes that occur, in the labels or in the masks. Pixels labelled
:data:`~gnetseg_zoo.datasets.labels.IGNORE` count nowhere. So do Cityscapes (Cordts et
al. 2016, section 4.1) and CamVid (Badrinarayanan et al. 2017, SegNet, section 4).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gnetseg_zoo.datasets.labels import IGNORE

Counts = npt.NDArray[np.int64]
Labels = npt.NDArray[np.integer[Any]]


class ClassConfusion:
    """Pixel counts over a slice; ``counts[truth, predicted]``, int64 [classes, classes]."""

    def __init__(self, classes: int) -> None:
        """``classes``: labels are 0 to ``classes`` - 1."""
        self.counts: Counts = np.zeros((classes, classes), np.int64)
        self.photos = 0

    def add(self, predicted: Labels, truth: Labels) -> None:
        """Count one picture; both hold integer labels [height, width], ``truth`` also IGNORE.

        Raises :class:`ValueError` when the shapes differ or a label is none of the classes.
        """
        if predicted.shape != truth.shape:
            raise ValueError(
                f"the mask is {list(predicted.shape)} and its labels are {list(truth.shape)}; "
                "resize the labels"
            )
        classes = len(self.counts)
        known = truth != IGNORE
        said, held = predicted[known].astype(np.int64), truth[known].astype(np.int64)
        highest = max(said.max(initial=0), held.max(initial=0))
        if highest >= classes:
            raise ValueError(f"label {highest} is none of the {classes} classes (0 to {classes - 1})")
        self.counts += np.bincount(held * classes + said, minlength=classes**2).reshape(classes, classes)
        self.photos += 1

    def join(self, other: ClassConfusion) -> None:
        """Count in what ``other`` has counted, of the same classes."""
        self.counts += other.counts
        self.photos += other.photos

    def summary(self) -> dict[str, float | int]:
        """miou, pixel_accuracy (both 0..1, four places) and photos."""
        return {
            "miou": round(mean_iou(self.counts), 4),
            "pixel_accuracy": round(pixel_accuracy(self.counts), 4),
            "photos": self.photos,
        }


def class_iou(confusion: Counts) -> npt.NDArray[np.float64]:
    """float64 [classes], 0..1, from ``confusion[truth, predicted]``; NaN for a class that never occurs."""
    both = np.diagonal(confusion).astype(np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    return np.divide(both, union, out=np.full(len(both), np.nan), where=union > 0)


def mean_iou(confusion: Counts) -> float:
    """Mean of :func:`class_iou` over the classes that occur; 0 if none does."""
    found = class_iou(confusion)
    found = found[~np.isnan(found)]
    return float(found.mean()) if len(found) else 0.0


def pixel_accuracy(confusion: Counts) -> float:
    """Share (0..1) of the known pixels that have their label; 0 if none is known."""
    known = int(confusion.sum())
    return float(np.trace(confusion)) / known if known else 0.0
