"""Photos and masks as arrays. Needs numpy and Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from gnetseg_zoo.datasets.samples import DataError, Sample

Pixels = npt.NDArray[np.uint8]
PERSON_FROM = 128
"""A mask pixel at or above this is a person (masks are 0..255)."""

_MODES = {"Y": "L", "YUV444": "YCbCr", "RGB": "RGB"}


def open_photo(path: Path, input_format: str) -> Image.Image:
    """The photo in the mode of ``input_format``; Y and YUV are BT.601, full range (as in JPEG).

    Raises :class:`DataError` if it cannot be decoded.
    """
    return _open(path, _MODES[input_format])


ALPHA = "alpha"
"""The ``label_kind`` of a mask that is the alpha channel of a cut-out person."""


def open_mask(path: Path, label_kind: str = "hand") -> Image.Image:
    """The mask in mode L, 0 (background) to 255 (person).

    Raises :class:`DataError` if it cannot be decoded, or should have an alpha channel and has none.
    """
    if label_kind == ALPHA:
        return _open(path, "RGBA", transparent=True).getchannel("A")
    return _open(path, "L")


UNDECODABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for a damaged picture, or one of an absurd size."""


def _open(path: Path, mode: str, *, transparent: bool = False) -> Image.Image:
    try:
        with Image.open(path) as picture:
            if transparent and not picture.has_transparency_data:
                # Converting would invent an opaque one: all of the picture a person.
                raise DataError(f"{path}: has no alpha channel, which is the mask; give the cut-out picture")
            return picture.convert(mode)
    except DataError:
        raise
    except UNDECODABLE as error:
        raise DataError(f"{path}: cannot be decoded ({error}); replace it or take it out") from error


def open_pair(sample: Sample, input_format: str) -> tuple[Image.Image, Image.Image]:
    """Photo and mask of one sample, of equal size; without a mask it is all zero.

    Raises :class:`DataError` if the sizes differ or a file cannot be decoded.
    """
    photo = open_photo(sample.image, input_format)
    if sample.mask is None:
        return photo, Image.new("L", photo.size)
    mask = open_mask(sample.mask, sample.label_kind)
    if mask.size != photo.size:
        raise DataError(
            f"{sample.mask}: the mask is {mask.width}x{mask.height} but its photo {sample.image.name} is "
            f"{photo.width}x{photo.height}; make them equal"
        )
    return photo, mask


def square(picture: Image.Image, size: int) -> Image.Image:
    """The centre square of ``picture``, resized to ``size`` pixels (area mean; bilinear if enlarged)."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    how = Image.Resampling.BOX if side >= size else Image.Resampling.BILINEAR
    return picture.resize((size, size), how, box=(left, top, left + side, top + side))


def network_input(photo: Image.Image, size: int) -> Pixels:
    """uint8 [size, size, channels] of the photo's centre square, as the camera would send it."""
    pixels = np.asarray(square(photo, size), dtype=np.uint8)
    return pixels.reshape(size, size, -1)


def hard_mask(mask: Image.Image, size: int) -> npt.NDArray[np.bool_]:
    """bool [size, size], true where a person is, of the mask's centre square."""
    hard: npt.NDArray[np.bool_] = np.asarray(square(mask, size)) >= PERSON_FROM
    return hard
