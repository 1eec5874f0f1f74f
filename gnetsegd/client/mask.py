"""One mask that arrived."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..frame import Geometry, MaskFormat
from ..message import ImageHeader, MaskHeader, Region, unpack_mask
from . import pictures, shapes
from .no_data import NoInfoError
from .shapes import Blob, Box
from .zone import Zone

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .zone import Shape

Pixel = TypeVar("Pixel", bound=np.generic)

#: The daemon says its ``info`` each second, and to each new connection.
INFO_WAIT_S = 1.5

_WHOLE = Zone((0, 0, 1, 1))


def _unknown(_timeout_s: float) -> None:
    return None


@dataclass(frozen=True, eq=False)
class ReceivedMask:
    """One mask, as it arrived. All arrays are read-only, decoded once and kept.

    Positions are in pixels of the mask from its top left corner; the centre of the first pixel is
    (0.5, 0.5). What speaks of persons needs the daemon's ``info``, see ``info``.

    Attributes
    ----------
    header : every field of the message, see ``gnetsegd.message.MaskHeader``
    clock_offset_ns : this machine's CLOCK_MONOTONIC less the daemon's; 0 on the same machine, else an
        estimate, too high by the shortest travel time seen
    missed : masks lost on the way since the one before, when every mask is read; 0 in newest-only
        mode, where that cannot be told
    skipped : masks that newer ones replaced unread since the one before; 0 when every mask is read
    new_session : the first mask of this daemon's run that arrived here
    """

    header: MaskHeader
    clock_offset_ns: float
    missed: int
    skipped: int
    new_session: bool
    _payload: memoryview = field(repr=False)
    _find_info: Callable[[float], dict[str, Any] | None] = field(default=_unknown, repr=False)
    _frame: tuple[MaskFormat, memoryview] | None = field(default=None, repr=False)
    _image: tuple[ImageHeader, memoryview] | None = field(default=None, repr=False)

    # -- the page's names -------------------------------------------------------------------------

    @property
    def camera(self) -> str:
        return self.header.camera

    @property
    def sequence(self) -> int:
        """The camera's number of the very frame that this is the mask of."""
        return self.header.sequence

    @property
    def session(self) -> int:
        """The random number of the daemon's run."""
        return self.header.session

    @property
    def width(self) -> int:
        """Pixels."""
        return self.header.format.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self.header.format.height

    @property
    def bits(self) -> int:
        """Of a pixel in the message: 8, 4, 2 or 1."""
        return self.header.format.bits

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return self.header.format.classes

    @property
    def stride(self) -> int:
        """Bytes of a row in the message."""
        return self.header.format.stride

    @property
    def payload_size(self) -> int:
        """Bytes of the mask in the message."""
        return self.header.payload_size

    @property
    def sensor_timestamp_ns(self) -> int:
        """When the frame was exposed, CLOCK_MONOTONIC of the daemon's machine."""
        return self.header.sensor_timestamp_ns

    @property
    def publish_timestamp_ns(self) -> int:
        """When the message was sent, CLOCK_MONOTONIC of the daemon's machine."""
        return self.header.publish_timestamp_ns

    @property
    def dropped_camera(self) -> int:
        """Frames that the camera lost so far, modulo 2^32."""
        return self.header.dropped_camera

    @property
    def dropped_daemon(self) -> int:
        """Frames that got no mask so far, modulo 2^32."""
        return self.header.dropped_daemon

    @property
    def backend(self) -> str:
        """What computed it, such as ``usb`` or ``standin``."""
        return self.header.backend

    @property
    def fallback(self) -> bool:
        """True where the backend stands in for the preferred one."""
        return self.header.fallback

    @property
    def model_hash(self) -> bytes:
        """The first 16 bytes of the SHA-256 of the network's file."""
        return self.header.model_hash

    # -- time -------------------------------------------------------------------------------------

    @property
    def age_s(self) -> float:
        """Seconds since the exposure, as of now; from another machine too low by the shortest travel time."""
        return (time.monotonic_ns() - self.sensor_timestamp_ns - self.clock_offset_ns) / 1e9

    @property
    def wall_time_ns(self) -> int:
        """When the frame was exposed: UNIX time of the daemon's machine, in ns. Needs ``info``."""
        return self.sensor_timestamp_ns + int(self.info["monotonic_to_wall_offset_ns"])

    # -- what the daemon says of it ---------------------------------------------------------------

    @property
    def has_info(self) -> bool:
        """``info`` is here. Never waits."""
        return self._known_info(0.0) is not None

    @property
    def info(self) -> dict[str, Any]:
        """The daemon's ``info`` of this mask's session and network; see docs/messages.md. Do not change it.

        Waits for it up to ``INFO_WAIT_S`` where it is not here yet, which only the first mask can do
        (those of ``latest`` and of loops have it). ``NoInfoError`` where it does not come.
        """
        info = self._known_info(INFO_WAIT_S)
        if info is None:
            raise NoInfoError(
                f"no info for mask {self.sequence} came within {INFO_WAIT_S:g} s; "
                "let the endpoint's kinds have info, too"
            )
        return info

    @property
    def persons(self) -> tuple[int, ...]:
        """The labels that are persons. Needs ``info``."""
        info = self.info
        return tuple(k for k in info["persons"] if 0 <= k < len(info["labels"]))

    @property
    def geometry(self) -> Geometry:
        """The part of the sensor's picture that the mask shows. Needs ``info``."""
        return pictures.geometry_of(self.info)

    # -- pixels -----------------------------------------------------------------------------------

    @functools.cached_property
    def labels(self) -> NDArray[np.uint8]:
        """The label of each pixel, uint8 of shape (height, width); ``info["labels"]`` names them.

        With 8 bits a view of the message, which it keeps alive.
        """
        return _frozen(unpack_mask(self._payload, self.header.format))

    @functools.cached_property
    def person(self) -> NDArray[np.bool_]:
        """Where a person is, bool of shape (height, width). Needs ``info``.

        ``ValueError`` for a network that knows no persons: then all False would be a lie.
        """
        persons = self.persons
        if not persons:
            raise ValueError(
                f"the network {self.info['model']['id']} knows no persons, only "
                f"{', '.join(self.info['labels'][:20])}; take another, or where()"
            )
        return _frozen(_any_of(self.labels, persons))

    def where(self, *names: str) -> NDArray[np.bool_]:
        """Where the label is one of ``names``, as ``info["labels"]`` has them. ``ValueError`` for another."""
        known = self.info["labels"]
        for name in names:
            if name not in known:
                raise ValueError(f"no label {name!r}; there are {', '.join(known)}")
        return _frozen(_any_of(self.labels, [k for k, label in enumerate(known) if label in names]))

    @functools.cached_property
    def frame(self) -> NDArray[np.uint8] | None:
        """The luminance of the picture that the network saw: uint8 of shape (height, width).

        Its size may differ from the mask's. None where it did not come, or without ``frames=True``.
        """
        return None if self._frame is None else _frozen(unpack_mask(self._frame[1], self._frame[0]))

    @property
    def jpeg(self) -> memoryview | None:
        """The picture in colour as it came, a JPEG. None where none came, or without ``picture=True``."""
        return None if self._image is None else self._image[1].toreadonly()

    @functools.cached_property
    def picture(self) -> NDArray[np.uint8] | None:
        """The picture in colour, upright: RGB, uint8 of shape (height, width, 3). Needs Pillow.

        Decoded when it is asked for. None as for ``jpeg``. ``MessageError`` for a JPEG that is damaged.
        """
        return None if self._image is None else _frozen(pictures.decode(*self._image))

    @property
    def picture_region(self) -> Region | None:
        """The part of the sensor's picture that ``picture`` shows, in fractions; None as for ``jpeg``."""
        return None if self._image is None else self._image[0].region

    def on_picture(self, values: NDArray[Pixel]) -> NDArray[Pixel]:
        """``values`` of the mask's pixels, shape (height, width), for each pixel of the picture.

        ``mask.on_picture(mask.person)`` is where a person is in ``picture``: the value of the nearest pixel,
        0 beside the mask. ``ValueError`` where there is no picture. Needs ``info``.
        """
        if self._image is None:
            raise ValueError(f"mask {self.sequence} has no picture; see picture=True and publish.images")
        return pictures.stretched(values, self.geometry, self._image[0])

    # -- of persons -------------------------------------------------------------------------------

    def share(self, zone: Zone | Shape | None = None) -> float:
        """How much of the mask, or of a zone of it, is person, 0 to 1.

        ``ValueError`` for a zone of which this mask shows nothing.
        """
        return shapes.share(self.person, None if zone is None else self.zone(zone))

    def box(self, zone: Zone | Shape | None = None) -> Box | None:
        """The smallest box around all persons, in pixels; None where there is nobody."""
        return shapes.box(self._persons_in(zone))

    def centroid(self, zone: Zone | Shape | None = None) -> tuple[float, float] | None:
        """(x, y) of the centre of all persons, in pixels; None where there is nobody."""
        return shapes.centroid(self._persons_in(zone))

    def touches_edge(self) -> tuple[str, ...]:
        """At which edges of the picture a person is cut off: of ``left``, ``top``, ``right``, ``bottom``."""
        return shapes.touches_edge(self.person, shapes.box(self.zone(_WHOLE)))

    def blobs(self, min_share: float = 0.01, zone: Zone | Shape | None = None) -> list[Blob]:
        """The parts of ``person`` that hang together, the largest first, from ``min_share`` of the mask on.

        Blobs are not persons: two who stand before one another are one blob, and a chair in front of one
        makes two.
        """
        return shapes.blobs(self._persons_in(zone), min_share)

    def zone(self, shape: Zone | Shape) -> NDArray[np.bool_]:
        """The mask's pixels in a zone of the sensor's picture, bool of shape (height, width); see ``Zone``.

        ``ValueError`` for a zone that is none, or of which this mask shows nothing. Needs ``info``.
        """
        zone = shape if isinstance(shape, Zone) else Zone(shape)
        pixels = zone.pixels(self.geometry, self.width, self.height)
        if not pixels.any():
            raise ValueError(f"this mask shows nothing of {zone}; the camera's crop leaves it out")
        return pixels

    def to_sensor(self, x: float, y: float) -> tuple[float, float]:
        """A position in the mask, in pixels, as fractions of the sensor's picture. Needs ``info``."""
        place = self.geometry
        return place.x + x / self.width * place.width, place.y + y / self.height * place.height

    # -- inside -----------------------------------------------------------------------------------

    def _known_info(self, timeout_s: float) -> dict[str, Any] | None:
        kept: dict[str, Any] | None = self.__dict__.get("_info")
        if kept is None:
            kept = self._find_info(timeout_s)
            self.__dict__["_info"] = kept
        return kept

    def _persons_in(self, zone: Zone | Shape | None) -> NDArray[np.bool_]:
        return self.person if zone is None else self.person & self.zone(zone)


def _any_of(labels: NDArray[np.uint8], wanted: tuple[int, ...] | list[int]) -> NDArray[np.bool_]:
    found = np.zeros(labels.shape, np.bool_)
    for label in wanted:
        found |= labels == label
    return found


def _frozen(array: NDArray[Pixel]) -> NDArray[Pixel]:
    array.flags.writeable = False
    return array
