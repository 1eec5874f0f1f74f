"""The whole picture of a frame in colour, for people: larger than what the network sees."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from ..frame import Geometry
from .geometry import PLAIN, View

if TYPE_CHECKING:
    from ..frame import Frame


class FullPicture(NamedTuple):
    """A picture as a camera had it. Nobody writes to it any more: another thread makes a JPEG of it.

    Attributes
    ----------
    image : a JPEG as bytes, an ``av.VideoFrame``, or a uint8 array as ``Frame.pixels``
    geometry : the part of the upright sensor's picture that fills it
    view : what makes it upright, with square pixels
    source_range, source_matrix : of an ``av.VideoFrame``, see ``scale.Scaler``
    pixel_format : of an array, as in ``FrameSpec``
    """

    image: Any
    geometry: Geometry
    view: View = PLAIN
    source_range: str = "auto"
    source_matrix: str = "auto"
    pixel_format: str = ""


def whole_sensor(geometry: Geometry) -> Geometry:
    """The geometry of a picture that shows all that the sensor sees, by that of a frame."""
    return dataclasses.replace(geometry, x=0.0, y=0.0, width=1.0, height=1.0)


def of_frame(frame: Frame, geometry: Geometry) -> FullPicture:
    """The network's own picture, copied: of cameras that have no other."""
    return FullPicture(frame.pixels.copy(), geometry, pixel_format=frame.spec.pixel_format)
