"""Whole scenes as a network's input: stretched, not cropped. Needs numpy and Pillow.

The paper's driving network sees all of the picture (figure 3), so a 480x360 photo becomes
448x448 and so do its labels. Persons are cut to the centre square instead (``pictures.py``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from gnetseg_zoo.datasets.labels import ClassMap, LabelledPhoto
from gnetseg_zoo.datasets.pictures import Pixels, open_photo
from gnetseg_zoo.datasets.samples import DataError


def stretched_input(photo: Image.Image, width: int, height: int) -> Pixels:
    """uint8 [height, width, channels] of the whole ``photo``.

    Each direction by itself: the mean of areas where it shrinks, bilinear where it grows.
    """
    for size in ((width, photo.height), (width, height)):
        shrinks = size[0] <= photo.width and size[1] <= photo.height
        photo = photo.resize(size, Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR)
    return np.asarray(photo, np.uint8).reshape(height, width, -1)


def stretched_labels(labels: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    """uint8 [height, width] of ``labels``, uint8 [any, any]: each pixel's nearest neighbour."""
    return np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST), np.uint8)


def open_labelled(
    photo: LabelledPhoto, class_map: ClassMap, input_format: str
) -> tuple[Image.Image, npt.NDArray[np.uint8]]:
    """The photo in the mode of ``input_format`` and its labels, uint8 of the same size.

    Raises :class:`DataError` if the sizes differ, a file cannot be decoded or a label is unknown.
    """
    picture, labels = open_photo(photo.image, input_format), class_map.read(photo.label)
    if labels.shape != (picture.height, picture.width):
        raise DataError(
            f"{photo.label}: the labels are {labels.shape[1]}x{labels.shape[0]} but their photo "
            f"{photo.image.name} is {picture.width}x{picture.height}; make them equal"
        )
    return picture, labels
