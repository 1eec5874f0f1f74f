"""Photos with a class label for every pixel. Needs numpy and Pillow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from gnetseg_zoo.datasets.pictures import UNDECODABLE
from gnetseg_zoo.datasets.samples import DataError

IGNORE = 255
"""Pixels of this label are left out of loss and scores."""


@dataclass(frozen=True)
class LabelledPhoto:
    """A photo and its label picture; ``group`` joins frames of one drive."""

    image: Path
    label: Path
    split: str
    group: str


@dataclass(frozen=True)
class ClassMap:
    """Names of the classes, and which class (or :data:`IGNORE`) each raw label becomes."""

    names: tuple[str, ...]
    of_raw: Mapping[int, int]

    def in_order(self, names: Sequence[str]) -> ClassMap:
        """The same classes numbered in the order of ``names``; ValueError unless those are the same."""
        if sorted(names) != sorted(self.names):
            raise ValueError(f"the data has the classes {', '.join(self.names)}")
        number = {self.names.index(name): n for n, name in enumerate(names)} | {IGNORE: IGNORE}
        return ClassMap(tuple(names), {raw: number[known] for raw, known in self.of_raw.items()})

    def read(self, path: Path) -> npt.NDArray[np.uint8]:
        """uint8 [height, width] class labels of a label picture (grey or palette).

        Raises :class:`DataError` if it cannot be decoded or holds a label that the data
        set does not have.
        """
        try:
            with Image.open(path) as picture:
                # A palette's index is the label; its colour is for people.
                raw = np.asarray(picture if picture.mode in ("L", "P") else picture.convert("L"), np.uint8)
        except UNDECODABLE as error:
            raise DataError(f"{path}: cannot be decoded ({error}); replace it or take it out") from error
        unknown = sorted(set(np.unique(raw).tolist()) - set(self.of_raw))
        if unknown:
            raise DataError(
                f"{path}: label {unknown[0]} is none of this data set's ({min(self.of_raw)} to "
                f"{max(self.of_raw)}); give the label pictures, not the coloured ones"
            )
        table = np.full(256, IGNORE, np.uint8)
        for label, known in self.of_raw.items():
            table[label] = known
        out: npt.NDArray[np.uint8] = table[raw]
        return out


def require_file(path: Path, of: Path) -> Path:
    """``path`` if it is a file; else :class:`DataError` that names the photo it belongs to."""
    if not path.is_file():
        raise DataError(f"{path}: is missing, it belongs to {of.name}; restore it or take the photo out")
    return path


def require_folder(path: Path, layout: str) -> Path:
    """``path`` if it is a folder; else :class:`DataError` that says what the layout is."""
    if not path.is_dir():
        raise DataError(f"{path}: there is no such folder; the layout is {layout}")
    return path
