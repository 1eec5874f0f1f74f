"""Score a bundle of several classes on driving scenes; ``evaluate.py`` is the command.

Needs numpy, Pillow and a TFLite runtime. The protocol: the whole photo stretched to the
network's input (area mean), the labels by nearest neighbour to the mask's size.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gnetseg_zoo.datasets import camvid, cityscapes
from gnetseg_zoo.datasets.labels import ClassMap, LabelledPhoto
from gnetseg_zoo.datasets.samples import DataError
from gnetseg_zoo.datasets.whole_pictures import open_labelled, stretched_input, stretched_labels
from gnetseg_zoo.scoring.class_scores import ClassConfusion, class_iou
from gnetseg_zoo.scoring.labeller import Labeller, of_bundle
from gnetsegd.errors import ModelError
from gnetsegd.model import ModelBundle

Scores = dict[str, dict[str, float | int]]
ALL = "all"


@dataclass(frozen=True)
class LabelledSet:
    """The chosen photos of a labelled data set, and its classes."""

    photos: list[LabelledPhoto]
    classes: ClassMap


def is_labelled(data: Path) -> bool:
    """Whether ``data`` is labelled scenes (a folder, or CamVid's csv) rather than masks of persons."""
    if data.is_dir():
        return not (data / "clip_img").is_dir()
    try:
        with data.open(newline="", encoding="utf-8") as file:
            return "label" in next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False  # whoever reads it next says what is wrong with it


def load_labelled(data: Path, split: str, sequence: str | None = None) -> LabelledSet:
    """The photos of ``split`` (and of one ``sequence``, if given): CamVid by folder or csv, or Cityscapes.

    Raises :class:`DataError` for another layout, a missing file, or when nothing is left.
    """
    if not data.exists():
        raise DataError(f"{data}: there is no such file or folder; give a data set's folder or its index.csv")
    if (data / "leftImg8bit").is_dir():
        every, classes = cityscapes.load_cityscapes(data), cityscapes.CLASSES
    else:
        every, classes = camvid.load_camvid(data), camvid.CLASSES
    of_split = [p for p in every if p.split == split]
    if not of_split:
        there = ", ".join(sorted({p.split for p in every}))
        raise DataError(f"{data}: no photo has split {split!r}; there are {there}")
    chosen = [p for p in of_split if sequence in (None, p.group)]
    if not chosen:
        there = ", ".join(sorted({p.group for p in of_split}))
        raise DataError(f"{data}: split {split} has no sequence {sequence!r}; there are {there}")
    return LabelledSet(chosen, classes)


def score_classes(bundle: ModelBundle, photos: list[LabelledPhoto], class_map: ClassMap) -> Scores:
    """All scores of ``bundle`` on ``photos`` as plain numbers; see :func:`score_scenes`."""
    return score_scenes(of_bundle(bundle), photos, class_map)


def score_scenes(network: Labeller, photos: list[LabelledPhoto], class_map: ClassMap) -> Scores:
    """All scores of ``network`` on ``photos`` as plain numbers.

    Per class its ``iou`` (absent if the class never occurs) and labelled ``pixels``; "all":
    miou, pixel_accuracy, photos; the same per sequence ("sequence NAME") if there are several.

    Raises :class:`ModelError` for a network of other classes, and :class:`DataError` for a
    photo or label picture that cannot be used.
    """
    try:
        classes = class_map.in_order(network.classes)
    except ValueError as error:
        raise ModelError(
            f"{network.name}: has the classes {', '.join(network.classes)} but {error}; "
            "score it on data of its own"
        ) from None
    of_sequence: dict[str, ClassConfusion] = {}
    for photo in photos:
        picture, labels = open_labelled(photo, classes, network.input.pixel_format)
        predicted = network.labels(stretched_input(picture, network.input.width, network.input.height))
        truth = stretched_labels(labels, *network.mask)
        of_sequence.setdefault(photo.group, ClassConfusion(len(classes.names))).add(predicted, truth)
    return summary(of_sequence, classes.names)


def summary(of_sequence: dict[str, ClassConfusion], names: tuple[str, ...]) -> Scores:
    """The plain numbers of :func:`score_scenes` from the pixel counts of each sequence."""
    whole = ClassConfusion(len(names))
    for confusion in of_sequence.values():
        whole.join(confusion)
    out: Scores = {}
    for name, iou, pixels in zip(names, class_iou(whole.counts), whole.counts.sum(axis=1), strict=True):
        out[name] = {} if np.isnan(iou) else {"iou": round(float(iou), 4)}
        out[name]["pixels"] = int(pixels)
    out[ALL] = whole.summary()
    if len(of_sequence) > 1:
        out |= {f"sequence {name}": c.summary() for name, c in sorted(of_sequence.items())}
    return out
