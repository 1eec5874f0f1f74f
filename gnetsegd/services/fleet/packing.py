"""A mask in as few bytes as it can be, and what a mask says in words."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from ...client import ReceivedMask, shapes
from ...errors import MessageError
from ...frame import MaskFormat
from ...message import MaskHeader, pack_header, pack_mask, unpack_mask
from .. import zones

if TYPE_CHECKING:
    from numpy.typing import NDArray


PRESENCE_SCHEMA = 1
#: Of a presence; a page has no more zones than fit.
PRESENCE_BYTES = 64 << 10


def bits_for(classes: int) -> int:
    """The fewest bits of a pixel for so many labels."""
    return next(bits for bits in (1, 2, 4, 8) if classes <= 1 << bits)


def packed(message: bytes, header: MaskHeader, bits: int) -> bytes:
    """The mask with ``bits`` a pixel (0: as few as its labels need); never with more than it has."""
    wanted = max(bits, bits_for(header.format.classes)) if bits else bits_for(header.format.classes)
    if wanted >= header.format.bits:
        return message
    labels: NDArray[Any] = unpack_mask(message[header.payload_offset :], header.format)
    form = MaskFormat(header.format.width, header.format.height, wanted, header.format.classes)
    try:
        payload = pack_mask(labels, wanted)
    except ValueError:
        return message  # a label beyond its classes: as it was
    return pack_header(dataclasses.replace(header, format=form, payload_size=form.size_bytes)) + payload


def presence(mask: ReceivedMask, areas: tuple[zones.Area, ...]) -> bytes:
    """JSON: how much of the picture and of each zone is person, without ignored areas."""
    person = zones.counted(mask, areas)
    shares = {}
    for area in areas:
        if area.kind == "zone":
            pixels = area.zone.pixels(mask.geometry, mask.width, mask.height)
            shares[area.name] = round(shapes.share(person, pixels), 4) if pixels.any() else None
    body = {
        "schema": PRESENCE_SCHEMA,
        "session": mask.session,
        "sequence": mask.sequence,
        "sensor_timestamp_ns": mask.sensor_timestamp_ns,
        "share": round(float(person.mean()), 4),
        "zones": shares,
    }
    return json.dumps(body, separators=(",", ":")).encode()


def parse_presence(data: bytes) -> dict[str, Any]:
    """What ``presence`` made: every field is there and of its type. ``MessageError`` for anything else."""
    if len(data) > PRESENCE_BYTES:
        raise MessageError(f"a presence of {len(data)} bytes is none")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"the presence is not JSON: {error}") from None
    numbers = ("session", "sequence", "sensor_timestamp_ns")
    if (
        not isinstance(body, dict)
        or body.get("schema") != PRESENCE_SCHEMA
        or any(type(body.get(name)) is not int for name in numbers)
        or not _is_share(body.get("share"))
        or not isinstance(body.get("zones"), dict)
        or not all(share is None or _is_share(share) for share in body["zones"].values())
    ):
        raise MessageError("the presence lacks a field, or has one of another type")
    return body


def _is_share(value: Any) -> bool:
    # NaN is none, either.
    return type(value) in (int, float) and 0 <= value <= 1
