"""Pictures in colour: decoding them, and laying a mask over one."""

from __future__ import annotations

import io
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..errors import MessageError, PermanentError
from ..frame import Geometry
from ..text import clean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..message import ImageHeader

Value = TypeVar("Value", bound=np.generic)

#: A picture of more pixels is not decoded.
MAX_PIXELS = 64 << 20


def decode(header: ImageHeader, jpeg: memoryview) -> NDArray[np.uint8]:
    """The upright picture: RGB, uint8 of shape (height, width, 3).

    ``MessageError`` for what is damaged or has not the header's size, ``PermanentError`` without Pillow.
    """
    image_module, ops = _pillow()
    try:
        # Pillow reads the size first and the pixels when they are asked for.
        with image_module.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise MessageError(f"a picture of {width}x{height} pixels is too large to be decoded")
            upright = ops.exif_transpose(image).convert("RGB")
    except MessageError:
        raise
    except Exception as error:  # Pillow raises whatever a damaged file leads to
        raise MessageError(f"the picture of mask {header.sequence} is damaged: {clean(str(error))}") from None
    if upright.size != (header.width, header.height):
        raise MessageError(
            f"the picture of mask {header.sequence} has {upright.size[0]}x{upright.size[1]} pixels, "
            f"its header says {header.width}x{header.height}"
        )
    return np.array(upright, np.uint8)


def _pillow() -> tuple[Any, Any]:
    try:
        return import_module("PIL.Image"), import_module("PIL.ImageOps")
    except ImportError:
        raise PermanentError(
            "mask.picture needs Pillow: apt install python3-pil, or pip install pillow; mask.jpeg does not"
        ) from None


def geometry_of(info: dict[str, Any]) -> Geometry:
    """The part of the sensor's picture that masks show, as ``info`` tells it."""
    told = info["geometry"]
    # What was added since has a default: an older daemon does not tell it.
    return Geometry(**{name: told[name] for name in Geometry.__dataclass_fields__ if name in told})


def stretched(values: NDArray[Value], geometry: Geometry, header: ImageHeader) -> NDArray[Value]:
    """``values`` of shape (mask's height, width), over the picture of ``header``; 0 beside the mask."""
    rows, row_is_in = _index(
        header.height, header.region.y, header.region.height, geometry.y, geometry.height, values.shape[0]
    )
    columns, column_is_in = _index(
        header.width, header.region.x, header.region.width, geometry.x, geometry.width, values.shape[1]
    )
    found: NDArray[Value] = values[rows[:, None], columns[None, :]]
    found[~row_is_in, :] = 0
    found[:, ~column_is_in] = 0
    return found


def _index(
    length: int, start: float, share: float, mask_start: float, mask_share: float, mask_length: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Which pixel of the mask lies at each of the picture's along one side, and whether one does."""
    at_sensor = start + (np.arange(length) + 0.5) / length * share
    place = np.floor((at_sensor - mask_start) / mask_share * mask_length)
    is_in = (place >= 0) & (place < mask_length)
    return np.clip(place, 0, mask_length - 1).astype(np.intp), is_in
