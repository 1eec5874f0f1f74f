"""A teacher's soft masks beside an index: what distillation learns from. Needs numpy and Pillow.

``python -m gnetseg_zoo.peer --write-masks FOLDER`` writes them, one 8-bit PNG a photo.
With a squared error and an integer mask, learning from the label and from the teacher in
the shares 1 - w and w is the same as learning from their mean: (1-w)(p-h)^2 + w(p-t)^2 and
(p - ((1-w)h + wt))^2 differ by a constant. The same holds for the cross entropy.
"""

from __future__ import annotations

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

    def target(self, sample: Sample, mask: Image.Image) -> Image.Image:
        """``mask`` (mode L) mixed with the teacher's, if it has one of this photo. Raises DataError."""
        path = self.folder / mask_name(sample.image, self.root)
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
