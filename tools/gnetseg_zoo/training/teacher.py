"""A teacher's soft masks beside an index: what distillation learns from. Needs numpy and Pillow.

``python -m gnetseg_zoo.peer --write-masks FOLDER`` writes them, one 8-bit PNG a photo.
With a squared error and an integer mask, learning from the label and from the teacher in
the shares 1 - w and w is the same as learning from their mean: (1-w)(p-h)^2 + w(p-t)^2 and
(p - ((1-w)h + wt))^2 differ by a constant. The same holds for the cross entropy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gnetseg_zoo.datasets.pictures import open_mask
from gnetseg_zoo.datasets.samples import DataError, Sample
from gnetseg_zoo.training.teacher_masks import mask_name

TAUGHT = ("portrait", "fullbody")
"""Where the teacher is worth listening to: it misses persons in rooms, and sees some where nobody is."""


@dataclass(frozen=True)
class Teacher:
    """``folder`` of its masks, ``root`` of the photos' index, ``share`` (0..1) of its word in the target."""

    folder: Path
    root: Path
    share: float

    def path(self, sample: Sample) -> Path:
        """Where its mask of ``sample`` would lie."""
        return self.folder / mask_name(sample.image, self.root)

    def target(self, sample: Sample, mask: Image.Image) -> Image.Image:
        """``mask`` (mode L) mixed with the teacher's, if it has one of this photo. Raises DataError."""
        path = self.path(sample)
        if sample.domain not in TAUGHT or self.share == 0 or not path.is_file():
            return mask
        taught = open_mask(path)
        if taught.size != mask.size:
            raise DataError(
                f"{path}: is {taught.width}x{taught.height} but its photo {mask.width}x{mask.height}; "
                "write the teacher's masks again"
            )
        return Image.fromarray(
            np.rint(np.asarray(mask) * (1 - self.share) + np.asarray(taught) * self.share).astype(np.uint8)
        )

    def known(self, samples: Sequence[Sample]) -> tuple[int, int]:
        """Of how many of the ``samples`` that it could teach there is a mask, and how many those are.

        Raises :class:`DataError` if there is none at all.
        """
        taught = [s for s in samples if s.domain in TAUGHT]
        masks = sum(self.path(s).is_file() for s in taught)
        if not masks:
            raise DataError(
                f"{self.folder}: holds no mask of a teacher for these photos; write them with "
                "python -m gnetseg_zoo.peer --write-masks, or set training.distillation to 0"
            )
        return masks, len(taught)
