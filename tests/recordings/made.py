"""Recordings made by hand: masks, frames and pictures of one daemon, a tenth of a second apart."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from fake_publisher import HASH, person, status_body
from PIL import Image

from gnetsegd.frame import MaskFormat
from gnetsegd.message import (
    HEADER_SIZE,
    MaskHeader,
    Region,
    image_header,
    pack_header,
    pack_json,
    pack_mask,
    parse_json,
)
from gnetsegd.recordings.writing import RecordingWriter

VECTORS = Path(__file__).parents[1] / "vectors" / "messages"
#: Since 1970; the daemon's own clock began a thousand seconds before.
BEGIN_NS = 1_700_000_000_000_000_000
SESSION = 7
STEP_NS = 100_000_000
SIZE = (16, 12)


def picture(number: int) -> np.ndarray:  # type: ignore[type-arg]
    """RGB, all of one grey that tells its number."""
    return np.full((SIZE[1] * 4, SIZE[0] * 4, 3), 40 + 10 * number, np.uint8)


def message(kind: str, number: int) -> bytes:
    """Of frame ``number``, exposed 20 ms before it is sent."""
    sent_ns = 1_000_000_000_000 + number * STEP_NS
    labels = person(*SIZE)
    if kind == "frame":
        labels = np.full(labels.shape, 40 + 10 * number, np.uint8)
    form = MaskFormat(*SIZE, 8, 0 if kind == "frame" else 2)
    header = MaskHeader(
        camera="cam0",
        format=form,
        sequence=number,
        session=SESSION,
        sensor_timestamp_ns=sent_ns - 20_000_000,
        publish_timestamp_ns=sent_ns,
        dropped_camera=0,
        dropped_daemon=0,
        backend="standin",
        model_hash=HASH,
        fallback=False,
        payload_offset=HEADER_SIZE,
        payload_size=form.size_bytes,
        kind="mask" if kind == "image" else kind,
    )
    packed = pack_header(header)
    if kind != "image":
        return packed + pack_mask(labels, 8)
    file = io.BytesIO()
    Image.fromarray(picture(number)).save(file, "JPEG", quality=95)
    jpeg = file.getvalue()
    width, height = SIZE[0] * 4, SIZE[1] * 4
    return image_header(packed, width, height, Region(0, 0, 1, 1), sent_ns, len(jpeg)) + jpeg


def recording(path: Path, kinds: tuple[str, ...] = ("mask",), count: int = 10, finish: bool = True) -> Path:
    """``count`` frames, a chunk for every four of them; without its end if not ``finish``."""
    writer = RecordingWriter(path)
    writer.tick(0.0)
    for number in range(count):
        sent_ns = BEGIN_NS + number * STEP_NS
        for kind in kinds:
            writer.add(kind, f"{kind}/cam0", message(kind, number), sent_ns - 20_000_000, sent_ns, number)
        if number % 4 == 3:
            writer.tick(float(number))
    if finish:
        writer.finish()
    else:
        writer.abandon()
    return path


def info_of(session: int, offset_ns: int) -> bytes:
    _, _, body = parse_json(bytes.fromhex((VECTORS / "info.hex").read_text()))
    changed = {"camera": "cam0", "session": session, "monotonic_to_wall_offset_ns": offset_ns}
    return pack_json("info", "cam0", body | changed)


def status_of(session: int, timestamp_ns: int) -> bytes:
    return pack_json("status", "cam0", status_body("cam0", session) | {"timestamp_ns": timestamp_ns})


def mask_of(session: int, sensor_ns: int, publish_ns: int, sequence: int = 0, kind: str = "mask") -> bytes:
    data = bytearray(message(kind, sequence))
    struct.pack_into("<QQQ", data, 48, session, sensor_ns, publish_ns)
    return bytes(data)
