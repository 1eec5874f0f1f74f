"""Which photos there are, over several indices: their licence, their domain, and what nobody knows of them.

Needs numpy and Pillow. Beside an index may stand ``others.csv`` (columns image, others):
masks of persons whom the photo's own mask calls background. A photo in ``images/`` may
have a mask of the same name in ``unknown/``. Both are left out of losses and scores.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from gnetseg_zoo.datasets.pictures import Pixels, open_mask, open_pair
from gnetseg_zoo.datasets.samples import EMPTY, DataError, Sample, load_index

PORTRAIT, FULL_BODY, SCENE, GROUP, ROOM, MIXED = "portrait", "fullbody", "scene", "group", "room", "mixed"
PERMITTED = (
    "CC0",
    "Apache-2.0 (repository)",
    "MIT (repository)",
    "photo CC BY 2.0",
    "photo CC BY-SA 2.0",
    "photo no known copyright restrictions",
)
"""How the licence of a photo begins that may teach a network for any use."""
TRAIN, VAL, TEST = "train", "val", "test"
HARD_FOR_PEER = "nyu_hard"
"""Rooms chosen because the selfie network sees a person there: a score of them says little of it."""


@dataclass(frozen=True)
class Photo:
    """One photo: its line of the index, its domain, its path in the index, and what to leave out."""

    sample: Sample
    domain: str
    path: str
    unknown: Path | None

    @property
    def clean(self) -> bool:
        """Whether its licence permits any use, commercial use among them."""
        return self.sample.licence.startswith(PERMITTED)

    @property
    def key(self) -> str:
        """Its name among others of all indices."""
        return f"{self.sample.source}__{Path(self.path).stem}"


def load_photos(indices: Sequence[Path], split: str, *, every_licence: bool = False) -> list[Photo]:
    """The photos of ``split`` (train, val, or test: what the licences keep out of training).

    ``train`` and ``val`` hold only photos that are :attr:`Photo.clean`, unless
    ``every_licence`` is asked for; ``test`` holds the others whose masks were drawn by hand, of
    every split, and in the domain full body, whose photos are all clean, those of val.
    Raises :class:`DataError` for an index that cannot be used or an empty split.
    """
    others: dict[str, Path] = {}
    for index in indices:
        others |= _others(index.parent)
    photos = [_photo(index, sample, others) for index in indices for sample in load_index(index)]
    chosen = [
        p
        for p in photos
        if (in_test(p) if split == TEST else p.sample.split == split and (p.clean or every_licence))
    ]
    if not chosen:
        raise DataError(f"{', '.join(map(str, indices))}: no photo has split {split!r}")
    return chosen


def in_test(photo: Photo) -> bool:
    """Whether ``photo`` is one that scores are reported on."""
    if photo.domain == FULL_BODY:
        return photo.sample.split == VAL and photo.sample.label_kind == "hand"
    if photo.clean or photo.domain == MIXED or photo.sample.source == HARD_FOR_PEER:
        return False
    return photo.domain == EMPTY or photo.sample.label_kind == "hand"


def _others(folder: Path) -> dict[str, Path]:
    path = folder / "others.csv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["image"]: folder / row["others"] for row in csv.DictReader(file)}


def _photo(index: Path, sample: Sample, others: dict[str, Path]) -> Photo:
    path = sample.image.relative_to(index.parent).as_posix()
    unknown = others.get(path)
    beside = sample.image.parent.parent / "unknown" / f"{sample.image.stem}.png"
    if unknown is None and beside.is_file():
        unknown = beside
    return Photo(sample, _domain(sample), path, unknown)


def _domain(sample: Sample) -> str:
    if sample.source.startswith("coco_one"):
        return SCENE
    if sample.source.startswith(("coco_many", "coco_group")):
        return GROUP
    return {"indoor": ROOM, "crowd": MIXED}.get(sample.domain, sample.domain)


def open_all(photo: Photo, pixel_format: str = "RGB") -> tuple[Pixels, Pixels, npt.NDArray[np.bool_] | None]:
    """(pixels [h, w, 3] or [h, w], mask [h, w] 0..255, unknown [h, w] or None) of ``photo``.

    Raises :class:`DataError` for a file that cannot be decoded or has another size.
    """
    picture, mask = open_pair(photo.sample, pixel_format)
    unknown = None
    if photo.unknown is not None:
        drawn = open_mask(photo.unknown)
        if drawn.size != picture.size:
            raise DataError(f"{photo.unknown}: is {drawn.size}, its photo {picture.size}; make them equal")
        unknown = np.asarray(drawn) > 0
    return np.asarray(picture), np.asarray(mask), unknown


def open_soft(folder: Path, photo: Photo) -> Pixels | None:
    """The soft mask (0..255) that ``teach`` wrote for ``photo``, None if there is none."""
    path = folder / f"{photo.key}.png"
    if not path.is_file():
        return None
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"))
