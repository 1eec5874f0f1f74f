"""Matting Human (AISegment.com), as published: the paper's person data set.

    clip_img/<day>/clip_<8 digits>/<name>.jpg      600x800 photos
    matting/<day>/matting_<8 digits>/<name>.png    the person cut out, alpha is the mask

34,427 half-length portraits; the paper trains on 30,984 (90 %) and tests on 3,443.
"""

from __future__ import annotations

import random
from pathlib import Path

from gnetseg_zoo.datasets.labels import require_file, require_folder
from gnetseg_zoo.datasets.samples import DataError, Sample

LAYOUT = "clip_img/<day>/clip_<number>/*.jpg beside matting/<day>/matting_<number>/*.png"
TRAINING_SHARE = 0.9
SPLIT_SEED = 0


def load_matting_human(root: Path) -> list[Sample]:
    """All photos under ``root``, sorted, split 90:10 at random but always alike.

    The mask is the alpha channel (``label_kind`` "alpha"). Raises :class:`DataError` for
    another layout or a photo without its mask.
    """
    photos = require_folder(root / "clip_img", LAYOUT)
    masks = require_folder(root / "matting", LAYOUT)
    # Files that begin with a dot were left in the published archive by the machine that packed it.
    found = sorted(p for p in photos.glob("*/clip_*/*.jpg") if not p.name.startswith("."))
    if not found:
        raise DataError(f"{photos}: holds no photo; the layout is {LAYOUT}")
    training = _training(len(found))
    samples = []
    for n, photo in enumerate(found):
        clip = photo.parent.name.removeprefix("clip_")
        day = photo.parent.parent.name
        mask = require_file(masks / day / f"matting_{clip}" / f"{photo.stem}.png", photo)
        split = "train" if n in training else "val"
        samples.append(
            Sample(photo, mask, "portrait", "matting_human", "see its authors", "alpha", "", split)
        )
    return samples


def _training(photos: int) -> set[int]:
    order = list(range(photos))
    random.Random(SPLIT_SEED).shuffle(order)
    return set(order[: int(photos * TRAINING_SHARE)])
