"""A mask in as few bytes as it can be, and what a mask says in words."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from ...client import ReceivedMask, shapes
from ...frame import MaskFormat
from ...message import MaskHeader, pack_header, pack_mask, unpack_mask
from .. import zones

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
        "schema": 1,
        "session": mask.session,
        "sequence": mask.sequence,
        "sensor_timestamp_ns": mask.sensor_timestamp_ns,
        "share": round(float(person.mean()), 4),
        "zones": shares,
    }
    return json.dumps(body, separators=(",", ":")).encode()
