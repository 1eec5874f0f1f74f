"""CamVid with 11 classes, in the layout of the SegNet tutorial or by an ``index.csv``.

    train/*.png  trainannot/*.png  val/ valannot/ test/ testannot/

The index has the columns image, label, split, sequence, its paths relative to itself.
"""

from __future__ import annotations

import csv
from pathlib import Path

from gnetseg_zoo.datasets.labels import (
    IGNORE,
    ClassMap,
    LabelledPhoto,
    require_file,
    require_folder,
)
from gnetseg_zoo.datasets.samples import DataError

LAYOUT = "train/*.png beside trainannot/*.png, the same for val and test"
SPLITS = ("train", "val", "test")
COLUMNS = ("image", "label", "split", "sequence")
NAMES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "person",
    "bicyclist",
)
UNLABELLED = len(NAMES)
CLASSES = ClassMap(names=NAMES, of_raw={n: n for n in range(len(NAMES))} | {UNLABELLED: IGNORE})


def load_camvid(root: Path) -> list[LabelledPhoto]:
    """All photos of a folder in :data:`LAYOUT`, or of an ``index.csv``.

    Raises :class:`DataError` for another layout, or a photo without its labels.
    """
    if root.suffix == ".csv":
        return _from_index(root)
    out = []
    for split in SPLITS:
        labels = require_folder(root / f"{split}annot", LAYOUT)
        for photo in sorted(require_folder(root / split, LAYOUT).glob("*.png")):
            group = photo.stem.split("_")[0]
            out.append(LabelledPhoto(photo, require_file(labels / photo.name, photo), split, group))
    if not out:
        raise DataError(f"{root}: holds no photo; the layout is {LAYOUT}")
    return out


def _from_index(index: Path) -> list[LabelledPhoto]:
    try:
        with index.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{index}: not a readable index ({error}); give an index.csv") from error
    if missing:
        raise DataError(
            f"{index}: has no column {', '.join(missing)}; an index of labelled scenes has "
            f"{', '.join(COLUMNS)}"
        )
    if not rows:
        raise DataError(f"{index}: names no photo; give an index with a line for each")
    out = []
    for line, row in enumerate(rows, start=2):
        if not all(row[column] for column in COLUMNS):
            raise DataError(f"{index}, line {line}: is cut short; it needs {', '.join(COLUMNS)}")
        if row["split"] not in SPLITS:
            raise DataError(
                f"{index}, line {line}: split {row['split']!r} is unknown; write one of {', '.join(SPLITS)}"
            )
        photo = require_file(index.parent / row["image"], index)
        label = require_file(index.parent / row["label"], photo)
        out.append(LabelledPhoto(photo, label, row["split"], row["sequence"]))
    return out
