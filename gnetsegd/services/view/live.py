"""What the page gets: JSON of a mask or of why there is none; for the live view with the pixels behind it."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from ...client import shapes

if TYPE_CHECKING:
    from .feed import Feed, Shown

NO_PICTURES = (
    "masks come, and no pictures: set publish.images = true in the daemon's configuration, reload it, "
    "and let the endpoint's kinds have image"
)
_LENGTHS = struct.Struct("<II")


def described(feed: Feed, shown: Shown, still: bool) -> dict[str, Any]:
    """One event. ``still``: nothing new has come since the one before."""
    mask, person = shown.mask, shown.person
    body: dict[str, Any] = {"camera": feed.name, "still": still, "zones_trouble": feed.zones.trouble}
    if mask is None or person is None:
        assert shown.no_data is not None
        return body | {"data": False, "why": shown.no_data.why, "reason": shown.no_data.reason}
    status_age_s = round(mask.age_s, 3)
    box = shapes.box(person)
    return body | {
        "data": True,
        "sequence": mask.sequence,
        "session": mask.session,
        "age_s": status_age_s,
        "latency_s": round(mask.header.latency_ns / 1e9, 4),
        "wall_time_ns": mask.wall_time_ns,
        "share": round(shapes.share(person), 4),
        "box": None if box is None else [*mask.to_sensor(*box[:2]), *mask.to_sensor(*box[2:])],
        "zones": _shares(feed, shown),
        "fps": round(shown.fps, 1),
        "fps_nominal": round(shown.fps_nominal, 1),
        "backend": mask.backend,
        "fallback": mask.fallback,
        "model": mask.info["model"]["id"],
        "dropped_camera": mask.dropped_camera,
        "dropped_daemon": mask.dropped_daemon,
        "picture": mask.jpeg is not None,
    }


def _shares(feed: Feed, shown: Shown) -> dict[str, float | None]:
    """How much of each zone is person; None of a zone that the mask does not show."""
    mask, person = shown.mask, shown.person
    assert mask is not None
    assert person is not None
    found: dict[str, float | None] = {}
    for area in feed.zones.areas:
        if area.kind == "zone":
            pixels = area.zone.pixels(mask.geometry, mask.width, mask.height)
            found[area.name] = round(shapes.share(person, pixels), 4) if pixels.any() else None
    return found


def packed(feed: Feed, shown: Shown, still: bool) -> bytes:
    """Two lengths (u32, little-endian), the JSON, the mask (one bit a pixel, rows of whole bytes), the JPEG.

    The JSON has, beside ``described``, ``mask`` (width, height), and ``mask_region`` and ``picture_region``:
    x, y, width and height as fractions of the sensor's picture. What is ``still`` has no pixels again.
    """
    body = described(feed, shown, still)
    mask, person = shown.mask, shown.person
    if mask is None or person is None or still:
        text = json.dumps(body).encode()
        return _LENGTHS.pack(len(text), 0) + text
    place = mask.geometry
    body |= {
        "mask": [mask.width, mask.height],
        "mask_region": [place.x, place.y, place.width, place.height],
        "picture_region": mask.picture_region,
        "sensor": [place.sensor_width, place.sensor_height],
    }
    text = json.dumps(body).encode()
    bits = np.packbits(person, axis=1).tobytes()
    return b"".join((_LENGTHS.pack(len(text), len(bits)), text, bits, mask.jpeg or b""))
