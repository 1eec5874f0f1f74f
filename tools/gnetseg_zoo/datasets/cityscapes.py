"""Cityscapes, as published, with the paper's 16 classes (section 3.1.2).

leftImg8bit/<split>/<city>/<city>_<sequence>_<frame>_leftImg8bit.png
gtFine/<split>/<city>/<city>_<sequence>_<frame>_gtFine_labelIds.png
"""

from __future__ import annotations

from pathlib import Path

from gnetseg_zoo.datasets.labels import ClassMap, LabelledPhoto, require_file, require_folder
from gnetseg_zoo.datasets.samples import DataError

LAYOUT = "leftImg8bit/<split>/<city>/*_leftImg8bit.png beside gtFine/<split>/<city>/*_gtFine_labelIds.png"
SPLITS = ("train", "val")
"""The test split's labels are not published."""

_KEPT = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "bus": 28,
    "motorcycle": 32,
    "bicycle": 33,
}
"""Raw label of the 19 evaluated classes less wall, fence, truck and train."""

HIGHEST_RAW = 33
CLASSES = ClassMap(
    names=("void", *_KEPT),
    of_raw=dict.fromkeys(range(HIGHEST_RAW + 1), 0)
    | {raw: n for n, raw in enumerate(_KEPT.values(), start=1)},
)


def load_cityscapes(root: Path) -> list[LabelledPhoto]:
    """All photos of the two labelled splits, sorted.

    Raises :class:`DataError` for another layout or a photo without its labels.
    """
    photos = require_folder(root / "leftImg8bit", LAYOUT)
    labels = require_folder(root / "gtFine", LAYOUT)
    out = []
    for split in SPLITS:
        for photo in sorted((photos / split).glob("*/*_leftImg8bit.png")):
            stem = photo.name.removesuffix("_leftImg8bit.png")
            label = labels / split / photo.parent.name / f"{stem}_gtFine_labelIds.png"
            out.append(LabelledPhoto(photo, require_file(label, photo), split, photo.parent.name))
    if not out:
        raise DataError(f"{photos}: holds no photo; the layout is {LAYOUT}")
    return out
